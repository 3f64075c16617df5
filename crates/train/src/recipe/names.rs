//! The names that the registries know.

pub(super) fn methods() -> Vec<&'static str> {
    vec!["reinforce", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "sft"]
}
pub(super) fn tasks() -> Vec<&'static str> {
    vec!["chain-sum", "countdown", "number-sorting", "spell-backward"]
}
pub(super) fn rewards() -> Vec<&'static str> {
    vec!["answer", "format", "length", "command"]
}
/// Built-in models, initialised from the seed.
pub(super) const PRESETS: &[&str] = &["tiny"];
