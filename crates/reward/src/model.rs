//! `model`: what a trained reward model says of an answer.
//!
//! Verifiers know no tensors, so the model is opened by whoever does: the program installs an opener once, and this row of the
//! registry hands it the options.

use std::sync::OnceLock;

use lapidary_core::{Kind, Problem, Result};

use crate::Reward;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "model",
    summary: "What a trained reward model says of the prompt with the completion: a stage of kind `reward-model` makes one.",
    formula: "clip(scale(r(prompt, completion))) − missing_end·[cut off]",
    options: &[
        OptionInfo {
            name: "model",
            kind: OptionKind::Text,
            default: "",
            meaning: "the directory of a reward model, an adapter of one, or \"stage.2\": the one that the second stage of this run makes",
        },
        OptionInfo {
            name: "scale",
            kind: OptionKind::Choice(&["raw", "centred", "standardised", "probability"]),
            default: "\"raw\"",
            meaning: "`raw` is the head's number; `centred` less the mean over held-out answers (`reward_model.json`), `standardised` \
                      also divided by their spread; `probability` is σ(r), for models of judgements",
        },
        OptionInfo {
            name: "clip",
            kind: OptionKind::Number(0.0, f64::MAX),
            default: "0",
            meaning: "largest size of the scaled reward; 0 never clips",
        },
        OptionInfo {
            name: "missing_end",
            kind: OptionKind::Number(0.0, f64::MAX),
            default: "0",
            meaning: "subtracted from answers that were cut off: the model has only seen whole ones",
        },
    ],
    build: |options| match OPENER.get() {
        Some(open) => open(options),
        None => Err(Problem::new(Kind::Usage, "W040", "reward `model` needs an engine, and none is at hand")
            .hint("`lapidary train`, `eval`, `reward` and `replay` have one")),
    },
};

/// Makes the reward of checked options.
pub type Opener = fn(&Options) -> Result<Box<dyn Reward>>;

static OPENER: OnceLock<Opener> = OnceLock::new();

/// Says who opens reward models; the first one stays.
pub fn install_reward_models(open: Opener) {
    // Whoever installs another time installs the same.
    let _ = OPENER.set(open);
}
