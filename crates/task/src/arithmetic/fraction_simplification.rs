//! `fraction-simplification`: a fraction in lowest terms.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use super::gcd::gcd;
use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`fraction_simplification`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "fraction-simplification",
    family: Family::Arithmetic,
    summary: "Write a fraction in lowest terms.",
    example: "92/524 → 23/131",
    answer_reward: "fraction-simplification",
    options: &[
        whole("min_value", (1, 1_000_000), "1", "smallest number of the simplified fraction"),
        whole("max_value", (1, 1_000_000), "1000", "largest number of the simplified fraction"),
        whole("min_factor", (1, 1_000_000), "1", "smallest factor that is to be cancelled"),
        whole("max_factor", (1, 1_000_000), "100", "largest factor that is to be cancelled"),
        OptionInfo {
            name: "styles",
            kind: OptionKind::Choices(&["plain", "latex_inline", "latex_frac", "latex_dfrac"]),
            default: r#"["plain", "latex_inline", "latex_frac", "latex_dfrac"]"#,
            meaning: "how a fraction may be written in English; `terse` is always plain",
        },
        STYLE,
    ],
    levels: &[
        &[("max_value", "10"), ("min_factor", "2"), ("max_factor", "5")],
        &[("max_value", "30"), ("min_factor", "2"), ("max_factor", "20")],
        &[("max_value", "100"), ("min_factor", "2"), ("max_factor", "50")],
        &[("min_value", "10"), ("min_factor", "10")],
        &[("min_value", "100"), ("max_value", "10000"), ("min_factor", "10"), ("max_factor", "1000")],
    ],
    build: |options, seed| Procedural::build(FractionSimplification::new(options)?, options, seed),
};

struct FractionSimplification {
    value: (i64, i64),
    factor: (i64, i64),
    styles: Vec<String>,
}

impl FractionSimplification {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            value: options.range("min_value", "max_value")?,
            factor: options.range("min_factor", "max_factor")?,
            styles: options.texts("styles"),
        })
    }
}

fn written(numerator: i64, denominator: i64, style: &str) -> String {
    match style {
        "latex_inline" => format!("${numerator}/{denominator}$"),
        "latex_frac" => format!("$\\frac{{{numerator}}}{{{denominator}}}$"),
        "latex_dfrac" => format!("$\\dfrac{{{numerator}}}{{{denominator}}}$"),
        _ => format!("{numerator}/{denominator}"),
    }
}

impl Generator for FractionSimplification {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// A proper fraction in lowest terms whose numbers are in range, times a factor.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (one, other) = (dice.within(self.value), dice.within(self.value));
        let common = gcd(one as u128, other as u128) as i64;
        let (low, high) = ((one.min(other)) / common, one.max(other) / common);
        if low < self.value.0 {
            return None;
        }
        let factor = dice.within(self.factor);
        let style = dice.pick(&self.styles).as_str();
        let (numerator, denominator) = (low * factor, high * factor);
        let plain = format!("Write {} in lowest terms.", written(numerator, denominator, style));
        let ending = "End with the fraction after \"####\", like this: #### 2/3";
        let terse = format!("{numerator}/{denominator}=");
        let size = numerator.to_string().len() + denominator.to_string().len();
        let question = Question::new(size, (plain, ending), terse, format!("{low}/{high}"));
        let question = question.with("numerator", numerator).with("denominator", denominator);
        Some(question.with("simplified_numerator", low).with("simplified_denominator", high))
    }
}
