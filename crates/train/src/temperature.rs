//! Dynamic temperature: when the reward has settled, the highest temperature that held-out accuracy allows
//! (GLM-4.5, arXiv 2508.06471, §3.2).
//!
//! ```text
//! std(smoothed reward over W steps) < tolerance   ⇒   acc[T] = accuracy at T on held-out prompts, for T of the grid
//! T ← max { T' ≥ T : acc[T'] ≥ best − 0.01 }      or  acc[T'] ≥ best · (1 − 0.01)
//! ```

use std::sync::Arc;

use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::Settings;
use lapidary_reward::Reward;
use lapidary_task::{Split, Task};
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::recipe::{Drop, DynamicTemperature, Rl};
use crate::trend::Trend;
use crate::watch::{Metrics, Phase};

/// What is remembered of the temperature between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureState {
    /// The temperature in use; `None` before it was first changed.
    pub current: Option<f32>,
    /// How the reward has run since it was last changed or confirmed.
    pub trend: Trend,
}

/// The held-out prompts that temperatures are tried on.
pub(crate) struct Thermostat<'r> {
    rule: &'r DynamicTemperature,
    task: Arc<dyn Task>,
    reward: Box<dyn Reward>,
    settings: Settings,
}

impl<'r> Thermostat<'r> {
    pub(crate) fn new(rule: &'r DynamicTemperature, rl: &Rl, task: Arc<dyn Task>, seed: u64) -> Result<Self> {
        if task.is_empty(Split::Test) {
            return Err(Problem::new(Kind::Data, "D046", format!("task `{}` has no held-out item", task.name()))
                .hint("give it a test split, or remove `[stage.dynamic_temperature]`"));
        }
        let reward = lapidary_reward::build(task.answer_reward(), &serde_json::json!({}))?;
        let settings = Settings {
            seed,
            prompts: rule.prompts,
            samples: rule.samples,
            top_k: rl.top_k,
            top_p: rl.top_p,
            max_new_tokens: rl.max_new_tokens,
            ..Settings::default()
        };
        Ok(Self { rule, task, reward, settings })
    }

    /// Takes a step's reward into account; where it has settled, tries the grid and chooses. `current` is in use now.
    pub(crate) fn observe(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut TemperatureState,
        (current, reward): (f32, f64),
    ) -> Result<Metrics> {
        let rule = self.rule;
        state.trend.observe(reward, rule.window);
        if state.trend.deviation(rule.window).is_none_or(|deviation| deviation >= rule.tolerance) {
            return Ok(Metrics::new());
        }
        let tried = bench.stopwatch.time(Phase::Evaluate, || {
            rule.grid.iter().map(|&t| Ok((t, self.accuracy(bench, t)?))).collect::<Result<Vec<_>>>()
        })?;
        state.current = Some(warmest(current, &tried, (rule.drop, rule.max_drop)));
        state.trend = Trend::default();
        Ok(tried.iter().map(|(t, accuracy)| (format!("temperature/accuracy/{t}"), *accuracy)).collect())
    }

    fn accuracy(&self, bench: &Bench<'_, '_>, temperature: f32) -> Result<f64> {
        let settings = Settings { temperature, ..self.settings };
        let progress = bench.ear.progress(Phase::Evaluate, settings.prompts as u64);
        let evaluation = lapidary_eval::evaluate(
            &*bench.engine,
            bench.tokenizer,
            &*self.task,
            &*self.reward,
            &settings,
            &|done, _| progress.reach(done as u64),
        )?;
        // Without a verdict nothing speaks for this temperature.
        Ok(evaluation.summary.accuracy.map_or(0.0, |accuracy| accuracy.estimate))
    }
}

/// The highest of the tried temperatures, at least `current`, that costs no more than `most`; `current` where none does.
fn warmest(current: f32, tried: &[(f32, f64)], (drop, most): (Drop, f64)) -> f32 {
    /// Accuracies are shares of a few thousand answers; a drop of exactly `most` must not fail by rounding.
    const ROUNDING: f64 = 1e-12;
    let best = tried.iter().map(|(_, accuracy)| *accuracy).fold(0.0, f64::max);
    let least = match drop {
        Drop::Absolute => best - most,
        Drop::Relative => best * (1.0 - most),
    };
    let allowed = tried.iter().filter(|(t, accuracy)| *t >= current && *accuracy >= least - ROUNDING);
    allowed.map(|(t, _)| *t).fold(current, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec A §12.5.
    const TRIED: [(f32, f64); 6] = [(0.8, 0.60), (0.9, 0.61), (1.0, 0.615), (1.1, 0.610), (1.2, 0.606), (1.3, 0.59)];

    #[test]
    fn the_golden_rule_picks_as_the_spec_says() {
        assert_eq!(warmest(1.0, &TRIED, (Drop::Absolute, 0.01)), 1.2);
        assert_eq!(warmest(1.0, &TRIED, (Drop::Relative, 0.01)), 1.1);
    }

    #[test]
    fn it_never_cools_down_and_a_drop_of_exactly_the_limit_is_allowed() {
        assert_eq!(warmest(1.3, &TRIED, (Drop::Absolute, 0.01)), 1.3, "1.3 costs too much, but 1.2 would be cooler");
        assert_eq!(warmest(0.5, &TRIED, (Drop::Absolute, 0.0)), 1.0);
        assert_eq!(warmest(1.0, &[(1.0, 0.5), (1.4, 0.49)], (Drop::Absolute, 0.01)), 1.4);
        assert_eq!(warmest(1.0, &[(1.0, 0.0), (1.4, 0.0)], (Drop::Relative, 0.01)), 1.4, "nothing is right at any");
    }
}
