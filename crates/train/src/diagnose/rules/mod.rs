//! The rules: one table, each row with its thresholds, where they come from, and what to do.
//!
//! A rule looks at the whole history; the health rules of a running stage ([`crate::health`]) look at the last steps and take
//! their limits, causes and advice from here.

mod policy;
mod signal;

use serde::Serialize;

use super::history::{History, Writer};
use super::knobs::Turn;
use super::sign::Sign;

/// KL to the reference (nats per token) above which the policy has left what the reference knows.
pub(crate) const KL_LIMIT: f64 = 1.0;
/// Largest importance ratio that a healthy step shows; beyond it the samples are of another policy.
pub(crate) const RATIO_LIMIT: f64 = 20.0;
/// Share of completions cut at `max_new_tokens` above which most rewards judge half sentences.
pub(crate) const TRUNCATED_LIMIT: f64 = 0.5;
/// Difference of the sampler's and the trainer's log-probabilities (nats) above which they are two models, on an engine that
/// promises 0.
pub(crate) const SAMPLER_LIMIT: f64 = 1e-3;
/// Mean reward above which equal rewards in a group are taken for a solved task, not a hopeless one.
pub(crate) const EASY_REWARD: f64 = 0.5;
/// Entropy (nats per token) below which a policy is all but deterministic: default of `min_entropy`.
pub(crate) const ENTROPY_LIMIT: f64 = 0.01;
/// Share of groups without contrast: default of `max_zero_std`.
pub(crate) const ZERO_STD_LIMIT: f64 = 0.9;
/// Factor of the mean length: default of `max_length_drift`.
pub(crate) const LENGTH_LIMIT: f64 = 3.0;
/// Share of completions without a verdict: default of `max_no_verdict`.
pub(crate) const NO_VERDICT_LIMIT: f64 = 0.2;
/// Share of the completions that one reward fails to judge at which a run stops: default of `stop_no_verdict`. What is learned
/// from the other half is learned from a biased sample.
pub(crate) const STOP_NO_VERDICT: f64 = 0.5;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the run may be fine.
    Note,
    /// Learning is slowed down or bent.
    Problem,
    /// What was learned is being lost.
    Collapse,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sureness {
    /// One sign of several that would be needed.
    Possible,
    /// The usual explanation of what is seen.
    Likely,
    /// It is what is seen.
    Sure,
}

/// Which runs a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// All.
    Always,
    /// Those whose ratio is of tokens (also where the method is not known).
    TokenRatio,
    /// Those whose ratio is of whole answers.
    SequenceRatio,
    /// Those whose baseline is the group (also where the method is not known).
    Groups,
    /// Those of Lapidary.
    Ours,
    /// Those of other trainers.
    Others,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable name.
    pub name: &'static str,
    /// Its name among people.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Which runs it is for.
    pub applies: Applies,
    /// What must hold.
    pub signs: Sign,
    /// How sure it is when that holds …
    pub sureness: Sureness,
    /// … and what makes it sure.
    pub sure: Option<Sign>,
    /// Rules whose findings, where they began no later, are its cause.
    pub follows: &'static [&'static str],
    /// The rule in words, thresholds included.
    pub words: &'static str,
    /// Where the thresholds come from.
    pub source: &'static str,
    /// What it usually comes from.
    pub cause: &'static str,
    /// Which knob or method addresses it, and how.
    pub advice: &'static str,
    /// The same as changes of a recipe.
    pub turns: &'static [Turn],
}

impl Rule {
    /// Whether it is for such a run.
    pub(super) fn is_for(&self, history: &History) -> bool {
        let ours = history.writer == Writer::Lapidary;
        match self.applies {
            Applies::Always => true,
            Applies::Ours => ours,
            Applies::Others => !ours,
            Applies::Groups => history.rl().is_none_or(|rl| rl.objective.advantage.needs_group()),
            Applies::TokenRatio => !by_sequence(history),
            Applies::SequenceRatio => by_sequence(history),
        }
    }
}

/// Whether the stage's ratio is of whole answers.
fn by_sequence(history: &History) -> bool {
    history.rl().is_some_and(|rl| rl.objective.ratio != lapidary_algo::Ratio::Token)
}

/// Every rule, in the order in which they are tried.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    policy::RULES.iter().chain(signal::RULES)
}

/// The rule of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.name == name)
}
