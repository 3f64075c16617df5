//! What can be turned: keys of a recipe's stage, with the names that TRL and verl have for the same thing.

use serde::Serialize;

/// A key of an rl stage or of its `[stage.<method>]` table.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// The key in a recipe.
    pub key: &'static str,
    /// Whether it belongs to `[stage.<method>]`.
    pub of_method: bool,
    /// TRL's `GRPOConfig` field, or empty.
    pub trl: &'static str,
    /// verl's Hydra path, or empty.
    pub verl: &'static str,
}

const fn knob(key: &'static str, of_method: bool, trl: &'static str, verl: &'static str) -> Knob {
    Knob { key, of_method, trl, verl }
}

/// TRL's names are fields of `GRPOConfig` 1.16; verl's are paths of its Hydra configuration.
const KNOBS: &[Knob] = &[
    knob("method", false, "loss_type, importance_sampling_level", "actor_rollout_ref.actor.policy_loss.loss_mode"),
    knob("learning_rate", false, "learning_rate", "actor_rollout_ref.actor.optim.lr"),
    knob("warmup_steps", false, "warmup_steps", "actor_rollout_ref.actor.optim.lr_warmup_steps"),
    knob("max_grad_norm", false, "max_grad_norm", "actor_rollout_ref.actor.grad_clip"),
    knob("samples_per_prompt", false, "num_generations", "actor_rollout_ref.rollout.n"),
    knob("max_new_tokens", false, "max_completion_length", "data.max_response_length"),
    knob("temperature", false, "temperature", "actor_rollout_ref.rollout.temperature"),
    knob(
        "updates_per_rollout",
        false,
        "num_iterations, steps_per_generation",
        "data.train_batch_size / ppo_mini_batch_size",
    ),
    knob("routing_replay", false, "", "actor_rollout_ref.actor.router_replay.mode"),
    knob("truncated", false, "mask_truncated_completions", ""),
    knob("clip_high", true, "epsilon_high", "actor_rollout_ref.actor.clip_ratio_high"),
    knob("clip_low", true, "epsilon", "actor_rollout_ref.actor.clip_ratio_low"),
    knob("clip_dual", true, "delta", "actor_rollout_ref.actor.clip_ratio_c"),
    knob("kl_coefficient", true, "beta", "actor_rollout_ref.actor.kl_loss_coef"),
    knob("entropy_coefficient", true, "entropy_coef", "actor_rollout_ref.actor.entropy_coeff"),
    knob("dynamic_sampling", true, "", "algorithm.filter_groups.enable"),
    knob("overlong_share", true, "", "reward_model.overlong_buffer.enable"),
];

/// The knob of that key.
pub(super) fn find(key: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.key == key)
}

/// Where to turn a knob to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// So many times what it is.
    Times(f64),
    /// This, unless it is more.
    AtLeast(f64),
    /// This, unless it is less.
    AtMost(f64),
    /// This, as TOML.
    Is(&'static str),
}

/// A change that addresses a finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// The key.
    pub key: &'static str,
    /// Where to.
    pub to: To,
    /// At once, because every step at the old value does harm; otherwise half of the way first.
    pub at_once: bool,
}

/// A turn whose old and new value are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The key of the stage, with `METHOD.` before it where it belongs to `[stage.METHOD]`.
    pub key: String,
    /// What it was, as TOML; `None` where the log does not say.
    pub from: Option<String>,
    /// Half of the way, as TOML, where it is gone gradually.
    pub halfway: Option<String>,
    /// What it becomes, as TOML, or `× 0.1`, `≥ 1`, `≤ 1` where the old value is not known.
    pub to: String,
    /// TRL's name of the key, or empty.
    pub trl: &'static str,
    /// verl's name of the key, or empty.
    pub verl: &'static str,
}

