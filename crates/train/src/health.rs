//! Rules that notice a run going wrong while it goes, say what it usually comes from, and which knob to turn.
//!
//! Limits, causes and advice are those of the rules that `lapidary diagnose` asks of the whole run afterwards.

use std::collections::BTreeMap;

use lapidary_core::{Kind, Problem};
use serde::{Deserialize, Serialize};

use crate::diagnose::rules::{EASY_REWARD, KL_LIMIT, RATIO_LIMIT, SAMPLER_LIMIT, TRUNCATED_LIMIT, rule};
use crate::watch::Warning;

/// A rule that holds is said again after so many further windows, not every step.
const REPEAT_WINDOWS: u64 = 5;
/// Share of its best mean reward that a stage may lose before something is wrong.
const REWARD_LOSS: f64 = 0.3;
/// Weight of the newest step in the reward that is compared with its best: a single step is noisy.
const NEWEST_REWARD: f64 = 0.2;
/// Steps, in windows, within which a falling reward is blamed on the optimiser's start.
const START_WINDOWS: u64 = 6;

/// Steps in a row, at most, in which a reward may fail before it stops the run: one bad step is a hiccup of a server, and every
/// further one is learned from what the reward happened to judge.
const STOP_AFTER: u64 = 3;
/// Before the name of a reward in [`HealthState::holding`].
const FAILING: &str = "stop_no_verdict/";

/// What the rules remember between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthState {
    /// Steps of the stage seen.
    pub steps: u64,
    /// Mean length over the first window.
    pub first_length: f64,
    /// The mean reward, smoothed.
    pub reward: f64,
    /// The best it has been.
    pub best_reward: f64,
    /// Per rule: for how many steps in a row it has held.
    pub holding: BTreeMap<String, u64>,
}

/// When a rule speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Steps in a row for which a rule must hold.
    pub window: u64,
    /// Largest share of groups whose rewards are all equal.
    pub max_zero_std: f64,
    /// Smallest mean entropy per token, in nats.
    pub min_entropy: f64,
    /// Largest factor by which the mean length may grow or shrink.
    pub max_length_drift: f64,
    /// Largest share of completions without a verdict.
    pub max_no_verdict: f64,
    /// Largest share of completions that one reward may fail to judge before the run stops.
    pub stop_no_verdict: f64,
}

/// What a step looked like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Share of groups whose rewards are all equal.
    pub zero_std: f64,
    /// Mean reward.
    pub reward: f64,
    /// Mean entropy per token, in nats.
    pub entropy: f64,
    /// Mean completion length, in tokens.
    pub length: f64,
    /// Share of completions cut at the limit.
    pub truncated: f64,
    /// Share of completions without a verdict.
    pub no_verdict: f64,
    /// KL to the reference per token, where one is used.
    pub kl: Option<f64>,
    /// Largest importance ratio.
    pub max_ratio: f64,
    /// Largest difference between the sampler's and the trainer's log-probabilities.
    pub sampler_difference: f64,
}

impl HealthState {
    /// Takes step `step` of the run into account; gives the rules that have held long enough.
    pub fn observe(&mut self, step: u64, limits: &Limits, vitals: &Vitals) -> Vec<Warning> {
        self.steps += 1;
        if self.steps <= limits.window {
            self.first_length += (vitals.length - self.first_length) / self.steps as f64;
        }
        match self.steps {
            1 => (self.reward, self.best_reward) = (vitals.reward, vitals.reward),
            _ => self.reward += NEWEST_REWARD * (vitals.reward - self.reward),
        }
        self.best_reward = self.best_reward.max(self.reward);
        let mut warnings = Vec::new();
        for rule in rules(self, limits, vitals) {
            let held = self.holding.entry(rule.name.to_string()).or_default();
            *held = if rule.holds { *held + 1 } else { 0 };
            let patience = if rule.at_once { 1 } else { limits.window.max(1) };
            let repeat = patience * REPEAT_WINDOWS * if rule.at_once { limits.window.max(1) } else { 1 };
            if *held >= patience && (*held - patience).is_multiple_of(repeat) {
                warnings.push(Warning {
                    step,
                    rule: rule.name.to_string(),
                    seen: rule.seen,
                    cause: rule.cause.to_string(),
                    knob: rule.knob.to_string(),
                });
            }
        }
        warnings
    }

