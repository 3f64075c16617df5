//! The two distributions that intervals and tests need, from their finite sums. No gamma function, no tables.

/// Two-sided 95 % point of the standard normal.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// P(|T| < t) for Student's t with `degrees` degrees of freedom.
///
/// Abramowitz & Stegun (1964), 26.7.3 and 26.7.4, with θ = atan(t/√ν):
///
/// ```text
/// ν odd:  (2/π)·(θ + sinθ·[cosθ + 2/3·cos³θ + … + (2·4⋯(ν−3))/(3·5⋯(ν−2))·cos^(ν−2)θ])
/// ν even:         sinθ·[1 + 1/2·cos²θ + … + (1·3⋯(ν−3))/(2·4⋯(ν−2))·cos^(ν−2)θ]
/// ```
pub fn student_t_within(t: f64, degrees: usize) -> f64 {
    assert!(degrees > 0, "Student's t needs at least one degree of freedom");
    assert!(t >= 0.0, "asked for |T| < {t}");
    let theta = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = theta.sin_cos();
    let odd = degrees % 2 == 1;
    // The last power of cosθ is ν−2; the first is 1 (odd) or 0 (even).
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut power = usize::from(odd);
    while power + 2 <= degrees {
        sum += term;
        let (numerator, denominator) = (power as f64 + 1.0, power as f64 + 2.0);
        term *= cosine * cosine * numerator / denominator;
        power += 2;
    }
    if odd { std::f64::consts::FRAC_2_PI * (theta + sine * sum) } else { sine * sum }
}

/// The t with P(|T| < t) = 0.95. Found by bisection to the last bits.
pub fn student_t_95(degrees: usize) -> f64 {
    // t(1) = 12.706 is the largest of all, the normal's 1.96 the smallest.
    let (mut low, mut high) = (1.9, 13.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if student_t_within(middle, degrees) < 0.95 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// P(X ≤ at) for X ~ Binomial(trials, ½), in log space so that thousands of trials do not underflow.
pub fn fair_coin_at_most(at: usize, trials: usize) -> f64 {
    assert!(at <= trials, "asked for {at} of {trials}");
    // ln C(trials, at) − trials·ln 2, then downwards by C(n, i−1) = C(n, i)·i/(n−i+1).
    let log_largest: f64 = (1..=at).map(|i| ((trials - at + i) as f64 / i as f64).ln()).sum::<f64>()
        - trials as f64 * std::f64::consts::LN_2;
    let mut relative = 1.0;
    let mut sum = 0.0;
    for i in (0..=at).rev() {
        sum += relative;
        relative *= i as f64 / (trials - i + 1) as f64;
    }
    (log_largest + f64::ln(sum)).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_printed_tables() {
        // Student (1908) tables as printed in every textbook, two-sided 95 %.
        for (degrees, table) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (9, 2.262),
            (10, 2.228),
            (30, 2.042),
            (120, 1.980),
        ] {
            assert!((student_t_95(degrees) - table).abs() < 5e-4, "{degrees}: {}", student_t_95(degrees));
        }
        assert!((student_t_95(200_000) - Z_95).abs() < 2e-5);
    }

    #[test]
    fn closed_forms_hold_for_one_and_two_degrees() {
        for t in [0.0, 0.3, 1.0, 4.0] {
            assert!((student_t_within(t, 1) - std::f64::consts::FRAC_2_PI * f64::atan(t)).abs() < 1e-15);
            assert!((student_t_within(t, 2) - t / (2.0 + t * t).sqrt()).abs() < 1e-15);
        }
    }

    #[test]
    fn coins_are_counted_exactly() {
        // (C(8,0) + C(8,1)) / 2⁸ = 9/256
        assert!((fair_coin_at_most(1, 8) - 9.0 / 256.0).abs() < 1e-15);
        assert!((fair_coin_at_most(0, 0) - 1.0).abs() < 1e-15);
        assert!((fair_coin_at_most(5, 5) - 1.0).abs() < 1e-12);
        // Symmetry: P(X ≤ 1999) = ½·(1 − P(X = 2000)) for 4,000 coins, P(X = n/2) ≈ √(2/(πn)).
        let middle = (2.0 / (std::f64::consts::PI * 4000.0)).sqrt();
        assert!((fair_coin_at_most(1999, 4000) - 0.5 * (1.0 - middle)).abs() < 1e-5);
    }
}
