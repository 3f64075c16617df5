//! How much of a demonstration is shown at a step.
//!
//! ```text
//! p(t) = p_low + ½ (p_high − p_low) (1 + cos(π t / T_hint)),  t = 1..T_hint;   0 after
//! b_i  = round(i·N / L),  L = min(chunks, N)                                   N sentences, L chunks
//! k ~ Binomial(L, p(t));   the hint is the first b_k sentences
//! ```
//! UFT, arXiv 2505.16984, eq. B.1 and its code; spec C §3.2.

use lapidary_core::Key;

use crate::recipe::{AlphaSchedule, Article, Hint, HintLength};

/// The probability of a chunk at step `t` of the stage, from 1; 0 after the hint phase.
pub(super) fn probability(rule: &Hint, t: u64) -> f64 {
    if t > rule.steps {
        return 0.0;
    }
    let turned = (std::f64::consts::PI * t as f64 / rule.steps as f64).cos();
    rule.low + 0.5 * (rule.high - rule.low) * (1.0 + turned)
}

/// `b_0..=b_L`: where the first i of at most `chunks` chunks of `n` pieces end. `[0]` where there is nothing.
pub(super) fn boundaries(n: usize, chunks: usize) -> Vec<usize> {
    let count = chunks.min(n);
    (0..=count).map(|i| (i as f64 * n as f64 / count.max(1) as f64).round_ties_even() as usize).collect()
}

/// How many of `chunks` chunks are shown at step `t`, by `key`.
pub(super) fn chunks_shown(rule: &Hint, t: u64, chunks: usize, key: Key) -> usize {
    if t > rule.steps {
        return 0;
    }
    match rule.length {
        HintLength::None => 0,
        HintLength::Binomial => binomial(chunks, probability(rule, t), key.uniform()),
        HintLength::Uniform => key.below(chunks as u64 + 1) as usize,
        HintLength::Stage => {
            let stage = (rule.steps / (chunks as u64 + 1)).max(1);
            chunks.saturating_sub((t / stage) as usize)
        }
    }
}

/// The number of successes in `n` trials of probability `p` at which the cumulative distribution passes `uniform`.
fn binomial(n: usize, p: f64, uniform: f64) -> usize {
    let mut left = uniform;
    for (k, mass) in masses(n, p).into_iter().enumerate() {
        left -= mass;
        if left < 0.0 {
            return k;
        }
    }
    // What rounding leaves over belongs to the likeliest end.
    if p > 0.5 { n } else { 0 }
}

/// `C(n, k) p^k (1 − p)^(n − k)` for k = 0..=n.
pub(super) fn masses(n: usize, p: f64) -> Vec<f64> {
    let mut ways = 1.0;
    (0..=n)
        .map(|k| {
            let mass = ways * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32);
            ways = ways * (n - k) as f64 / (k + 1) as f64;
            mass
        })
        .collect()
}

/// The article's α at step `t` of `total`, from 1, with `success` the smoothed share of right answers (0 before any).
pub(super) fn alpha(article: &Article, (t, total): (u64, u64), success: f64) -> f64 {
    let x = if total > 1 { (t - 1) as f64 / (total - 1) as f64 } else { 0.0 };
    let between = |share: f64| article.alpha_end + (article.alpha - article.alpha_end) * share;
    match article.schedule {
        AlphaSchedule::Constant => article.alpha,
        AlphaSchedule::Linear => between(1.0 - x),
        AlphaSchedule::Cosine => between(0.5 * (1.0 + (std::f64::consts::PI * x).cos())),
        AlphaSchedule::Steps => {
            let parts = article.levels.len() as u64;
            article.levels[((t - 1) * parts / total).min(parts - 1) as usize]
        }
        AlphaSchedule::SuccessRate => between(1.0 - success),
    }
}

#[cfg(test)]
mod tests {
    use lapidary_core::Purpose;

