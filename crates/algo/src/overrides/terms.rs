//! Terms beside the four coordinates: KL, critic, corrections, penalties for length.

use super::apply::{Checked, Unless, at_least_0, number};
use super::names::{AdvantageName, LevelName, Written};
use super::{InvalidSetting, Overrides};
use crate::correction::{Correction, CorrectionMode, Denominator, OffPolicy, Opsm, OpsmLevel, Rejection};
use crate::critic::Critic;
use crate::estimators::Advantage;
use crate::kl::{AdaptiveKl, Kl, KlPlace};
use crate::shaping::{GroupOverlong, Overlong};

/// Default of `kl_horizon` (verl and TRL).
const HORIZON: f64 = 10_000.0;
/// Defaults of a critic (TRL's PPOConfig).
const CRITIC: Critic = Critic { coefficient: 0.1, value_clip: Some(0.2), warmup_steps: 0 };

impl Overrides {
    pub(super) fn kl(&self, base: Kl, advantage: Advantage) -> Checked<Kl> {
        let coefficient = at_least_0("kl_coefficient", self.kl_coefficient.unwrap_or(base.coefficient))?;
        let place = self.kl_in.unwrap_or(base.place);
        if place == KlPlace::Reward && AdvantageName::from(advantage).credits_entropy() {
            return Err(InvalidSetting {
                key: "kl_in",
                expected: "\"loss\", as credit by entropy replaces the reward of wrong answers".into(),
                got: place.written(),
            });
        }
        if place == KlPlace::Reward {
            let unless = Unless { only_with: "kl_in = \"loss\"", got: "kl_in = \"reward\"".into() };
            unless.unused("kl_unbiased", self.kl_unbiased)?;
        }
        let target = self.kl_target.unwrap_or(base.adaptive.map_or(0.0, |adaptive| adaptive.target));
        let target = at_least_0("kl_target", target)?;
        if target == 0.0 {
            let unless = Unless { only_with: "kl_target > 0", got: "kl_target = 0".into() };
            unless.unused("kl_horizon", self.kl_horizon)?;
        } else if coefficient == 0.0 {
            let unless = Unless { only_with: "kl_coefficient > 0", got: "kl_coefficient = 0".into() };
            unless.unused("kl_target", Some(target))?;
        }
        let horizon = self.kl_horizon.unwrap_or(base.adaptive.map_or(HORIZON, |adaptive| adaptive.horizon));
        let horizon = number("kl_horizon", horizon, "a number > 0", |horizon| horizon > 0.0)?;
        Ok(Kl {
            coefficient,
            estimator: self.kl_estimator.unwrap_or(base.estimator),
            place,
            unbiased: place == KlPlace::Loss && self.kl_unbiased.unwrap_or(base.unbiased),
            adaptive: (target > 0.0).then_some(AdaptiveKl { target, horizon }),
        })
    }

    pub(super) fn critic(&self, base: Option<Critic>, advantage: Advantage) -> Checked<Option<Critic>> {
        if !advantage.needs_value() {
            return Ok(None);
        }
        let base = base.unwrap_or(CRITIC);
        let coefficient = self.value_coefficient.unwrap_or(base.coefficient);
        let clip = self.value_clip.unwrap_or(base.value_clip.unwrap_or(0.0));
        let clip = at_least_0("value_clip", clip)?;
        Ok(Some(Critic {
            coefficient: number("value_coefficient", coefficient, "a number > 0", |x| x > 0.0)?,
            value_clip: (clip > 0.0).then_some(clip),
            warmup_steps: self.critic_warmup_steps.unwrap_or(base.warmup_steps),
        }))
    }

    pub(super) fn off_policy(&self, base: OffPolicy) -> Checked<OffPolicy> {
        let correction = self.correction(base.correction)?;
        let rejection = self.rejection(base.rejection)?;
        let veto = self.rejection_veto.unwrap_or(base.veto.unwrap_or(0.0));
        let veto = number("rejection_veto", veto, "0 (off) or a number < 1", |veto| (0.0..1.0).contains(&veto))?;
        let masks = correction.is_some_and(|correction| correction.mode == CorrectionMode::Mask);
        let mut denominator = self.rejection_denominator.unwrap_or(base.denominator);
        if !masks && rejection.is_none() && veto == 0.0 {
            let only_with = "a `rejection_level`, a `rejection_veto` or correction_mode = \"mask\"";
            let unless = Unless { only_with, got: "nothing that rejects".into() };
            unless.unused("rejection_denominator", self.rejection_denominator)?;
            denominator = Denominator::Original;
        }
        let bypass = self.bypass.unwrap_or(base.bypass);
        if bypass && (correction.is_some() || rejection.is_some() || veto > 0.0) {
            return Err(InvalidSetting {
                key: "bypass",
                expected: "false, as a correction compares the sampler with the trainer's own log-probabilities".into(),
                got: "true together with a correction, rejection or veto".into(),
            });
        }
        let delta = self.opsm_delta.unwrap_or(base.opsm.map_or(0.0, |opsm| opsm.delta));
        let delta = at_least_0("opsm_delta", delta)?;
        if delta == 0.0 {
            let unless = Unless { only_with: "opsm_delta > 0", got: "opsm_delta = 0".into() };
            unless.unused("opsm_level", self.opsm_level)?;
        }
        let level = self.opsm_level.unwrap_or(base.opsm.map_or(OpsmLevel::Sequence, |opsm| opsm.level));
        let opsm = (delta > 0.0).then_some(Opsm { delta, level });
        Ok(OffPolicy { correction, rejection, veto: (veto > 0.0).then_some(veto), denominator, bypass, opsm })
    }

