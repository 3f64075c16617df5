//! One number per token, and what it comes to over a span.

use std::ops::Range;

use lapidary_core::Want;
use serde::{Deserialize, Serialize};

/// What a model says of each token of a completion; an array that was not asked for is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// ln p of the token that stands there.
    pub logp: Vec<f32>,
    /// The largest and the second largest probability.
    pub top: [Vec<f32>; 2],
    /// Entropy over the vocabulary, in nats.
    pub entropy: Vec<f32>,
    /// −(1/V) Σ_v ln p_v = logsumexp(z) − mean(z).
    pub mean_nll: Vec<f32>,
    /// The bytes of the text that each token wrote; empty for a special token.
    pub places: Vec<Range<usize>>,
    /// V.
    pub vocabulary: usize,
}

impl Readings {
    /// How many tokens.
    pub fn len(&self) -> usize {
        self.logp.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.logp.is_empty()
    }
}

/// Which probability the second largest is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disparity {
    /// p(x_t) − p₂, as the code of RLSF has it: 0 or less where the token is not the likeliest.
    #[default]
    ChosenMinusSecond,
    /// p₁ − p₂, as CoT-decoding writes it (arXiv 2402.10200, §2.2): never below 0.
    Top1MinusTop2,
}

/// c_t, what a token says about confidence; Δ is its mean over the answer's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// p(x_t) − p₂ or p₁ − p₂, by [`Disparity`] (RLSF's default).
    #[default]
    ProbabilityDisparity,
    /// p(x_t).
    PredictiveProbability,
    /// max_a p_t(a): the article's form.
    MaxProbability,
    /// 1 − H_t / ln V. RLSF's code also has a `mean_token_entropy`, which it returns inverted; here it is this one.
    #[serde(alias = "mean_token_entropy")]
    Entropy,
    /// −exp(−mean ln p(x_t)): one number for the span, negated so that more is surer; at most −1.
    Perplexity,
}

impl Statistic {
    /// What a forward pass must give for it.
    pub fn want(self) -> Want {
        let (entropy, top) = match self {
            Statistic::ProbabilityDisparity | Statistic::MaxProbability => (false, true),
            Statistic::Entropy => (true, false),
            Statistic::PredictiveProbability | Statistic::Perplexity => (false, false),
        };
        Want { entropy, top, ..Want::default() }
    }

    /// c_t of token `t`; of [`Statistic::Perplexity`] that of the token alone.
    pub fn of_token(self, form: Disparity, readings: &Readings, t: usize) -> f64 {
        let chosen = f64::from(readings.logp[t]).exp();
        let top = |place: usize| f64::from(readings.top[place][t]);
        match (self, form) {
            (Statistic::ProbabilityDisparity, Disparity::ChosenMinusSecond) => chosen - top(1),
            (Statistic::ProbabilityDisparity, Disparity::Top1MinusTop2) => top(0) - top(1),
            (Statistic::PredictiveProbability, _) => chosen,
            (Statistic::MaxProbability, _) => top(0),
            (Statistic::Entropy, _) => 1.0 - f64::from(readings.entropy[t]) / highest_entropy(readings),
            (Statistic::Perplexity, _) => -1.0 / chosen,
        }
    }

    /// Δ: the mean of c_t over `span`; `None` where it holds no token.
    pub fn of_span(self, form: Disparity, readings: &Readings, span: Range<usize>) -> Option<f64> {
        assert!(span.end <= readings.len(), "a span of {span:?} in {} tokens", readings.len());
        if span.is_empty() {
            return None;
        }
        let count = span.len() as f64;
        Some(match self {
            Statistic::Perplexity => {
                let mean = span.map(|t| f64::from(readings.logp[t])).sum::<f64>() / count;
                -(-mean).exp()
            }
            _ => span.map(|t| self.of_token(form, readings, t)).sum::<f64>() / count,
        })
    }

    /// A confidence as a number in [0, 1], for calibration: clamped; 1 / perplexity, which is the geometric mean of p(x_t).
    pub fn as_probability(self, confidence: f64) -> f64 {
        match self {
            Statistic::Perplexity => (-1.0 / confidence.min(-1.0)).clamp(0.0, 1.0),
            _ => confidence.clamp(0.0, 1.0),
        }
    }

    /// The confidence of a trace whose answer was not found: 0, and for a negated perplexity that of a model which gives each
    /// token one chance in a million.
    pub fn nothing(self) -> f64 {
        match self {
            Statistic::Perplexity => -1e6,
            _ => 0.0,
        }
    }
}

