//! A knowledge gap: a kind of question that is (almost) never answered, is answered worse than before, or is new and answered
//! worse than the others.
//!
//! For key c with k right of n answers in its window, uniform prior:
//! ```text
//! gap      n ≥ min_answers  and  P(p_c < τ) ≥ γ,   p_c ~ Beta(1 + k, 1 + n − k)
//! degraded e_c ≤ max e_c − drop                    e_c ← 0.9·e_c + 0.1·(share of right answers of a group)
//! novel    c first seen within the last `new_steps`  and  e_c ≤ e − drop,  e over all keys
//! fires    ⇔ Σ_c (c's share of the groups in all windows)·1[gap ∨ degraded ∨ novel] ≥ traffic
//! ```

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Weight of the past in the averages of a key and of all keys: half of what is remembered is of the last seven groups.
const PAST: f64 = 0.9;
/// Keys that are told apart; a key per item (an id, say) is no kind of question. Further ones share [`OTHERS`].
const MOST_KEYS: usize = 1024;
const OTHERS: &str = "(others)";
/// Averages of equal shares differ by rounding; a drop of exactly `drop` counts.
const ROUNDING: f64 = 1e-12;

/// When a kind of question is a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct GapRule {
    /// Which field of an item's metadata says its kind.
    pub key: String,
    /// Groups of answers that are remembered per key; positive.
    pub window: usize,
    /// τ: share of right answers below which a kind is unknown.
    pub threshold: f64,
    /// γ: how sure of that one must be.
    pub confidence: f64,
    /// Answers in the window without which a kind is not judged unknown.
    pub min_answers: u64,
    /// Steps for which a kind is new.
    pub new_steps: u64,
    /// How far an average must be down.
    pub drop: f64,
    /// Share of the questions that must be of such kinds; 0: any.
    pub traffic: f64,
    /// Its weight under `policy = "weighted"`.
    pub weight: f64,
}

/// What is remembered of a kind of question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyState {
    /// Right answers and answers with a verdict of the last groups, oldest first.
    pub window: VecDeque<[u64; 2]>,
    /// Average share of right answers, newer groups weighing more.
    pub average: f64,
    /// The highest that the average has been, from `min_answers` answers on.
    pub best: Option<f64>,
    /// Step at which it was first asked.
    pub first_seen: u64,
    /// Answers so far.
    pub answers: u64,
}

/// What is remembered of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapState {
    /// By key.
    pub keys: BTreeMap<String, KeyState>,
    /// Average share of right answers over all groups.
    pub average: Option<f64>,
}

/// What is wrong with which kinds of question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaps {
    /// The kinds, and why: `gap`, `degraded` or `novel`, the first that holds.
    pub keys: Vec<(String, &'static str)>,
    /// Their share of the groups in all windows.
    pub traffic: f64,
    /// Whether that is enough.
    pub fires: bool,
}

impl GapState {
    /// Takes a group of answers into account: `right` of `judged` at a step. A group without a verdict says nothing.
    pub fn observe(&mut self, rule: &GapRule, step: u64, key: &str, (right, judged): (u64, u64)) {
        if judged == 0 {
            return;
        }
        let known = self.keys.contains_key(key) || self.keys.len() < MOST_KEYS;
        let share = right as f64 / judged as f64;
        self.average = Some(self.average.map_or(share, |before| PAST * before + (1.0 - PAST) * share));
        let state = self.keys.entry(if known { key } else { OTHERS }.to_string()).or_default();
        if state.answers == 0 {
            (state.first_seen, state.average) = (step, share);
        } else {
            state.average = PAST * state.average + (1.0 - PAST) * share;
        }
        state.answers += judged;
        state.window.push_back([right, judged]);
        state.window.drain(..state.window.len().saturating_sub(rule.window));
        if state.answers >= rule.min_answers {
            state.best = Some(state.best.map_or(state.average, |best| best.max(state.average)));
        }
    }

