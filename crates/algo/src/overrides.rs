//! Overrides: what a recipe's `[stage.<method>]` may change.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::advantage::Advantage;
use crate::aggregate::Aggregate;
use crate::kl::KlEstimator;
use crate::objective::Objective;
use crate::ratio::Ratio;
use crate::shaping::Overlong;
use crate::surrogate::Surrogate;

/// Default of `std_ddof`: the unbiased standard deviation (verl and slime: torch.std).
const DDOF: u8 = 1;
/// Default of `std_delta` (verl and slime 1e-6, TRL 1e-4; the papers say nothing).
pub(crate) const DELTA: f64 = 1e-6;
/// Default of both bounds where a recipe turns clipping on (PPO, arXiv 1707.06347, §6.1).
const CLIP: f64 = 0.2;

/// Names of [`Advantage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdvantageName {
    /// The reward itself.
    Raw,
    /// Reward − mean reward of the step.
    BatchMean,
    /// Reward − mean reward of the group.
    GroupMean,
    /// (Reward − mean of the group) / (standard deviation of the group + `std_delta`).
    GroupZscore,
    /// Reward − mean reward of the other answers of the group.
    LeaveOneOut,
}

/// Names of [`Surrogate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurrogateName {
    /// PPO's clipped ratio times advantage.
    Clip,
    /// Advantage times log-probability.
    Reinforce,
    /// Negative log-likelihood: the method `sft`, and no other.
    Nll,
}

/// Settings of a method; what is not given stays as the method has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// How rewards become advantages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advantage: Option<AdvantageName>,
    /// Degrees of freedom of the standard deviation: 1 (unbiased) or 0. Only with `advantage = "group_zscore"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1))]
    pub std_ddof: Option<u8>,
    /// Added to the standard deviation, at least 0. Only with `advantage = "group_zscore"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub std_delta: Option<f64>,
    /// Which probability ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// The loss at a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate: Option<SurrogateName>,
    /// How far the ratio may fall below 1, above 0 and at most 1. Only with `surrogate = "clip"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub clip_low: Option<f64>,
    /// How far the ratio may rise above 1, above 0. Only with `surrogate = "clip"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub clip_high: Option<f64>,
    /// Upper bound of the ratio for bad answers, above 1; 0 is off. Only with `surrogate = "clip"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub clip_dual: Option<f64>,
    /// How token losses become one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// The constant length that `aggregate = "token_sum_const"` divides by; 0 takes the stage's `max_new_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_constant: Option<usize>,
    /// Weight of the penalty for leaving the reference policy (the weights at the start of the stage); 0 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub kl_coefficient: Option<f64>,
    /// Estimator of that penalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_estimator: Option<KlEstimator>,
    /// Weight of the entropy bonus; 0 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub entropy_coefficient: Option<f64>,
    /// Whether groups whose rewards do not vary are sampled again (DAPO).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_sampling: Option<bool>,
    /// Share of `max_new_tokens` in which a length penalty grows from 0 to `overlong_factor` (DAPO); 0 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub overlong_share: Option<f64>,
    /// The length penalty at the limit, at least 0. Only with `overlong_share` above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub overlong_factor: Option<f64>,
}

/// A setting that cannot be: which key, what it may be, what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The key of [`Overrides`].
    pub key: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it was.
    pub got: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.key, self.expected, self.got)
    }
}

impl std::error::Error for InvalidSetting {}

type Checked<T> = Result<T, InvalidSetting>;

/// The name as it is written in a recipe.
fn written(name: impl fmt::Debug) -> String {
    let debug = format!("{name:?}");
    let mut out = String::new();
    for (index, letter) in debug.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    format!("\"{out}\"")
}

fn number(key: &'static str, value: f64, expected: &str, fits: impl Fn(f64) -> bool) -> Checked<f64> {
    if value.is_finite() && fits(value) {
        return Ok(value);
    }
    Err(InvalidSetting { key, expected: expected.to_string(), got: value.to_string() })
}

