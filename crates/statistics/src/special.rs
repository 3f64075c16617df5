//! Tail probabilities and quantiles for any argument: normal, Student's t with real degrees of freedom, χ².
//!
//! `erfc` and ln Γ come from `libm` (fdlibm's, below one unit in the last place); the incomplete beta and gamma functions are
//! continued fractions and a series (Abramowitz & Stegun 1964, 6.5.29, 6.5.31, 26.5.8; Lentz's evaluation).

use libm::{erfc, lgamma};

/// Relative change at which a fraction or series has converged.
const CONVERGED: f64 = 1e-15;
/// Terms of a fraction: it needs about √ν of them, and ν is at most [`MOST_DEGREES`].
const MOST_TERMS: usize = 20_000;
/// Above this Student's t is brought to the normal by A&S 26.7.8, whose error there is below 1e-12.
const MOST_DEGREES: f64 = 1e7;
/// From here on ln Γ(a + ½) − ln Γ(a) is taken from its asymptotic series, because the difference would cancel.
const ASYMPTOTIC: f64 = 500.0;

/// P(Z ≤ z) of the standard normal.
pub fn normal_below(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// P(Z > z) of the standard normal, exact in the far tail.
pub fn normal_above(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

/// The z with P(Z ≤ z) = `probability`, which lies in (0, 1).
pub fn normal_quantile(probability: f64) -> f64 {
    assert!(probability > 0.0 && probability < 1.0, "a quantile of {probability}");
    // By symmetry only the upper tail is searched, where nothing cancels.
    let tail = probability.min(1.0 - probability);
    let upper = falling_root(|z| normal_above(z) - tail, 40.0);
    if probability < 0.5 { -upper } else { upper }
}

/// Where a function that falls on `[0, most]` passes zero.
fn falling_root(of: impl Fn(f64) -> f64, most: f64) -> f64 {
    let (mut low, mut high) = (0.0, most);
    // Halving an interval of doubles ends after at most 1,100 steps; 200 leave nothing to see.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if of(middle) > 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// P(|T| ≥ |t|) of Student's t with `degrees` degrees of freedom, a real number above 0.
///
/// `I_x(ν/2, ½)` with `x = ν/(ν + t²)` (A&S 26.7.1).
pub fn student_t_two_sided(t: f64, degrees: f64) -> f64 {
    assert!(degrees > 0.0 && !t.is_nan(), "Student's t of {t} with {degrees} degrees of freedom");
    let square = t * t;
    if !square.is_finite() {
        return 0.0;
    }
    if degrees > MOST_DEGREES {
        let z = t.abs() * (1.0 - 0.25 / degrees) / (1.0 + 0.5 * square / degrees).sqrt();
        return 2.0 * normal_above(z);
    }
    let x = degrees / (degrees + square);
    incomplete_beta(0.5 * degrees, x, square / (degrees + square))
}

/// The t with P(|T| ≥ t) = `alpha`.
pub fn student_t_quantile(alpha: f64, degrees: f64) -> f64 {
    assert!(alpha > 0.0 && alpha < 1.0, "a quantile of {alpha}");
    // The heaviest tail of a Welch test has one degree of freedom: P(|T| ≥ t) ≈ 2/(πt).
    let most = (10.0 / alpha).max(100.0).powf((1.0 / degrees).max(1.0)).min(1e300);
    falling_root(|t| student_t_two_sided(t, degrees) - alpha, most)
}

/// `I_x(a, ½)`, given x and 1 − x.
fn incomplete_beta(a: f64, x: f64, rest: f64) -> f64 {
    let b = 0.5;
    if rest == 0.0 {
        return 1.0;
    }
    // x^a·(1−x)^b / B(a, b), in logarithms; ln x from 1 − x where x is near 1.
    let ln_x = if rest < 0.5 { (-rest).ln_1p() } else { x.ln() };
    let front = (a * ln_x + b * rest.ln() - ln_beta_half(a)).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, rest) / b
    }
}

/// ln B(a, ½) = ln Γ(a) + ½·ln π − ln Γ(a + ½).
fn ln_beta_half(a: f64) -> f64 {
    let rise = if a > ASYMPTOTIC {
        // A&S 6.1.47: ½·ln a − 1/(8a) + 1/(192a³) − 1/(640a⁵)
        0.5 * a.ln() - 1.0 / (8.0 * a) + 1.0 / (192.0 * a.powi(3)) - 1.0 / (640.0 * a.powi(5))
    } else {
        lgamma(a + 0.5) - lgamma(a)
    };
    0.5 * std::f64::consts::PI.ln() - rise
}

/// The continued fraction of the incomplete beta function (A&S 26.5.8) by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let guard = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    for m in 1..MOST_TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            change = c * d;
            product *= change;
        }
        if (change - 1.0).abs() < CONVERGED {
            break;
        }
    }
    product
}

