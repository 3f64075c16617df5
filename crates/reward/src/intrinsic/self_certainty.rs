//! `self-certainty`: how far each token's distribution is from knowing nothing (Intuitor, arXiv 2505.19590).
//!
//! r = mean_t [ logsumexp(z_t) − mean_v z_t ] = mean_t KL(U ‖ p_t) + ln V, with U uniform over the vocabulary, as Intuitor's code has it: at
//! the sampler's temperature and with the weights that sampled. Beside other rewards that code standardises each of them
//! within its group (ε = 1e-4) before they are added: `normalise = "group"` on every entry.

use lapidary_core::{Result, Verdict, Want};

use crate::intrinsic::{Reads, View, Weights, mean, readings};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "self-certainty",
    summary: "No label: the mean distance of the tokens' distributions from the uniform one (Intuitor).",
    formula: "mean_t KL(uniform || p_t) + ln V = mean_t (logsumexp(z_t) - mean(z_t))",
    options: &[],
    build: |_| -> Result<Box<dyn Reward>> { Ok(Box::new(SelfCertainty)) },
};

const READS: Reads = Reads {
    view: View { weights: Weights::Current, sampled: true },
    want: Want { entropy: false, top: false, mean_nll: true, value: false, reward: false, routing: false },
    least_kl: 5e-3,
};

#[derive(Debug)]
struct SelfCertainty;

impl Reward for SelfCertainty {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = |attempt: &Attempt<'_>| match readings(attempt, READS.view) {
            Ok(seen) => Verdict::score(mean(&seen.mean_nll) as f32, format!("over {} tokens", seen.len())),
            Err(verdict) => verdict,
        };
        attempts.iter().map(judge).collect()
    }

    fn reads(&self) -> Option<Reads> {
        Some(READS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::Readings;
    use crate::intrinsic::Seen;

    /// Spec B §1.13: 1.940190, 1.417224 and 2.389206 per token.
    #[test]
    fn the_golden_tokens() {
        let readings = Readings {
            logp: vec![0.0; 3],
            mean_nll: vec![1.94019, 1.417224, 2.389206],
            vocabulary: 4,
            ..Readings::default()
        };
        let readings = [(READS.view, readings)];
        let seen = Seen { group: 0, readings: &readings };
        let metadata = serde_json::Map::new();
        let attempt = Attempt { seen: Some(seen), ..Attempt::new("", "x", None, &metadata) };
        let score = SelfCertainty.score(&[attempt])[0].value().unwrap();
        assert!((f64::from(score) - 1.915540).abs() < 1e-6, "{score}");
    }
}
