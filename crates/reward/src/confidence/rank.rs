//! Traces of a question, ranked by confidence into pairs.

use serde::{Deserialize, Serialize};

use super::vote::same_answer;

/// A trace of a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trace<'a> {
    /// Its words.
    pub text: &'a str,
    /// Its answer, where one was found.
    pub answer: Option<&'a str>,
    /// How sure the model is of it.
    pub confidence: f64,
}

/// Which traces are paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Every surer trace with every less sure one, as RLSF's code does.
    #[default]
    All,
    /// The surest with the least sure.
    BestVsWorst,
    /// Each with the next less sure one.
    Adjacent,
}

/// The margin that a reward model must keep between the two of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Margin {
    /// exp(conf_i − conf_j), in (1, e]: above 1 even for near ties, as RLSF's code has it.
    #[default]
    Exp,
    /// conf_i − conf_j.
    Linear,
    /// None is written.
    None,
}

impl Margin {
    /// The margin of a pair.
    pub fn of(self, better: f64, worse: f64) -> Option<f64> {
        match self {
            Margin::Exp => Some((better - worse).exp()),
            Margin::Linear => Some(better - worse),
            Margin::None => None,
        }
    }
}

/// How traces become pairs:
///
/// ```text
/// pairs(q) = { (i, j) : conf_i ≥ θ_rank and conf_i > conf_j }
/// ```
/// Pairs with an empty text are dropped, ties are never paired, and of equal texts only the first counts (RLSF, arXiv
/// 2507.21931; its `cot_preference_data.py`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// θ_rank: the confidence that the better of a pair must have.
    pub min_confidence: f64,
    /// Which traces are paired.
    pub pairing: Pairing,
    /// The margin of a pair.
    pub margin: Margin,
    /// Whether two traces with the same answer are paired at all.
    pub skip_equal_answers: bool,
    /// Most pairs of a question, those that lie furthest apart; 0 keeps all.
    pub max_pairs: usize,
}

impl Default for Ranking {
    fn default() -> Self {
        Self {
            min_confidence: 0.9,
            pairing: Pairing::All,
            margin: Margin::Exp,
            skip_equal_answers: false,
            max_pairs: 0,
        }
    }
}

/// Two traces, by their place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedPair {
    /// The surer one.
    pub better: usize,
    /// The other.
    pub worse: usize,
    /// How far they must be apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

impl Ranking {
    /// The pairs of a question, by the better trace and then by the worse.
    pub fn pairs(&self, traces: &[Trace<'_>]) -> Vec<RankedPair> {
        assert!(traces.iter().all(|trace| trace.confidence.is_finite()), "a confidence must be a number");
        let kept = distinct(traces);
        let mut pairs: Vec<(usize, usize)> = match self.pairing {
            Pairing::All => kept.iter().flat_map(|&i| kept.iter().map(move |&j| (i, j))).collect(),
            Pairing::BestVsWorst => self.extremes(traces, &kept).into_iter().collect(),
            Pairing::Adjacent => {
                let order = descending(traces, &kept);
                order.windows(2).map(|two| (two[0], two[1])).collect()
            }
        };
        pairs.retain(|&(i, j)| self.pairs_up(&traces[i], &traces[j]));
        pairs.sort_unstable();
        let apart = |(i, j): &(usize, usize)| traces[*i].confidence - traces[*j].confidence;
        if self.max_pairs > 0 && pairs.len() > self.max_pairs {
            pairs.sort_by(|a, b| apart(b).total_cmp(&apart(a)).then(a.cmp(b)));
            pairs.truncate(self.max_pairs);
            pairs.sort_unstable();
        }
        let pair = |(better, worse): (usize, usize)| {
            let margin = self.margin.of(traces[better].confidence, traces[worse].confidence);
            RankedPair { better, worse, margin }
        };
        pairs.into_iter().map(pair).collect()
    }

    fn pairs_up(&self, better: &Trace<'_>, worse: &Trace<'_>) -> bool {
        let same = || matches!((better.answer, worse.answer), (Some(a), Some(b)) if same_answer(a, b));
        better.confidence >= self.min_confidence
            && better.confidence > worse.confidence
            && !(self.skip_equal_answers && same())
    }

    /// The surest trace and the least sure one that it may be paired with.
    fn extremes(&self, traces: &[Trace<'_>], kept: &[usize]) -> Option<(usize, usize)> {
        let order = descending(traces, kept);
        let best = *order.first()?;
        let worst = order.iter().rev().find(|worst| self.pairs_up(&traces[best], &traces[**worst]))?;
        // Among equals the first.
        let level = traces[*worst].confidence;
        let first =
            order.iter().find(|at| traces[**at].confidence == level && self.pairs_up(&traces[best], &traces[**at]))?;
        Some((best, *first))
    }
}

/// The traces that have words, the first of each text.
fn distinct(traces: &[Trace<'_>]) -> Vec<usize> {
    let said = |at: usize| traces[at].text.trim();
    (0..traces.len()).filter(|&at| !said(at).is_empty() && (0..at).all(|other| said(other) != said(at))).collect()
}

fn descending(traces: &[Trace<'_>], kept: &[usize]) -> Vec<usize> {
    let mut order = kept.to_vec();
    order.sort_by(|a, b| traces[*b].confidence.total_cmp(&traces[*a].confidence));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    fn traces<'a>(confidences: &[f64], answers: &[Option<&'a str>]) -> Vec<Trace<'a>> {
        let answer = |at: usize| answers.get(at).copied().flatten();
        let trace =
            |(at, confidence): (usize, &f64)| Trace { text: NAMES[at], answer: answer(at), confidence: *confidence };
        confidences.iter().enumerate().map(trace).collect()
    }

    fn places(pairs: &[RankedPair]) -> Vec<(usize, usize)> {
        pairs.iter().map(|pair| (pair.better, pair.worse)).collect()
    }

    const GOLDEN: [f64; 5] = [0.95, 0.40, 0.92, 0.10, 0.95];

    /// Spec B §1.13: eight pairs, with their margins.
    #[test]
    fn pairs_and_margins_of_the_golden_confidences() {
        let pairs = Ranking::default().pairs(&traces(&GOLDEN, &[]));
        assert_eq!(places(&pairs), [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3), (4, 1), (4, 2), (4, 3)]);
        let margins = [1.733253, 1.030455, 2.339647, 1.682028, 2.270500, 1.733253, 1.030455, 2.339647];
        for (pair, margin) in pairs.iter().zip(margins) {
            assert!((pair.margin.unwrap() - margin).abs() < 1e-6, "{pair:?} {margin}");
        }
        let linear = Ranking { margin: Margin::Linear, ..Ranking::default() }.pairs(&traces(&GOLDEN, &[]));
        assert!((linear[1].margin.unwrap() - 0.03).abs() < 1e-12);
        let none = Ranking { margin: Margin::None, ..Ranking::default() }.pairs(&traces(&GOLDEN, &[]));
        assert!(none.iter().all(|pair| pair.margin.is_none()));
    }

