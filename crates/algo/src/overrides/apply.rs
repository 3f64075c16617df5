//! Settings put over an objective, each checked.

use super::names::{AdvantageName, SurrogateName, Written};
use super::{DELTA, InvalidSetting, Overrides};
use crate::aggregate::Aggregate;
use crate::estimators::{Advantage, EntropyCredit};
use crate::objective::Objective;
use crate::surrogate::Surrogate;

/// Default of `std_ddof`: the unbiased standard deviation (verl and slime: torch.std).
const DDOF: u8 = 1;
/// Default of both bounds where a recipe turns clipping on (PPO, arXiv 1707.06347, §6.1).
const CLIP: f64 = 0.2;

pub(super) type Checked<T> = Result<T, InvalidSetting>;

pub(super) fn number(key: &'static str, value: f64, expected: &str, fits: impl Fn(f64) -> bool) -> Checked<f64> {
    if value.is_finite() && fits(value) {
        return Ok(value);
    }
    Err(InvalidSetting { key, expected: expected.to_string(), got: value.to_string() })
}

pub(super) fn at_least_0(key: &'static str, value: f64) -> Checked<f64> {
    number(key, value, "a number ≥ 0", |value| value >= 0.0)
}

/// Where keys have no meaning: refused, which is better than silently ignored.
pub(super) struct Unless<'a> {
    pub only_with: &'a str,
    pub got: String,
}

impl Unless<'_> {
    pub(super) fn unused<T>(&self, key: &'static str, given: Option<T>) -> Checked<()> {
        match given {
            None => Ok(()),
            Some(_) => Err(InvalidSetting {
                key,
                expected: format!("no such key, as it only has a meaning with {}", self.only_with),
                got: format!("it together with {}", self.got),
            }),
        }
    }
}

impl Overrides {
    pub(crate) fn apply(&self, base: Objective) -> Checked<Objective> {
        let surrogate = self.surrogate(base.surrogate)?;
        if surrogate == Surrogate::Nll {
            self.refuse_rewards()?;
        }
        if !surrogate.uses_ratio() {
            let got = format!("surrogate = {}", SurrogateName::from(surrogate).written());
            Unless { only_with: "surrogate = \"clip\" or \"cispo\"", got }.unused("ratio", self.ratio)?;
        }
        let aggregate = self.aggregate.unwrap_or(base.aggregate);
        let advantage = self.advantage(base.advantage)?;
        Ok(Objective {
            advantage,
            ratio: self.ratio.unwrap_or(base.ratio),
            surrogate,
            aggregate,
            length_constant: self.length_constant(aggregate, base.length_constant)?,
            kl: self.kl(base.kl, advantage)?,
            policy_coefficient: at_least_0(
                "policy_coefficient",
                self.policy_coefficient.unwrap_or(base.policy_coefficient),
            )?,
            entropy_coefficient: at_least_0(
                "entropy_coefficient",
                self.entropy_coefficient.unwrap_or(base.entropy_coefficient),
            )?,
            entropy_aggregate: self.entropy_aggregate.or(base.entropy_aggregate),
            off_policy: self.off_policy(base.off_policy)?,
            critic: self.critic(base.critic, advantage)?,
            critic_only: base.critic_only,
            dynamic_sampling: self.dynamic_sampling.unwrap_or(base.dynamic_sampling),
            overlong: self.overlong(base.overlong)?,
            group_overlong: self.group_overlong(base.group_overlong)?,
        })
    }

    /// Keys that a method without rewards has no use for.
    fn refuse_rewards(&self) -> Checked<()> {
        let unless = Unless { only_with: "a method that learns from rewards", got: "method \"sft\"".into() };
        unless.unused("advantage", self.advantage)?;
        unless.unused("std_ddof", self.std_ddof)?;
        unless.unused("std_delta", self.std_delta)?;
        unless.unused("policy_coefficient", self.policy_coefficient)?;
        unless.unused("kl_in", self.kl_in)?;
        unless.unused("kl_unbiased", self.kl_unbiased)?;
        unless.unused("kl_target", self.kl_target)?;
        unless.unused("correction_level", self.correction_level)?;
        unless.unused("rejection_level", self.rejection_level)?;
        unless.unused("rejection_veto", self.rejection_veto)?;
        unless.unused("bypass", self.bypass)?;
        unless.unused("opsm_delta", self.opsm_delta)?;
        unless.unused("dynamic_sampling", self.dynamic_sampling)?;
        unless.unused("overlong_share", self.overlong_share)?;
        unless.unused("group_overlong", self.group_overlong)
    }

