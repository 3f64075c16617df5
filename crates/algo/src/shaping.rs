//! Shaping: what is added to a reward before advantages are taken.

use std::collections::BTreeMap;

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

/// Group-relative overlong punishment of right answers (GTPO, arXiv 2508.04349, appendix D).
///
/// A prompt is *easy* where at least `easy` of its `G` answers are right, *hard* where at most `1 − easy` are. With
/// `K = max((shortest + longest)/2, mean length)`, over the right answers of an easy prompt and over all answers of a
/// medium one, a right answer of length `L` pays `0` up to `K`, then `½·(L − K)/K`, at most `½`. Hard prompts, and medium
/// ones where most answers are wrong, pay nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupOverlong {
    /// `γ₁`: share of right answers from which a prompt is easy, in `(0.5, 1]`. The paper does not give it.
    pub easy: f64,
}

impl GroupOverlong {
    /// What to add to each reward; `right[i]` is `None` without a verdict, which pays and counts nothing.
    pub fn penalties(&self, lengths: &[usize], right: &[Option<bool>], groups: &[usize]) -> Vec<f64> {
        assert!(lengths.len() == right.len() && groups.len() == right.len(), "a length and a group per answer");
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for row in (0..right.len()).filter(|&row| right[row].is_some()) {
            members.entry(groups[row]).or_default().push(row);
        }
        let mut penalties = vec![0.0; right.len()];
        for rows in members.values() {
            let good: Vec<usize> = rows.iter().copied().filter(|&row| right[row] == Some(true)).collect();
            let share = good.len() as f64 / rows.len() as f64;
            let knee = if share >= self.easy {
                Self::knee(&good, lengths)
            } else if share > 1.0 - self.easy && 2 * good.len() > rows.len() {
                Self::knee(rows, lengths)
            } else {
                continue;
            };
            for row in good {
                let excess = (lengths[row] as f64 - knee) / knee.max(1.0);
                penalties[row] = -0.5 * excess.clamp(0.0, 1.0);
            }
        }
        penalties
    }

    fn knee(rows: &[usize], lengths: &[usize]) -> f64 {
        let of = || rows.iter().map(|&row| lengths[row]);
        let (shortest, longest) = (of().min().unwrap_or(0), of().max().unwrap_or(0));
        let mean = of().sum::<usize>() as f64 / rows.len().max(1) as f64;
        ((shortest + longest) as f64 / 2.0).max(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Specification A, §12.4.
    #[test]
    fn golden_group_relative_punishment() {
        let of = |lengths: &[usize], right: &[u8]| {
            let right: Vec<Option<bool>> = right.iter().map(|&right| Some(right == 1)).collect();
            GroupOverlong { easy: 0.75 }.penalties(lengths, &right, &vec![7; lengths.len()])
        };
        assert_eq!(of(&[100, 200, 300, 600], &[1, 1, 1, 0]), [0.0, 0.0, -0.25, 0.0], "easy");
        let all = of(&[100, 120, 600, 150], &[1; 4]);
        assert!((all[2] + 0.357143).abs() < 1e-6 && all[0] == 0.0 && all[1] == 0.0 && all[3] == 0.0);
        assert_eq!(of(&[100, 400, 900, 300, 200], &[1, 1, 1, 0, 0]), [0.0, 0.0, -0.4, 0.0, 0.0], "medium");
        assert_eq!(of(&[100, 400, 900, 300], &[1, 0, 0, 0]), [0.0; 4], "hard");
        assert_eq!(of(&[100, 900, 400, 300], &[1, 1, 0, 0]), [0.0; 4], "medium, but most are not right");
        assert_eq!(of(&[10, 10, 10, 80], &[1; 4]), [0.0, 0.0, 0.0, -0.5 * 35.0 / 45.0]);
        assert_eq!(of(&[10, 10, 10, 10, 10, 10, 10, 400], &[1; 8])[7], -0.5 * 195.0 / 205.0);
    }

    #[test]
    fn answers_without_a_verdict_and_other_prompts_do_not_count() {
        let right = [Some(true), None, Some(true), Some(true), Some(true)];
        let got = GroupOverlong { easy: 0.75 }.penalties(&[100, 9999, 300, 5, 5], &right, &[0, 0, 0, 1, 1]);
        assert_eq!(got, [0.0, 0.0, -0.25, 0.0, 0.0]);
        assert_eq!(GroupOverlong { easy: 0.75 }.penalties(&[0, 0], &[Some(true); 2], &[0, 0]), [0.0; 2]);
    }

    /// §2.13 (p).
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
