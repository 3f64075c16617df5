//! Random micro-batches that own their numbers.

use super::*;

/// A micro-batch that owns its numbers: whole token rows, each a prompt, an answer, and now and then a tool's words
/// inside.
#[derive(Clone)]
pub(super) struct Batch {
    pub mask: Ragged<bool>,
    pub stats: TokenStats,
    pub old: Ragged<f32>,
    pub rollout: Ragged<f32>,
    pub reference: Ragged<f32>,
    pub entropy_before: Ragged<f32>,
    pub value_before: Ragged<f32>,
    pub rewards: Vec<Option<f32>>,
    pub groups: Vec<usize>,
}

/// What is global to an optimiser step of a batch, for an objective.
pub(super) struct Step {
    pub prepared: Prepared,
    pub advantages: TokenAdvantages,
    pub returns: Option<Ragged<f32>>,
}

impl Step {
    pub fn select(&self, rows: std::ops::Range<usize>) -> Self {
        Self {
            prepared: Prepared {
                weights: self.prepared.weights.as_ref().map(|weights| weights.select(rows.clone())),
                ..self.prepared.clone()
            },
            advantages: self.advantages.select(rows.clone()),
            returns: self.returns.as_ref().map(|returns| returns.select(rows)),
        }
    }
}

impl Batch {
    /// `rows` rows of up to 12 tokens; every fifth has no trained token. Masked places hold numbers that would show.
    pub fn random(key: Key, rows: usize) -> Self {
        let lengths = (0..rows).map(|row| 2 + key.at(row as u64).at(0).below(11) as usize);
        let mask: Ragged<bool> = lengths
            .enumerate()
            .map(|(row, length)| {
                let key = key.at(row as u64);
                (0..length)
                    .map(move |t| row % 5 != 4 && t > 0 && key.at(1).at(t as u64).uniform() < 0.8)
                    .collect::<Vec<_>>()
            })
            .collect();
        let draw = |what: u64, base: Option<&Ragged<f32>>, spread: f64| {
            let mut out = mask.like(f32::NAN);
            for (place, value) in out.flat_mut().iter_mut().enumerate() {
                if mask.flat()[place] {
                    let noise = key.at_name("noise").at(what).at(place as u64);
                    let from = base.map_or(-3.0 * noise.at(0).uniform() - 0.05, |base| f64::from(base.flat()[place]));
                    *value = (from + spread * (2.0 * noise.at(1).uniform() - 1.0)) as f32;
                }
            }
            out
        };
        let old = draw(0, None, 0.0);
        let positive = |what: u64| draw(what, None, 0.0).map(|value| -value);
        let stats = TokenStats {
            logp: draw(1, Some(&old), 0.5),
            entropy: positive(2),
            value: Some(draw(5, None, 0.0)),
            ..Default::default()
        };
        let (rollout, reference) = (draw(3, Some(&old), 0.1), draw(4, Some(&old), 1.0));
        let value_before = draw(6, stats.value.as_ref(), 0.4);
        let reward = |row: usize| (key.at_name("reward").at(row as u64).uniform() < 0.5) as u8 as f32;
        // Never all the same, so that there is something to learn.
        let rewards = (0..rows).map(|row| Some(if row < 2 { row as f32 } else { reward(row) })).collect();
        let groups = (0..rows).map(|row| row / 8).collect();
        let entropy_before = positive(7);
        Self { mask, stats, old, rollout, reference, entropy_before, value_before, rewards, groups }
    }

    pub fn select(&self, rows: std::ops::Range<usize>) -> Self {
        let of = |from: &Ragged<f32>| from.select(rows.clone());
        Self {
            mask: self.mask.select(rows.clone()),
            stats: TokenStats {
                logp: of(&self.stats.logp),
                entropy: of(&self.stats.entropy),
                value: self.stats.value.as_ref().map(of),
                ..Default::default()
            },
            old: of(&self.old),
            rollout: of(&self.rollout),
            reference: of(&self.reference),
            entropy_before: of(&self.entropy_before),
            value_before: of(&self.value_before),
            rewards: self.rewards[rows.clone()].to_vec(),
            groups: self.groups[rows.clone()].to_vec(),
        }
    }

    pub fn experience(&self) -> Experience<'_> {
        Experience {
            mask: Some(&self.mask),
            logp: Some(&self.old),
            logp_reference: Some(&self.reference),
            entropy: Some(&self.entropy_before),
            value: Some(&self.value_before),
            ..Experience::of_rewards(&self.rewards, &self.groups)
        }
    }

    pub fn step(&self, objective: &Objective) -> Step {
        let advantages = objective.advantages(&self.experience()).unwrap();
        let prepared = objective.prepare(&self.mask, Some(&self.old), Some(&self.rollout), 8);
        Step { prepared, advantages: advantages.values, returns: advantages.returns }
    }

    pub fn view<'a>(&'a self, step: &'a Step) -> LossBatch<'a> {
        LossBatch {
            logp_proximal: Some(&self.old),
            logp_rollout: Some(&self.rollout),
            logp_reference: Some(&self.reference),
            weights: step.prepared.weights.as_ref(),
            value_old: Some(&self.value_before),
            returns: step.returns.as_ref(),
            ..LossBatch::new(&self.mask, &step.advantages, Want { value: true, ..Want::ENTROPY })
        }
    }

    pub fn loss_of(&self, objective: &Objective, step: &Step) -> LossOutput {
        objective.loss(&self.view(step), &self.stats, &step.prepared.normaliser).unwrap()
    }

    pub fn loss(&self, objective: &Objective) -> LossOutput {
        self.loss_of(objective, &self.step(objective))
    }
}