    fn advantage(&self, base: Advantage) -> Checked<Advantage> {
        let name = self.advantage.unwrap_or(AdvantageName::from(base));
        self.refuse_of_other_advantages(name)?;
        let deviation = |base_ddof: u8, base_delta: f64| -> Checked<(u8, f64)> {
            let ddof = self.std_ddof.unwrap_or(base_ddof);
            number("std_ddof", f64::from(ddof), "0 or 1", |value| value <= 1.0)?;
            Ok((ddof, at_least_0("std_delta", self.std_delta.unwrap_or(base_delta))?))
        };
        let of_zscore = || match base {
            Advantage::GroupZscore { ddof, delta } | Advantage::BatchZscore { ddof, delta } => deviation(ddof, delta),
            _ => deviation(DDOF, DELTA),
        };
        let gamma = || {
            let base = match base {
                Advantage::WhitenedReturn { gamma } | Advantage::Gae { gamma, .. } => gamma,
                _ => 1.0,
            };
            number("gamma", self.gamma.unwrap_or(base), "a number in (0, 1]", |x| x > 0.0 && x <= 1.0)
        };
        Ok(match name {
            AdvantageName::Raw => Advantage::Raw,
            AdvantageName::BatchMean => Advantage::BatchMean,
            AdvantageName::GroupMean => Advantage::GroupMean,
            AdvantageName::LeaveOneOut => Advantage::LeaveOneOut,
            AdvantageName::WhitenedGroupMean => Advantage::WhitenedGroupMean,
            AdvantageName::EntropyShare => Advantage::EntropyShare,
            AdvantageName::GroupZscore => of_zscore().map(|(ddof, delta)| Advantage::GroupZscore { ddof, delta })?,
            AdvantageName::BatchZscore => of_zscore().map(|(ddof, delta)| Advantage::BatchZscore { ddof, delta })?,
            AdvantageName::WhitenedReturn => Advantage::WhitenedReturn { gamma: gamma()? },
            AdvantageName::Gae => {
                let (lambda, whiten, whiten_rewards) = match base {
                    Advantage::Gae { lambda, whiten, whiten_rewards, .. } => (lambda, whiten, whiten_rewards),
                    _ => (1.0, true, false),
                };
                let lambda = self.gae_lambda.unwrap_or(lambda);
                Advantage::Gae {
                    gamma: gamma()?,
                    lambda: number("gae_lambda", lambda, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?,
                    whiten: self.whiten_advantages.unwrap_or(whiten),
                    whiten_rewards: self.whiten_rewards.unwrap_or(whiten_rewards),
                }
            }
            AdvantageName::EntropyToken => Advantage::EntropyTokens(self.entropy_credit(base)?),
            AdvantageName::EntropySequence => Advantage::EntropySequences(self.entropy_credit(base)?),
        })
    }

    fn refuse_of_other_advantages(&self, name: AdvantageName) -> Checked<()> {
        let got = || format!("advantage = {}", name.written());
        if !name.has_deviation() {
            let unless = Unless { only_with: "an `advantage` that divides by a standard deviation", got: got() };
            unless.unused("std_ddof", self.std_ddof)?;
            unless.unused("std_delta", self.std_delta)?;
        }
        if !matches!(name, AdvantageName::WhitenedReturn | AdvantageName::Gae) {
            let unless = Unless { only_with: "advantage = \"whitened_return\" or \"gae\"", got: got() };
            unless.unused("gamma", self.gamma)?;
        }
        if name != AdvantageName::Gae {
            let unless = Unless { only_with: "advantage = \"gae\"", got: got() };
            unless.unused("gae_lambda", self.gae_lambda)?;
            unless.unused("whiten_advantages", self.whiten_advantages)?;
            unless.unused("whiten_rewards", self.whiten_rewards)?;
            unless.unused("value_coefficient", self.value_coefficient)?;
            unless.unused("value_clip", self.value_clip)?;
            unless.unused("critic_warmup_steps", self.critic_warmup_steps)?;
        }
        if !name.credits_entropy() {
            let only_with = "advantage = \"entropy_token\" or \"entropy_sequence\"";
            let unless = Unless { only_with, got: got() };
            unless.unused("outcome_weight", self.outcome_weight)?;
            unless.unused("entropy_weight", self.entropy_weight)?;
            unless.unused("entropy_normalise", self.entropy_normalise)?;
            unless.unused("entropy_scope", self.entropy_scope)?;
            unless.unused("entropy_mean", self.entropy_mean)?;
            unless.unused("entropy_floor", self.entropy_floor)?;
            unless.unused("entropy_clamp_low", self.entropy_clamp_low)?;
            unless.unused("entropy_clamp_high", self.entropy_clamp_high)?;
            unless.unused("success_above", self.success_above)?;
            unless.unused("skip_one_sided", self.skip_one_sided)?;
        }
        if name != AdvantageName::EntropyToken {
            let unless = Unless { only_with: "advantage = \"entropy_token\"", got: got() };
            unless.unused("entropy_position", self.entropy_position)?;
        }
        Ok(())
    }

    fn entropy_credit(&self, base: Advantage) -> Checked<EntropyCredit> {
        let base = match base {
            Advantage::EntropyTokens(credit) | Advantage::EntropySequences(credit) => credit,
            _ => EntropyCredit::PAPER,
        };
        let (low, high) = base.clamp.unwrap_or((0.0, 0.0));
        let low = at_least_0("entropy_clamp_low", self.entropy_clamp_low.unwrap_or(low))?;
        let high = self.entropy_clamp_high.unwrap_or(high);
        let expected = format!("0 (off) or a number > entropy_clamp_low = {low}");
        let high = number("entropy_clamp_high", high, &expected, |high| high > low || (high == 0.0 && low == 0.0))?;
        let ddof = self.std_ddof.unwrap_or(base.ddof);
        number("std_ddof", f64::from(ddof), "0 or 1", |value| value <= 1.0)?;
        let outcome = self.outcome_weight.unwrap_or(base.outcome_weight);
        let threshold = self.success_above.unwrap_or(base.success_above);
        Ok(EntropyCredit {
            outcome_weight: number("outcome_weight", outcome, "a number > 0", |x| x > 0.0)?,
            entropy_weight: at_least_0("entropy_weight", self.entropy_weight.unwrap_or(base.entropy_weight))?,
            normalise: self.entropy_normalise.unwrap_or(base.normalise),
            scope: self.entropy_scope.unwrap_or(base.scope),
            mean: self.entropy_mean.unwrap_or(base.mean),
            floor: number("entropy_floor", self.entropy_floor.unwrap_or(base.floor), "a number > 0", |x| x > 0.0)?,
            clamp: (high > 0.0).then_some((low, high)),
            position: self.entropy_position.unwrap_or(base.position),
            success_above: number("success_above", threshold, "a number", |_| true)?,
            skip_one_sided: self.skip_one_sided.unwrap_or(base.skip_one_sided),
            ddof,
            delta: at_least_0("std_delta", self.std_delta.unwrap_or(base.delta))?,
        })
    }

    fn surrogate(&self, base: Surrogate) -> Checked<Surrogate> {
        let base_name = SurrogateName::from(base);
        let name = self.surrogate.unwrap_or(base_name);
        if (name == SurrogateName::Nll) != (base_name == SurrogateName::Nll) {
            let expected = match base_name {
                SurrogateName::Nll => "\"nll\" for the method `sft`, which has no rewards",
                _ => "\"clip\", \"cispo\" or \"reinforce\" (\"nll\" is the method `sft`)",
            };
            return Err(InvalidSetting { key: "surrogate", expected: expected.into(), got: name.written() });
        }
        let got = || format!("surrogate = {}", name.written());
        if !matches!(name, SurrogateName::Clip | SurrogateName::Cispo) {
            let unless = Unless { only_with: "surrogate = \"clip\" or \"cispo\"", got: got() };
            unless.unused("clip_low", self.clip_low)?;
            unless.unused("clip_high", self.clip_high)?;
        }
        if name != SurrogateName::Clip {
            Unless { only_with: "surrogate = \"clip\"", got: got() }.unused("clip_dual", self.clip_dual)?;
        }
        if name != SurrogateName::Cispo {
            Unless { only_with: "surrogate = \"cispo\"", got: got() }.unused("clip_absolute", self.clip_absolute)?;
        }
        let low = |base: f64| {
            number("clip_low", self.clip_low.unwrap_or(base), "a number in (0, 1]", |x| x > 0.0 && x <= 1.0)
        };
        let high = |base: f64| number("clip_high", self.clip_high.unwrap_or(base), "a number > 0", |x| x > 0.0);
        Ok(match (name, base) {
            (SurrogateName::Nll, _) => Surrogate::Nll,
            (SurrogateName::Reinforce, _) => Surrogate::Reinforce,
            (SurrogateName::Cispo, base) => {
                let (base_low, base_high, absolute) = match base {
                    Surrogate::Cispo { low, high, absolute } => (low, high, absolute),
                    _ => (1.0, 0.28, false),
                };
                let absolute = self.clip_absolute.unwrap_or(absolute);
                let high = high(base_high)?;
                let expected = "a number ≥ 1 where clip_absolute = true makes it the cap itself";
                number("clip_high", high, expected, |high| !absolute || high >= 1.0)?;
                Surrogate::Cispo { low: low(base_low)?, high, absolute }
            }
            (SurrogateName::Clip, base) => {
                let (base_low, base_high, base_dual) = match base {
                    Surrogate::Clip { low, high, dual } => (low, high, dual),
                    _ => (CLIP, CLIP, None),
                };
                let dual = self.clip_dual.or(base_dual).filter(|&dual| dual != 0.0);
                Surrogate::Clip {
                    low: low(base_low)?,
                    high: high(base_high)?,
                    dual: dual
                        .map(|dual| number("clip_dual", dual, "0 (off) or a number > 1", |x| x > 1.0))
                        .transpose()?,
                }
            }
        })
    }

    fn length_constant(&self, aggregate: Aggregate, base: Option<usize>) -> Checked<Option<usize>> {
        if aggregate != Aggregate::TokenSumConst {
            let got = format!("aggregate = {}", aggregate.written());
            let unless = Unless { only_with: "aggregate = \"token_sum_const\"", got };
            unless.unused("length_constant", self.length_constant)?;
            return Ok(None);
        }
        Ok(self.length_constant.or(base).filter(|&length| length != 0))
    }
}
