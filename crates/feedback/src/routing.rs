//! Which policy answers, while it is still open which one is best: Thompson sampling with floors.

use lapidary_core::Key;

/// Successes and failures of an arm as Beta's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta {
    /// Successes, with the prior's.
    pub alpha: f64,
    /// Failures, with the prior's.
    pub beta: f64,
}

impl Default for Beta {
    /// The uniform prior.
    fn default() -> Self {
        Self { alpha: 1.0, beta: 1.0 }
    }
}

impl Beta {
    /// With the matured outcomes of a period, after what was known has lost the share `1 − discount` of its weight (γ ≈ 0.99 a day follows
    /// drift). The prior is not discounted away.
    pub fn updated(self, successes: u64, failures: u64, discount: f64) -> Self {
        assert!((0.0..=1.0).contains(&discount), "a discount is a share, got {discount}");
        let kept = |parameter: f64| 1.0 + discount * (parameter - 1.0);
        Self { alpha: kept(self.alpha) + successes as f64, beta: kept(self.beta) + failures as f64 }
    }

    /// A draw, as the quotient of gamma draws; a pure function of the key.
    pub fn draw(self, key: Key) -> f64 {
        let (a, b) = (gamma(self.alpha, key.at(0)), gamma(self.beta, key.at(1)));
        a / (a + b)
    }
}

