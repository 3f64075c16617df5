//! Means, variances and covariances of a stream, without cancellation, and mergeable.

use serde::{Deserialize, Serialize};

/// Count, mean and centred sum of squares of a stream of numbers (Welford 1962; merged as Chan, Golub & LeVeque 1979, eq. 2.1).
///
/// Sums of squares would cancel: a mean of 10⁹ and a spread of 1 leave no digit. Merging is associative up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many numbers.
    pub count: u64,
    /// Their mean; 0 without numbers.
    pub mean: f64,
    /// `Σ(x − mean)²`.
    pub squares: f64,
}

impl Moments {
    /// Moments of numbers, in their order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.push(value));
        moments
    }

    /// One more number.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Both streams together.
    pub fn merged(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let gap = other.mean - self.mean;
        Self {
            count: self.count + other.count,
            mean: self.mean + gap * m / (n + m),
            squares: self.squares + other.squares + gap * gap * n * m / (n + m),
        }
    }

    /// Unbiased variance; `None` with fewer than two numbers.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).max(0.0))
    }

    /// Variance of the mean; `None` with fewer than two numbers.
    pub fn variance_of_mean(&self) -> Option<f64> {
        self.variance().map(|variance| variance / self.count as f64)
    }
}

/// Means and centred sums of products of pairs of numbers: [`Moments`] in two dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comoments {
    /// Of the first numbers.
    pub x: Moments,
    /// Of the second numbers.
    pub y: Moments,
    /// `Σ(x − x̄)(y − ȳ)`.
    pub products: f64,
}

impl Comoments {
    /// Moments of pairs, in their order.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut moments = Self::default();
        pairs.into_iter().for_each(|(x, y)| moments.push(x, y));
        moments
    }

    /// One more pair.
    pub fn push(&mut self, x: f64, y: f64) {
        let before = x - self.x.mean;
        self.x.push(x);
        self.y.push(y);
        self.products += before * (y - self.y.mean);
    }

    /// Both streams together.
    pub fn merged(self, other: Self) -> Self {
        let (n, m) = (self.x.count as f64, other.x.count as f64);
        let gaps = (other.x.mean - self.x.mean) * (other.y.mean - self.y.mean);
        let between = if n + m > 0.0 { gaps * n * m / (n + m) } else { 0.0 };
        Self {
            x: self.x.merged(other.x),
            y: self.y.merged(other.y),
            products: self.products + other.products + between,
        }
    }

    /// Unbiased covariance; `None` with fewer than two pairs.
    pub fn covariance(&self) -> Option<f64> {
        (self.x.count > 1).then(|| self.products / (self.x.count - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand_and_without_cancellation() {
        // Mean 3.2, squares 0.01 + 0.64 + 0.64 + 0.16 + 0.09 = 1.54.
        let moments = Moments::of([3.1, 2.4, 4.0, 3.6, 2.9]);
        assert!((moments.mean - 3.2).abs() < 1e-14 && (moments.variance().unwrap() - 0.385).abs() < 1e-14);
        let far = Moments::of([4.0, 7.0, 13.0, 16.0].map(|x| x + 1e9));
        assert_eq!(far.variance(), Some(30.0));
        // The control: the textbook formula loses everything there.
        let (sum, squares) =
            [4.0, 7.0, 13.0, 16.0].iter().fold((0.0, 0.0), |(s, q), x| (s + x + 1e9, q + (x + 1e9f64).powi(2)));
        assert!(((squares - sum * sum / 4.0) / 3.0 - 30.0f64).abs() > 1.0);
        assert_eq!((Moments::default().variance(), Moments::of([1.0]).variance()), (None, None));
    }

    proptest! {
        #[test]
        fn shards_may_be_merged_in_any_way(
            pairs in prop::collection::vec((-1e3f64..1e3, -1e3f64..1e3), 3..60), cut in 0usize..60, other in 0usize..60,
        ) {
            let whole = Comoments::of(pairs.iter().copied());
            let (a, b) = (cut.min(other).min(pairs.len()), cut.max(other).min(pairs.len()));
            let part = |range: std::ops::Range<usize>| Comoments::of(pairs[range].iter().copied());
            let (one, two, three) = (part(0..a), part(a..b), part(b..pairs.len()));
            for merged in [one.merged(two).merged(three), one.merged(two.merged(three)), three.merged(one).merged(two)] {
                for (got, expected) in [
                    (merged.x.mean, whole.x.mean),
                    (merged.y.squares, whole.y.squares),
                    (merged.products, whole.products),
                ] {
                    prop_assert!((got - expected).abs() < 1e-9 * (1.0 + expected.abs() + whole.x.squares));
                }
                prop_assert_eq!(merged.x.count, pairs.len() as u64);
            }
        }
    }
}
