//! `[stage.interleave]`: demonstrations between the updates of an rl stage (ReLIFT, arXiv 2506.07527).

use lapidary_algo::{Objective, method};
use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::Update;
use serde_json::{Value, json};

use super::check::Checker;
use super::detectors::Needs;
use super::raw_interleave::RawInterleave;
use super::{Eval, Stage, Training};
use crate::switch::{GapRule, MachineRule, PlateauRule, ShiftRule, SwitchPolicy};

/// The optimiser state of the demonstrations; that of the rewards is 0.
const OPTIMIZER: usize = 1;
/// Added to the root of the second moment (Kingma & Ba 2015, algorithm 1).
const EPSILON: f64 = 1e-8;
/// Demonstrations that wait at most, as a multiple of what a phase takes: of an endless task hardly any is ever learned, and each
/// is part of every checkpoint.
const CAP: usize = 16;

/// Supervised updates on the questions that no answer solved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interleave {
    /// Demonstrations that a phase takes at most, and that make the buffer full: M of the paper; positive.
    pub demonstrations: usize,
    /// Demonstrations per update; positive, at most `demonstrations`.
    pub minibatch: usize,
    /// Passes over what a phase took; positive.
    pub epochs: u64,
    /// Updates of a phase; `None` has no limit but the passes.
    pub max_updates: Option<u64>,
    /// Learning rate of the updates: it stays.
    pub learning_rate: f64,
    /// Decoupled weight decay on matrices.
    pub weight_decay: f64,
    /// Decay of the first moment; in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment; in [0, 1).
    pub beta2: f64,
    /// Largest global norm of the gradient; `None` never clips.
    pub max_grad_norm: Option<f64>,
    /// Weight of the entropy bonus on the demonstrations' tokens.
    pub entropy_coefficient: f64,
    /// Longest demonstration in tokens, its end among them; at least 2. Longer ones are cut.
    pub max_demonstration_tokens: usize,
    /// The total reward of a failure: a question all of whose answers score exactly this waits for its demonstration.
    pub fail_value: f64,
    /// Total reward from which an answer is right: for the detectors.
    pub right_from: f64,
    /// Most questions that wait; `None` has no limit.
    pub cap: Option<usize>,
    /// Steps after which a question that was not asked again is forgotten; `None` never.
    pub max_age_steps: Option<u64>,
    /// When a phase begins.
    pub machine: MachineRule,
    /// Whether a full buffer is a signal beside the detectors.
    pub full_buffer: bool,
    /// The plateau detector.
    pub plateau: Option<PlateauRule>,
    /// The knowledge-gap detector.
    pub gap: Option<GapRule>,
    /// The distribution-shift detector.
    pub shift: Option<ShiftRule>,
}

impl Interleave {
    /// What a phase minimises: −log p of the demonstration's tokens, a mean over the tokens of the update, less the entropy bonus.
    pub fn objective(&self) -> Objective {
        let Some(sft) = method("sft") else { unreachable!("`sft` is in the registry") };
        Objective { entropy_coefficient: self.entropy_coefficient, ..(sft.defaults)() }
    }

    /// The optimiser step of a phase: with moments of its own.
    pub fn update(&self) -> Update {
        Update {
            learning_rate: self.learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: EPSILON,
            weight_decay: self.weight_decay,
            decay_all: false,
            max_grad_norm: self.max_grad_norm,
            optimizer: OPTIMIZER,
        }
    }

    /// Updates that a phase may do, where so many are left of the budget.
    pub(crate) fn updates_of_a_phase(&self, left: Option<u64>) -> u64 {
        self.max_updates.unwrap_or(u64::MAX).min(left.unwrap_or(u64::MAX))
    }

    /// Demonstrations that so many updates can use: no more leave the buffer.
    pub(crate) fn taken_by(&self, updates: u64) -> usize {
        (self.minibatch as u64).saturating_mul(updates).min(self.demonstrations as u64) as usize
    }

    /// Whether held-out demonstrations are read for the shift detector.
    pub(crate) fn reads_demonstrations(&self) -> bool {
        self.shift.as_ref().is_some_and(|shift| shift.max_nll_rise.is_some() || shift.max_k3.is_some())
    }

