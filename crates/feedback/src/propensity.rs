//! What was shown, and with what probability: values of policies that were not served, and clicks without the effect of their position.

/// A served answer: its reward, the probability with which the arm was assigned, and the one with which the new policy would have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    /// Reward r.
    pub reward: f64,
    /// Logged probability μ, above 0.
    pub logged: f64,
    /// Probability π under the policy that is asked about.
    pub target: f64,
}

/// Estimates of the value of a policy from what another one served (specification C §5.4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffPolicy {
    /// `mean(w·r)`, w = π/μ: unbiased, of high variance.
    pub ips: f64,
    /// `Σ w·r / Σ w`: never outside the rewards; `None` where no weight is above 0.
    pub snips: Option<f64>,
    /// `mean(min(w, M)·r)`.
    pub clipped: f64,
    /// Effective sample size `(Σ w)²/Σ w²`; 0 where no weight is above 0.
    pub effective: f64,
}

/// Inverse propensity estimates with weights cut at `most`. `None` without data. Propensities are those of arms: the probability of a whole
/// text is useless beyond about 20 tokens.
pub fn off_policy(served: &[Served], most: f64) -> Option<OffPolicy> {
    assert!(served.iter().all(|s| s.logged > 0.0 && s.target >= 0.0), "logged probabilities are above 0");
    if served.is_empty() {
        return None;
    }
    let n = served.len() as f64;
    let weights: Vec<f64> = served.iter().map(|s| s.target / s.logged).collect();
    let (sum, squares): (f64, f64) = (weights.iter().sum(), weights.iter().map(|w| w * w).sum());
    let weighted = |cut: f64| -> f64 { weights.iter().zip(served).map(|(w, s)| w.min(cut) * s.reward).sum() };
    Some(OffPolicy {
        ips: weighted(f64::INFINITY) / n,
        snips: (sum > 0.0).then(|| weighted(f64::INFINITY) / sum),
        clipped: weighted(most) / n,
        effective: if squares > 0.0 { sum * sum / squares } else { 0.0 },
    })
}

/// Doubly robust value `mean(q̂_π + w·(r − q̂))` (Dudík et al. 2011, arXiv 1103.4601): right if either the probabilities or the predicted rewards
/// are. `predicted` is q̂ of what was served, `expected` its mean under the new policy. `None` without data.
pub fn doubly_robust(served: &[Served], predicted: &[f64], expected: &[f64]) -> Option<f64> {
    assert!(served.len() == predicted.len() && served.len() == expected.len(), "a prediction for each");
    let part = |((s, q), e): ((&Served, &f64), &f64)| e + s.target / s.logged * (s.reward - q);
    let sum: f64 = served.iter().zip(predicted).zip(expected).map(part).sum();
    (!served.is_empty()).then(|| sum / served.len() as f64)
}

/// How likely each position is to be looked at, relative to the first, from a slice of traffic whose order was random: the ratio of click
/// rates (position-based model `P(click|x, k) = θ_k·γ(x)`; Joachims et al. 2017, arXiv 1608.04468). `None` without a click at the first.
pub fn examination(clicks: &[u64], shown: &[u64]) -> Option<Vec<f64>> {
    assert_eq!(clicks.len(), shown.len(), "clicks and impressions by position");
    let rate = |at: usize| if shown[at] == 0 { 0.0 } else { clicks[at] as f64 / shown[at] as f64 };
    let first = (!clicks.is_empty()).then(|| rate(0)).filter(|rate| *rate > 0.0)?;
    Some((0..clicks.len()).map(|at| rate(at) / first).collect())
}

/// Attractiveness with the effect of the position taken out: `clicks/(shown·θ)` at each position. `None` where nobody looks.
pub fn attractiveness(clicks: u64, shown: u64, examined: f64) -> Option<f64> {
    (shown > 0 && examined > 0.0).then(|| clicks as f64 / (shown as f64 * examined))
}

/// Clicks and impressions of an item at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which item.
    pub item: usize,
    /// At which position, from 0.
    pub position: usize,
    /// Its clicks there.
    pub clicks: u64,
    /// Its impressions there.
    pub shown: u64,
}

