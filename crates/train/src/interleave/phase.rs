//! A supervised phase: demonstrations from the buffer, an optimiser of its own.

use std::collections::BTreeMap;

use lapidary_core::Result;

use super::{After, Interleaver, Waiting, demonstration};
use crate::bench::Bench;
use crate::learn::{Learned, Lesson, Part, learn};
use crate::rows::Rows;
use crate::state::RunState;
use crate::switch::{Mode, Reason, Transition, mask};
use crate::watch::{Metrics, Phase};

/// What the updates of a phase came to.
#[derive(Default)]
struct Sums {
    updates: u64,
    /// `loss`, `entropy`, `grad_norm`: sums over the updates.
    sums: BTreeMap<&'static str, f64>,
}

impl Interleaver<'_> {
    /// Learns demonstrations because of `reasons`, with the numbers that were `seen`.
    pub(super) fn phase(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        (now, reasons, seen): (u64, Vec<Reason>, Metrics),
        after: &mut After,
    ) -> Result<()> {
        let memory = &mut state.interleave;
        let names = || reasons.iter().map(|reason| reason.name().to_string()).collect();
        let move_to = |to, buffer, metrics| {
            let mask = mask(&reasons);
            Transition { step: now, to, reasons: names(), mask, buffer, metrics }
        };
        memory.machine.begin(now);
        after.transitions.push(move_to(Mode::Sft, memory.buffer.len(), seen));
        let gaps = self.rule.gap.as_ref().map(|gap| memory.gap.gaps(gap, now)).unwrap_or_default();
        let kinds: Vec<&str> = gaps.keys.iter().map(|(key, _)| key.as_str()).collect();
        let updates = self.rule.updates_of_a_phase(memory.machine.left(&self.rule.machine));
        let taken = memory.buffer.take(self.rule.taken_by(updates), &kinds);
        memory.used.extend(taken.iter().map(|waiting| waiting.id.clone()));
        let (sums, cut) = self.learn(bench, state, &taken, updates)?;
        let memory = &mut state.interleave;
        memory.machine.end(sums.updates);
        self.settle(bench, state)?;
        let mut metrics: Metrics = vec![
            ("sft/demonstrations".into(), taken.len() as f64),
            ("sft/truncated".into(), cut as f64),
            ("sft/learning_rate".into(), self.rule.update().learning_rate),
        ];
        let mean = |sum: &f64| sum / sums.updates.max(1) as f64;
        metrics.extend(sums.sums.iter().map(|(name, sum)| (format!("sft/{name}"), mean(sum))));
        after.transitions.push(move_to(Mode::Rl, state.interleave.buffer.len(), metrics.clone()));
        after.metrics.extend(metrics);
        Ok(())
    }

    /// The updates of a phase: passes over what was taken, in mini-batches, at most `most` of them. Gives how many
    /// demonstrations were cut, too.
    fn learn(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        taken: &[Waiting],
        most: u64,
    ) -> Result<(Sums, usize)> {
        let (rows, cut) = self.rows(bench, taken)?;
        let mut sums = Sums::default();
        let batches = (0..self.rule.epochs).flat_map(|epoch| self.order(rows.names.len(), state.step, epoch));
        for share in batches.take(most as usize) {
            let rows = rows.select(&share);
            state.tokens += rows.mask.values() as u64;
            let lesson = Lesson {
                parts: vec![Part::of(&rows, &self.objective)],
                tokens_per_microbatch: self.rl.training.tokens_per_microbatch,
                max_new_tokens: self.rule.max_demonstration_tokens,
                update: self.rule.update(),
            };
            let progress = bench.ear.progress(Phase::Learn, share.len() as u64);
            let stopwatch = bench.stopwatch;
            if let Some(Learned { losses, update, .. }) =
                stopwatch.time(Phase::Learn, || learn(bench, &lesson, &progress))?
            {
                let reported = losses[0].finish();
                let kept = reported.into_iter().filter(|(name, _)| matches!(*name, "loss" | "entropy"));
                for (name, value) in kept.chain([("grad_norm", update.grad_norm)]) {
                    *sums.sums.entry(name).or_default() += value;
                }
                sums.updates += 1;
            }
        }
        Ok((sums, cut))
    }

    /// The rows of a pass, mini-batch by mini-batch: the first pass in the order of the buffer, further ones in an order of
    /// their own.
    fn order(&self, rows: usize, step: u64, epoch: u64) -> Vec<Vec<usize>> {
        let order = match epoch {
            0 => (0..rows).collect(),
            _ => lapidary_core::Key::new(self.seed, lapidary_core::Purpose::Shuffle)
                .at_name("demonstrations")
                .at(step)
                .at(epoch)
                .permutation(rows),
        };
        order.chunks(self.rule.minibatch).map(<[usize]>::to_vec).collect()
    }

    fn rows(&self, bench: &Bench<'_, '_>, taken: &[Waiting]) -> Result<(Rows, usize)> {
        let (mut rows, mut cut) = (Rows::default(), 0);
        for waiting in taken {
            let words = &waiting.demonstration;
            // What has nothing to learn never came into the buffer.
            let Some(found) = demonstration::encode(bench.tokenizer, &waiting.prompt, words, self.most(bench))? else {
                continue;
            };
            cut += usize::from(found.cut);
            // Temperature 1: a demonstration is learned as it would be read, however answers are sampled.
            rows.tokens.push(&found.tokens, &found.mask, 1.0);
            rows.mask.push(found.mask);
            rows.names.push(waiting.id.clone());
        }
        Ok((rows, cut))
    }

    /// Detectors start counting anew; the policy that the phase left is the one that later ones are compared with.
    fn settle(&self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<()> {
        let memory = &mut state.interleave;
        if let Some(plateau) = &self.rule.plateau {
            memory.plateau.settle(plateau);
        }
        memory.gap.settle();
        if let Some(shift) = &self.rule.shift {
            memory.shift.settle(shift);
            if self.rule.reads_demonstrations() {
                self.read(bench, memory)?;
            }
        }
        Ok(())
    }
}