    fn correction(&self, base: Option<Correction>) -> Checked<Option<Correction>> {
        let level = self.correction_level.unwrap_or(LevelName::from(base.map(|base| base.level)));
        let Some(level) = level.level() else {
            let unless = Unless { only_with: "a `correction_level`", got: "correction_level = \"off\"".into() };
            unless.unused("correction_mode", self.correction_mode)?;
            unless.unused("correction_low", self.correction_low)?;
            unless.unused("correction_high", self.correction_high)?;
            unless.unused("correction_normalise", self.correction_normalise)?;
            return Ok(None);
        };
        let mode = self.correction_mode.unwrap_or(base.map_or(CorrectionMode::Truncate, |base| base.mode));
        let default = Correction::default_of(level, mode);
        let base = base.filter(|base| base.level == level && base.mode == mode).unwrap_or(default);
        let high = self.correction_high.unwrap_or(base.high);
        let high = number("correction_high", high, "a number ≥ 1", |high| high >= 1.0)?;
        let low = match (self.correction_low, mode) {
            (None, CorrectionMode::Clip) if self.correction_high.is_some() => 1.0 / high,
            (given, _) => given.unwrap_or(base.low),
        };
        let low = number("correction_low", low, "a number from 0 to 1", |low| (0.0..=1.0).contains(&low))?;
        let batch_normalise = self.correction_normalise.unwrap_or(base.batch_normalise);
        Ok(Some(Correction { level, mode, low, high, batch_normalise }))
    }

    fn rejection(&self, base: Option<Rejection>) -> Checked<Option<Rejection>> {
        let level = self.rejection_level.unwrap_or(LevelName::from(base.map(|base| base.level)));
        let Some(level) = level.level() else {
            let unless = Unless { only_with: "a `rejection_level`", got: "rejection_level = \"off\"".into() };
            unless.unused("rejection_low", self.rejection_low)?;
            unless.unused("rejection_high", self.rejection_high)?;
            return Ok(None);
        };
        let base = base.filter(|base| base.level == level).unwrap_or(Rejection::default_of(level));
        let (low, high) = (self.rejection_low.unwrap_or(base.low), self.rejection_high.unwrap_or(base.high));
        Ok(Some(Rejection {
            level,
            low: number("rejection_low", low, "a number from 0 to 1", |low| (0.0..=1.0).contains(&low))?,
            high: number("rejection_high", high, "a number ≥ 1", |high| high >= 1.0)?,
        }))
    }

    pub(super) fn overlong(&self, base: Option<Overlong>) -> Checked<Option<Overlong>> {
        let share = self.overlong_share.unwrap_or(base.map_or(0.0, |overlong| overlong.share));
        number("overlong_share", share, "a number from 0 (off) to 1", |share| (0.0..=1.0).contains(&share))?;
        if share == 0.0 {
            let unless = Unless { only_with: "overlong_share > 0", got: "overlong_share = 0".into() };
            unless.unused("overlong_factor", self.overlong_factor)?;
            return Ok(None);
        }
        let factor = self.overlong_factor.unwrap_or(base.map_or(1.0, |overlong| overlong.factor));
        Ok(Some(Overlong { share, factor: at_least_0("overlong_factor", factor)? }))
    }

    pub(super) fn group_overlong(&self, base: Option<GroupOverlong>) -> Checked<Option<GroupOverlong>> {
        let easy = self.group_overlong.unwrap_or(base.map_or(0.0, |overlong| overlong.easy));
        let fits = |easy: f64| easy == 0.0 || (easy > 0.5 && easy <= 1.0);
        number("group_overlong", easy, "0 (off) or a number in (0.5, 1]", fits)?;
        Ok((easy > 0.0).then_some(GroupOverlong { easy }))
    }
}
