//! Several tests at once: p-values adjusted so that a family of them keeps its promise.

/// Holm's step-down procedure (1979): no false finding in the family with probability `1 − α`, whatever the dependence. In the
/// order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let (count, mut largest) = (p_values.len(), 0.0f64);
    let mut adjusted = vec![0.0; count];
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((count - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

/// Benjamini and Hochberg's step-up procedure (1995): at most a share α of the findings is false on average, for independent or
/// positively dependent tests. In the order given.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let (count, mut least) = (p_values.len(), 1.0f64);
    let mut adjusted = vec![0.0; count];
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(count as f64 / (rank + 1) as f64 * p_values[index]);
        adjusted[index] = least;
    }
    adjusted
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    assert!(p_values.iter().all(|p| (0.0..=1.0).contains(p)), "p-values are probabilities");
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12) && got.len() == expected.len(), "{got:?}");
    }

    /// Specification C §7.
    #[test]
    fn goldens() {
        let p = [0.001, 0.012, 0.03, 0.04, 0.2];
        near(&holm(&p), &[0.005, 0.048, 0.09, 0.09, 0.2]);
        near(&benjamini_hochberg(&p), &[0.005, 0.03, 0.05, 0.05, 0.2]);
        near(&holm(&[0.04, 0.001]), &[0.04, 0.002]);
        near(&holm(&[0.9, 0.8]), &[1.0, 1.0]);
        assert!(holm(&[]).is_empty() && benjamini_hochberg(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn adjusting_never_helps_and_keeps_the_order(p in prop::collection::vec(0.0f64..=1.0, 1..20)) {
            let (holm, bh) = (holm(&p), benjamini_hochberg(&p));
            for i in 0..p.len() {
                prop_assert!(bh[i] + 1e-15 >= p[i] && holm[i] + 1e-12 >= bh[i] && holm[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || (holm[i] <= holm[j] && bh[i] <= bh[j]));
                }
            }
        }
    }
}
