//! A distribution shift, by three monitors: training runs away from held-out accuracy, the questions change, or the policy
//! leaves the demonstrations.
//!
//! ```text
//! gap     g = acc_train − acc_eval, ĝ ← 0.7·ĝ + 0.3·g;  fires ⇔ ĝ − min ĝ ≥ 0.05 for 2 evaluations in a row
//! input   PSI = Σ (q − p)·ln(q/p) over kinds or length deciles;  fires ⇔ PSI ≥ 0.2
//! policy  mean −log p of held-out demonstrations against its value after the last supervised phase; fires ⇔ rise ≥ 0.15 nats
//! ```

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// A bin without a question has this share: a logarithm of nothing says nothing.
const EMPTY_BIN: f64 = 1e-4;
/// An excess of exactly the limit fires.
const ROUNDING: f64 = 1e-12;

/// Which monitors run, and where each fires; a limit of `None` is off.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftRule {
    /// How far the averaged gap may be above its least.
    pub max_gap: Option<f64>,
    /// Weight of the past in the averaged gap, in [0, 1).
    pub gap_ema: f64,
    /// Evaluations in a row with too large a gap until it fires; positive.
    pub gap_evaluations: u64,
    /// The largest population stability index.
    pub max_psi: Option<f64>,
    /// What questions are told apart by.
    pub input: Input,
    /// Questions on each side of that comparison; positive.
    pub window: usize,
    /// The largest rise of the demonstrations' mean negative log-likelihood, in nats per token.
    pub max_nll_rise: Option<f64>,
    /// The largest mean k3 of the demonstrations' tokens against the policy after the last supervised phase.
    pub max_k3: Option<f64>,
    /// Held-out demonstrations that are read; positive.
    pub demonstrations: usize,
    /// Its weight under `policy = "weighted"`, whichever monitors fire.
    pub weight: f64,
}

/// What questions are told apart by.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A field of their metadata.
    Category(String),
    /// The length of their prompts, in tenths of the first window.
    Length,
}

/// What a question is like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mark {
    /// Its length in tokens.
    Length(u64),
    /// Its kind.
    Category(String),
}

/// What the monitors remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftState {
    /// Right answers and answers with a verdict since the last evaluation.
    pub trained: [u64; 2],
    /// The averaged gap.
    pub gap: Option<f64>,
    /// The least that it has been.
    pub least_gap: Option<f64>,
    /// Evaluations in a row with too large a gap.
    pub over: u64,
    /// The first questions, or those at the last supervised phase.
    pub reference: Vec<Mark>,
    /// The latest questions, oldest first.
    pub current: VecDeque<Mark>,
    /// Mean −log p of the demonstrations after the last supervised phase, or at the start.
    pub first_nll: Option<f64>,
    /// The same at the latest look.
    pub nll: Option<f64>,
    /// −log p of every demonstration token after the last supervised phase, where k3 is watched.
    pub first_tokens: Vec<f32>,
    /// Mean k3 at the latest look.
    pub k3: Option<f64>,
}

impl ShiftState {
    /// Takes the answers to a question into account.
    pub fn observe(&mut self, rule: &ShiftRule, (right, judged): (u64, u64), mark: Mark) {
        self.trained = [self.trained[0] + right, self.trained[1] + judged];
        if rule.max_psi.is_none() {
            return;
        }
        if self.reference.len() < rule.window {
            self.reference.push(mark);
        } else {
            self.current.push_back(mark);
            self.current.drain(..self.current.len().saturating_sub(rule.window));
        }
    }

    /// Takes an evaluation into account: the gap between training since the last one and its accuracy.
    pub fn evaluated(&mut self, rule: &ShiftRule, accuracy: f64) {
        let [right, judged] = std::mem::take(&mut self.trained);
        if judged == 0 {
            return;
        }
        let gap = right as f64 / judged as f64 - accuracy;
        let gap = self.gap.map_or(gap, |before| rule.gap_ema * before + (1.0 - rule.gap_ema) * gap);
        self.gap = Some(gap);
        self.least_gap = Some(self.least_gap.map_or(gap, |least| least.min(gap)));
        let over = rule.max_gap.is_some_and(|most| self.excess() >= most - ROUNDING);
        self.over = if over { self.over + 1 } else { 0 };
    }

