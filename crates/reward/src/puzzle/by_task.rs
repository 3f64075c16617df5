//! `task`: each row is judged by the reward of the task that it says it is of, in a mixture of tasks.

use lapidary_core::{Result, Verdict};
use serde_json::Value;

use super::info;
use crate::registry::RewardInfo;
use crate::{Attempt, Reward, build, reward};

pub(crate) const TASK: RewardInfo = info(
    "task",
    "The reward of the task that a row is of, for mixtures of tasks.",
    "score of the reward named by the row's `task`",
    |options| Ok(Box::new(ByTask { options: Value::Object(options.values().clone()) })),
);

struct ByTask {
    options: Value,
}

impl ByTask {
    fn of(&self, attempt: &Attempt<'_>) -> Result<Box<dyn Reward>, &'static str> {
        let name =
            attempt.metadata.get("task").and_then(Value::as_str).ok_or("the row does not say of which `task` it is")?;
        // A row that names this reward would ask it for ever.
        let known =
            reward(name).filter(|known| known.name != TASK.name).ok_or("no reward has the name of the row's `task`")?;
        build(known.name, &self.options).map_err(|_| "the reward of the row's `task` does not take these options")
    }
}

impl Reward for ByTask {
    fn name(&self) -> &str {
        TASK.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = |attempt: &Attempt<'_>| match self.of(attempt) {
            Ok(reward) => {
                reward.score(std::slice::from_ref(attempt)).pop().unwrap_or_else(|| Verdict::none("no verdict"))
            }
            Err(why) => Verdict::none(why),
        };
        attempts.iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Attempt, build};

    #[test]
    fn every_row_is_judged_as_its_own_task() {
        let score = |options: Value, row: Value, completion: &str, answer: &str| {
            let attempt = Attempt::new("", completion, Some(answer), row.as_object().unwrap());
            build("task", &options).unwrap().score(&[attempt]).remove(0).value()
        };
        assert_eq!(score(json!({}), json!({"task": "gcd"}), "#### 6", "6"), Some(1.0));
        assert_eq!(score(json!({}), json!({"task": "base-conversion"}), "1F", "1f"), Some(1.0));
        assert_eq!(score(json!({}), json!({"task": "gcd"}), "1F", "1f"), None, "a row without a number is not judged");
        assert_eq!(score(json!({"compat": "reasoning_gym"}), json!({"task": "gcd"}), "10", "1"), Some(0.5));
        for row in [json!({}), json!({"task": "nothing"}), json!({"task": "task"}), json!({"task": "code"})] {
            assert_eq!(score(json!({}), row.clone(), "6", "6"), None, "{row}");
        }
    }
}
