//! `complex-arithmetic`: one operation on two complex numbers with whole parts.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};
use serde_json::json;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`complex_arithmetic`); its weights of the
/// operations (0.4, 0.4, 0.1, 0.1) are even here.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "complex-arithmetic",
    family: Family::Algebra,
    summary: "Add, subtract, multiply or divide two complex numbers.",
    example: "(2 + 3i) * (1 - i) → 5 + i",
    answer_reward: "complex-arithmetic",
    options: &[
        whole("min_real", (-10_000, 10_000), "-10", "smallest real part"),
        whole("max_real", (-10_000, 10_000), "10", "largest real part"),
        whole("min_imag", (-10_000, 10_000), "-10", "smallest imaginary part"),
        whole("max_imag", (-10_000, 10_000), "10", "largest imaginary part"),
        OptionInfo {
            name: "operations",
            kind: OptionKind::Choices(&["+", "-", "*", "/"]),
            default: r#"["+", "-", "*", "/"]"#,
            meaning: "what is done; a quotient always comes out even",
        },
        STYLE,
    ],
    levels: &[
        &[("min_real", "0"), ("max_real", "9"), ("min_imag", "0"), ("max_imag", "9"), ("operations", r#"["+"]"#)],
        &[("operations", r#"["+", "-"]"#)],
        &[("operations", r#"["+", "-", "*"]"#)],
        &[
            ("min_real", "-30"),
            ("max_real", "30"),
            ("min_imag", "-30"),
            ("max_imag", "30"),
            ("operations", r#"["*", "/"]"#),
        ],
        &[
            ("min_real", "-200"),
            ("max_real", "200"),
            ("min_imag", "-200"),
            ("max_imag", "200"),
            ("operations", r#"["*", "/"]"#),
        ],
    ],
    build: |options, seed| Procedural::build(ComplexArithmetic::new(options)?, options, seed),
};

struct ComplexArithmetic {
    real: (i64, i64),
    imaginary: (i64, i64),
    operations: Vec<char>,
}

impl ComplexArithmetic {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            real: options.range("min_real", "max_real")?,
            imaginary: options.range("min_imag", "max_imag")?,
            operations: options.texts("operations").iter().filter_map(|text| text.chars().next()).collect(),
        })
    }
}

type Complex = (i64, i64);

fn product(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// `5`, `-2i`, `5 + i`, `0`.
fn written((real, imaginary): Complex) -> String {
    let part = match imaginary.abs() {
        1 => "i".to_string(),
        size => format!("{size}i"),
    };
    match (real, imaginary) {
        (real, 0) => real.to_string(),
        (0, imaginary) if imaginary < 0 => format!("-{part}"),
        (0, _) => part,
        (real, imaginary) => format!("{real} {} {part}", if imaginary < 0 { '-' } else { '+' }),
    }
}

impl Generator for ComplexArithmetic {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// A quotient is drawn from the divisor and the result.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let operation = *dice.pick(&self.operations);
        let (mut a, b) = (
            (dice.within(self.real), dice.within(self.imaginary)),
            (dice.within(self.real), dice.within(self.imaginary)),
        );
        let result = match operation {
            '+' => (a.0 + b.0, a.1 + b.1),
            '-' => (a.0 - b.0, a.1 - b.1),
            '*' => product(a, b),
            _ if b == (0, 0) => return None,
            _ => {
                let result = a;
                a = product(a, b);
                result
            }
        };
        let asked = format!("({}) {operation} ({})", written(a), written(b));
        let plain = format!("What is {asked}, where i is the square root of -1?");
        let ending = "End with the complex number after \"####\", like this: #### 2 - 3i";
        let digits = |number: i64| number.unsigned_abs().to_string().len();
        let size = [a.0, a.1, b.0, b.1].into_iter().map(digits).sum::<usize>()
            * if matches!(operation, '*' | '/') { 2 } else { 1 };
        let question = Question::new(size, (plain, ending), format!("{}=", asked.replace(' ', "")), written(result));
        let question = question.terse_answer(written(result).replace(' ', ""));
        Some(question.with("operation", operation.to_string()).with("result", json!([result.0, result.1])))
    }
}

#[cfg(test)]
mod tests {
    use super::{product, written};

    #[test]
    fn complex_numbers_are_written_and_multiplied_as_in_school() {
        let all = [(5, 0), (0, -2), (5, 1), (-3, -4), (0, 0), (0, 1), (0, -1)].map(written);
        assert_eq!(all, ["5", "-2i", "5 + i", "-3 - 4i", "0", "i", "-i"]);
        assert_eq!(product((2, 3), (1, -1)), (5, 1));
    }
}