    /// What is wrong after a step.
    pub fn gaps(&self, rule: &GapRule, step: u64) -> Gaps {
        let all: usize = self.keys.values().map(|state| state.window.len()).sum();
        let mut gaps = Gaps::default();
        for (key, state) in &self.keys {
            // What was asked before the last supervised phase says nothing of what it left.
            if let Some(why) = self.why(rule, step, state).filter(|_| !state.window.is_empty()) {
                gaps.traffic += state.window.len() as f64 / all as f64;
                gaps.keys.push((key.clone(), why));
            }
        }
        gaps.fires = !gaps.keys.is_empty() && gaps.traffic >= rule.traffic - ROUNDING;
        gaps
    }

    fn why(&self, rule: &GapRule, step: u64, state: &KeyState) -> Option<&'static str> {
        let [right, judged] =
            state.window.iter().fold([0, 0], |sum, [right, judged]| [sum[0] + right, sum[1] + judged]);
        let down = |from: f64| state.average <= from - rule.drop + ROUNDING;
        if judged >= rule.min_answers && probability_below(rule.threshold, right, judged) >= rule.confidence {
            return Some("gap");
        }
        if state.best.is_some_and(down) {
            return Some("degraded");
        }
        let new = step.saturating_sub(state.first_seen) < rule.new_steps;
        (new && self.average.is_some_and(down)).then_some("novel")
    }

    /// Starts counting anew after a supervised phase: windows are of answers since then, and so is the best.
    pub fn settle(&mut self) {
        for state in self.keys.values_mut() {
            state.window.clear();
            state.best = state.best.map(|_| state.average);
        }
    }
}