    /// What is measured at evaluations, and so needs them.
    fn needs_evaluations(&self) -> Option<&'static str> {
        let plateau = self.plateau.as_ref().is_some_and(|plateau| plateau.metric.starts_with("eval/"));
        let shift = self.shift.as_ref().is_some_and(|shift| shift.max_gap.is_some()) || self.reads_demonstrations();
        match (plateau, shift) {
            (true, _) => Some("plateau"),
            (_, true) => Some("shift"),
            _ => None,
        }
    }

    /// `[stage.interleave]` and its tables, with every key.
    pub(super) fn tables(&self) -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
        let machine = &self.machine;
        let mut entries = vec![
            ("demonstrations", json!(self.demonstrations)),
            ("minibatch", json!(self.minibatch)),
            ("epochs", json!(self.epochs)),
            ("max_updates", json!(self.max_updates.unwrap_or(0))),
            ("learning_rate", json!(self.learning_rate)),
            ("weight_decay", json!(self.weight_decay)),
            ("beta1", json!(self.beta1)),
            ("beta2", json!(self.beta2)),
            ("max_grad_norm", json!(self.max_grad_norm.unwrap_or(0.0))),
            ("entropy_coefficient", json!(self.entropy_coefficient)),
            ("max_demonstration_tokens", json!(self.max_demonstration_tokens)),
            ("fail_value", json!(self.fail_value)),
            ("right_from", json!(self.right_from)),
            ("cap", json!(self.cap.unwrap_or(0))),
            ("max_age_steps", json!(self.max_age_steps.unwrap_or(0))),
            ("policy", json!(machine.policy)),
            ("cooldown_steps", json!(machine.cooldown)),
            ("min_buffer", json!(machine.min_buffer)),
            ("budget", json!(machine.budget.unwrap_or(0))),
        ];
        if machine.policy != SwitchPolicy::Buffer {
            entries.push(("full_buffer", json!(self.full_buffer)));
        }
        let weighted = machine.policy == SwitchPolicy::Weighted;
        if weighted {
            entries.push(("threshold", json!(machine.threshold)));
        }
        let mut tables = vec![("interleave", entries)];
        tables.extend(
            self.plateau.as_ref().map(|rule| ("interleave.plateau", super::detectors::plateau(rule, weighted))),
        );
        tables.extend(self.gap.as_ref().map(|rule| ("interleave.gap", super::detectors::gap(rule, weighted))));
        tables.extend(self.shift.as_ref().map(|rule| ("interleave.shift", super::detectors::shift(rule, weighted))));
        tables
    }
}