    /// Takes into account on which share of the completions each reward gave no verdict in a step.
    ///
    /// # Errors
    /// [`Kind::Diverged`] `W030` where one has failed too often for too long; `reason` gives its last words.
    pub fn check_rewards(
        &mut self,
        limits: &Limits,
        failures: &BTreeMap<&str, f64>,
        reason: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Problem> {
        let patience = limits.window.clamp(1, STOP_AFTER);
        for (label, share) in failures {
            let held = self.holding.entry(format!("{FAILING}{label}")).or_default();
            *held = if *share > limits.stop_no_verdict { *held + 1 } else { 0 };
            if *held >= patience {
                return Err(failed(label, (*share, limits.stop_no_verdict), *held, reason(label)));
            }
        }
        Ok(())
    }
}

/// What a run says that stops for a reward.
fn failed(label: &str, (share, limit): (f64, f64), steps: u64, reason: Option<String>) -> Problem {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let steps = if steps == 1 { "this step".to_string() } else { format!("{steps} steps in a row") };
    let message = format!(
        "reward `{label}` gave no verdict on {} of the completions, above the limit in {steps}",
        percent(share)
    );
    let problem = Problem::new(Kind::Diverged, "W030", message);
    let problem = match reason {
        Some(reason) => problem.why(format!("it says: {reason}")),
        None => problem,
    };
    problem
        .why(format!(
            "`health.stop_no_verdict` allows {}: learning from the rest alone follows whatever the reward happens to judge",
            percent(limit)
        ))
        .hint(
            "mend the reward (`lapidary reward` tries it on a file) and run the same command again: the run goes on at its last \
             checkpoint. `stop_no_verdict = 1` in `[stage.health]` never stops",
        )
}

struct Rule {
    name: &'static str,
    holds: bool,
    /// Speaks at the first step, not after a window.
    at_once: bool,
    seen: String,
    cause: &'static str,
    knob: &'static str,
}

impl Rule {
    /// A rule with the cause and the advice of `of`, a row of the table of `diagnose`.
    fn new(name: &'static str, of: &str, holds: bool, seen: String) -> Self {
        let (cause, knob) = rule(of).map_or(("", ""), |rule| (rule.cause, rule.advice));
        Self { name, holds, at_once: false, seen, cause, knob }
    }

    fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }
}