impl Turn {
    /// The change from `from` (as TOML; `None` where it is unknown); `None` where nothing is to be changed.
    pub(super) fn from(&self, from: Option<&str>, method: Option<&str>) -> Option<Change> {
        let knob = find(self.key)?;
        let old = from.and_then(|text| text.parse::<f64>().ok());
        let target = match (self.to, old) {
            (To::Is(text), _) if from == Some(text) => return None,
            (To::Is(text), _) => text.to_string(),
            (To::Times(factor), Some(old)) if old != 0.0 => toml(old * factor, whole(from)),
            (To::Times(factor), None) => format!("× {factor}"),
            (To::AtLeast(least), Some(old)) if old >= least => return None,
            (To::AtMost(most), Some(old)) if old <= most => return None,
            (To::AtLeast(least), None) if from.is_none() => format!("≥ {}", toml(least, false)),
            (To::AtMost(most), None) if from.is_none() => format!("≤ {}", toml(most, false)),
            (To::AtLeast(value) | To::AtMost(value), _) => toml(value, whole(from)),
            (To::Times(_), Some(_)) => return None,
        };
        let halfway = match (old, target.parse::<f64>()) {
            (Some(old), Ok(new)) if !self.at_once => Some(toml(middle(old, new), whole(from))),
            _ => None,
        };
        let key = match (knob.of_method, method) {
            (true, Some(method)) => format!("{method}.{}", self.key),
            _ => self.key.to_string(),
        };
        let halfway = halfway.filter(|halfway| Some(halfway.as_str()) != from && *halfway != target);
        Some(Change { key, from: from.map(str::to_string), halfway, to: target, trl: knob.trl, verl: knob.verl })
    }
}

/// Geometric between numbers above 0, which are of one kind; arithmetic from 0.
fn middle(old: f64, new: f64) -> f64 {
    if old > 0.0 && new > 0.0 { (old * new).sqrt() } else { 0.5 * (old + new) }
}

fn whole(from: Option<&str>) -> bool {
    from.is_some_and(|text| text.parse::<i64>().is_ok())
}

/// Two digits are enough for a knob.
fn toml(value: f64, whole: bool) -> String {
    if whole {
        return format!("{}", value.round().max(1.0) as i64);
    }
    let size = value.abs();
    match size {
        0.0 => "0.0".into(),
        _ if size < 1e-2 => {
            let text = format!("{value:.1e}");
            text.replace(".0e", "e")
        }
        _ => {
            let digits = 10f64.powi(1 - size.log10().floor() as i32);
            format!("{:?}", (value * digits).round() / digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(key: &'static str, to: To, at_once: bool, from: Option<&str>) -> Option<(Option<String>, String)> {
        Turn { key, to, at_once }.from(from, Some("grpo")).map(|change| (change.halfway, change.to))
    }

    #[test]
    fn a_turn_knows_what_it_comes_from() {
        let some = |halfway: Option<&str>, to: &str| Some((halfway.map(str::to_string), to.to_string()));
        assert_eq!(turned("learning_rate", To::Times(0.1), true, Some("1e-2")), some(None, "1e-3"));
        assert_eq!(turned("clip_high", To::Times(1.4), false, Some("0.2")), some(Some("0.24"), "0.28"));
        assert_eq!(turned("clip_high", To::Times(1.4), false, Some("4e-4")), some(Some("4.7e-4"), "5.6e-4"));
        assert_eq!(turned("clip_high", To::Times(1.4), false, None), some(None, "× 1.4"));
        assert_eq!(turned("kl_coefficient", To::AtLeast(0.01), false, Some("0.0")), some(Some("5e-3"), "0.01"));
        assert_eq!(turned("kl_coefficient", To::AtLeast(0.01), false, Some("0.04")), None);
        assert_eq!(turned("updates_per_rollout", To::AtMost(1.0), false, Some("4")), some(Some("2"), "1"));
        assert_eq!(turned("samples_per_prompt", To::Times(2.0), false, Some("8")), some(Some("11"), "16"));
        assert_eq!(turned("truncated", To::Is("\"mask\""), true, Some("\"mask\"")), None);
        let change = Turn { key: "clip_high", to: To::Times(1.4), at_once: false }.from(None, Some("dapo"));
        assert_eq!(change.map(|change| (change.key, change.trl)), Some(("dapo.clip_high".into(), "epsilon_high")));
    }
}
