//! pass@k (one of k is right) and pass^k (all k are right), without bias from the number of samples.

/// P(at least one of `k` samples is right), estimated from `successes` of `samples` trials of one prompt.
///
/// ```text
/// pass@k = 1 − C(n−c, k)/C(n, k) = 1 − ∏_{i=n−c+1..n} (1 − k/i)
/// ```
/// Chen et al. 2021 (Codex), §2.1 and figure 3. Panics when `k` exceeds the samples: no unbiased estimate exists then.
pub fn pass_at_k(samples: usize, successes: usize, k: usize) -> f64 {
    assert!(successes <= samples && (1..=samples).contains(&k), "pass@{k} of {successes}/{samples}");
    let failures = samples - successes;
    if failures < k {
        return 1.0;
    }
    1.0 - (failures + 1..=samples).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// P(all of `k` samples are right), estimated from `successes` of `samples` trials of one prompt.
///
/// ```text
/// pass^k = C(c, k)/C(n, k) = ∏_{i=0..k−1} (c−i)/(n−i)
/// ```
/// Yao et al. 2024 (τ-bench), §4. Panics when `k` exceeds the samples.
pub fn pass_hat_k(samples: usize, successes: usize, k: usize) -> f64 {
    assert!(successes <= samples && (1..=samples).contains(&k), "pass^{k} of {successes}/{samples}");
    if successes < k {
        return 0.0;
    }
    (0..k).map(|i| (successes - i) as f64 / (samples - i) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn average(of: fn(usize, usize, usize) -> f64, samples: usize, successes: &[usize], k: usize) -> f64 {
        successes.iter().map(|&c| of(samples, c, k)).sum::<f64>() / successes.len() as f64
    }

    #[test]
    fn goldens_of_the_specification() {
        for (k, hat, at) in [(1, 0.5, 0.5), (2, 0.375, 0.625), (3, 0.3125, 0.6875), (4, 0.25, 0.75)] {
            assert!((average(pass_hat_k, 4, &[4, 3, 1, 0], k) - hat).abs() < 1e-12);
            assert!((average(pass_at_k, 4, &[4, 3, 1, 0], k) - at).abs() < 1e-12);
        }
        for (k, hat) in [(1, 0.625), (2, 0.464286), (4, 0.357143), (8, 0.333333)] {
            assert!((average(pass_hat_k, 8, &[8, 5, 2], k) - hat).abs() < 1e-6);
        }
        assert!((pass_at_k(512, 1, 8) - 0.015625).abs() < 1e-12);
    }

    /// Exhaustive: the share of all subsets of size `k` with at least one, or only, successes.
    fn by_counting(samples: usize, successes: usize, k: usize) -> (f64, f64) {
        let (mut any, mut all, mut subsets) = (0, 0, 0);
        for subset in 0u32..1 << samples {
            if subset.count_ones() as usize == k {
                let right = (subset & ((1 << successes) - 1)).count_ones() as usize;
                subsets += 1;
                any += usize::from(right > 0);
                all += usize::from(right == k);
            }
        }
        (any as f64 / subsets as f64, all as f64 / subsets as f64)
    }

    proptest! {
        #[test]
        fn both_are_shares_of_subsets(samples in 1usize..11, c in 0usize..11, k in 1usize..11) {
            let (c, k) = (c.min(samples), k.min(samples));
            let (any, all) = by_counting(samples, c, k);
            prop_assert!((pass_at_k(samples, c, k) - any).abs() < 1e-12);
            prop_assert!((pass_hat_k(samples, c, k) - all).abs() < 1e-12);
        }
    }
}