fn highest_entropy(readings: &Readings) -> f64 {
    assert!(readings.vocabulary > 1, "entropy says nothing of a vocabulary of {}", readings.vocabulary);
    (readings.vocabulary as f64).ln()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a model with these logits says of the chosen ids.
    pub(crate) fn readings(logits: &[Vec<f64>], chosen: &[usize]) -> Readings {
        let mut out = Readings { vocabulary: logits[0].len(), ..Readings::default() };
        for (z, id) in logits.iter().zip(chosen) {
            let sum: f64 = z.iter().map(|x| x.exp()).sum();
            let p: Vec<f64> = z.iter().map(|x| x.exp() / sum).collect();
            let mut sorted = p.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            out.logp.push(p[*id].ln() as f32);
            out.top[0].push(sorted[0] as f32);
            out.top[1].push(sorted[1] as f32);
            out.entropy.push(-p.iter().map(|p| p * p.ln()).sum::<f64>() as f32);
            out.mean_nll.push(-(p.iter().map(|p| p.ln()).sum::<f64>() / p.len() as f64) as f32);
        }
        out
    }

    pub(crate) fn golden() -> Vec<Vec<f64>> {
        vec![vec![2.0, 1.0, 0.0, -1.0], vec![0.5, 0.5, 0.0, 0.0], vec![3.0, 0.0, 0.0, 0.0]]
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1.5e-6, "{a} is not {b}");
    }

    const CODE: Disparity = Disparity::ChosenMinusSecond;

    /// Spec B §1.13, first table.
    #[test]
    fn statistics_of_the_golden_logits() {
        let seen = readings(&golden(), &[0, 1, 0]);
        for (t, (chosen, second, disparity, certainty)) in [
            (0.643914, 0.236883, 0.407031, 0.316497),
            (0.311230, 0.311230, 0.0, 0.021857),
            (0.870049, 0.043317, 0.826731, 0.618363),
        ]
        .into_iter()
        .enumerate()
        {
            close(Statistic::PredictiveProbability.of_token(CODE, &seen, t), chosen);
            close(f64::from(seen.top[1][t]), second);
            close(Statistic::ProbabilityDisparity.of_token(CODE, &seen, t), disparity);
            close(Statistic::Entropy.of_token(CODE, &seen, t), certainty);
        }
        close(Statistic::ProbabilityDisparity.of_span(CODE, &seen, 1..3).unwrap(), 0.413366);
        close(Statistic::PredictiveProbability.of_span(CODE, &seen, 1..3).unwrap(), 0.590639);
        close(Statistic::MaxProbability.of_span(CODE, &seen, 0..3).unwrap(), 0.608397);
        let entropies: Vec<f64> = seen.entropy.iter().map(|h| f64::from(*h)).collect();
        for (h, expected) in entropies.iter().zip([0.947537, 1.355994, 0.529061]) {
            close(*h, expected);
        }
        close(entropies.iter().sum::<f64>() / 3.0, 0.944197);
        assert_eq!(Statistic::default().of_span(CODE, &seen, 2..2), None);
    }

    /// A branch token that is not the likeliest: 0 at rank 2 and below 0 further down in the code's form, unchanged in the
    /// paper's.
    #[test]
    fn disparity_of_a_branch_token_depends_on_its_form() {
        for (id, code) in [(1, 0.0), (2, -0.149738)] {
            let seen = readings(&golden()[..1], &[id]);
            close(Statistic::ProbabilityDisparity.of_token(CODE, &seen, 0), code);
            close(Statistic::ProbabilityDisparity.of_token(Disparity::Top1MinusTop2, &seen, 0), 0.407031);
        }
    }

    /// RLSF's code returns 1 − mean(1 − H/ln V) under the name `mean_token_entropy`, so that the least sure answer wins.
    #[test]
    fn mean_token_entropy_is_not_inverted() {
        let name: Statistic = serde_json::from_str("\"mean_token_entropy\"").unwrap();
        let sure = readings(&[vec![9.0, 0.0, 0.0, 0.0]], &[0]);
        let unsure = readings(&[vec![0.1, 0.0, 0.0, 0.0]], &[0]);
        let of = |seen: &Readings| name.of_span(CODE, seen, 0..1).unwrap();
        assert!(of(&sure) > 0.9 && of(&unsure) < 0.1, "{} {}", of(&sure), of(&unsure));
        close(name.of_span(CODE, &readings(&golden(), &[0, 1, 0]), 0..3).unwrap(), 1.0 - 0.944197 / 4f64.ln());
    }

    #[test]
    fn perplexity_is_negated_and_its_inverse_is_a_probability() {
        let seen = readings(&golden(), &[0, 1, 0]);
        let confidence = Statistic::Perplexity.of_span(CODE, &seen, 0..3).unwrap();
        let geometric = (0.643914f64 * 0.311230 * 0.870049).cbrt();
        close(confidence, -1.0 / geometric);
        close(Statistic::Perplexity.as_probability(confidence), geometric);
        assert!(Statistic::Perplexity.nothing() < confidence);
        assert_eq!(Statistic::Perplexity.as_probability(Statistic::Perplexity.nothing()), 1e-6);
        assert_eq!(Statistic::ProbabilityDisparity.as_probability(-0.1), 0.0);
    }

    #[test]
    fn shifting_all_logits_changes_nothing() {
        let all = [
            Statistic::ProbabilityDisparity,
            Statistic::PredictiveProbability,
            Statistic::MaxProbability,
            Statistic::Entropy,
            Statistic::Perplexity,
        ];
        let shifted: Vec<Vec<f64>> = golden().iter().map(|z| z.iter().map(|x| x + 7.25).collect()).collect();
        let (a, b) = (readings(&golden(), &[1, 2, 3]), readings(&shifted, &[1, 2, 3]));
        for statistic in all {
            for form in [CODE, Disparity::Top1MinusTop2] {
                close(statistic.of_span(form, &a, 0..3).unwrap(), statistic.of_span(form, &b, 0..3).unwrap());
            }
        }
        for t in 0..3 {
            close(f64::from(a.mean_nll[t]), f64::from(b.mean_nll[t]));
        }
    }

    /// Spec B §1.13: self-certainty as Intuitor's code has it, logsumexp − mean, and as KL(U‖p), which is ln V less.
    #[test]
    fn self_certainty_of_the_golden_logits() {
        let seen = readings(&golden(), &[0, 1, 0]);
        for (t, (code, divergence)) in
            [(1.940190, 0.553895), (1.417224, 0.030930), (2.389206, 1.002912)].into_iter().enumerate()
        {
            close(f64::from(seen.mean_nll[t]), code);
            close(f64::from(seen.mean_nll[t]) - 4f64.ln(), divergence);
        }
    }
}
