//! Scalar heads on the final norm: the value of a state (PPO's critic) and the reward of a sequence (reward models).
//!
//! Both are one dot product of the normed hidden state that the language head reads too, so they cost next to nothing and
//! share the bits of the trunk: a value does not depend on batch, threads or micro-batches.

use super::backward::{Gradient, Target};
use super::layout::{Slot, Vector};
use super::net::Net;
use super::tape::Targets;
use super::{Native, row};
use crate::ModelConfig;
use lapidary_core::{Key, Kind, Problem, Purpose, Result, TokenBatch, Want};

impl Net<'_> {
    /// `norm(x)` of a row of the final residual stream, and the norm's factor.
    fn final_norm(&self, x: &[f32], y: &mut [f32]) -> f32 {
        let mut factor = [0.0];
        self.norm(&self.layout.norm, 1, x, y, &mut factor);
        factor[0]
    }

    fn read(&self, weight: &Vector, y: &[f32]) -> f32 {
        let w = self.vector(weight);
        assert_eq!(w.len(), y.len());
        // SAFETY: both hold `len` values, whole lanes.
        unsafe { row::dot(self.isa, y.len(), w.as_ptr(), y.as_ptr()) }
    }

    /// The value of the state before every target; nothing for a model without the head.
    pub fn values(&self, targets: &Targets<'_>, stream: &[f32]) -> Vec<f32> {
        let Some(head) = &self.layout.value else { return Vec::new() };
        let (h, bias) = (self.w.hidden, self.vector(&head.bias)[0]);
        let mut y = vec![0.0; h];
        let value = |&source: &usize| {
            self.final_norm(&stream[source * h..][..h], &mut y);
            self.read(&head.weight, &y) + bias
        };
        targets.source.iter().map(value).collect()
    }

    /// The reward of every row of a batch, read at its last token; 0 for an empty row.
    pub fn rewards(&self, lasts: &[Option<usize>], stream: &[f32]) -> Vec<f32> {
        let Some(head) = &self.layout.reward else { return Vec::new() };
        let h = self.w.hidden;
        let mut y = vec![0.0; h];
        let reward = |last: &Option<usize>| {
            last.map_or(0.0, |last| {
                self.final_norm(&stream[last * h..][..h], &mut y);
                self.read(head, &y)
            })
        };
        lasts.iter().map(reward).collect()
    }

    /// `dy += dLoss/dvalue·w` of a row: what the value head adds to the derivative of the final norm's output.
    pub fn value_backward(&self, slope: f32, dy: &mut [f32]) {
        if let Some(head) = self.layout.value.as_ref().filter(|_| slope != 0.0) {
            dy.iter_mut().zip(self.vector(&head.weight)).for_each(|(dy, w)| *dy += slope * w);
        }
    }

    /// Adds the gradient of the value head: one chain over the targets in order.
    pub fn value_gradient(&self, targets: &Targets<'_>, answers: &[Target], stream: &[f32], gradient: &mut [f32]) {
        let Some(head) = &self.layout.value else { return };
        let of = |vector: &Vector| self.layout.learned_at(&vector.at);
        let (Some(weight_at), Some(bias_at)) = (of(&head.weight), of(&head.bias)) else { return };
        let h = self.w.hidden;
        let mut y = vec![0.0; h];
        for (&source, answer) in targets.source.iter().zip(answers).filter(|(_, answer)| answer.value != 0.0) {
            self.final_norm(&stream[source * h..][..h], &mut y);
            let weight = &mut gradient[weight_at.clone()];
            weight.iter_mut().zip(&y).for_each(|(g, y)| *g += answer.value * y);
            gradient[bias_at.start] += answer.value;
        }
    }

    /// Through the reward head and the final norm at every row's last token, into `d_stream`.
    pub fn reward_backward(
        &self,
        lasts: &[Option<usize>],
        slopes: &[f32],
        stream: &[f32],
        d_stream: &mut [f32],
        gradient: &mut Gradient,
    ) {
        let Some(head) = &self.layout.reward else { return };
        let Some(weight_at) = self.layout.learned_at(&head.at) else { return };
        let h = self.w.hidden;
        let norm_learns = self.layout.learned_at(&self.layout.norm.at).is_some();
        gradient.reward_norm.resize(if norm_learns { h } else { 0 }, 0.0);
        let (mut y, mut dy) = (vec![0.0; h], vec![0.0; h]);
        for (last, &slope) in lasts.iter().zip(slopes).filter(|(_, slope)| **slope != 0.0) {
            let Some(last) = *last else { continue };
            let x = &stream[last * h..][..h];
            let factor = self.final_norm(x, &mut y);
            dy.iter_mut().zip(self.vector(head)).for_each(|(dy, w)| *dy = slope * w);
            self.norm_backward(&self.layout.norm, x, factor, &dy, &mut d_stream[last * h..][..h]);
            for ((g, x), dy) in gradient.reward_norm.iter_mut().zip(x).zip(&dy) {
                *g += dy * x * factor;
            }
            let weight = &mut gradient.flat[weight_at.clone()];
            weight.iter_mut().zip(&y).for_each(|(g, y)| *g += slope * y);
        }
    }
}

