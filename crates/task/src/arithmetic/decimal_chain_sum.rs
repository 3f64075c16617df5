//! `decimal-chain-sum`: add and subtract a few decimal numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::algorithmic::number_sorting::digits;
use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`decimal_chain_sum`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "decimal-chain-sum",
    family: Family::Arithmetic,
    summary: "Add and subtract a few decimal numbers, exactly.",
    example: "4.23 + 3.96 → 8.19",
    answer_reward: "decimal-chain-sum",
    options: &[
        whole("min_terms", (1, 64), "2", "fewest numbers"),
        whole("max_terms", (1, 64), "6", "most numbers"),
        whole("min_digits", (1, 9), "1", "fewest digits before the point"),
        whole("max_digits", (1, 9), "4", "most digits before the point"),
        whole("min_decimal_places", (0, 8), "1", "fewest digits after the point"),
        whole("max_decimal_places", (0, 8), "4", "most digits after the point"),
        OptionInfo {
            name: "allow_negation",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether a number may be negative",
        },
        STYLE,
    ],
    levels: &[
        &[("max_terms", "2"), ("max_digits", "1"), ("max_decimal_places", "1")],
        &[("max_terms", "2"), ("max_digits", "2"), ("max_decimal_places", "2")],
        &[("max_terms", "3"), ("max_digits", "3"), ("max_decimal_places", "2")],
        &[("max_terms", "4"), ("max_digits", "4"), ("max_decimal_places", "3")],
        &[("max_terms", "6"), ("max_digits", "5"), ("max_decimal_places", "6")],
    ],
    build: |options, seed| Procedural::build(DecimalChainSum::new(options)?, options, seed),
};

struct DecimalChainSum {
    terms: (i64, i64),
    digits: (i64, i64),
    places: (i64, i64),
    negative: bool,
}

impl DecimalChainSum {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            digits: options.range("min_digits", "max_digits")?,
            places: options.range("min_decimal_places", "max_decimal_places")?,
            negative: options.flag("allow_negation"),
        })
    }
}

impl Generator for DecimalChainSum {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Numbers of a question have the same digits before the point, and each its own after it. Sums are of whole numbers
    /// of the smallest unit.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms);
        let before = dice.within(self.digits);
        let most = 10i64.pow(before as u32) - 1;
        let least = if before == 1 { 0 } else { 10i64.pow(before as u32 - 1) };
        let places: Vec<u32> = (0..terms).map(|_| dice.within(self.places) as u32).collect();
        let finest = places.iter().copied().max().unwrap_or(0);
        let (mut expression, mut sum, mut written) = (String::new(), 0i64, 0);
        for (term, &places) in places.iter().enumerate() {
            let unit = 10i64.pow(places);
            let mut number = dice.between(least, most) * unit + dice.between(0, unit - 1);
            if self.negative && dice.coin() {
                number = -number;
            }
            let minus = term > 0 && dice.coin();
            if term > 0 {
                expression += if minus { " - " } else { " + " };
            }
            expression += &digits(number, places);
            written += (before + i64::from(places)) as usize;
            let scaled = number * 10i64.pow(finest - places);
            sum += if minus { -scaled } else { scaled };
        }
        let plain = format!("What is {expression}, exactly?");
        let terse = format!("{}=", expression.replace(' ', ""));
        let question = Question::new(written, (plain, NUMBER), terse, digits(sum, finest));
        Some(question.with("expression", expression).with("num_terms", terms).with("num_digits", before))
    }
}
