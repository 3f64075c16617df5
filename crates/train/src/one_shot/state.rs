//! What a one-shot stage remembers: what was chosen, when it was saturated, and held-out accuracy since.

use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::Evaluation;
use serde::{Deserialize, Serialize};

use super::signs;
use crate::metrics::Row;
use crate::state::EvaluationRecord;

/// Share of right answers from which an example counts as learned.
const SATURATED: f64 = 0.99;

/// What is remembered between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneShotState {
    /// What was chosen when the stage began; `None` where the stage is no one-shot stage.
    pub chosen: Option<String>,
    /// The first step of the run in which 99 % of the answers to the examples were right.
    pub saturation_step: Option<u64>,
    /// Held-out accuracy after that step.
    pub at_saturation: Option<f64>,
    /// The best held-out accuracy since.
    pub best: f64,
    /// The latest.
    pub latest: f64,
}

impl OneShotState {
    /// Holds a stage to what it chose when it began.
    ///
    /// # Errors
    /// `Data` (`D083`): the records choose other items than they did.
    pub(crate) fn hold(&mut self, chosen: &str) -> Result<()> {
        match &self.chosen {
            Some(before) if before != chosen => Err(Problem::new(
                Kind::Data,
                "D083",
                "the one-shot stage would now choose other items than when it began",
            )
            .why("the task or the records that it chooses by have changed since")
            .hint("restore them, name the items with `items = […]`, or start over with `--fresh`")),
            _ => {
                self.chosen = Some(chosen.to_string());
                Ok(())
            }
        }
    }

    /// Takes the share of right answers of step `number` into account; whether this is the step of saturation.
    pub(crate) fn saturates(&mut self, accuracy: f64, number: u64) -> bool {
        let begins = self.saturation_step.is_none() && accuracy >= SATURATED;
        if begins {
            self.saturation_step = Some(number);
        }
        begins
    }

    /// Takes a held-out accuracy into account.
    fn saw(&mut self, accuracy: f64) {
        if self.saturation_step.is_none() {
            return;
        }
        if self.at_saturation.is_none() {
            (self.at_saturation, self.best) = (Some(accuracy), accuracy);
        }
        self.best = self.best.max(accuracy);
        self.latest = accuracy;
    }

    /// What held-out accuracy has gained since saturation: to its best, and to its latest; 0 before.
    pub fn gains(&self) -> (f64, f64) {
        self.at_saturation.map_or((0.0, 0.0), |at| (self.best - at, self.latest - at))
    }

    /// Adds what an evaluation says about a one-shot stage; nothing in other stages.
    pub(crate) fn record(&mut self, row: Row, evaluation: &Evaluation, record: &EvaluationRecord) -> Row {
        if self.chosen.is_none() {
            return row;
        }
        self.saw(record.accuracy);
        let (best, latest) = self.gains();
        let texts = evaluation.prompts.iter().flat_map(|prompt| {
            let attempts = prompt.attempts.iter();
            attempts.map(|it| (prompt.prompt.clone(), prompt.answer.as_deref(), it.completion.as_str()))
        });
        let signs = signs::of(texts);
        row.with("one_shot/post_saturation_gain", best)
            .with("one_shot/post_saturation_change", latest)
            .with("one_shot/eval_garble_ratio", signs.garble)
            .with("one_shot/eval_boxed_ratio", signs.boxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accuracy of the examples and of held-out prompts, step by step: saturated at step 3.
    #[test]
    fn what_happens_after_saturation_is_counted_from_there() {
        let mut state = OneShotState::default();
        let mut seen = Vec::new();
        for (number, (accuracy, held_out)) in
            [(0.5, 0.2), (0.98, 0.9), (0.99, 0.4), (0.7, 0.6), (1.0, 0.5), (1.0, 0.3)].into_iter().enumerate()
        {
            let begins = state.saturates(accuracy, number as u64 + 1);
            state.saw(held_out);
            seen.push((begins, state.saturation_step, state.gains().0, state.gains().1));
        }
        let close = |at: usize, best: f64, latest: f64| {
            (seen[at].2 - best).abs() < 1e-12 && (seen[at].3 - latest).abs() < 1e-12
        };
        assert_eq!((seen[1].0, seen[1].1), (false, None));
        assert_eq!((seen[2].0, seen[2].1), (true, Some(3)));
        assert!(!seen[4].0 && seen[5].1 == Some(3), "it is the first such step that counts");
        assert!(
            close(1, 0.0, 0.0) && close(2, 0.0, 0.0) && close(3, 0.2, 0.2) && close(4, 0.2, 0.1) && close(5, 0.2, -0.1)
        );
    }

    #[test]
    fn a_stage_is_held_to_what_it_chose() {
        let mut state = OneShotState::default();
        state.hold("a").unwrap();
        state.hold("a").unwrap();
        assert_eq!(state.hold("b").unwrap_err().code(), "D083");
    }
}
