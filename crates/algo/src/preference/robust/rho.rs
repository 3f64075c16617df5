//! ρ: robust functions (Huber 1964; Holland and Welsch 1977; Beaton and Tukey 1974; Barron 2019, arXiv 1701.03077).

use crate::preference::choices::Rho;
use crate::preference::formula::Point;

impl Rho {
    /// `ρ_c(x)` and its derivative.
    pub(crate) fn at(self, x: f64, scale: f64) -> Point {
        let (size, ratio, square) = (x.abs(), x / scale, (x / scale).powi(2));
        match self {
            Rho::Huber if size <= scale => Point { value: 0.5 * x * x, slope: x },
            Rho::Huber => Point { value: scale * (size - 0.5 * scale), slope: scale * x.signum() },
            Rho::PseudoHuber => {
                let root = ratio.hypot(1.0);
                Point { value: scale * scale * (root - 1.0), slope: x / root }
            }
            Rho::Cauchy => Point { value: 0.5 * scale * scale * square.ln_1p(), slope: x / (1.0 + square) },
            Rho::Welsch => Point { value: -0.5 * scale * scale * (-square).exp_m1(), slope: x * (-square).exp() },
            Rho::Tukey if size <= scale => {
                let left = 1.0 - square;
                Point { value: scale * scale / 6.0 * (1.0 - left.powi(3)), slope: x * left * left }
            }
            Rho::Tukey => Point { value: scale * scale / 6.0, slope: 0.0 },
            Rho::GemanMcclure => Point { value: 0.5 * x * x / (1.0 + square), slope: x / (1.0 + square).powi(2) },
            Rho::Trimmed => Point { value: size, slope: x.signum() },
            Rho::Gce => Point { value: -(-scale * size).exp_m1() / scale, slope: (-scale * size).exp() * x.signum() },
            Rho::Ramp if size < scale => Point { value: size, slope: x.signum() },
            Rho::Ramp => Point { value: scale, slope: 0.0 },
        }
    }

    /// The scale where a recipe names none: that of the specification's table.
    pub(crate) fn default_scale(self) -> f64 {
        match self {
            Rho::Tukey => 2.0,
            Rho::Gce => 0.7,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    pub(super) const ALL: [Rho; 9] = [
        Rho::Huber,
        Rho::PseudoHuber,
        Rho::Cauchy,
        Rho::Welsch,
        Rho::Tukey,
        Rho::GemanMcclure,
        Rho::Trimmed,
        Rho::Gce,
        Rho::Ramp,
    ];

    #[test]
    fn slopes_are_differences_even_and_finite() {
        for rho in ALL {
            for scale in [0.3, 1.0, 2.0] {
                for x in [-3.1, -0.7, 0.2, 0.9, 1.4, 5.0] {
                    let step = 1e-6;
                    let difference = (rho.at(x + step, scale).value - rho.at(x - step, scale).value) / (2.0 * step);
                    close(rho.at(x, scale).slope, difference, 1e-8, &format!("{rho:?} at {x}"));
                    assert_eq!(rho.at(x, scale).value, rho.at(-x, scale).value, "{rho:?}");
                    assert!(rho.at(x, scale).value > 0.0);
                }
                for x in [-1e4, 0.0, 1e4] {
                    let point = rho.at(x, scale);
                    assert!(point.value.is_finite() && point.slope.is_finite(), "{rho:?}");
                }
            }
        }
    }

    /// Redescending functions let go of the worst inputs; Huber's does not.
    #[test]
    fn which_redescend() {
        let lets_go = |rho: Rho| rho.at(20.0, rho.default_scale()).slope < 0.01 * rho.at(0.5, 1.0).slope;
        for rho in [Rho::Welsch, Rho::Tukey, Rho::GemanMcclure, Rho::Gce, Rho::Ramp] {
            assert!(lets_go(rho), "{rho:?}");
        }
        assert!(!lets_go(Rho::Huber) && !lets_go(Rho::PseudoHuber) && !lets_go(Rho::Cauchy));
    }
}