/// P(X > x) of χ² with `degrees` degrees of freedom.
pub fn chi_square_above(x: f64, degrees: usize) -> f64 {
    assert!(degrees > 0 && x >= 0.0, "χ² above {x} with {degrees} degrees of freedom");
    let (a, x) = (0.5 * degrees as f64, 0.5 * x);
    if x == 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - lgamma(a)).exp();
    if x < a + 1.0 { 1.0 - front * gamma_series(a, x) } else { front * gamma_fraction(a, x) }
}

/// `γ(a, x)·e^x/x^a` (A&S 6.5.29).
fn gamma_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..MOST_TERMS {
        term *= x / (a + n as f64);
        sum += term;
        if term < sum * CONVERGED {
            break;
        }
    }
    sum
}

/// `Γ(a, x)·e^x/x^a` (A&S 6.5.31) by Lentz's method.
fn gamma_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / f64::MIN_POSITIVE;
    let mut d = 1.0 / b;
    let mut product = d;
    for n in 1..MOST_TERMS {
        let n = n as f64;
        let term = n * (a - n);
        b += 2.0;
        d = 1.0 / (term * d + b);
        c = b + term / c;
        product *= c * d;
        if (c * d - 1.0).abs() < CONVERGED {
            break;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::student_t_within;
    use proptest::prelude::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "got {got:e}, expected {expected:e}");
    }

    #[test]
    fn the_normal_is_the_printed_one() {
        close(normal_quantile(0.975), 1.959963984540054);
        close(normal_quantile(0.8), 0.8416212335729143);
        close(normal_quantile(0.5), 0.0);
        close(normal_quantile(1e-9), -5.997807015007687);
        close(normal_above(6.0), 9.865876450376946e-10);
        close(normal_below(-6.0), 9.865876450376946e-10);
        close(normal_above(0.0), 0.5);
    }

    #[test]
    fn chi_square_has_its_closed_forms() {
        for x in [0.1, 1.0, 3.841458820694124, 10.0, 80.0] {
            close(chi_square_above(x, 1), 2.0 * normal_above(x.sqrt()));
            close(chi_square_above(x, 2), (-0.5 * x).exp());
            close(chi_square_above(x, 4), (-0.5 * x).exp() * (1.0 + 0.5 * x));
        }
        close(chi_square_above(0.0, 3), 1.0);
    }

    /// The finite sums of `distribution` know whole degrees only, and sum thousands of terms for large ones.
    #[test]
    fn students_t_agrees_with_its_finite_sums() {
        for degrees in [1, 2, 3, 7, 30, 999, 1001, 20_000] {
            for t in [0.0, 1e-9, 0.3, 1.0, 2.0, 4.0] {
                let (got, expected) = (student_t_two_sided(t, degrees as f64), 1.0 - student_t_within(t, degrees));
                assert!((got - expected).abs() < 1e-11, "{degrees} {t}: {got} {expected}");
            }
        }
        // The two forms meet where one takes over, and far out both are the normal's.
        for t in [0.5, 2.0, 5.0] {
            let (below, above) = (student_t_two_sided(t, 1e7), student_t_two_sided(t, 1e7 * 1.0000001));
            assert!((below / above - 1.0).abs() < 1e-9, "{t}: {below} {above}");
        }
        close(student_t_two_sided(f64::INFINITY, 3.0), 0.0);
        close(student_t_quantile(0.05, 5.0), 2.570581835636314);
        close(student_t_quantile(0.001, 1.0), 636.6192487687196);
        assert!((student_t_quantile(0.05, 1e8) - 1.959964).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn quantiles_undo_tails(alpha in 1e-6f64..0.999, degrees in 1.0f64..1e6) {
            let t = student_t_quantile(alpha, degrees);
            prop_assert!((student_t_two_sided(t, degrees) / alpha - 1.0).abs() < 1e-8);
            prop_assert!((normal_below(normal_quantile(alpha)) / alpha - 1.0).abs() < 1e-10);
        }
    }
}
