//! Supervised updates between those of reinforcement learning, on the questions that no answer solved (ReLIFT, arXiv 2506.07527).
//!
//! ```text
//! step of rl ─▶ questions whose answers all failed ─▶ buffer ─▶ detectors ─▶ machine ─┬▶ next step
//!                                                                                     └▶ phase: demonstrations, own AdamW ─▶ next step
//! ```
//! A phase follows the updates of its step, so the next rollouts are of the weights that it left, and their ratios begin at 1.

mod buffer;
mod demonstration;
mod detectors;
mod phase;

use std::collections::BTreeSet;
use std::sync::Arc;

use lapidary_algo::Objective;
use lapidary_core::{Item, Result};
use lapidary_task::{Split, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use buffer::{Added, Buffer, Waiting};

use crate::bench::Bench;
use crate::draw::Step;
use crate::fault;
use crate::recipe::{Interleave, Rl};
use crate::rollouts::Sampled;
use crate::state::RunState;
use crate::switch::{Decision, GapState, Machine, PlateauState, ShiftState, Transition};
use crate::watch::{Metrics, Warning};
use demonstration::Demonstration;

/// Transitions that a state keeps; a stage that switches more often has its older ones in `events.jsonl`.
pub const TRANSITIONS_KEPT: usize = 1000;

/// What is remembered between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterleaveState {
    /// The questions that wait.
    pub buffer: Buffer,
    /// Where the machine is.
    pub machine: Machine,
    /// What the plateau detector remembers.
    pub plateau: PlateauState,
    /// What the knowledge-gap detector remembers.
    pub gap: GapState,
    /// What the distribution-shift detector remembers.
    pub shift: ShiftState,
    /// Step of the newest evaluation that the detectors have seen.
    pub evaluated: Option<u64>,
    /// Names of the questions whose demonstrations were learned.
    pub used: BTreeSet<String>,
    /// Prompts asked so far.
    pub asked: u64,
    /// Moves of the machine in the whole run, at most [`TRANSITIONS_KEPT`] of the newest.
    pub transitions: Vec<Transition>,
}

impl InterleaveState {
    /// What a checkpoint holds: all of it, but for what a fault on purpose forgets.
    pub(crate) fn remembered(&self) -> Self {
        let mut all = self.clone();
        fault::omits("interleave.buffer").then(|| all.buffer = Buffer::default());
        fault::omits("interleave.machine").then(|| all.machine = Machine::default());
        fault::omits("interleave.plateau").then(|| all.plateau = PlateauState::default());
        fault::omits("interleave.gap").then(|| all.gap = GapState::default());
        fault::omits("interleave.shift").then(|| all.shift = ShiftState::default());
        all
    }

    /// Begins a stage: everything is forgotten but the moves so far, which are the run's.
    pub fn begin_stage(&mut self) {
        *self = Self { transitions: std::mem::take(&mut self.transitions), ..Self::default() };
    }
}

/// What came of a step.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) metrics: Metrics,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) warnings: Vec<Warning>,
}

/// The demonstrations of an rl stage at work.
pub(crate) struct Interleaver<'r> {
    rule: &'r Interleave,
    rl: &'r Rl,
    objective: Objective,
    task: Arc<dyn Task>,
    seed: u64,
}

impl<'r> Interleaver<'r> {
    pub(crate) fn new(rule: &'r Interleave, rl: &'r Rl, task: Arc<dyn Task>, seed: u64) -> Self {
        Self { rule, rl, objective: rule.objective(), task, seed }
    }

