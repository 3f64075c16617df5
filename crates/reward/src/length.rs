//! `length`: what the length of a completion is worth, by one of the published rules.
//!
//! `cosine` and `kimi` pay right answers otherwise than wrong ones: they go by the score of the first reward of the list.
//! `kimi` compares with the other samples of the prompt.

use lapidary_core::{Result, Verdict};
use serde_json::{Map, Value};

use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

const LONGEST: i64 = 10_000_000;

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "length",
    summary: "What the length of a completion is worth: penalties, bonuses and budgets, by one of the published rules.",
    formula: "overlong: 0 if L <= target, (target - L) / (max - target) if L < max, else -1",
    options: &[
        OptionInfo {
            name: "kind",
            kind: OptionKind::Choice(&["overlong", "bonus", "cosine", "kimi", "near", "within"]),
            default: "\"overlong\"",
            meaning: "`overlong`: 0 up to `target`, falling to -1 at `max` (DAPO); `bonus`: 1 up to `target`, falling to 0 at \
                      `max`; `cosine`: half a cosine from `right_short` to `right_long`, for wrong answers from `wrong_short` to \
                      `wrong_long`; `kimi`: from 0.5 for the shortest sample of the prompt to -0.5 for the longest, at most 0 \
                      for wrong ones; `near`: 1 - |L - target| / max; `within`: 1 up to `max`, else 0",
        },
        OptionInfo {
            name: "max",
            kind: OptionKind::Integer(1, LONGEST),
            default: "null",
            meaning: "where the rule ends, in tokens; `kimi` has none, the others need it",
        },
        OptionInfo {
            name: "target",
            kind: OptionKind::Integer(0, LONGEST),
            default: "0",
            meaning: "where the rule begins, in tokens; for `near` what is wanted",
        },
        OptionInfo {
            name: "right_short",
            kind: OptionKind::Number(-1e6, 1e6),
            default: "1",
            meaning: "`cosine`: a right answer of no length",
        },
        OptionInfo {
            name: "right_long",
            kind: OptionKind::Number(-1e6, 1e6),
            default: "0.5",
            meaning: "`cosine`: a right answer of `max` tokens or more",
        },
        OptionInfo {
            name: "wrong_short",
            kind: OptionKind::Number(-1e6, 1e6),
            default: "-1",
            meaning: "`cosine`: a wrong answer of no length",
        },
        OptionInfo {
            name: "wrong_long",
            kind: OptionKind::Number(-1e6, 1e6),
            default: "-0.5",
            meaning: "`cosine`: a wrong answer of `max` tokens or more",
        },
        OptionInfo {
            name: "right_from",
            kind: OptionKind::Number(-1e6, 1e6),
            default: "0.5",
            meaning: "`cosine` and `kimi`: score of the first reward from which an answer is right",
        },
    ],
    build: |options| Ok(Box::new(Length::new(options)?)),
};

/// Whether these options make a rule that goes by the first reward of the list.
pub(crate) fn follows(options: &Map<String, Value>) -> bool {
    matches!(options.get("kind").and_then(Value::as_str), Some("cosine" | "kimi"))
}

/// A rule; L is the length in tokens.
#[derive(Debug)]
enum Rule {
    /// 0 if L ≤ t; (t − L)/(m − t) if L < m; else −1. DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13) with
    /// t = L_max − L_cache and m = L_max.
    Overlong { target: f64, max: f64 },
    /// 1 if L ≤ t; (m − L)/(m − t) if L < m; else 0.
    Bonus { target: f64, max: f64 },
    /// long + ½(short − long)(1 + cos(π·min(L/m, 1))) (arXiv 2502.03373, §4.2; TRL and open-r1). Without the min, as
    /// published, it rises again beyond m.
    Cosine { right: [f64; 2], wrong: [f64; 2], max: f64 },
    /// λ = ½ − (L − L_min)/(L_max − L_min) for right answers, min(0, λ) for wrong ones, 0 where all lengths are equal, over
    /// the samples of the prompt (Kimi k1.5, arXiv 2501.12599, §2.3.3).
    Kimi,
    /// max(0, 1 − |L − t|/m): open-instruct's `max_length`, which has m = 32768 and no floor.
    Near { target: f64, max: f64 },
    /// 1 if L ≤ m else 0: open-instruct's `up_to_max_length`.
    Within { max: f64 },
}

