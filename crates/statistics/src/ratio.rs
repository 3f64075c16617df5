//! Ratios of sums over users, such as reactions per message: the unit stays the user.

use serde::{Deserialize, Serialize};

use crate::{Comoments, Effect};

/// A ratio of two sums over units, with the variance that the units' own sizes give it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// `R = Σ S / Σ N`.
    pub ratio: f64,
    /// Variance of R.
    pub variance: f64,
}

/// Ratio of the sums of numerators S over denominators N with its variance by the delta method (Deng, Knoblich & Lu 2018,
/// arXiv 1803.06336, §3). `None` with fewer than two units or where the denominators' sum is not above 0.
///
/// ```text
/// var(R) = (s²_S − 2R·s_SN + R²·s²_N) / (k·N̄²)     for k units
/// ```
/// Treating the N's as independent trials instead would be too sure: users differ from each other.
pub fn ratio(units: &Comoments) -> Option<Ratio> {
    let (s, n, covariance) = (units.x.variance()?, units.y.variance()?, units.covariance()?);
    if units.y.mean <= 0.0 {
        return None;
    }
    let ratio = units.x.mean / units.y.mean;
    let spread = (s - 2.0 * ratio * covariance + ratio * ratio * n).max(0.0);
    Some(Ratio { ratio, variance: spread / (units.x.count as f64 * units.y.mean * units.y.mean) })
}

impl Ratio {
    /// This ratio (of the treatment) less that of the control.
    pub fn less(&self, control: &Ratio) -> Effect {
        Effect { difference: self.ratio - control.ratio, variance: self.variance + control.variance, degrees: None }
    }

    /// A unit's own part `(S − R·N)/N̄`: their mean is 0 and the variance of their mean is that of the ratio, so that covariates
    /// can explain them (Budylin et al. 2018, "Consistent Transformation of Ratio Metrics").
    pub fn part(&self, numerator: f64, denominator: f64, mean_denominator: f64) -> f64 {
        (numerator - self.ratio * denominator) / mean_denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moments;

    const S: [f64; 5] = [3.0, 0.0, 2.0, 5.0, 1.0];
    const N: [f64; 5] = [10.0, 4.0, 8.0, 15.0, 6.0];

    /// Specification C §7.
    #[test]
    fn golden() {
        let units = Comoments::of(S.into_iter().zip(N));
        let found = ratio(&units).unwrap();
        assert!((found.ratio - 11.0 / 43.0).abs() < 1e-12);
        assert!((found.variance - 0.001948783).abs() < 1e-9, "{}", found.variance);
        assert!((found.variance.sqrt() - 0.044145).abs() < 1e-6);
        let naive = (found.ratio * (1.0 - found.ratio) / 43.0).sqrt();
        assert!((naive - 0.066538).abs() < 1e-6);
        let parts = Moments::of(S.into_iter().zip(N).map(|(s, n)| found.part(s, n, 8.6)));
        assert!(parts.mean.abs() < 1e-15 && (parts.variance_of_mean().unwrap() - found.variance).abs() < 1e-15);
        assert_eq!(ratio(&Comoments::of([(1.0, 0.0), (1.0, 0.0)])), None);
        assert_eq!(ratio(&Comoments::of([(1.0, 2.0)])), None);
    }

    /// With one trial per unit it is a mean.
    #[test]
    fn denominators_of_one_give_a_mean() {
        let found = ratio(&Comoments::of(S.map(|s| (s, 1.0)))).unwrap();
        let moments = Moments::of(S);
        assert!((found.ratio - moments.mean).abs() < 1e-15);
        assert!((found.variance - moments.variance_of_mean().unwrap()).abs() < 1e-15);
    }
}