fn rules(state: &HealthState, limits: &Limits, vitals: &Vitals) -> Vec<Rule> {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let drift = vitals.length.max(1e-9) / state.first_length.max(1e-9);
    let drifts = drift > limits.max_length_drift || drift < 1.0 / limits.max_length_drift;
    let lost = state.best_reward - state.reward;
    let mut reward_collapse = Rule::new(
        "reward_collapse",
        "reward_collapse",
        // A share of the best means something where 0 is the worst; penalties below it have no such scale.
        state.best_reward > 0.0 && lost > REWARD_LOSS * state.best_reward,
        format!("the mean reward has fallen to {:.3}; it was {:.3} at its best", state.reward, state.best_reward),
    );
    if state.steps <= START_WINDOWS * limits.window {
        // Adam's moments start at 0, so its first full steps are as large as the learning rate in every weight.
        reward_collapse.cause = "the optimiser has just started: its first steps are as large as any, whatever the gradient, \
                                 and undo what was learned before";
        reward_collapse.knob = "a higher `warmup_steps` (40 and more for a tiny model), or a lower `learning_rate`";
    }
    vec![
        reward_collapse,
        Rule::new(
            "zero_variance",
            if vitals.reward > EASY_REWARD { "too_easy" } else { "too_hard" },
            vitals.zero_std > limits.max_zero_std,
            format!("{} of the groups have equal rewards, so they teach nothing", percent(vitals.zero_std)),
        ),
        Rule::new(
            "entropy_collapse",
            "entropy_collapse",
            vitals.entropy < limits.min_entropy,
            format!("the entropy is {:.4} nats per token", vitals.entropy),
        ),
        Rule::new(
            "length_drift",
            if drift > 1.0 { "length_growth" } else { "length_collapse" },
            state.steps > limits.window && drifts,
            format!("completions hold {:.0} tokens, {:.0} at first", vitals.length, state.first_length),
        ),
        Rule::new(
            "truncation",
            "truncation",
            vitals.truncated > TRUNCATED_LIMIT,
            format!("{} of the completions reach `max_new_tokens`", percent(vitals.truncated)),
        ),
        Rule::new(
            "no_verdict",
            "no_verdict",
            vitals.no_verdict > limits.max_no_verdict,
            format!("{} of the completions got no verdict and were left out", percent(vitals.no_verdict)),
        ),
        Rule::new(
            "kl_spike",
            "kl_blow_up",
            vitals.kl.is_some_and(|kl| kl > KL_LIMIT),
            format!("the KL to the reference is {:.3} nats per token", vitals.kl.unwrap_or(0.0)),
        )
        .at_once(),
        Rule::new(
            "ratio_spike",
            "ratio_tails",
            vitals.max_ratio > RATIO_LIMIT,
            format!("the largest importance ratio is {:.1}", vitals.max_ratio),
        )
        .at_once(),
        Rule::new(
            "sampler_mismatch",
            "sampler_mismatch",
            vitals.sampler_difference > SAMPLER_LIMIT,
            format!("sampler and trainer differ by up to {:.2e} nats on a token", vitals.sampler_difference),
        )
        .at_once(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        window: 3,
        max_zero_std: 0.9,
        min_entropy: 0.01,
        max_length_drift: 3.0,
        max_no_verdict: 0.2,
        stop_no_verdict: 0.5,
    };

    fn healthy() -> Vitals {
        Vitals { zero_std: 0.3, reward: 0.4, entropy: 0.5, length: 20.0, max_ratio: 1.0, ..Vitals::default() }
    }

    /// The steps (from 1) at which `vitals` make a rule speak.
    fn spoken(rule: &str, steps: u64, vitals: impl Fn(u64) -> Vitals) -> Vec<u64> {
        let mut state = HealthState::default();
        (1..=steps)
            .filter(|&step| state.observe(step, &LIMITS, &vitals(step)).iter().any(|warning| warning.rule == rule))
            .collect()
    }

    #[test]
    fn a_healthy_run_is_silent() {
        let mut state = HealthState::default();
        assert!((0..50).all(|_| state.observe(1, &LIMITS, &healthy()).is_empty()));
    }

    #[test]
    fn a_rule_speaks_after_its_window_and_then_seldom() {
        let vitals = |_| Vitals { entropy: 0.001, ..healthy() };
        assert_eq!(spoken("entropy_collapse", 20, vitals), [3, 18]);
        let now_and_then =
            |step: u64| Vitals { entropy: if step.is_multiple_of(3) { 1.0 } else { 0.001 }, ..healthy() };
        assert!(spoken("entropy_collapse", 20, now_and_then).is_empty());
    }

    #[test]
    fn every_rule_can_speak_and_names_a_knob() {
        let cases: [(&str, Vitals); 9] = [
            ("reward_collapse", Vitals { reward: 0.0, ..healthy() }),
            ("zero_variance", Vitals { zero_std: 0.95, ..healthy() }),
            ("entropy_collapse", Vitals { entropy: 0.0, ..healthy() }),
            ("truncation", Vitals { truncated: 0.6, ..healthy() }),
            ("no_verdict", Vitals { no_verdict: 0.3, ..healthy() }),
            ("kl_spike", Vitals { kl: Some(2.0), ..healthy() }),
            ("ratio_spike", Vitals { max_ratio: 21.0, ..healthy() }),
            ("sampler_mismatch", Vitals { sampler_difference: 0.01, ..healthy() }),
            ("length_drift", Vitals { length: 100.0, ..healthy() }),
        ];
        for (rule, sick) in cases {
            let vitals = |step: u64| if step <= 3 { healthy() } else { sick };
            let expected = if rule == "reward_collapse" {
                7
            } else if matches!(rule, "kl_spike" | "ratio_spike" | "sampler_mismatch") {
                4
            } else {
                6
            };
            assert_eq!(spoken(rule, 7, vitals), [expected], "{rule}");
            let mut state = HealthState::default();
            let said: Vec<Warning> = (1..=7).flat_map(|step| state.observe(step, &LIMITS, &vitals(step))).collect();
            assert!(said.iter().all(|warning| !warning.cause.is_empty() && !warning.knob.is_empty()), "{rule}");
        }
    }

    /// Early, the optimiser's start is to blame; later, the updates. A reward that is only noisy says nothing.
    #[test]
    fn a_falling_reward_is_told_by_when_it_falls() {
        for (fall, word) in [(2, "warmup_steps"), (60, "checkpoint before")] {
            let mut state = HealthState::default();
            let reward = |step: u64| if step <= fall { 0.6 } else { 0.2 };
            let warnings: Vec<Warning> = (1..=fall + 12)
                .flat_map(|step| state.observe(step, &LIMITS, &Vitals { reward: reward(step), ..healthy() }))
                .collect();
            assert_eq!(warnings[0].rule, "reward_collapse");
            assert!(warnings[0].knob.contains(word), "{warnings:?}");
        }
        let noisy = |step: u64| Vitals { reward: if step.is_multiple_of(2) { 0.5 } else { 0.3 }, ..healthy() };
        assert!(spoken("reward_collapse", 40, noisy).is_empty());
        assert!(spoken("reward_collapse", 40, |step| Vitals { reward: -(step as f64), ..healthy() }).is_empty());
    }

    /// The step (from 1) at which a reward with these shares of failures stops the run.
    fn stops(limits: &Limits, shares: &[f64]) -> Option<usize> {
        let mut state = HealthState::default();
        let check = |share: &f64| {
            let failures = BTreeMap::from([("judge", *share), ("math", 0.0)]);
            state.check_rewards(limits, &failures, |_| Some("timed out".into())).is_err()
        };
        shares.iter().position(check).map(|at| at + 1)
    }

    #[test]
    fn a_reward_that_keeps_failing_stops_the_run_and_one_that_recovers_does_not() {
        assert_eq!(stops(&LIMITS, &[1.0, 0.6, 0.51, 1.0]), Some(3));
        assert_eq!(stops(&LIMITS, &[1.0, 1.0, 0.5, 1.0, 1.0, 0.0]), None, "at the limit is not above it");
        assert_eq!(stops(&Limits { window: 1, ..LIMITS }, &[0.0, 0.6]), Some(2));
        assert_eq!(stops(&Limits { window: 50, ..LIMITS }, &[1.0; 9]), Some(3));
        assert_eq!(stops(&Limits { stop_no_verdict: 1.0, ..LIMITS }, &[1.0; 9]), None);
        let problem = failed("judge", (1.0, 0.5), 3, Some("timed out".into()));
        assert_eq!((problem.kind(), problem.code()), (Kind::Diverged, "W030"));
        assert!(problem.reasons()[0].contains("timed out") && problem.advice().is_some(), "{problem}");
    }

    #[test]
    fn the_cause_of_equal_rewards_depends_on_which_they_are() {
        for (reward, word) in [(0.0, "too hard"), (1.0, "too easy")] {
            let mut state = HealthState::default();
            let sick = Vitals { zero_std: 1.0, reward, ..healthy() };
            let warnings: Vec<Warning> = (0..3).flat_map(|_| state.observe(1, &LIMITS, &sick)).collect();
            assert!(warnings[0].cause.contains(word));
        }
    }
}
