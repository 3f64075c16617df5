//! `entropy`: the less a completion's tokens leave open, the better (RENT, arXiv 2505.22660).
//!
//! r = −mean_t H_t over the completion, at the sampler's temperature and with the weights that sampled; −`entropy_base` where no
//! answer can be read.

use lapidary_core::{Result, Verdict, Want};

use crate::find::{EXTRACT, Finder, SEVERAL};
use crate::intrinsic::{Reads, View, Weights, mean, readings};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "entropy",
    summary: "No label: minus the mean entropy of the tokens (RENT).",
    formula: "-mean_t H_t; -entropy_base where no answer is found",
    options: &[
        OptionInfo {
            name: "entropy_base",
            kind: OptionKind::Number(0.0, 1e6),
            default: "7.0",
            meaning: "entropy that counts where no answer is found, in nats",
        },
        OptionInfo { default: r#"["hash", "boxed", "tags", "final", "last-number"]"#, ..EXTRACT },
        SEVERAL,
    ],
    build: |options| Ok(Box::new(Entropy::new(options)?)),
};

const READS: Reads =
    Reads { view: View { weights: Weights::Current, sampled: true }, want: Want::ENTROPY, least_kl: 1e-3 };

#[derive(Debug)]
struct Entropy {
    finder: Finder,
    base: f64,
}

impl Entropy {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { finder: Finder::of(options), base: options.number("entropy_base").unwrap_or(7.0) })
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let seen = match readings(attempt, READS.view) {
            Ok(seen) => seen,
            Err(verdict) => return verdict,
        };
        match self.finder.find(attempt.completion, true) {
            Ok(_) => Verdict::score(-mean(&seen.entropy) as f32, format!("over {} tokens", seen.len())),
            Err(verdict) => Verdict::score(-self.base as f32, verdict.reason()),
        }
    }
}

impl Reward for Entropy {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
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

    /// Spec B §1.13: entropies 0.947537, 1.355994, 0.529061, mean 0.944197.
    #[test]
    fn the_golden_tokens_and_a_completion_without_an_answer() {
        let entropy = vec![0.947537, 1.355994, 0.529061];
        let readings = Readings { logp: vec![0.0; 3], entropy, vocabulary: 4, ..Readings::default() };
        let readings = [(READS.view, readings)];
        let seen = Seen { group: 0, readings: &readings };
        let metadata = serde_json::Map::new();
        let score = |completion: &str, options: serde_json::Value| {
            let reward = crate::build("entropy", &options).unwrap();
            let attempt = Attempt { seen: Some(seen), ..Attempt::new("", completion, None, &metadata) };
            f64::from(reward.score(&[attempt])[0].value().unwrap())
        };
        assert!((score("so it is 7", serde_json::json!({})) + 0.944197).abs() < 1e-6);
        assert_eq!(score("no idea", serde_json::json!({})), -7.0);
        assert_eq!(score("it is 7", serde_json::json!({"extract": ["boxed"], "entropy_base": 2})), -2.0);
    }
}