    /// Before a step: a shift detector that has no policy to compare with looks at the one at hand.
    pub(crate) fn before(&self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<()> {
        if self.rule.reads_demonstrations() && state.interleave.shift.nll.is_none() {
            self.read(bench, &mut state.interleave)?;
        }
        Ok(())
    }

    /// After the updates of a step: fills the buffer, looks at the detectors, and learns demonstrations where it is time.
    pub(crate) fn after(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        (step, metrics): (&Step, &Metrics),
    ) -> Result<After> {
        let now = state.step + 1;
        let mut after = After { metrics: self.collect(bench, &mut state.interleave, step, now)?, ..After::default() };
        after.warnings = self.look(bench, state, (step, metrics), now)?;
        let memory = &mut state.interleave;
        let signals = self.signals(memory, now);
        after.metrics.extend(self.seen(memory, now, &signals));
        let decision = memory.machine.decide(&self.rule.machine, now, memory.buffer.len(), &signals);
        after.metrics.push(("switch/fired".into(), f64::from(matches!(decision, Decision::Switch(_)))));
        if let Decision::Switch(reasons) = decision {
            let seen = after.metrics.iter().filter(|(name, _)| name.starts_with("switch/")).cloned().collect();
            self.phase(bench, state, (now, reasons, seen), &mut after)?;
        }
        let memory = &mut state.interleave;
        after.metrics.push(("buffer/len".into(), memory.buffer.len() as f64));
        after.metrics.push(("buffer/age_mean".into(), memory.buffer.mean_age(now)));
        after.metrics.push(("sft/count".into(), memory.machine.phases as f64));
        after.metrics.push(("sft/updates".into(), memory.machine.updates as f64));
        let items = self.task.len(Split::Train).map_or(memory.asked, |len| memory.asked.min(len as u64));
        after.metrics.push(("sft/demos_used_frac".into(), memory.used.len() as f64 / items.max(1) as f64));
        memory.transitions.extend(after.transitions.iter().cloned());
        let surplus = memory.transitions.len().saturating_sub(TRANSITIONS_KEPT);
        memory.transitions.drain(..surplus);
        Ok(after)
    }

    /// Puts what no answer of the step solved into the buffer.
    fn collect(&self, bench: &Bench<'_, '_>, state: &mut InterleaveState, step: &Step, now: u64) -> Result<Metrics> {
        let (mut failed, mut without) = (Vec::new(), 0);
        for (item, group) in step.asked() {
            state.asked += 1;
            if !self.all_failed(group) {
                continue;
            }
            match item.completion.as_deref() {
                Some(words) if self.encode(bench, item, words)?.is_some() => failed.push(Waiting {
                    id: item.id.clone(),
                    prompt: item.prompt.clone(),
                    demonstration: words.to_string(),
                    kind: self.rule.gap.as_ref().map(|gap| field(item, &gap.key)),
                    step: now,
                }),
                _ => without += 1,
            }
        }
        let added = state.buffer.add(failed, self.rule.cap);
        let expired = self.rule.max_age_steps.map_or(0, |most| state.buffer.expire(now, most));
        let counts = [
            ("added", added.new),
            ("dedup", added.again),
            ("dropped", added.dropped),
            ("expired", expired),
            ("no_demonstration", without),
        ];
        Ok(counts.map(|(name, count)| (format!("buffer/{name}"), count as f64)).to_vec())
    }

    /// Whether every answer scored exactly the value of a failure. One without a verdict did not.
    fn all_failed(&self, group: &[Sampled]) -> bool {
        let fails =
            |sampled: &Sampled| sampled.verdict.value().is_some_and(|reward| f64::from(reward) == self.rule.fail_value);
        !group.is_empty() && group.iter().all(fails)
    }

    fn encode(&self, bench: &Bench<'_, '_>, item: &Item, words: &str) -> Result<Option<Demonstration>> {
        demonstration::encode(bench.tokenizer, &item.prompt, words, self.most(bench))
    }

    /// The longest demonstration, and the context.
    fn most(&self, bench: &Bench<'_, '_>) -> (usize, usize) {
        (self.rule.max_demonstration_tokens, bench.engine.model().context)
    }
}

/// A field of an item's metadata as a word.
fn field(item: &Item, key: &str) -> String {
    match item.metadata.get(key) {
        Some(Value::String(word)) => word.clone(),
        Some(other) => other.to_string(),
        None => "(none)".to_string(),
    }
}