/// Examination and attractiveness by expectation–maximisation of the position-based model, where no traffic was random but items moved
/// between positions: `(θ by position, γ by item)`, θ scaled to 1 at the first position.
pub fn position_model(cells: &[Cell], rounds: usize) -> (Vec<f64>, Vec<f64>) {
    let positions = cells.iter().map(|cell| cell.position + 1).max().unwrap_or(0);
    let items = cells.iter().map(|cell| cell.item + 1).max().unwrap_or(0);
    let (mut theta, mut gamma) = (vec![0.5f64; positions], vec![0.5f64; items]);
    for _ in 0..rounds {
        let (mut seen, mut liked) = (vec![(0.0, 0.0); positions], vec![(0.0, 0.0); items]);
        for cell in cells {
            let (clicks, skips) = (cell.clicks as f64, (cell.shown - cell.clicks.min(cell.shown)) as f64);
            let (t, g) = (theta[cell.position], gamma[cell.item]);
            // Without a click: looked at and not liked, liked and not looked at, or neither.
            let none = (1.0 - t * g).max(f64::MIN_POSITIVE);
            seen[cell.position].0 += clicks + skips * t * (1.0 - g) / none;
            seen[cell.position].1 += clicks + skips;
            liked[cell.item].0 += clicks + skips * g * (1.0 - t) / none;
            liked[cell.item].1 += clicks + skips;
        }
        let rate = |(hits, all): &(f64, f64)| if *all > 0.0 { hits / all } else { 0.5 };
        theta = seen.iter().map(rate).collect();
        gamma = liked.iter().map(rate).collect();
    }
    let scale = theta.first().copied().filter(|first| *first > 0.0).unwrap_or(1.0);
    (theta.iter().map(|t| t / scale).collect(), gamma.iter().map(|g| g * scale).collect())
}

/// Weight of a row against reporting bias: `1/max(e, 0.01)`, at most 20, for the probability e that its user reacts at all.
pub fn reporting_weight(reacts: f64) -> f64 {
    (1.0 / reacts.max(0.01)).min(20.0)
}

/// Weight of each of a user's `rows` rows, `1/√rows`: a loud user counts for less than all their rows and more than one.
pub fn user_weight(rows: usize) -> f64 {
    1.0 / (rows.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Vec<Served> {
        let all = [(1.0, 0.5, 0.8), (0.0, 0.5, 0.2), (1.0, 0.2, 0.5), (0.0, 0.8, 0.5)];
        all.map(|(reward, logged, target)| Served { reward, logged, target }).to_vec()
    }

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §5.4.
    #[test]
    fn goldens() {
        let found = off_policy(&served(), 2.0).unwrap();
        near(found.ips, 1.025);
        near(found.snips.unwrap(), 0.8);
        near(found.effective, 2.805969);
        near(found.clipped, 0.9);
        let value = doubly_robust(&served(), &[0.6, 0.3, 0.7, 0.2], &[0.55, 0.35, 0.6, 0.3]).unwrap();
        near(value, 0.73625);
        near(attractiveness(30, 100, 1.0).unwrap(), 0.30);
        near(attractiveness(12, 100, 0.5).unwrap(), 0.24);
        assert_eq!(examination(&[40, 20, 0], &[100, 100, 0]), Some(vec![1.0, 0.5, 0.0]));
        assert_eq!((examination(&[0], &[10]), off_policy(&[], 2.0), attractiveness(0, 0, 1.0)), (None, None, None));
        assert_eq!(
            (reporting_weight(0.5), reporting_weight(0.001), user_weight(4), user_weight(0)),
            (2.0, 20.0, 0.5, 1.0)
        );
    }

    /// Counts that the model gives exactly are given back.
    #[test]
    fn positions_and_items_are_told_apart() {
        let (theta, gamma) = ([1.0, 0.5, 0.25], [0.6, 0.2, 0.4]);
        let mut cells = Vec::new();
        for (item, g) in gamma.iter().enumerate() {
            for (position, t) in theta.iter().enumerate() {
                cells.push(Cell { item, position, clicks: (10_000.0 * t * g) as u64, shown: 10_000 });
            }
        }
        let (t, g) = position_model(&cells, 3000);
        assert!((t[1] - 0.5).abs() < 0.01 && (t[2] - 0.25).abs() < 0.01, "{t:?}");
        assert!((g[0] / g[1] - 3.0).abs() < 0.05 && (g[2] / g[1] - 2.0).abs() < 0.05, "{g:?}");
    }
}