/// Refuses a key that would have no effect: better said than silently ignored.
fn unused<T>(key: &'static str, given: Option<T>, only_with: &str, got: &str) -> Checked<()> {
    match given {
        None => Ok(()),
        Some(_) => Err(InvalidSetting {
            key,
            expected: format!("no such key, as it only has a meaning with {only_with}"),
            got: format!("it together with {got}"),
        }),
    }
}

impl Overrides {
    /// The keys that are given, in the order of the fields, with their values as TOML writes them.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let float = |value: f64| crate::page::shown(value);
        [
            ("advantage", self.advantage.map(written)),
            ("std_ddof", self.std_ddof.map(|value| value.to_string())),
            ("std_delta", self.std_delta.map(float)),
            ("ratio", self.ratio.map(written)),
            ("surrogate", self.surrogate.map(written)),
            ("clip_low", self.clip_low.map(float)),
            ("clip_high", self.clip_high.map(float)),
            ("clip_dual", self.clip_dual.map(float)),
            ("aggregate", self.aggregate.map(written)),
            ("length_constant", self.length_constant.map(|value| value.to_string())),
            ("kl_coefficient", self.kl_coefficient.map(float)),
            ("kl_estimator", self.kl_estimator.map(written)),
            ("entropy_coefficient", self.entropy_coefficient.map(float)),
            ("dynamic_sampling", self.dynamic_sampling.map(|value| value.to_string())),
            ("overlong_share", self.overlong_share.map(float)),
            ("overlong_factor", self.overlong_factor.map(float)),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .collect()
    }

    pub(crate) fn apply(&self, base: Objective) -> Checked<Objective> {
        let surrogate = self.surrogate(base.surrogate)?;
        if surrogate == Surrogate::Nll {
            let (with, got) = ("a method that learns from rewards", "method \"sft\"");
            unused("advantage", self.advantage, with, got)?;
            unused("std_ddof", self.std_ddof, with, got)?;
            unused("std_delta", self.std_delta, with, got)?;
            unused("dynamic_sampling", self.dynamic_sampling, with, got)?;
            unused("overlong_share", self.overlong_share, with, got)?;
        }
        if !surrogate.uses_ratio() {
            let got = format!("surrogate = {}", written(surrogate_name(surrogate)));
            unused("ratio", self.ratio, "surrogate = \"clip\"", &got)?;
        }
        let aggregate = self.aggregate.unwrap_or(base.aggregate);
        Ok(Objective {
            advantage: self.advantage(base.advantage)?,
            ratio: self.ratio.unwrap_or(base.ratio),
            surrogate,
            aggregate,
            length_constant: self.length_constant(aggregate, base.length_constant)?,
            kl: crate::kl::Kl {
                coefficient: coefficient("kl_coefficient", self.kl_coefficient, base.kl.coefficient)?,
                estimator: self.kl_estimator.unwrap_or(base.kl.estimator),
            },
            entropy_coefficient: coefficient(
                "entropy_coefficient",
                self.entropy_coefficient,
                base.entropy_coefficient,
            )?,
            dynamic_sampling: self.dynamic_sampling.unwrap_or(base.dynamic_sampling),
            overlong: self.overlong(base.overlong)?,
        })
    }

    fn advantage(&self, base: Advantage) -> Checked<Advantage> {
        let name = self.advantage.unwrap_or(name_of(base));
        if name != AdvantageName::GroupZscore {
            let got = format!("advantage = {}", written(name));
            unused("std_ddof", self.std_ddof, "advantage = \"group_zscore\"", &got)?;
            unused("std_delta", self.std_delta, "advantage = \"group_zscore\"", &got)?;
        }
        Ok(match name {
            AdvantageName::Raw => Advantage::Raw,
            AdvantageName::BatchMean => Advantage::BatchMean,
            AdvantageName::GroupMean => Advantage::GroupMean,
            AdvantageName::LeaveOneOut => Advantage::LeaveOneOut,
            AdvantageName::GroupZscore => {
                let (ddof, delta) = match base {
                    Advantage::GroupZscore { ddof, delta } => (ddof, delta),
                    _ => (DDOF, DELTA),
                };
                let ddof = self.std_ddof.unwrap_or(ddof);
                number("std_ddof", f64::from(ddof), "0 or 1", |value| value <= 1.0)?;
                let delta = self.std_delta.unwrap_or(delta);
                Advantage::GroupZscore {
                    ddof,
                    delta: number("std_delta", delta, "a number ≥ 0", |value| value >= 0.0)?,
                }
            }
        })
    }