/// A draw of Gamma(shape, 1) (Marsaglia & Tsang 2000), each attempt with a key of its own. Shapes are 1 or more here.
fn gamma(shape: f64, key: Key) -> f64 {
    assert!(shape >= 1.0, "a shape below the uniform prior's: {shape}");
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // An attempt fails with probability below 0.05: a thousand never do.
    for attempt in 0..1000 {
        let x = key.at(attempt).at(0).normal();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - key.at(attempt).at(1).uniform();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
    d
}

/// Probability that a draw of `b` is above one of `a`, for whole parameters of `b`'s successes (Evan Miller's closed form):
/// `Σ_{i<α_b} B(α_a + i, β_a + β_b)/((β_b + i)·B(1 + i, β_b)·B(α_a, β_a))`.
pub fn above(b: Beta, a: Beta) -> f64 {
    let ln_beta = |x: f64, y: f64| libm::lgamma(x) + libm::lgamma(y) - libm::lgamma(x + y);
    let term = |i: u64| {
        let i = i as f64;
        let ln = ln_beta(a.alpha + i, a.beta + b.beta)
            - (b.beta + i).ln()
            - ln_beta(1.0 + i, b.beta)
            - ln_beta(a.alpha, a.beta);
        ln.exp()
    };
    (0..b.alpha.round() as u64).map(term).sum::<f64>().min(1.0)
}

/// Share of `draws` joint draws in which each arm is best, over the arms that are allowed (safe Thompson sampling leaves out those whose
/// guardrail is violated). All 0 where none is allowed.
pub fn best_shares(arms: &[Beta], allowed: &[bool], draws: u64, key: Key) -> Vec<f64> {
    assert_eq!(arms.len(), allowed.len(), "whether each arm is allowed");
    let mut wins = vec![0u64; arms.len()];
    for draw in 0..draws {
        let drawn = |arm: usize| arms[arm].draw(key.at(draw).at(arm as u64));
        let best =
            (0..arms.len()).filter(|&arm| allowed[arm]).map(|arm| (arm, drawn(arm))).max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((arm, _)) = best {
            wins[arm] += 1;
        }
    }
    wins.iter().map(|wins| *wins as f64 / draws.max(1) as f64).collect()
}

/// Probabilities with a floor: `(1 − ε)·p + ε/K` over the K allowed arms, so that every one keeps at least ε/K and what it would do can be
/// estimated. This is what is drawn from and logged as `assignment_prob`. `None` where no arm is allowed.
pub fn with_floor(shares: &[f64], allowed: &[bool], floor: f64) -> Option<Vec<f64>> {
    assert!((0.0..=1.0).contains(&floor) && shares.len() == allowed.len(), "a floor is a share, got {floor}");
    let count = allowed.iter().filter(|allowed| **allowed).count();
    let even = 1.0 / count as f64;
    let mix = |(share, allowed): (&f64, &bool)| if *allowed { (1.0 - floor) * share + floor * even } else { 0.0 };
    (count > 0).then(|| shares.iter().zip(allowed).map(mix).collect())
}

/// UCB1's index `x̄ + √(2·ln N/n)` (Auer et al. 2002) of an arm with n of N trials; infinite without a trial.
pub fn upper_bound(mean: f64, trials: u64, all: u64) -> f64 {
    if trials == 0 { f64::INFINITY } else { mean + (2.0 * (all.max(1) as f64).ln() / trials as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::Purpose;

    const A: Beta = Beta { alpha: 31.0, beta: 971.0 };
    const B: Beta = Beta { alpha: 46.0, beta: 956.0 };

    /// Specification C §7.
    #[test]
    fn goldens() {
        assert!((above(B, A) - 0.960623).abs() < 1e-6, "{}", above(B, A));
        assert!((above(B, A) + above(A, B) - 1.0).abs() < 1e-9);
        let mixed = with_floor(&[0.97, 0.03], &[true, true], 0.1).unwrap();
        assert!((mixed[0] - 0.923).abs() < 1e-12 && (mixed[1] - 0.077).abs() < 1e-12);
        assert!((upper_bound(0.045, 1000, 2000) - 0.168296).abs() < 1e-6);
        assert_eq!(upper_bound(0.0, 0, 5), f64::INFINITY);
    }

    #[test]
    fn draws_are_beta_and_agree_with_the_closed_form() {
        let key = Key::new(1, Purpose::Sample);
        let draws = lapidary_statistics::Moments::of((0..20_000).map(|i| B.draw(key.at(i))));
        let (mean, n) = (46.0 / 1002.0, 1002.0);
        assert!((draws.mean - mean).abs() < 2e-4, "{draws:?}");
        assert!((draws.variance().unwrap() / (mean * (1.0 - mean) / (n + 1.0)) - 1.0).abs() < 0.05);
        let shares = best_shares(&[A, B], &[true, true], 20_000, key);
        assert!((shares[1] - 0.960623).abs() < 0.005, "{shares:?}");
    }

    #[test]
    fn an_arm_that_does_harm_gets_nothing() {
        let key = Key::new(1, Purpose::Sample);
        let shares = best_shares(&[A, B, A], &[true, false, true], 2000, key);
        assert_eq!(shares[1], 0.0);
        let mixed = with_floor(&shares, &[true, false, true], 0.2).unwrap();
        assert!(
            mixed[1] == 0.0 && mixed[0] >= 0.1 && mixed[2] >= 0.1 && (mixed.iter().sum::<f64>() - 1.0).abs() < 1e-12
        );
        assert_eq!(with_floor(&shares, &[false; 3], 0.2), None);
    }

    #[test]
    fn what_is_old_fades_to_the_prior() {
        let mut arm = Beta::default().updated(100, 900, 0.99);
        assert_eq!(arm, Beta { alpha: 101.0, beta: 901.0 });
        for _ in 0..2000 {
            arm = arm.updated(0, 0, 0.99);
        }
        assert!((arm.alpha - 1.0).abs() < 1e-6 && (arm.beta - 1.0).abs() < 1e-4);
    }

    /// The better arm gets most of the traffic, and the floor keeps the other one measurable.
    #[test]
    fn routing_finds_the_better_arm() {
        let (key, rates) = (Key::new(9, Purpose::Sample), [0.05, 0.10]);
        let mut arms = [Beta::default(); 2];
        let mut served = [0u64; 2];
        for day in 0..30u64 {
            let key = key.at(day);
            let shares = with_floor(&best_shares(&arms, &[true; 2], 500, key.at(0)), &[true; 2], 0.1).unwrap();
            for (arm, share) in shares.iter().enumerate() {
                let users = (share * 400.0).round() as u64;
                let wins =
                    (0..users).filter(|user| key.at(1).at(arm as u64).at(*user).uniform() < rates[arm]).count() as u64;
                arms[arm] = arms[arm].updated(wins, users - wins, 0.99);
                served[arm] += users;
            }
        }
        assert!(served[1] > 5 * served[0] && served[0] > 30 * 20 - 60, "{served:?}");
    }
}