    use super::*;
    use crate::hint::testing::rule;
    use crate::recipe::HintObjective;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 5.1e-7, "{got} against {want}");
    }

    /// Spec C §3.2.
    #[test]
    fn golden_schedule() {
        let rule = rule("steps = 300");
        for (t, p) in [(1, 0.949975), (75, 0.818198), (150, 0.5), (225, 0.181802), (300, 0.05), (301, 0.0)] {
            close(probability(&rule, t), p);
        }
        close((1..=300).map(|t| probability(&rule, t)).sum::<f64>() / 300.0, 0.4985);
    }

    #[test]
    fn golden_boundaries() {
        assert_eq!(boundaries(3, 5), [0, 1, 2, 3]);
        assert_eq!(boundaries(7, 5), [0, 1, 3, 4, 6, 7]);
        assert_eq!(boundaries(12, 5), [0, 2, 5, 7, 10, 12]);
        assert_eq!(boundaries(23, 5), [0, 5, 9, 14, 18, 23]);
        assert_eq!(boundaries(1, 5), [0, 1]);
        assert_eq!(boundaries(0, 5), [0]);
        assert_eq!(boundaries(6, 4), [0, 2, 3, 4, 6], "1.5 is 2 and 4.5 is 4, as numpy rounds");
    }

    #[test]
    fn golden_masses() {
        let got = masses(5, probability(&rule("steps = 300"), 75));
        let want = [0.000199, 0.004469, 0.040227, 0.181039, 0.407382, 0.366684];
        got.iter().zip(want).for_each(|(got, want)| close(*got, want));
        close(got.iter().enumerate().map(|(k, mass)| k as f64 * mass).sum(), 4.090990);
        for (n, p) in [(0, 0.3), (1, 0.0), (5, 1.0), (40, 0.7)] {
            assert!((masses(n, p).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn golden_stages() {
        let rule = rule("variant = \"stage\"\nsteps = 300");
        let key = Key::new(1, Purpose::Sample);
        let shown = [1, 49, 50, 99, 100, 249, 250, 300].map(|t| chunks_shown(&rule, t, 5, key));
        assert_eq!(shown, [5, 5, 4, 4, 3, 1, 0, 0]);
        assert_eq!(
            chunks_shown(&self::rule("variant = \"stage\"\nsteps = 2"), 1, 5, key),
            4,
            "stages of at least a step"
        );
    }

    /// Pearson's χ² of sampled k against the masses, five degrees of freedom: 20.5 is its 99.9 % point. The control: against the
    /// masses of another step it is far above.
    #[test]
    fn sampled_lengths_are_binomial_and_uniform() {
        let (n, draws) = (5, 20_000);
        let chi2 = |rule: &Hint, t: u64, masses: &[f64]| -> f64 {
            let mut counts = vec![0.0; n + 1];
            (0..draws)
                .for_each(|at| counts[chunks_shown(rule, t, n, Key::new(9, Purpose::Sample).at(t).at(at))] += 1.0);
            let expected = masses.iter().map(|mass| mass * draws as f64);
            counts.iter().zip(expected).map(|(seen, wanted)| (seen - wanted) * (seen - wanted) / wanted).sum()
        };
        let uft = rule("steps = 300");
        for t in [75, 150, 225] {
            let own = chi2(&uft, t, &masses(n, probability(&uft, t)));
            assert!(own < 20.5, "{own} at {t}");
            let other = chi2(&uft, t, &masses(n, probability(&uft, t + 15)));
            assert!(other > 100.0, "{other} at {t}");
        }
        let r3 = rule("variant = \"r3\"\nsteps = 300");
        let uniform = chi2(&r3, 7, &[1.0 / 6.0; 6]);
        assert!(uniform < 20.5, "{uniform}");
    }

    #[test]
    fn nothing_is_shown_after_the_hint_phase_or_without_a_length() {
        let key = Key::new(1, Purpose::Sample);
        for variant in ["uft", "r3", "stage", "rft", "rft_cosine", "sft"] {
            let rule = rule(&format!("variant = \"{variant}\"\nsteps = 4"));
            assert!((5..200).all(|t| chunks_shown(&rule, t, 5, key.at(t)) == 0), "{variant}");
            let none = ["rft", "sft"].contains(&variant);
            assert_eq!((1..5).all(|t| chunks_shown(&rule, t, 5, key.at(t)) == 0), none, "{variant}");
        }
    }

    fn article(settings: &str) -> Article {
        match rule(&format!("objective = \"article\"\n{settings}")).objective {
            HintObjective::Article(article) => article,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn alpha_by_hand() {
        let of = |settings: &str, t: u64, success: f64| alpha(&article(settings), (t, 9), success);
        close(of("alpha_schedule = \"constant\"", 7, 0.0), 0.8);
        for (t, linear, cosine) in [(1, 0.8, 0.8), (3, 0.65, 0.712132), (5, 0.5, 0.5), (9, 0.2, 0.2)] {
            close(of("alpha_schedule = \"linear\"", t, 0.0), linear);
            close(of("alpha_schedule = \"cosine\"", t, 0.0), cosine);
        }
        // Nine steps in four parts: 3, 2, 2 and 2.
        let steps: Vec<f64> = (1..=9).map(|t| of("", t, 0.0)).collect();
        assert_eq!(steps, [0.8, 0.8, 0.8, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2]);
        for (success, wanted) in [(0.0, 0.8), (0.25, 0.65), (1.0, 0.2)] {
            close(of("alpha_schedule = \"success_rate\"", 4, success), wanted);
        }
    }
}
