//! The names that the registries know.

/// Methods of stages; `sft` among them.
pub(super) fn methods() -> Vec<&'static str> {
    lapidary_algo::methods().iter().map(|method| method.name).collect()
}

/// Tasks that are named; data sets are given by their path.
pub(super) fn tasks() -> Vec<&'static str> {
    lapidary_task::tasks().iter().map(|task| task.name).filter(|name| *name != DATA).collect()
}

/// The task that reads files.
pub(super) const DATA: &str = "data";

/// The stage (from 0) that `stage.2` means: how a recipe names one of its own stages.
pub(super) fn stage_of(name: &str) -> Option<usize> {
    name.strip_prefix("stage.")?.parse::<usize>().ok()?.checked_sub(1)
}

/// The kind of a stage that writes pairs.
pub(super) const SELF_FEEDBACK: &str = "self-feedback";

/// Kinds of stages.
pub(super) const KINDS: &[&str] = &["sft", "rl", "distill", SELF_FEEDBACK, "reward-model", "preference"];

/// Losses of stages that learn from comparisons.
pub(super) fn losses() -> Vec<&'static str> {
    lapidary_algo::preference_losses().iter().map(|loss| loss.name).collect()
}

/// Rewards.
pub(super) fn rewards() -> Vec<&'static str> {
    lapidary_reward::rewards().iter().map(|reward| reward.name).collect()
}

/// Built-in models, initialised from the seed.
pub(super) const PRESETS: &[&str] = &["tiny", "tiny-moe"];