#[derive(Debug)]
struct Length {
    rule: Rule,
    right_from: f64,
}

impl Length {
    fn new(options: &Options) -> Result<Self> {
        let number = |name: &str| options.number(name).unwrap_or(0.0);
        let kind = options.text("kind").unwrap_or("overlong");
        let max = || {
            let max = options.integer("max").map(|max| max as f64);
            max.ok_or_else(|| {
                options.wrong(format!("kind `{kind}` needs the option `max`")).hint("set `max` to tokens")
            })
        };
        let target = number("target");
        let range = || match options.range("target", "max") {
            Ok((target, max)) => Ok((target as f64, max as f64)),
            Err(problem) => max().and(Err(problem)),
        };
        let rule = match kind {
            "bonus" => range().map(|(target, max)| Rule::Bonus { target, max })?,
            "cosine" => Rule::Cosine {
                right: [number("right_short"), number("right_long")],
                wrong: [number("wrong_short"), number("wrong_long")],
                max: max()?,
            },
            "kimi" => Rule::Kimi,
            "near" => Rule::Near { target, max: max()? },
            "within" => Rule::Within { max: max()? },
            _ => range().map(|(target, max)| Rule::Overlong { target, max })?,
        };
        Ok(Self { rule, right_from: number("right_from") })
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let length = attempt.tokens as f64;
        let score = match &self.rule {
            Rule::Overlong { target, .. } if length <= *target => 0.0,
            Rule::Overlong { target, max } if length < *max => (target - length) / (max - target),
            Rule::Overlong { .. } => -1.0,
            Rule::Bonus { target, .. } if length <= *target => 1.0,
            Rule::Bonus { target, max } if length < *max => (max - length) / (max - target),
            Rule::Bonus { .. } => 0.0,
            Rule::Near { target, max } => (1.0 - (length - target).abs() / max).max(0.0),
            Rule::Within { max } => f64::from(u8::from(length <= *max)),
            Rule::Cosine { .. } | Rule::Kimi => {
                let Some(first) = attempt.first else {
                    return Verdict::none("the first reward of the list says nothing of this completion");
                };
                let right = f64::from(first) >= self.right_from;
                match self.by_answer(right, length, attempt.group) {
                    Some(score) => score,
                    None => return Verdict::none("the lengths of the prompt's other samples are not known"),
                }
            }
        };
        Verdict::score(score as f32, format!("{} tokens", attempt.tokens))
    }

    /// The rules that ask whether the answer is right.
    fn by_answer(&self, right: bool, length: f64, group: &[usize]) -> Option<f64> {
        match &self.rule {
            Rule::Cosine { right: if_right, wrong, max } => {
                let [short, long] = if right { if_right } else { wrong };
                let progress = (length / max).min(1.0);
                Some(long + 0.5 * (short - long) * (1.0 + (std::f64::consts::PI * progress).cos()))
            }
            _ => {
                let least = group.iter().min().map(|least| *least as f64)?.min(length);
                let most = group.iter().max().map(|most| *most as f64)?.max(length);
                let share = if most > least { 0.5 - (length - least) / (most - least) } else { 0.0 };
                Some(if right { share } else { share.min(0.0) })
            }
        }
    }
}

impl Reward for Length {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn scores(options: Value, lengths: &[usize], first: Option<f32>, group: &[usize]) -> Vec<Option<f32>> {
        let reward = crate::build("length", &options).unwrap();
        let metadata = Map::new();
        let attempt = |tokens| Attempt { tokens, first, group, ..Attempt::new("", "", None, &metadata) };
        lengths.iter().map(|&tokens| reward.score(&[attempt(tokens)])[0].value()).collect()
    }

