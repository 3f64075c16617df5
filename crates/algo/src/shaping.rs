//! Shaping: what is added to a reward before advantages are taken.

/// DAPO's soft punishment of answers that run into the length limit (arXiv 2503.14476, §3.4, eq. 13).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlong {
    /// Share of the longest answer in which the penalty grows (the paper's 4096 of 20480 tokens is 0.2), in `(0, 1]`.
    pub share: f64,
    /// The penalty at the limit.
    pub factor: f64,
}

impl Overlong {
    /// What to add to the reward of an answer of `length` tokens where at most `max_length` may be written.
    pub fn penalty(&self, length: usize, max_length: usize) -> f64 {
        self.factor * overlong_penalty(length as f64, max_length as f64, self.share * max_length as f64)
    }
}

/// `0` up to `max − buffer`, then falling linearly to `−1` at `max`, `−1` beyond (arXiv 2503.14476, eq. 13).
pub fn overlong_penalty(length: f64, max_length: f64, buffer: f64) -> f64 {
    assert!(buffer > 0.0 && buffer <= max_length, "0 < buffer ≤ longest answer, got {buffer} and {max_length}");
    let excess = length - (max_length - buffer);
    -(excess / buffer).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_penalty_is_continuous_and_falls() {
        let at = |length: f64| overlong_penalty(length, 100.0, 20.0);
        assert_eq!([at(0.0), at(80.0), at(90.0), at(100.0), at(101.0)], [0.0, 0.0, -0.5, -1.0, -1.0]);
        for knee in [80.0, 100.0] {
            assert!((at(knee - 1e-9) - at(knee + 1e-9)).abs() < 1e-9);
        }
        assert!((0..120).all(|length| at(f64::from(length)) >= at(f64::from(length) + 1.0)));
        assert_eq!(Overlong { share: 0.5, factor: 2.0 }.penalty(75, 100), -1.0);
    }
}