    fn surrogate(&self, base: Surrogate) -> Checked<Surrogate> {
        let base_name = surrogate_name(base);
        let name = self.surrogate.unwrap_or(base_name);
        if (name == SurrogateName::Nll) != (base_name == SurrogateName::Nll) {
            let expected = match base_name {
                SurrogateName::Nll => "\"nll\" for the method `sft`, which has no rewards",
                _ => "\"clip\" or \"reinforce\" (\"nll\" is the method `sft`)",
            };
            return Err(InvalidSetting { key: "surrogate", expected: expected.into(), got: written(name) });
        }
        if name != SurrogateName::Clip {
            let got = format!("surrogate = {}", written(name));
            unused("clip_low", self.clip_low, "surrogate = \"clip\"", &got)?;
            unused("clip_high", self.clip_high, "surrogate = \"clip\"", &got)?;
            unused("clip_dual", self.clip_dual, "surrogate = \"clip\"", &got)?;
        }
        Ok(match name {
            SurrogateName::Nll => Surrogate::Nll,
            SurrogateName::Reinforce => Surrogate::Reinforce,
            SurrogateName::Clip => {
                let (low, high, dual) = match base {
                    Surrogate::Clip { low, high, dual } => (low, high, dual),
                    _ => (CLIP, CLIP, None),
                };
                let dual = self.clip_dual.or(dual).filter(|&dual| dual != 0.0);
                Surrogate::Clip {
                    low: number("clip_low", self.clip_low.unwrap_or(low), "a number in (0, 1]", |x| {
                        x > 0.0 && x <= 1.0
                    })?,
                    high: number("clip_high", self.clip_high.unwrap_or(high), "a number > 0", |x| x > 0.0)?,
                    dual: dual
                        .map(|dual| number("clip_dual", dual, "0 (off) or a number > 1", |x| x > 1.0))
                        .transpose()?,
                }
            }
        })
    }

    fn length_constant(&self, aggregate: Aggregate, base: Option<usize>) -> Checked<Option<usize>> {
        if aggregate != Aggregate::TokenSumConst {
            let got = format!("aggregate = {}", written(aggregate));
            unused("length_constant", self.length_constant, "aggregate = \"token_sum_const\"", &got)?;
            return Ok(None);
        }
        Ok(self.length_constant.or(base).filter(|&length| length != 0))
    }

    fn overlong(&self, base: Option<Overlong>) -> Checked<Option<Overlong>> {
        let share = self.overlong_share.unwrap_or(base.map_or(0.0, |overlong| overlong.share));
        number("overlong_share", share, "a number from 0 (off) to 1", |share| (0.0..=1.0).contains(&share))?;
        if share == 0.0 {
            unused("overlong_factor", self.overlong_factor, "overlong_share > 0", "overlong_share = 0")?;
            return Ok(None);
        }
        let factor = self.overlong_factor.unwrap_or(base.map_or(1.0, |overlong| overlong.factor));
        let factor = number("overlong_factor", factor, "a number ≥ 0", |factor| factor >= 0.0)?;
        Ok(Some(Overlong { share, factor }))
    }
}

fn coefficient(key: &'static str, given: Option<f64>, base: f64) -> Checked<f64> {
    number(key, given.unwrap_or(base), "a number ≥ 0", |value| value >= 0.0)
}

fn name_of(advantage: Advantage) -> AdvantageName {
    match advantage {
        Advantage::Raw => AdvantageName::Raw,
        Advantage::BatchMean => AdvantageName::BatchMean,
        Advantage::GroupMean => AdvantageName::GroupMean,
        Advantage::GroupZscore { .. } => AdvantageName::GroupZscore,
        Advantage::LeaveOneOut => AdvantageName::LeaveOneOut,
    }
}

