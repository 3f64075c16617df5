//! What the detectors see of a run.

use lapidary_core::Result;
use lapidary_task::Split;

use super::{InterleaveState, Interleaver, demonstration, field};
use crate::bench::Bench;
use crate::draw::{Step, right_of};
use crate::look::in_microbatches;
use crate::rows::Rows;
use crate::state::{EvaluationRecord, RunState};
use crate::switch::{Input, Mark, Reason, Signal, SwitchPolicy, js, kl, mask, psi};
use crate::watch::{Metrics, Phase, Warning};

impl Interleaver<'_> {
    /// Shows the detectors the evaluations since the last step, and the step.
    pub(super) fn look(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut RunState,
        (step, metrics): (&Step, &Metrics),
        now: u64,
    ) -> Result<Vec<Warning>> {
        let RunState { interleave: memory, evaluations, .. } = state;
        let mut strange = false;
        for evaluation in unseen(memory.evaluated, evaluations) {
            memory.evaluated = Some(evaluation.step);
            if let Some(shift) = &self.rule.shift {
                memory.shift.evaluated(shift, evaluation.accuracy);
                if self.rule.reads_demonstrations() {
                    self.read(bench, memory)?;
                }
            }
            if let Some(plateau) = &self.rule.plateau
                && let Some(value) = of_evaluation(evaluation, &plateau.metric)
            {
                strange |= !value.is_finite();
                memory.plateau.observe(plateau, value, evaluation.prompts);
            }
        }
        if let Some(plateau) = self.rule.plateau.as_ref().filter(|plateau| !plateau.metric.starts_with("eval/")) {
            let found = metrics.iter().find(|(name, _)| *name == plateau.metric);
            let value = found.map_or(f64::NAN, |(_, value)| *value);
            strange |= !value.is_finite();
            memory.plateau.observe(plateau, value, step.fresh().count());
        }
        for (item, group) in step.asked() {
            let counted = right_of(group, self.rule.right_from);
            if let Some(gap) = &self.rule.gap {
                memory.gap.observe(gap, now, &field(item, &gap.key), counted);
            }
            if let Some(shift) = &self.rule.shift {
                let mark = match &shift.input {
                    Input::Category(key) => Mark::Category(field(item, key)),
                    Input::Length => Mark::Length(group.first().map_or(0, |one| one.prompt_tokens()) as u64),
                };
                memory.shift.observe(shift, counted, mark);
            }
        }
        Ok(if strange { self.no_number(now) } else { Vec::new() })
    }

    fn no_number(&self, now: u64) -> Vec<Warning> {
        let metric = self.rule.plateau.as_ref().map_or("", |plateau| plateau.metric.as_str());
        vec![Warning {
            step: now,
            rule: "plateau_metric".into(),
            seen: format!("`{metric}`, which the plateau detector looks at, has no value; it counts as no improvement"),
            cause: "nothing was learned in the step, or the method does not log the metric".into(),
            knob: "`metric` in `[stage.interleave.plateau]`: one that every step or evaluation has".into(),
        }]
    }

    /// Reads the held-out demonstrations with the policy at hand.
    pub(super) fn read(&self, bench: &Bench<'_, '_>, memory: &mut InterleaveState) -> Result<()> {
        let Some(shift) = &self.rule.shift else { return Ok(()) };
        let available = self.task.len(Split::Test).unwrap_or(shift.demonstrations).min(shift.demonstrations);
        let mut rows = Rows::default();
        for index in 0..available {
            let item = self.task.item(Split::Test, index as u64)?;
            let Some(words) = item.completion.as_deref() else { continue };
            let most = self.most(bench);
            if let Some(found) = demonstration::encode(bench.tokenizer, &item.prompt, words, most)? {
                rows.tokens.push(&found.tokens, &found.mask, 1.0);
                rows.mask.push(found.mask);
                rows.names.push(item.id);
            }
        }
        let (budget, want) = (self.rl.training.tokens_per_microbatch, lapidary_core::Want::default());
        let stats = bench
            .stopwatch
            .time(Phase::Evaluate, || in_microbatches(&rows, budget, |tokens| bench.engine.score(tokens, want)))?;
        let own = rows.mask.flat().iter().zip(stats.logp.flat()).filter(|(own, _)| **own);
        let tokens: Vec<f32> = own.map(|(_, logp)| -logp).collect();
        memory.shift.read(shift, &tokens);
        Ok(())
    }

    /// What fires now: the buffer where it is a signal, and each detector.
    pub(super) fn signals(&self, memory: &InterleaveState, now: u64) -> Vec<Signal> {
        let mut signals = Vec::new();
        if self.rule.machine.policy == SwitchPolicy::Buffer || self.rule.full_buffer {
            let full = memory.buffer.len() >= self.rule.demonstrations;
            signals.push(Signal::of(self.rule.machine.threshold, &[(Reason::Buffer, full)]));
        }
        if let Some(plateau) = &self.rule.plateau {
            signals.push(Signal::of(plateau.weight, &[(Reason::Plateau, memory.plateau.fires(plateau))]));
        }
        if let Some(gap) = &self.rule.gap {
            signals.push(Signal::of(gap.weight, &[(Reason::Gap, memory.gap.gaps(gap, now).fires)]));
        }
        if let Some(shift) = &self.rule.shift {
            let [gap, input, policy] = memory.shift.fires(shift);
            let reasons = [(Reason::ShiftGap, gap), (Reason::ShiftInput, input), (Reason::ShiftPolicy, policy)];
            signals.push(Signal::of(shift.weight, &reasons));
        }
        signals
    }

    /// `switch/…`: the numbers that the decision is made on.
    pub(super) fn seen(&self, memory: &InterleaveState, now: u64, signals: &[Signal]) -> Metrics {
        let reasons: Vec<Reason> = signals.iter().flat_map(|signal| signal.reasons.iter().copied()).collect();
        let mut seen: Metrics = vec![("switch/signals".into(), mask(&reasons) as f64)];
        let mut push = |name: &str, value: f64| seen.push((format!("switch/{name}"), value));
        if self.rule.plateau.is_some() {
            push("plateau_bad", memory.plateau.bad as f64);
            if let Some(best) = memory.plateau.best {
                push("plateau_best", best);
            }
        }
        if let Some(gap) = &self.rule.gap {
            let gaps = memory.gap.gaps(gap, now);
            push("gap_kinds", gaps.keys.len() as f64);
            push("gap_traffic", gaps.traffic);
        }
        if let Some(shift) = &self.rule.shift {
            if shift.max_gap.is_some() {
                push("shift_excess", memory.shift.excess());
            }
            if let Some([p, q]) = memory.shift.inputs(shift) {
                push("input_psi", psi(&p, &q));
                push("input_kl", kl(&q, &p));
                push("input_js", js(&p, &q));
            }
            if let Some(nll) = memory.shift.nll {
                push("demonstration_nll", nll);
                push("demonstration_nll_rise", memory.shift.nll_rise());
            }
            if let Some(k3) = memory.shift.k3 {
                push("demonstration_k3", k3);
            }
        }
        seen
    }
}

/// The evaluations that were not seen yet; of those before the first look the newest, which is of the weights that the stage
/// began with.
fn unseen(seen: Option<u64>, evaluations: &[EvaluationRecord]) -> &[EvaluationRecord] {
    match seen {
        Some(seen) => &evaluations[evaluations.partition_point(|evaluation| evaluation.step <= seen)..],
        None => &evaluations[evaluations.len().saturating_sub(1)..],
    }
}

fn of_evaluation(evaluation: &EvaluationRecord, metric: &str) -> Option<f64> {
    match metric {
        "eval/accuracy" => Some(evaluation.accuracy),
        "eval/reward" => Some(evaluation.reward),
        "eval/mean_length" => Some(evaluation.mean_length),
        _ => None,
    }
}