    /// Takes a look at the demonstrations into account: −log p of each of their tokens.
    pub fn read(&mut self, rule: &ShiftRule, tokens: &[f32]) {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
            sum / count.max(1) as f64
        };
        let nll = mean(&mut tokens.iter().map(|token| f64::from(*token)));
        if self.first_nll.is_none() {
            self.first_nll = Some(nll);
            self.first_tokens = if rule.max_k3.is_some() { tokens.to_vec() } else { Vec::new() };
        }
        self.nll = Some(nll);
        self.k3 = (self.first_tokens.len() == tokens.len() && rule.max_k3.is_some()).then(|| {
            // log π_first − log π_now = nll_now − nll_first.
            mean(&mut tokens.iter().zip(&self.first_tokens).map(|(now, first)| k3(f64::from(now - first))))
        });
    }

    /// How far the averaged gap is above its least.
    pub fn excess(&self) -> f64 {
        self.gap.zip(self.least_gap).map_or(0.0, |(gap, least)| gap - least)
    }

    /// The distributions of the first and of the latest questions; `None` before both windows are full.
    pub fn inputs(&self, rule: &ShiftRule) -> Option<[Vec<f64>; 2]> {
        let full = self.reference.len() == rule.window && self.current.len() == rule.window;
        full.then(|| histograms(&self.reference, self.current.iter()))
    }

    /// How far the demonstrations have become less likely, in nats per token.
    pub fn nll_rise(&self) -> f64 {
        self.nll.zip(self.first_nll).map_or(0.0, |(now, first)| now - first)
    }

    /// The monitors that fire: of training, of the questions, of the policy.
    pub fn fires(&self, rule: &ShiftRule) -> [bool; 3] {
        let above = |limit: Option<f64>, value: f64| limit.is_some_and(|most| value >= most - ROUNDING);
        let input = self.inputs(rule).is_some_and(|[p, q]| above(rule.max_psi, psi(&p, &q)));
        let policy = above(rule.max_nll_rise, self.nll_rise()) || above(rule.max_k3, self.k3.unwrap_or(0.0));
        [rule.max_gap.is_some() && self.over >= rule.gap_evaluations, input, policy]
    }

    /// Starts counting anew after a supervised phase: the latest questions are the reference now, and so is the policy at the
    /// next look.
    pub fn settle(&mut self, rule: &ShiftRule) {
        self.over = 0;
        if self.inputs(rule).is_some() {
            self.reference = std::mem::take(&mut self.current).into();
        }
        (self.first_nll, self.first_tokens) = (None, Vec::new());
    }
}

/// exp(x) − x − 1 of a log-ratio within ±10, as verl's `low_var_kl`.
fn k3(x: f64) -> f64 {
    let x = x.clamp(-10.0, 10.0);
    x.exp() - x - 1.0
}

/// Shares of each bin on both sides: kinds, or tenths of the first side's lengths.
fn histograms<'a>(first: &'a [Mark], latest: impl Iterator<Item = &'a Mark> + Clone) -> [Vec<f64>; 2] {
    let mut sorted: Vec<&Mark> = first.iter().collect();
    sorted.sort();
    let edges: Vec<&Mark> = match sorted.first() {
        Some(Mark::Length(_)) => {
            let inner = (1..10).map(|tenth| sorted[tenth * sorted.len() / 10]);
            inner.collect::<BTreeSet<_>>().into_iter().collect()
        }
        // Every kind but the smallest begins a bin.
        _ => first.iter().chain(latest.clone()).collect::<BTreeSet<_>>().into_iter().skip(1).collect(),
    };
    let shares = |marks: &mut dyn Iterator<Item = &Mark>| {
        let mut counts = vec![0.0; edges.len() + 1];
        marks.for_each(|mark| counts[edges.partition_point(|edge| *edge <= mark)] += 1.0);
        let all: f64 = counts.iter().sum();
        counts.iter().map(|count| count / all).collect::<Vec<f64>>()
    };
    [shares(&mut first.iter()), shares(&mut latest.clone())]
}

fn terms<'a>(p: &'a [f64], q: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(p.len(), q.len(), "the same bins");
    p.iter().zip(q).filter(|(p, q)| **p + **q > 0.0).map(|(p, q)| (p.max(EMPTY_BIN), q.max(EMPTY_BIN)))
}

