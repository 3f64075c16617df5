//! `chain-sum`: add and subtract a few whole numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::procedural::{Generator, Procedural, Question, STYLE};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`chain_sum`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "chain-sum",
    family: Family::Arithmetic,
    summary: "Add and subtract a few whole numbers.",
    example: "12 + 7 - 3 → 16",
    answer_reward: "chain-sum",
    options: &[
        OptionInfo { name: "min_terms", kind: OptionKind::Integer(2, 64), default: "2", meaning: "fewest numbers" },
        OptionInfo { name: "max_terms", kind: OptionKind::Integer(2, 64), default: "6", meaning: "most numbers" },
        OptionInfo {
            name: "min_digits",
            kind: OptionKind::Integer(1, 15),
            default: "1",
            meaning: "fewest digits of a number",
        },
        OptionInfo {
            name: "max_digits",
            kind: OptionKind::Integer(1, 15),
            default: "4",
            meaning: "most digits of a number",
        },
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-"]),
            default: r#"["+", "-"]"#,
            meaning: "what stands between two numbers",
        },
        OptionInfo {
            name: "allow_negation",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether a number may be negative",
        },
        STYLE,
    ],
    levels: &[
        &[("max_terms", "2"), ("max_digits", "1")],
        &[("max_terms", "3"), ("max_digits", "1")],
        &[("max_terms", "3"), ("max_digits", "2")],
        &[("max_terms", "4"), ("max_digits", "3")],
        &[("max_terms", "5"), ("max_digits", "4")],
        &[("max_terms", "8"), ("max_digits", "5")],
    ],
    build: |options, seed| Procedural::build(ChainSum::new(options)?, options, seed),
};

struct ChainSum {
    terms: (i64, i64),
    digits: (i64, i64),
    operators: Vec<String>,
    negative: bool,
}

impl ChainSum {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            digits: options.range("min_digits", "max_digits")?,
            operators: options.texts("operators"),
            negative: options.flag("allow_negation"),
        })
    }
}

impl Generator for ChainSum {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// All numbers of a question have the same number of digits d: 0…9 for d = 1, else 10^(d−1)…10^d − 1.
    fn draw(&self, key: Key) -> Option<Question> {
        let terms = key.at(0).between(self.terms.0, self.terms.1);
        let digits = key.at(1).between(self.digits.0, self.digits.1);
        let most = 10i64.pow(digits as u32) - 1;
        let least = if digits == 1 { 0 } else { 10i64.pow(digits as u32 - 1) };
        let mut expression = String::new();
        let mut sum = 0i64;
        for term in 0..terms as u64 {
            let operator = &self.operators[key.at(2).at(term).below(self.operators.len() as u64) as usize];
            let mut number = key.at(3).at(term).between(least, most);
            if self.negative && key.at(4).at(term).below(2) == 1 {
                number = -number;
            }
            if term == 0 {
                expression = number.to_string();
                sum = number;
                continue;
            }
            sum += if operator == "-" { -number } else { number };
            expression += &format!(" {operator} {number}");
        }
        let ending = "End with the result after \"####\", like this: #### 5";
        let terse = format!("{}=", expression.replace(' ', ""));
        let question = Question::new(
            (terms * digits) as usize,
            (format!("What is {expression}?"), ending),
            terse,
            sum.to_string(),
        );
        Some(
            question
                .same_as(&*expression)
                .with("expression", expression)
                .with("num_terms", terms)
                .with("num_digits", digits),
        )
    }
}