impl Checker<'_> {
    /// The table; what it does not say it takes from the stage.
    pub(super) fn interleave(
        &self,
        raw: Option<RawInterleave>,
        training: &Training,
        max_new_tokens: usize,
    ) -> Result<Option<Interleave>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("interleave");
        let demonstrations = table.count("demonstrations", raw.demonstrations, training.prompts_per_step as u64, 1)?;
        let minibatch = table.count("minibatch", raw.minibatch, demonstrations, 1)?;
        if minibatch > demonstrations {
            let message = format!("an update of {minibatch} is never full: a phase takes {demonstrations}");
            return Err(table.wrong_value("R006", "minibatch", message, "more than `demonstrations`"));
        }
        let policy = raw.policy.unwrap_or_default();
        let cap = table.count("cap", raw.cap, demonstrations.saturating_mul(CAP as u64), 0)?;
        let max_updates = table.count("max_updates", raw.max_updates, u64::from(policy != SwitchPolicy::Buffer), 0)?;
        let machine = table.machine(&raw, policy, (demonstrations, minibatch))?;
        let needed = demonstrations.max(machine.min_buffer as u64);
        if cap > 0 && cap < needed {
            let message = format!("a buffer of {cap} never holds the {needed} demonstrations that a phase waits for");
            return Err(table.wrong_value("R006", "cap", message, "too few").hint("raise it, or 0 for no limit"));
        }
        let needs = Needs { policy, kind: &table };
        let norm = table.number("max_grad_norm", raw.max_grad_norm, 1.0, |x| x >= 0.0, "0 (never clip) or more")?;
        let decay = |beta: f64| (0.0..1.0).contains(&beta);
        let rate = |x: f64| (0.0..=10.0).contains(&x);
        let age = table.count("max_age_steps", raw.max_age_steps, 0, 0)?;
        let longest = max_new_tokens.max(2) as u64;
        let interleave = Interleave {
            demonstrations: demonstrations as usize,
            minibatch: minibatch as usize,
            epochs: table.count("epochs", raw.epochs, 1, 1)?,
            max_updates: (max_updates > 0).then_some(max_updates),
            learning_rate: table.number("learning_rate", raw.learning_rate, training.learning_rate, rate, "0 to 10")?,
            weight_decay: table.number(
                "weight_decay",
                raw.weight_decay,
                training.weight_decay,
                |x| (0.0..=1e3).contains(&x),
                "0 to 1000",
            )?,
            beta1: table.number("beta1", raw.beta1, training.beta1, decay, "at least 0 and below 1")?,
            beta2: table.number("beta2", raw.beta2, training.beta2, decay, "at least 0 and below 1")?,
            max_grad_norm: (norm > 0.0).then_some(norm),
            entropy_coefficient: table.number(
                "entropy_coefficient",
                raw.entropy_coefficient,
                1e-3,
                |x| x >= 0.0 && x.is_finite(),
                "0 or more",
            )?,
            max_demonstration_tokens: table.count(
                "max_demonstration_tokens",
                raw.max_demonstration_tokens,
                longest,
                2,
            )? as usize,
            fail_value: table.number("fail_value", raw.fail_value, 0.0, f64::is_finite, "a number")?,
            right_from: table.number("right_from", raw.right_from, 0.5, f64::is_finite, "a number")?,
            cap: (cap > 0).then_some(cap as usize),
            max_age_steps: (age > 0).then_some(age),
            machine,
            full_buffer: needs.full_buffer(raw.full_buffer)?,
            plateau: needs.plateau(raw.plateau)?,
            gap: needs.gap(raw.gap)?,
            shift: needs.shift(raw.shift)?,
        };
        table.detectors_fit(&interleave)?;
        Ok(Some(interleave))
    }

    fn machine(
        &self,
        raw: &RawInterleave,
        policy: SwitchPolicy,
        (demonstrations, minibatch): (u64, u64),
    ) -> Result<MachineRule> {
        let paper = policy == SwitchPolicy::Buffer;
        let waiting = if paper { demonstrations } else { minibatch };
        let budget = self.count("budget", raw.budget, 0, 0)?;
        if policy != SwitchPolicy::Weighted && raw.threshold.is_some() {
            return Err(self
                .wrong_value("R006", "threshold", "`threshold` has no effect here", "only with `policy = \"weighted\"`")
                .hint("remove it, or change `policy`"));
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        Ok(MachineRule {
            policy,
            threshold: self.number("threshold", raw.threshold, 1.0, positive, "above 0")?,
            cooldown: self.count("cooldown_steps", raw.cooldown_steps, if paper { 0 } else { 10 }, 0)?,
            min_buffer: self.count("min_buffer", raw.min_buffer, waiting, 1)? as usize,
            budget: (budget > 0).then_some(budget),
        })
    }

    /// Detectors where they are used, and none where they are not.
    fn detectors_fit(&self, interleave: &Interleave) -> Result<()> {
        let any = interleave.plateau.is_some() || interleave.gap.is_some() || interleave.shift.is_some();
        if any || interleave.machine.policy == SwitchPolicy::Buffer {
            return Ok(());
        }
        Err(self
            .wrong_value("R045", "policy", "no detector could ever ask for a phase", "without a detector")
            .why("`any`, `all` and `weighted` combine detectors; the buffer alone is `policy = \"buffer\"`")
            .hint("add `[stage.interleave.plateau]`, `[stage.interleave.gap]` or `[stage.interleave.shift]`"))
    }

    /// A detector that looks at evaluations needs some within the stage.
    pub(super) fn detectors_see(&self, stages: &[Stage], eval: &Eval) -> Result<()> {
        for (at, stage) in stages.iter().enumerate() {
            let Stage::Rl(rl) = stage else { continue };
            let Some(needs) = rl.interleave.as_ref().and_then(Interleave::needs_evaluations) else { continue };
            if eval.every > 0 && eval.prompts > 0 {
                continue;
            }
            let path = format!("stage.{}.interleave.{needs}", at + 1);
            return Err(Problem::new(
                Kind::Usage,
                "R046",
                format!("the {needs} detector looks at evaluations, and there are none within the stage"),
            )
            .at(self.tree.key_place(&path, "looks at held-out prompts"))
            .hint("set `every = 10` in `[eval]`, and `prompts` above 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
