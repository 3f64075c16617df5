//! Functions of a margin that stay finite wherever it goes.

/// `ln(1 + e^x)`, without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `ln σ(x) = −softplus(−x)`.
pub(crate) fn log_sigmoid(x: f64) -> f64 {
    -softplus(-x)
}

/// `σ(x) = 1/(1 + e^(−x))`. `sigmoid(-x)` is `1 − σ(x)` to full relative precision.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// `ln(1 − e^x)` for `x < 0` (Mächler 2012: two branches at `−ln 2`).
pub(crate) fn log1mexp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    #[test]
    fn identities_and_extremes() {
        for x in [-3.0, -0.2, 0.0, 0.7, 30.0] {
            close(softplus(x) - softplus(-x), x, 1e-15, "softplus(x) − softplus(−x) = x");
            close(sigmoid(x) + sigmoid(-x), 1.0, 1e-15, "σ");
            close(log_sigmoid(x), sigmoid(x).ln(), 1e-12, "ln σ");
        }
        assert_eq!((softplus(1e4), softplus(-1e4), sigmoid(1e4), sigmoid(-1e4)), (1e4, 0.0, 1.0, 0.0));
        for x in [-1e-9, -0.3, -5.0] {
            close(log1mexp(x).exp(), 1.0 - x.exp(), 1e-15, "log1mexp");
        }
    }
}