    fn near(got: &[Option<f32>], wanted: &[f32]) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got.unwrap() - wanted).abs() < 1e-6, "{got:?} is not {wanted}");
        }
    }

    /// DAPO's golden values with L_max = 100 and L_cache = 20.
    #[test]
    fn the_penalty_is_linear_between_target_and_max() {
        let options = json!({"target": 80, "max": 100});
        assert_eq!(scores(options, &[80, 85, 90, 100, 101], None, &[]), [0.0, -0.25, -0.5, -1.0, -1.0].map(Some));
        let options = json!({"kind": "bonus", "target": 80, "max": 100});
        assert_eq!(scores(options, &[0, 80, 85, 100, 101], None, &[]), [1.0, 1.0, 0.75, 0.0, 0.0].map(Some));
        // no room between the two: a step
        let options = json!({"target": 5, "max": 5});
        assert_eq!(scores(options, &[5, 6], None, &[]), [0.0, -1.0].map(Some));
    }

    /// Golden values of TRL's cosine reward.
    #[test]
    fn the_cosine_pays_right_answers_for_being_short_and_wrong_ones_for_trying() {
        let options = json!({"kind": "cosine", "max": 100});
        near(&scores(options.clone(), &[0, 25, 50, 100, 1000], Some(1.0), &[]), &[1.0, 0.926777, 0.75, 0.5, 0.5]);
        near(&scores(options.clone(), &[0, 25, 50, 100, 200], Some(0.0), &[]), &[-1.0, -0.926777, -0.75, -0.5, -0.5]);
        assert_eq!(scores(options, &[1], None, &[]), [None]);
    }

    #[test]
    fn kimi_compares_the_samples_of_a_prompt() {
        let options = json!({"kind": "kimi"});
        let group = [10, 20, 30];
        near(&scores(options.clone(), &group, Some(1.0), &group), &[0.5, 0.0, -0.5]);
        near(&scores(options.clone(), &group, Some(0.0), &group), &[0.0, 0.0, -0.5]);
        near(&scores(options.clone(), &[7], Some(1.0), &[7, 7]), &[0.0]);
        assert_eq!(scores(options, &[7], Some(1.0), &[]), [None]);
    }

    #[test]
    fn budgets_of_open_instruct() {
        near(
            &scores(json!({"kind": "near", "target": 50, "max": 100}), &[50, 75, 0, 500], None, &[]),
            &[1.0, 0.75, 0.5, 0.0],
        );
        near(&scores(json!({"kind": "within", "max": 9}), &[0, 9, 10], None, &[]), &[1.0, 1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn longer_is_never_better_but_for_wrong_answers(
            kind in prop::sample::select(vec!["overlong", "bonus", "cosine", "within"]), target in 0i64..50, more in 1i64..100, lengths in (0usize..300, 0usize..300)
        ) {
            let options = json!({"kind": kind, "target": target, "max": target + more});
            let (short, long) = (lengths.0.min(lengths.1), lengths.0.max(lengths.1));
            let scores = scores(options, &[short, long], Some(1.0), &[]);
            prop_assert!(scores[0] >= scores[1]);
            prop_assert!(scores.iter().all(|score| score.is_some_and(|score| (-1.0..=1.0).contains(&score))));
        }
    }

    #[test]
    fn options_that_make_no_rule_are_refused() {
        let problem = crate::build("length", &json!({"target": 101, "max": 100})).err().unwrap();
        assert!(problem.message().contains("`target` = 101"), "{problem}");
        for kind in ["overlong", "bonus", "cosine", "near", "within"] {
            let problem = crate::build("length", &json!({"kind": kind})).err().unwrap();
            assert!(problem.message().contains("needs the option `max`"), "{problem}");
        }
        assert!(crate::build("length", &json!({"kind": "kimi"})).is_ok());
    }
}
