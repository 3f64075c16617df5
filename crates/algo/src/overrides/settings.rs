//! The settings that an objective stands for.

use super::Overrides;
use super::names::LevelName;
use crate::aggregate::Aggregate;
use crate::correction::{CorrectionMode, OffPolicy};
use crate::estimators::Advantage;
use crate::kl::KlPlace;
use crate::objective::Objective;
use crate::surrogate::Surrogate;

/// Every setting that has a meaning for the objective, and no other.
impl From<Objective> for Overrides {
    fn from(objective: Objective) -> Self {
        let rewards = objective.surrogate.uses_advantage();
        let constant = objective.aggregate == Aggregate::TokenSumConst;
        let kl = objective.kl;
        let mut out = Overrides {
            ratio: objective.surrogate.uses_ratio().then_some(objective.ratio),
            surrogate: Some(objective.surrogate.into()),
            aggregate: Some(objective.aggregate),
            length_constant: constant.then_some(objective.length_constant.unwrap_or(0)),
            kl_coefficient: Some(kl.coefficient),
            kl_estimator: Some(kl.estimator),
            entropy_coefficient: Some(objective.entropy_coefficient),
            entropy_aggregate: objective.entropy_aggregate,
            ..Overrides::default()
        };
        out.clipping(objective.surrogate);
        if !rewards {
            return out;
        }
        // 1 is what every paper has, and not worth a line of every recipe.
        out.policy_coefficient = (objective.policy_coefficient != 1.0).then_some(objective.policy_coefficient);
        out.kl_in = Some(kl.place);
        out.kl_unbiased = (kl.place == KlPlace::Loss).then_some(kl.unbiased);
        out.kl_target = Some(kl.adaptive.map_or(0.0, |adaptive| adaptive.target));
        out.kl_horizon = kl.adaptive.map(|adaptive| adaptive.horizon);
        out.estimator(objective.advantage);
        out.corrections(&objective.off_policy);
        out.value_coefficient = objective.critic.map(|critic| critic.coefficient);
        out.value_clip = objective.critic.map(|critic| critic.value_clip.unwrap_or(0.0));
        out.critic_warmup_steps = objective.critic.map(|critic| critic.warmup_steps);
        out.dynamic_sampling = Some(objective.dynamic_sampling);
        out.overlong_share = Some(objective.overlong.map_or(0.0, |overlong| overlong.share));
        out.overlong_factor = objective.overlong.map(|overlong| overlong.factor);
        out.group_overlong = Some(objective.group_overlong.map_or(0.0, |overlong| overlong.easy));
        out
    }
}

impl Overrides {
    fn clipping(&mut self, surrogate: Surrogate) {
        match surrogate {
            Surrogate::Clip { low, high, dual } => {
                (self.clip_low, self.clip_high) = (Some(low), Some(high));
                self.clip_dual = Some(dual.unwrap_or(0.0));
            }
            Surrogate::Cispo { low, high, absolute } => {
                (self.clip_low, self.clip_high) = (Some(low), Some(high));
                self.clip_absolute = Some(absolute);
            }
            Surrogate::Reinforce | Surrogate::Nll => {}
        }
    }

    fn estimator(&mut self, advantage: Advantage) {
        self.advantage = Some(advantage.into());
        match advantage {
            Advantage::GroupZscore { ddof, delta } | Advantage::BatchZscore { ddof, delta } => {
                (self.std_ddof, self.std_delta) = (Some(ddof), Some(delta));
            }
            Advantage::WhitenedReturn { gamma } => self.gamma = Some(gamma),
            Advantage::Gae { gamma, lambda, whiten, whiten_rewards } => {
                (self.gamma, self.gae_lambda) = (Some(gamma), Some(lambda));
                (self.whiten_advantages, self.whiten_rewards) = (Some(whiten), Some(whiten_rewards));
            }
            Advantage::EntropyTokens(credit) | Advantage::EntropySequences(credit) => {
                (self.std_ddof, self.std_delta) = (Some(credit.ddof), Some(credit.delta));
                self.outcome_weight = Some(credit.outcome_weight);
                self.entropy_weight = Some(credit.entropy_weight);
                self.entropy_normalise = Some(credit.normalise);
                self.entropy_scope = Some(credit.scope);
                self.entropy_mean = Some(credit.mean);
                self.entropy_floor = Some(credit.floor);
                let (low, high) = credit.clamp.unwrap_or((0.0, 0.0));
                (self.entropy_clamp_low, self.entropy_clamp_high) = (Some(low), Some(high));
                let per_token = matches!(advantage, Advantage::EntropyTokens(_));
                self.entropy_position = per_token.then_some(credit.position);
                self.success_above = Some(credit.success_above);
                self.skip_one_sided = Some(credit.skip_one_sided);
            }
            _ => {}
        }
    }

    fn corrections(&mut self, off_policy: &OffPolicy) {
        let (correction, rejection) = (off_policy.correction, off_policy.rejection);
        self.correction_level = Some(LevelName::from(correction.map(|correction| correction.level)));
        self.correction_mode = correction.map(|correction| correction.mode);
        self.correction_low = correction.map(|correction| correction.low);
        self.correction_high = correction.map(|correction| correction.high);
        self.correction_normalise = correction.map(|correction| correction.batch_normalise);
        self.rejection_level = Some(LevelName::from(rejection.map(|rejection| rejection.level)));
        self.rejection_low = rejection.map(|rejection| rejection.low);
        self.rejection_high = rejection.map(|rejection| rejection.high);
        self.rejection_veto = Some(off_policy.veto.unwrap_or(0.0));
        let masks = correction.is_some_and(|correction| correction.mode == CorrectionMode::Mask);
        let rejects = masks || rejection.is_some() || off_policy.veto.is_some();
        self.rejection_denominator = rejects.then_some(off_policy.denominator);
        self.bypass = Some(off_policy.bypass);
        self.opsm_delta = Some(off_policy.opsm.map_or(0.0, |opsm| opsm.delta));
        self.opsm_level = off_policy.opsm.map(|opsm| opsm.level);
    }
}