    #[test]
    fn nobody_sure_enough_is_no_pair_and_ties_are_none() {
        assert!(Ranking::default().pairs(&traces(&[0.89, 0.1], &[])).is_empty());
        assert!(Ranking::default().pairs(&traces(&[0.95, 0.95], &[])).is_empty());
        assert!(Ranking::default().pairs(&[]).is_empty());
    }

    #[test]
    fn fewer_pairs_by_pairing_and_by_cap() {
        let of = |pairing| places(&Ranking { pairing, ..Ranking::default() }.pairs(&traces(&GOLDEN, &[])));
        assert_eq!(of(Pairing::BestVsWorst), [(0, 3)]);
        // 0 and 4 are a tie; 1 over 3 is below θ.
        assert_eq!(of(Pairing::Adjacent), [(2, 1), (4, 2)]);
        let capped = Ranking { max_pairs: 3, ..Ranking::default() }.pairs(&traces(&GOLDEN, &[]));
        assert_eq!(places(&capped), [(0, 3), (2, 3), (4, 3)]);
    }

    #[test]
    fn equal_answers_equal_texts_and_empty_texts_are_left_out() {
        let answers = [Some("72"), Some("60"), Some("72.0"), None];
        let all = traces(&[0.95, 0.4, 0.3, 0.2], &answers);
        let skipping = Ranking { skip_equal_answers: true, ..Ranking::default() };
        assert_eq!(places(&skipping.pairs(&all)), [(0, 1), (0, 3)]);
        assert_eq!(places(&Ranking::default().pairs(&all)), [(0, 1), (0, 2), (0, 3)]);
        let worst = Ranking { pairing: Pairing::BestVsWorst, ..skipping };
        assert_eq!(places(&worst.pairs(&all[..3])), [(0, 1)], "the least sure one has the same answer");
        let again = [Trace { confidence: 0.1, ..all[0] }, all[0], Trace { text: " ", ..all[1] }, all[1]];
        assert_eq!(places(&Ranking::default().pairs(&again)), [], "the first of equal texts counts");
        let twice = [all[0], all[1], Trace { text: "b ", ..all[1] }, Trace { text: "", ..all[1] }];
        assert_eq!(places(&Ranking::default().pairs(&twice)), [(0, 1)]);
    }

    proptest! {
        /// Permuting traces permutes the pairs, and every pair is in order and above θ.
        #[test]
        fn pairs_do_not_depend_on_the_order_of_traces(
            confidences in prop::collection::vec(0.0f64..1.0, 2..8),
            turn in 1usize..8,
            least in 0.0f64..1.0,
        ) {
            let ranking = Ranking { min_confidence: least, ..Ranking::default() };
            let before = traces(&confidences, &[]);
            let shift = turn % before.len();
            let mut after = before.clone();
            after.rotate_left(shift);
            let moved = |at: usize| (at + shift) % before.len();
            let mut back: Vec<(usize, usize)> =
                places(&ranking.pairs(&after)).into_iter().map(|(i, j)| (moved(i), moved(j))).collect();
            back.sort_unstable();
            let pairs = ranking.pairs(&before);
            prop_assert_eq!(places(&pairs), back);
            for pair in pairs {
                let (better, worse) = (confidences[pair.better], confidences[pair.worse]);
                prop_assert!(better >= least && better > worse);
                let margin = pair.margin.unwrap();
                prop_assert!(margin > 1.0 && margin <= std::f64::consts::E);
            }
        }
    }
}
