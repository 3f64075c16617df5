//! `simple-integration`: a polynomial whose derivative is given.

use std::collections::BTreeMap;

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::arithmetic::gcd::gcd;
use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`simple_integration`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "simple-integration",
    family: Family::Algebra,
    summary: "Find a polynomial whose derivative is given; any constant will do.",
    example: "6*x**2 - 4 → 2*x**3 - 4*x + C",
    answer_reward: "simple-integration",
    options: &[
        whole("min_terms", (1, 12), "2", "fewest terms of the polynomial"),
        whole("max_terms", (1, 12), "5", "most terms of the polynomial"),
        whole("min_degree", (1, 32), "1", "smallest exponent"),
        whole("max_degree", (1, 32), "10", "largest exponent"),
        whole("min_bounds", (1, 10_000), "1", "smallest coefficient"),
        whole("max_bounds", (1, 10_000), "10", "largest coefficient"),
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-"]),
            default: r#"["+", "-"]"#,
            meaning: "signs of the terms",
        },
        OptionInfo {
            name: "symbols",
            kind: OptionKind::Choices(&["x", "X"]),
            default: r#"["x", "X"]"#,
            meaning: "what the variable may be called",
        },
        STYLE,
    ],
    levels: &[
        &[("min_terms", "1"), ("max_terms", "1"), ("max_degree", "2"), ("symbols", r#"["x"]"#)],
        &[("min_terms", "1"), ("max_terms", "2"), ("max_degree", "3"), ("symbols", r#"["x"]"#)],
        &[("max_terms", "3"), ("max_degree", "5")],
        &[("min_terms", "3")],
        &[("min_terms", "5"), ("max_terms", "8"), ("max_degree", "16"), ("max_bounds", "50")],
    ],
    build: |options, seed| Procedural::build(SimpleIntegration::new(options)?, options, seed),
};

struct SimpleIntegration {
    terms: (i64, i64),
    degree: (i64, i64),
    bounds: (i64, i64),
    operators: Vec<String>,
    symbols: Vec<String>,
}

impl SimpleIntegration {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            degree: options.range("min_degree", "max_degree")?,
            bounds: options.range("min_bounds", "max_bounds")?,
            operators: options.texts("operators"),
            symbols: options.texts("symbols"),
        })
    }
}

/// Coefficients in 2520ths, by exponent: 2520 is divisible by every denominator from 2 to 10.
type Polynomial = BTreeMap<i64, i64>;
const UNIT: i64 = 2520;

fn coefficient(amount: i64) -> String {
    let common = gcd(amount.unsigned_abs().into(), UNIT as u128) as i64;
    match UNIT / common {
        1 => (amount / common).to_string(),
        below => format!("{}/{below}", amount / common),
    }
}

/// `2*x**3 - 4*x/3`: highest exponent first, as Python writes it.
fn written(polynomial: &Polynomial, symbol: &str) -> String {
    let mut text = String::new();
    for (&exponent, &amount) in polynomial.iter().rev().filter(|(_, amount)| **amount != 0) {
        text += match (text.is_empty(), amount < 0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        };
        let (top, below) = match coefficient(amount.abs()).split_once('/') {
            Some((top, below)) => (top.to_string(), format!("/{below}")),
            None => (coefficient(amount.abs()), String::new()),
        };
        let factor = if top == "1" && exponent > 0 { String::new() } else { format!("{top}*") };
        text += &match exponent {
            0 => format!("{top}{below}"),
            1 => format!("{factor}{symbol}{below}"),
            exponent => format!("{factor}{symbol}**{exponent}{below}"),
        };
    }
    if text.is_empty() { "0".into() } else { text }
}

impl Generator for SimpleIntegration {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Half the coefficients are whole, half have a denominator from 2 to 10.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms);
        let symbol = dice.pick(&self.symbols).clone();
        let mut polynomial = Polynomial::new();
        for _ in 0..terms {
            let below = if dice.coin() { 1 } else { dice.between(2, 10) };
            let amount = dice.within(self.bounds) * (UNIT / below);
            let sign = if dice.pick(&self.operators) == "-" { -1 } else { 1 };
            *polynomial.entry(dice.within(self.degree)).or_default() += sign * amount;
        }
        let derivative: Polynomial =
            polynomial.iter().map(|(exponent, amount)| (exponent - 1, exponent * amount)).collect();
        if derivative.values().all(|amount| *amount == 0) {
            return None;
        }
        let integrand = written(&derivative, &symbol);
        let plain = format!(
            "Which function of {symbol} has the derivative {integrand}? Write ** for powers and * between factors."
        );
        let ending = "End with the function after \"####\", with C for a constant, like this: #### 2*x**3/3 + C";
        let answer = format!("{} + C", written(&polynomial, &symbol));
        let question = Question::new(
            integrand.len(),
            (plain, ending),
            format!("∫{}d{symbol}=", integrand.replace(' ', "")),
            &*answer,
        );
        let question = question.terse_answer(answer.replace(' ', ""));
        Some(question.with("integrand", integrand).with("variable", symbol).with("num_terms", terms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_written_as_python_writes_them() {
        let polynomial = Polynomial::from([(0, UNIT), (1, -UNIT / 3), (3, 2 * UNIT), (2, UNIT), (5, 0)]);
        assert_eq!(written(&polynomial, "x"), "2*x**3 + x**2 - x/3 + 1");
        assert_eq!(written(&Polynomial::from([(2, 5 * UNIT / 4)]), "X"), "5*X**2/4");
    }
}