/// Population stability index: `Σ (q − p)·ln(q/p)`.
pub fn psi(p: &[f64], q: &[f64]) -> f64 {
    terms(p, q).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

/// `KL(q ‖ p) = Σ q·ln(q/p)`, in nats.
pub fn kl(q: &[f64], p: &[f64]) -> f64 {
    terms(p, q).map(|(p, q)| q * (q / p).ln()).sum()
}

/// Jensen-Shannon divergence, in nats: the mean of both KLs to the mean distribution.
pub fn js(p: &[f64], q: &[f64]) -> f64 {
    let middle: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p + q) / 2.0).collect();
    (kl(p, &middle) + kl(q, &middle)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> ShiftRule {
        ShiftRule {
            max_gap: Some(0.05),
            gap_ema: 0.7,
            gap_evaluations: 2,
            max_psi: Some(0.2),
            input: Input::Length,
            window: 20,
            max_nll_rise: Some(0.15),
            max_k3: None,
            demonstrations: 4,
            weight: 1.0,
        }
    }

    /// Spec B §2.7 (c).
    #[test]
    fn golden_gap() {
        let mut state = ShiftState::default();
        let expected = [(0.05, 0.0), (0.059, 0.009), (0.0833, 0.0333), (0.12731, 0.07731)];
        for (at, ((train, accuracy), (gap, excess))) in
            [(50, 0.45), (55, 0.47), (62, 0.48), (70, 0.47)].into_iter().zip(expected).enumerate()
        {
            state.observe(&rule(), (train, 100), Mark::Length(1));
            state.evaluated(&rule(), accuracy);
            assert!((state.gap.unwrap() - gap).abs() < 1e-9, "{at}");
            assert!((state.excess() - excess).abs() < 1e-9, "{at}");
            assert_eq!(state.over, u64::from(at == 3), "first excess at evaluation 4");
        }
        assert!(!state.fires(&rule())[0], "two in a row are wanted");
        state.observe(&rule(), (70, 100), Mark::Length(1));
        state.evaluated(&rule(), 0.47);
        assert!(state.fires(&rule())[0]);
        state.settle(&rule());
        assert!(!state.fires(&rule())[0]);
    }

    #[test]
    fn an_evaluation_without_training_says_nothing() {
        let mut state = ShiftState::default();
        state.evaluated(&rule(), 0.5);
        assert_eq!(state.gap, None);
    }

    /// Spec B §2.7 (c).
    #[test]
    fn golden_divergences() {
        let (p, q) = ([0.5, 0.3, 0.2], [0.35, 0.25, 0.40]);
        assert!((psi(&p, &q) - 0.201247).abs() < 5e-7);
        assert!((kl(&q, &p) - 0.106842).abs() < 5e-7);
        assert!((js(&p, &q) - 0.024780).abs() < 5e-7);
        assert_eq!((psi(&p, &p), kl(&p, &p), js(&p, &p)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn an_empty_bin_is_large_and_finite_and_a_bin_without_either_is_nothing() {
        let moved = psi(&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]);
        assert!((moved - 2.0 * (1.0 - 1e-4) * (1e4f64).ln()).abs() < 1e-9, "{moved}");
    }

    /// Kinds with the shares of the golden divergences, in windows of twenty.
    #[test]
    fn questions_are_compared_by_kind() {
        let mut state = ShiftState::default();
        let kinds = |counts: [usize; 3]| {
            ["a", "b", "c"].into_iter().zip(counts).flat_map(|(kind, count)| vec![Mark::Category(kind.into()); count])
        };
        for mark in kinds([10, 6, 4]).chain(kinds([7, 5, 7])) {
            state.observe(&rule(), (0, 0), mark);
            assert_eq!(state.inputs(&rule()), None, "not before both windows are full");
        }
        state.observe(&rule(), (0, 0), Mark::Category("c".into()));
        let [p, q] = state.inputs(&rule()).unwrap();
        assert_eq!((p.as_slice(), q.as_slice()), ([0.5, 0.3, 0.2].as_slice(), [0.35, 0.25, 0.4].as_slice()));
        assert_eq!(state.fires(&rule()), [false, true, false]);
        state.settle(&rule());
        assert_eq!((state.reference.len(), state.current.len()), (20, 0), "what is asked now is normal now");
    }

    #[test]
    fn lengths_are_compared_by_tenths_of_the_first() {
        let mut state = ShiftState::default();
        let mut ask = |lengths: std::ops::Range<u64>| {
            lengths.for_each(|length| state.observe(&rule(), (0, 0), Mark::Length(length)));
            state.inputs(&rule())
        };
        let [p, q] = ask(100..140).unwrap();
        assert_eq!(p, [0.1; 10]);
        assert_eq!(q, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], "all are longer than the first nine tenths");
        let [_, back] = ask(100..120).unwrap();
        assert_eq!(back, p);
        let same = histograms(&[Mark::Length(7), Mark::Length(7)], [Mark::Length(7), Mark::Length(3)].iter());
        assert_eq!(same, [vec![0.0, 1.0], vec![0.5, 0.5]], "equal lengths are one bin");
    }

    #[test]
    fn demonstrations_are_compared_with_the_policy_after_the_last_phase() {
        let both = ShiftRule { max_k3: Some(0.5), ..rule() };
        let mut state = ShiftState::default();
        state.read(&both, &[1.0, 2.0]);
        assert_eq!((state.nll_rise(), state.k3), (0.0, Some(0.0)));
        state.read(&both, &[1.2, 2.0]);
        assert!((state.nll_rise() - 0.1).abs() < 1e-7 && !state.fires(&both)[2]);
        // x = log π_first − log π_now = 0.2 and 0.
        assert!((state.k3.unwrap() - (0.2f64.exp() - 1.2) / 2.0).abs() < 1e-6);
        state.read(&both, &[1.2, 2.2]);
        assert!(state.fires(&both)[2], "0.2 nats");
        state.settle(&both);
        state.read(&both, &[1.2, 2.2]);
        assert_eq!(state.nll_rise(), 0.0);
        state.read(&both, &[-0.3, 3.7]);
        assert!(
            state.nll_rise().abs() < 1e-6 && state.fires(&both)[2],
            "moved without becoming less likely on average"
        );
        assert!(!state.fires(&rule())[2], "k3 is off there");
    }
}