/// Refuses to be asked for a head that the model does not have.
pub(crate) fn check(config: &ModelConfig, batch: &TokenBatch, want: Want) -> Result<()> {
    let lacking = |head: &str, hint: &str| {
        Problem::new(Kind::Model, "N007", format!("the model has no {head} head")).hint(hint.to_string())
    };
    if want.value && !config.value_head {
        return Err(lacking(
            "value",
            "`Native::add_value_head` gives it one; a checkpoint with one says `\"value_head\": true`",
        ));
    }
    if want.reward && !config.reward_head {
        return Err(lacking(
            "reward",
            "open a reward model (`…ForSequenceClassification` with one label), or train one",
        ));
    }
    if !config.language_head && batch.scored.flat().contains(&true) {
        return Err(no_language_head());
    }
    Ok(())
}

/// A reward model predicts no tokens.
pub(crate) fn no_language_head() -> Problem {
    Problem::new(Kind::Model, "N008", "the model predicts no tokens: it is a reward model without a language head")
        .hint("score or sample with the policy; a reward model answers rewards of whole sequences")
}

impl Native {
    /// Gives the model a value head that says 0 everywhere: weight and bias start at zero, as the last layer of PPO's critics
    /// does in practice (Engstrom et al. 2020, arXiv 2005.12729; Huang et al. 2022, "The 37 implementation details"). A first
    /// value that is noise would be noise in every advantage of the first steps; from zero the first advantages are the
    /// returns themselves, and the head still learns, since its gradient does not depend on its weight.
    ///
    /// Does nothing where there is one. The optimiser starts anew.
    pub fn add_value_head(&mut self) {
        if !self.config.value_head {
            self.rebuild(ModelConfig { value_head: true, ..self.config.clone() }, self.lora.clone());
        }
    }

    /// Gives the model a reward head with weights from the normal distribution of deviation `1/√(hidden + 1)`, as reward
    /// models start (Stiennon et al. 2020, arXiv 2009.01325). Does nothing where there is one. The optimiser starts anew.
    ///
    /// The language head stays; see [`Native::drop_language_head`].
    pub fn add_reward_head(&mut self, seed: u64) {
        if self.config.reward_head {
            return;
        }
        self.rebuild(ModelConfig { reward_head: true, ..self.config.clone() }, self.lora.clone());
        let key = Key::new(seed, Purpose::Initialise).at_name("score.weight");
        let deviation = 1.0 / ((self.config.hidden + 1) as f64).sqrt();
        let values: Vec<f32> =
            (0..self.config.hidden as u64).map(|i| (key.at(i).normal() * deviation) as f32).collect();
        if let Some(slot @ Slot::Table(head)) = self.layout.reward.as_ref().map(Slot::Table) {
            slot.write(&mut self.flat, 0, &head.parts[0], &values);
            self.halves.take();
        }
    }

    /// Makes a model with a reward head a reward model: it is saved as `…ForSequenceClassification` and predicts no tokens.
    /// The optimiser starts anew.
    ///
    /// # Panics
    /// Where the model has no reward head: it would have no head at all.
    pub fn drop_language_head(&mut self) {
        assert!(self.config.reward_head, "a model without any head answers nothing");
        let config = ModelConfig { language_head: false, tied: true, ..self.config.clone() };
        self.rebuild(config, self.lora.clone());
    }
}
