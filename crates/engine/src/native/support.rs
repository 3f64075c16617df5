//! The distribution cut to the tokens that top-k and top-p kept. Sampling, scoring and training read it from here.

use lapidary_core::{Kind, Problem, Result, TokenBatch};

/// A row of logits whose softmax runs over some ids only.
pub(crate) struct Cut<'a> {
    logits: &'a [f32],
    inverse_temperature: f32,
    ids: &'a [u32],
    max: f32,
    log_sum: f64,
}

impl<'a> Cut<'a> {
    /// Cuts to `ids`, ascending and not empty. The sum runs in f64 in the order of ids, so its bits depend on the row and
    /// the ids alone.
    pub fn of(logits: &'a [f32], inverse_temperature: f32, ids: &'a [u32]) -> Self {
        assert!(!ids.is_empty(), "a distribution over no token");
        let z = |id: &u32| logits[*id as usize] * inverse_temperature;
        let max = ids.iter().map(z).fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = ids.iter().map(|id| f64::from(z(id) - max).exp()).sum();
        Self { logits, inverse_temperature, ids, max, log_sum: sum.ln() }
    }

    fn log_probability(&self, id: u32) -> f64 {
        f64::from(self.logits[id as usize] * self.inverse_temperature - self.max) - self.log_sum
    }

    /// Log-probability of one of the ids.
    pub fn logp(&self, id: u32) -> f32 {
        self.log_probability(id) as f32
    }

    /// `g·d logp(target)/d logit` of every id: `g·(1[id = target] − p)·inverse temperature`. Logits of other ids do not matter.
    pub fn slopes(&self, target: u32, g: f32) -> Vec<f32> {
        let scale = f64::from(g * self.inverse_temperature);
        let slope = |id: &u32| {
            let hit = if *id == target { 1.0 } else { 0.0 };
            (scale * (hit - self.log_probability(*id).exp())) as f32
        };
        self.ids.iter().map(slope).collect()
    }
}

/// Refuses a support that a token cannot have been drawn from.
///
/// # Panics
/// Where there is not one ascending row per token: a bug of the caller.
pub(crate) fn check(batch: &TokenBatch, vocabulary: usize) -> Result<()> {
    let Some(support) = &batch.support else { return Ok(()) };
    assert_eq!(support.rows(), batch.tokens.values(), "one row of the support per token");
    for (at, (ids, scored)) in support.iter().zip(batch.scored.flat()).enumerate() {
        assert!(ids.is_sorted_by(|a, b| a < b), "the ids of a support ascend");
        if let Some(last) = ids.last().filter(|id| **id as usize >= vocabulary) {
            return Err(super::outside_vocabulary(*last, vocabulary));
        }
        let token = batch.tokens.flat()[at];
        if *scored && !ids.is_empty() && ids.binary_search(&token).is_err() {
            return Err(Problem::new(
                Kind::Data,
                "N006",
                format!("token {token} is not among the {} ids that it is said to be drawn from", ids.len()),
            )
            .why("its probability in that distribution is 0, so it has no log-probability")
            .hint("the support must be the sampler's own record of this very token"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over {0, 2} of logits (1, 5, 3) at temperature 2: p = (1, e) / (1 + e).
    #[test]
    fn a_cut_is_a_softmax_over_its_ids() {
        let cut = Cut::of(&[1.0, 5.0, 3.0], 0.5, &[0, 2]);
        let e = std::f64::consts::E;
        assert!((f64::from(cut.logp(2)) - (e / (1.0 + e)).ln()).abs() < 1e-7);
        assert!((f64::from(cut.logp(0)) - (1.0 / (1.0 + e)).ln()).abs() < 1e-7);
        let slopes = cut.slopes(0, 3.0);
        assert!((f64::from(slopes[0]) - 1.5 * e / (1.0 + e)).abs() < 1e-6, "{slopes:?}");
        assert!((slopes[0] + slopes[1]).abs() < 1e-7, "a shift of all logits changes nothing");
        assert_eq!(Cut::of(&[1.0, 5.0], 1.0, &[1]).logp(1), 0.0);
    }
}