/// P(p < x) of p ~ Beta(1 + k, 1 + n − k): the chance of more than `k` hits in `n + 1` draws that hit with probability `x`.
pub fn probability_below(x: f64, k: u64, n: u64) -> f64 {
    assert!(k <= n && (0.0..=1.0).contains(&x), "{k} of {n}, below {x}");
    if x == 0.0 || x == 1.0 {
        return x;
    }
    let draws = (n + 1) as f64;
    let (hit, miss) = (x.ln(), (1.0 - x).ln());
    let mut log_term = draws * miss;
    let mut at_most = log_term.exp();
    for j in 1..=k {
        let j = j as f64;
        log_term += ((draws - j + 1.0) / j).ln() + hit - miss;
        at_most += log_term.exp();
    }
    (1.0 - at_most).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> GapRule {
        GapRule {
            key: "category".into(),
            window: 256,
            threshold: 0.1,
            confidence: 0.8,
            min_answers: 8,
            new_steps: 200,
            drop: 0.1,
            traffic: 0.1,
            weight: 1.0,
        }
    }

    fn after(groups: &[(&str, u64)]) -> GapState {
        let mut state = GapState::default();
        groups.iter().for_each(|(key, right)| state.observe(&rule(), 1000, key, (*right, 8)));
        state
    }

    /// Spec B §2.7 (b).
    #[test]
    fn golden_posteriors() {
        assert!((probability_below(0.1, 0, 8) - 0.612580).abs() < 5e-7);
        assert!((probability_below(0.1, 0, 16) - 0.833228).abs() < 5e-7);
        let none = |groups: usize| after(&vec![("a", 0); groups]).gaps(&rule(), 9000);
        assert!(!none(1).fires);
        let two = none(2);
        assert_eq!((two.keys, two.traffic, two.fires), (vec![("a".to_string(), "gap")], 1.0, true));
    }

    #[test]
    fn the_posterior_by_hand_and_far_out() {
        // Beta(2, 2): P(p < x) = 3x² − 2x³.
        assert!((probability_below(0.3, 1, 2) - (3.0 * 0.09 - 2.0 * 0.027)).abs() < 1e-12);
        // Beta(1 + k, 1) has P(p < x) = x^(k + 1).
        assert!((probability_below(0.5, 3, 3) - 0.0625).abs() < 1e-12);
        let tail = probability_below(0.1, 150, 2048);
        assert!(tail > 0.9999 && tail <= 1.0, "{tail}");
        assert!(probability_below(0.1, 400, 2048) < 1e-9);
        assert_eq!((probability_below(0.0, 0, 5), probability_below(1.0, 0, 5)), (0.0, 1.0));
    }

    #[test]
    fn a_kind_is_not_judged_on_few_answers() {
        let mut state = GapState::default();
        let sure = GapRule { confidence: 0.5, min_answers: 17, ..rule() };
        (0..2).for_each(|_| state.observe(&sure, 1000, "a", (0, 8)));
        assert!(!state.gaps(&sure, 9000).fires);
        state.observe(&sure, 1000, "a", (0, 1));
        assert!(state.gaps(&sure, 9000).fires);
    }

    #[test]
    fn kinds_count_by_their_share_of_the_questions() {
        // 2 of 20 groups are a gap: exactly a tenth.
        let mut groups = vec![("good", 8); 18];
        groups.extend([("bad", 0); 2]);
        let gaps = after(&groups).gaps(&rule(), 9000);
        assert!(gaps.fires && (gaps.traffic - 0.1).abs() < 1e-12, "{gaps:?}");
        groups.push(("good", 8));
        let fewer = after(&groups);
        assert!(!fewer.gaps(&rule(), 9000).fires);
        assert!(fewer.gaps(&GapRule { traffic: 0.0, ..rule() }, 9000).fires, "any");
        assert!(!after(&[("good", 8)]).gaps(&GapRule { traffic: 0.0, ..rule() }, 9000).fires, "none is not any");
    }

    #[test]
    fn a_fall_is_noticed_by_its_average() {
        // The average goes 1, 0.95, 0.905, 0.8645: the third group takes it below 0.9.
        let mut state = after(&[("a", 8), ("b", 8)]);
        for (group, why) in [None, None, Some("degraded")].into_iter().enumerate() {
            state.observe(&rule(), 1000, "a", (4, 8));
            let found = state.gaps(&rule(), 9000).keys.first().map(|(_, why)| *why);
            assert_eq!(found, why, "after {} worse groups", group + 1);
        }
        state.settle();
        assert!(state.gaps(&rule(), 9000).keys.is_empty(), "after a supervised phase the fall is counted from there");
        state.observe(&rule(), 1000, "a", (7, 8));
        assert!(state.gaps(&rule(), 9000).keys.is_empty());
    }

    #[test]
    fn what_is_new_and_worse_is_noticed_while_it_is_new() {
        let mut state = GapState::default();
        (0..30).for_each(|_| state.observe(&rule(), 1, "old", (8, 8)));
        state.observe(&rule(), 500, "new", (4, 8));
        assert_eq!(state.gaps(&rule(), 500).keys, [("new".to_string(), "novel")]);
        assert_eq!(state.gaps(&rule(), 699).keys.len(), 1);
        assert!(state.gaps(&rule(), 700).keys.is_empty(), "it is no longer new");
    }

    #[test]
    fn the_window_moves_on_and_keys_are_bounded() {
        let narrow = GapRule { window: 2, ..rule() };
        let mut state = GapState::default();
        for right in [0, 0, 8, 8] {
            state.observe(&narrow, 1, "a", (right, 8));
        }
        assert_eq!(state.keys["a"].window, [[8, 8], [8, 8]]);
        state.observe(&narrow, 1, "a", (0, 0));
        assert_eq!(state.keys["a"].answers, 32, "a group without a verdict says nothing");
        (0..2000).for_each(|key| state.observe(&narrow, 1, &key.to_string(), (1, 8)));
        assert_eq!(state.keys.len(), MOST_KEYS + 1);
        assert!(state.keys.contains_key(OTHERS));
    }
}
