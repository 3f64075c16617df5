//! `length`: short answers, by a linear penalty.

use lapidary_core::{Result, Verdict};

use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "length",
    summary: "0 up to a target number of tokens, then falling in a straight line to -1.",
    formula: "0 if L <= target, (target - L) / (max - target) if L <= max, else -1",
    options: &[
        OptionInfo {
            name: "max",
            kind: OptionKind::Integer(1, 10_000_000),
            default: "",
            meaning: "from this many tokens on the score is -1",
        },
        OptionInfo {
            name: "target",
            kind: OptionKind::Integer(0, 10_000_000),
            default: "0",
            meaning: "up to this many tokens the score is 0",
        },
    ],
    build: |options| Ok(Box::new(Length::new(options)?)),
};

/// DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13) with target = L_max − L_cache and max = L_max.
#[derive(Debug)]
struct Length {
    target: f64,
    max: f64,
}

impl Length {
    fn new(options: &Options) -> Result<Self> {
        let (target, max) = options.range("target", "max")?;
        Ok(Self { target: target as f64, max: max as f64 })
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let length = attempt.tokens as f64;
        let score = if length <= self.target {
            0.0
        } else if length < self.max {
            (self.target - length) / (self.max - self.target)
        } else {
            -1.0
        };
        Verdict::score(score as f32, format!("{} tokens", attempt.tokens))
    }
}

impl Reward for Length {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DAPO's golden values with L_max = 100 and L_cache = 20.
    #[test]
    fn the_penalty_is_linear_between_target_and_max() {
        let reward = crate::build("length", &serde_json::json!({"target": 80, "max": 100})).unwrap();
        let metadata = serde_json::Map::new();
        let score = |tokens| {
            let attempt = Attempt { tokens, ..Attempt::new("", "", None, &metadata) };
            reward.score(&[attempt])[0].value().unwrap()
        };
        assert_eq!([80, 85, 90, 100, 101].map(score), [0.0, -0.25, -0.5, -1.0, -1.0]);
    }

    #[test]
    fn a_target_above_the_maximum_is_refused() {
        let problem = crate::build("length", &serde_json::json!({"target": 101, "max": 100})).err().unwrap();
        assert!(problem.message().contains("`target` = 101"), "{problem}");
        assert!(crate::build("length", &serde_json::json!({})).is_err(), "`max` must be given");
    }
}
