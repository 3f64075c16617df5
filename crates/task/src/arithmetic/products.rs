//! `products`: multiply a few whole numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::Expression;
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`products`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "products",
    family: Family::Arithmetic,
    summary: "Multiply a few whole numbers.",
    example: "99 * 28 → 2772",
    answer_reward: "products",
    options: &[
        whole("min_terms", (1, 16), "2", "fewest numbers"),
        whole("max_terms", (1, 16), "2", "most numbers"),
        whole("min_digits", (1, 12), "1", "fewest digits of a number"),
        whole("max_digits", (1, 12), "5", "most digits of a number"),
        OptionInfo {
            name: "allow_negation",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether a number may be negative",
        },
        STYLE,
    ],
    levels: &[
        &[("max_digits", "1")],
        &[("max_digits", "2")],
        &[("max_digits", "3")],
        &[("max_terms", "3"), ("max_digits", "4")],
        &[("max_terms", "4"), ("max_digits", "5")],
    ],
    build: |options, seed| Procedural::build(Products::new(options)?, options, seed),
};

struct Products {
    terms: (i64, i64),
    digits: (i64, i64),
    negative: bool,
}

impl Products {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            digits: options.range("min_digits", "max_digits")?,
            negative: options.flag("allow_negation"),
        })
    }
}

impl Generator for Products {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// All numbers of a question have the same number of digits d: 0…9 for d = 1, else 10^(d−1)…10^d − 1; with
    /// negative ones −(10^d − 1)…10^d − 1.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms);
        let digits = dice.within(self.digits);
        let most = 10i64.pow(digits as u32) - 1;
        let least = match (self.negative, digits) {
            (true, _) => -most,
            (false, 1) => 0,
            (false, digits) => 10i64.pow(digits as u32 - 1),
        };
        let numbers: Vec<String> = (0..terms).map(|_| dice.between(least, most).to_string()).collect();
        let expression = numbers.join(" * ");
        let product = Expression::parse(&expression).ok()?.value;
        let mut sorted = numbers.clone();
        sorted.sort();
        let terse = format!("{}=", numbers.join("*"));
        let plain = format!("Multiply: {expression}");
        let question = Question::new((terms * digits) as usize, (plain, NUMBER), terse, product.to_string());
        let question = question.same_as(sorted.join("*")).with("expression", expression);
        Some(question.with("num_terms", terms).with("num_digits", digits))
    }
}