fn surrogate_name(surrogate: Surrogate) -> SurrogateName {
    match surrogate {
        Surrogate::Clip { .. } => SurrogateName::Clip,
        Surrogate::Reinforce => SurrogateName::Reinforce,
        Surrogate::Nll => SurrogateName::Nll,
    }
}

/// Every setting that has a meaning for the objective, and no other.
impl From<Objective> for Overrides {
    fn from(objective: Objective) -> Self {
        let learns_from_rewards = objective.surrogate.uses_advantage();
        let (ddof, delta) = match objective.advantage {
            Advantage::GroupZscore { ddof, delta } => (Some(ddof), Some(delta)),
            _ => (None, None),
        };
        let (low, high, dual) = match objective.surrogate {
            Surrogate::Clip { low, high, dual } => (Some(low), Some(high), Some(dual.unwrap_or(0.0))),
            _ => (None, None, None),
        };
        let constant = objective.aggregate == Aggregate::TokenSumConst;
        Overrides {
            advantage: learns_from_rewards.then_some(name_of(objective.advantage)),
            std_ddof: ddof,
            std_delta: delta,
            ratio: objective.surrogate.uses_ratio().then_some(objective.ratio),
            surrogate: Some(surrogate_name(objective.surrogate)),
            clip_low: low,
            clip_high: high,
            clip_dual: dual,
            aggregate: Some(objective.aggregate),
            length_constant: constant.then_some(objective.length_constant.unwrap_or(0)),
            kl_coefficient: Some(objective.kl.coefficient),
            kl_estimator: Some(objective.kl.estimator),
            entropy_coefficient: Some(objective.entropy_coefficient),
            dynamic_sampling: learns_from_rewards.then_some(objective.dynamic_sampling),
            overlong_share: learns_from_rewards.then_some(objective.overlong.map_or(0.0, |overlong| overlong.share)),
            overlong_factor: objective.overlong.map(|overlong| overlong.factor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{method, methods};

    fn change(name: &str, json: &str) -> Result<Objective, String> {
        let overrides: Overrides = serde_json::from_str(json).map_err(|error| error.to_string())?;
        (method(name).unwrap().defaults)().with(&overrides).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_methods_own_settings_change_nothing() {
        for method in methods() {
            let objective = (method.defaults)();
            assert_eq!(objective.clone().with(&objective.settings()), Ok(objective.clone()), "{}", method.name);
            assert_eq!(objective.clone().with(&Overrides::default()), Ok(objective.clone()));
            let json = serde_json::to_string(&objective).unwrap();
            assert_eq!(serde_json::from_str::<Overrides>(&json).unwrap(), objective.settings());
        }
    }

    /// The text of the docs is the text of the recipe.
    #[test]
    fn entries_read_back_as_the_same_settings() {
        for method in methods() {
            let settings = (method.defaults)().settings();
            let lines: Vec<String> =
                settings.entries().iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let read: Overrides = serde_json::from_str(&format!("{{{}}}", lines.join(","))).unwrap();
            assert_eq!(read, settings, "{}", method.name);
        }
    }

    #[test]
    fn every_setting_reaches_the_objective() {
        let all = r#"{"advantage":"group_zscore","std_ddof":0,"std_delta":1e-4,"ratio":"sequence_geometric",
            "surrogate":"clip","clip_low":0.1,"clip_high":0.3,"clip_dual":4,
            "aggregate":"token_sum_const","length_constant":512,
            "kl_coefficient":0.05,"kl_estimator":"k2","entropy_coefficient":0.01,"dynamic_sampling":true,
            "overlong_share":0.5,"overlong_factor":2}"#;
        let expected = Objective {
            advantage: Advantage::GroupZscore { ddof: 0, delta: 1e-4 },
            ratio: Ratio::SequenceGeometric,
            surrogate: Surrogate::Clip { low: 0.1, high: 0.3, dual: Some(4.0) },
            aggregate: Aggregate::TokenSumConst,
            length_constant: Some(512),
            kl: crate::Kl { coefficient: 0.05, estimator: KlEstimator::K2 },
            entropy_coefficient: 0.01,
            dynamic_sampling: true,
            overlong: Some(Overlong { share: 0.5, factor: 2.0 }),
        };
        for name in ["reinforce", "rloo", "grpo", "dr_grpo", "dapo", "gspo"] {
            assert_eq!(change(name, all), Ok(expected.clone()), "{name}");
        }
        let off = change("dapo", r#"{"overlong_share":0,"dynamic_sampling":false,"clip_dual":0}"#).unwrap();
        assert_eq!((off.overlong, off.dynamic_sampling), (None, false));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let table = [
            ("grpo", r#"{"clip_low":-0.1}"#, "`clip_low`: expected a number in (0, 1], got -0.1"),
            ("grpo", r#"{"clip_low":1.5}"#, "`clip_low`: expected a number in (0, 1], got 1.5"),
            ("grpo", r#"{"clip_high":0}"#, "`clip_high`: expected a number > 0, got 0"),
            ("grpo", r#"{"clip_dual":0.5}"#, "`clip_dual`: expected 0 (off) or a number > 1, got 0.5"),
            ("grpo", r#"{"kl_coefficient":-1}"#, "`kl_coefficient`: expected a number ≥ 0, got -1"),
            ("sft", r#"{"entropy_coefficient":-1}"#, "`entropy_coefficient`: expected a number ≥ 0, got -1"),
            ("grpo", r#"{"std_ddof":2}"#, "`std_ddof`: expected 0 or 1, got 2"),
            ("grpo", r#"{"std_delta":-1}"#, "`std_delta`: expected a number ≥ 0, got -1"),
            ("dapo", r#"{"overlong_share":1.5}"#, "`overlong_share`: expected a number from 0 (off) to 1, got 1.5"),
            ("dapo", r#"{"overlong_factor":-1}"#, "`overlong_factor`: expected a number ≥ 0, got -1"),
            ("rloo", r#"{"clip_low":0.2}"#, "surrogate = \"clip\", got it together with surrogate = \"reinforce\""),
            ("rloo", r#"{"ratio":"token"}"#, "surrogate = \"clip\", got it together with surrogate = \"reinforce\""),
            ("dr_grpo", r#"{"std_ddof":1}"#, "got it together with advantage = \"group_mean\""),
            ("grpo", r#"{"length_constant":9}"#, "got it together with aggregate = \"seq_mean_token_mean\""),
            ("grpo", r#"{"overlong_factor":1}"#, "got it together with overlong_share = 0"),
            ("grpo", r#"{"surrogate":"nll"}"#, "(\"nll\" is the method `sft`), got \"nll\""),
            ("sft", r#"{"surrogate":"clip"}"#, "\"nll\" for the method `sft`, which has no rewards, got \"clip\""),
            ("sft", r#"{"advantage":"raw"}"#, "a method that learns from rewards, got it together with method \"sft\""),
            ("sft", r#"{"dynamic_sampling":true}"#, "a method that learns from rewards"),
            ("grpo", r#"{"clip_hihg":0.3}"#, "unknown field `clip_hihg`, expected one of"),
            ("grpo", r#"{"ratio":"sequence"}"#, "unknown variant `sequence`, expected `token` or `sequence_geometric`"),
        ];
        for (name, json, message) in table {
            let got = change(name, json).unwrap_err();
            assert!(got.contains(message), "{json} for {name}: {got}");
        }
    }

    #[test]
    fn names_are_written_as_they_are_read() {
        assert_eq!(written(AdvantageName::GroupZscore), serde_json::to_string(&AdvantageName::GroupZscore).unwrap());
        assert_eq!(written(Aggregate::SeqMeanTokenSum), serde_json::to_string(&Aggregate::SeqMeanTokenSum).unwrap());
        assert_eq!(written(KlEstimator::K3), serde_json::to_string(&KlEstimator::K3).unwrap());
    }

    #[test]
    fn the_schema_knows_every_key() {
        let schema = serde_json::to_value(schemars::schema_for!(Overrides)).unwrap();
        assert_eq!(schema["properties"].as_object().unwrap().len(), 16);
        assert_eq!(schema["additionalProperties"], false);
    }
}
