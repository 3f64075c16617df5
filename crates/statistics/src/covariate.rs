//! CUPED: outcomes less what covariates from before the experiment predict of them.

use serde::{Deserialize, Serialize};

/// A covariate whose part of its own that the others do not explain is below this share of its spread says nothing new.
const NOTHING_NEW: f64 = 1e-10;

/// Outcomes adjusted by covariates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Regression coefficient of each covariate; 0 for one that is constant or follows from those before it.
    pub theta: Vec<f64>,
    /// Share of the outcomes' variance that the covariates explain.
    pub r2: f64,
    /// `Y − θ·(X − X̄)`, in the order given.
    pub values: Vec<f64>,
}

/// Adjusts outcomes by covariates `x[k][unit]` (Deng, Xu, Kohavi & Walker 2013, "CUPED", §3.1–3.3):
///
/// ```text
/// θ = argmin Σ(Y − Ȳ − θ·(X − X̄))²     Y' = Y − θ·(X − X̄)      one covariate: θ = cov(X, Y)/var(X)
/// ```
/// Units of all arms together (specification C §7), so the mean over all units stays. A covariate must be known before the treatment:
/// one that the treatment changes takes part of the effect away.
pub fn adjust(outcomes: &[f64], covariates: &[Vec<f64>]) -> Adjustment {
    assert!(covariates.iter().all(|x| x.len() == outcomes.len()), "a covariate has a value for each unit");
    let y = centred(outcomes);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut kept: Vec<(usize, Vec<f64>)> = Vec::new(); // which covariate, and its coordinates in the basis before it
    let x: Vec<Vec<f64>> = covariates.iter().map(|x| centred(x)).collect();
    for (index, x) in x.iter().enumerate() {
        let (own, coordinates) = without(x, &basis);
        if dot(&own, &own) > NOTHING_NEW * NOTHING_NEW * dot(x, x) && dot(x, x) > 0.0 {
            kept.push((index, coordinates));
            basis.push(own);
        }
    }
    // Coefficients on the orthogonal basis, then back to those on the covariates themselves.
    let mut on_basis: Vec<f64> = basis.iter().map(|q| dot(q, &y) / dot(q, q)).collect();
    let mut theta = vec![0.0; covariates.len()];
    for at in (0..basis.len()).rev() {
        let (index, coordinates) = &kept[at];
        theta[*index] = on_basis[at];
        for (earlier, coordinate) in coordinates.iter().enumerate() {
            on_basis[earlier] -= coordinate * on_basis[at];
        }
    }
    let predicted = |unit: usize| -> f64 { theta.iter().zip(&x).map(|(theta, x)| theta * x[unit]).sum() };
    let values: Vec<f64> = (0..outcomes.len()).map(|unit| outcomes[unit] - predicted(unit)).collect();
    let (all, left) = (dot(&y, &y), dot(&centred(&values), &centred(&values)));
    let r2 = if all > 0.0 { (1.0 - left / all).clamp(0.0, 1.0) } else { 0.0 };
    Adjustment { theta, r2, values }
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = crate::Moments::of(values.iter().copied()).mean;
    values.iter().map(|value| value - mean).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What of `x` is orthogonal to the basis (modified Gram–Schmidt), and its coordinates in it.
fn without(x: &[f64], basis: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let mut own = x.to_vec();
    let coordinates = basis
        .iter()
        .map(|q| {
            let coordinate = dot(q, &own) / dot(q, q);
            own.iter_mut().zip(q).for_each(|(own, q)| *own -= coordinate * q);
            coordinate
        })
        .collect();
    (own, coordinates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Moments, means};
    use lapidary_core::{Key, Purpose};

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §7.
    #[test]
    fn golden() {
        let x = vec![2.0, 3.0, 5.0, 4.0, 1.0, 3.5, 1.0, 4.0, 5.0, 2.5];
        let y = [2.5, 3.4, 5.2, 4.1, 1.8, 3.9, 2.1, 4.8, 5.9, 3.0];
        let arms =
            |values: &[f64]| (Moments::of(values[..5].iter().copied()), Moments::of(values[5..].iter().copied()));
        let (c, t) = arms(&y);
        let raw = means(&c, &t).unwrap();
        near(raw.difference, 0.54);
        near(c.variance().unwrap(), 1.775);
        near(t.variance().unwrap(), 2.213);
        near(raw.test(0.05).unwrap().statistic, 0.604646);
        near(raw.test(0.05).unwrap().p, 0.562364);
        let adjusted = adjust(&y, &[x]);
        near(adjusted.theta[0], 0.906186);
        let (c, t) = arms(&adjusted.values);
        near(c.variance().unwrap(), 0.021951);
        near(t.variance().unwrap(), 0.085169);
        let effect = means(&c, &t).unwrap();
        near(effect.difference, 0.358763);
        near(effect.test(0.05).unwrap().statistic, 2.451077);
        near(effect.test(0.05).unwrap().p, 0.050169);
    }

    #[test]
    fn several_covariates_are_regressed_together() {
        let key = Key::new(3, Purpose::Task);
        let draw = |place: u64| (0..500u64).map(|unit| key.at(place).at(unit).normal()).collect::<Vec<f64>>();
        let (a, noise) = (draw(0), draw(2));
        let b: Vec<f64> = draw(1).iter().zip(&a).map(|(b, a)| b + 0.5 * a).collect();
        let y: Vec<f64> = (0..500).map(|i| 2.0 * a[i] - 3.0 * b[i] + 0.1 * noise[i]).collect();
        let found = adjust(&y, &[a.clone(), b.clone()]);
        assert!((found.theta[0] - 2.0).abs() < 0.02 && (found.theta[1] + 3.0).abs() < 0.02, "{:?}", found.theta);
        assert!(found.r2 > 0.99);
        // A constant one, and one that says what another says, change nothing.
        let doubled: Vec<f64> = a.iter().map(|a| 2.0 * a + 1.0).collect();
        let more = adjust(&y, &[vec![4.0; 500], a, doubled, b]);
        assert_eq!((more.theta[0], more.theta[2]), (0.0, 0.0));
        assert!((more.theta[1] - found.theta[0]).abs() < 1e-12 && (more.r2 - found.r2).abs() < 1e-12);
        let none = adjust(&[1.0, 2.0], &[vec![5.0, 5.0]]);
        assert_eq!((none.values, none.r2), (vec![1.0, 2.0], 0.0));
    }
}
