//! Returns: what follows a token, discounted; and whitening over the tokens of a step.

use super::{Advantage, Rows, group};

/// Added to the variance before its root is taken (verl and slime: 1e-8).
const WHITENING_DELTA: f64 = 1e-8;

/// `(x − mean)/√(var + 1e-8)` over all values, with the unbiased variance. Values that are all the same, or only one,
/// become 0.
pub(super) fn whiten(rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let all: Vec<f64> = rows.iter().flatten().copied().collect();
    if all.len() < 2 || group::all_same(&all) {
        return rows.iter().map(|row| vec![0.0; row.len()]).collect();
    }
    let center = group::mean(&all);
    let scale = (group::standard_deviation(&all, 1).powi(2) + WHITENING_DELTA).sqrt();
    rows.into_iter().map(|row| row.into_iter().map(|value| (value - center) / scale).collect()).collect()
}

/// `R_t = r_t + γ·R_{t+1}` over all positions of the answer. A token that an environment wrote has no reward, but time
/// passes: the return runs through it. (verl multiplies the running return by the mask, so that nothing before a tool's
/// words ever learns of the reward.)
pub(super) fn discounted(places: &[usize], rewards: &[f64], gamma: f64) -> Vec<f64> {
    let mut returns = vec![0.0; rewards.len()];
    let mut running = 0.0;
    for token in (0..rewards.len()).rev() {
        let gap = places.get(token + 1).map_or(0, |next| next - places[token]);
        running = rewards[token] + gamma.powi(gap as i32) * running;
        returns[token] = running;
    }
    returns
}

/// REINFORCE++.
pub(super) fn whitened(rows: &Rows, gamma: f64) -> Vec<Vec<f64>> {
    let of_row = |row: usize| discounted(&rows.tokens[row].places, &rows.token_rewards(row), gamma);
    whiten((0..rows.tokens.len()).map(of_row).collect())
}

/// REINFORCE++-baseline: every token of an answer has the answer's centred reward before whitening.
pub(super) fn whitened_group_mean(rows: &Rows) -> Vec<Vec<f64>> {
    let centred = group::of_rows(Advantage::WhitenedGroupMean, &rows.rewards_less_kl(), &rows.groups);
    whiten(rows.tokens.iter().zip(centred).map(|(row, advantage)| vec![advantage; row.places.len()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, close_rows, fixtures};
    use crate::{Kl, method};

    /// Specification A, §12.1: longer answers weigh more in the mean, so F1's advantages are not ±1.
    #[test]
    fn golden_whitened_advantages() {
        let printed = [[1.161895, -0.774597, -0.774597, 1.161895].as_slice(), &[0.645497, 0.645497, -1.290994]];
        for advantage in [Advantage::WhitenedReturn { gamma: 1.0 }, Advantage::WhitenedGroupMean] {
            for (fixture, printed) in fixtures().iter().zip(printed) {
                let estimate = advantage.estimate(&fixture.experience(&Kl::OFF));
                for (row, expected) in printed.iter().enumerate() {
                    for got in estimate.row(row, 0) {
                        close(got, *expected, 1e-6, "whitened");
                    }
                }
            }
        }
    }

    /// The same with β = 0.1 and γ = 0.9: F2's second answer is discounted twice between its tokens, *through* the
    /// environment's token. verl's reset would leave its first token without any reward.
    #[test]
    fn golden_returns_with_kl_and_discount_run_through_environment_tokens() {
        let kl = Kl { coefficient: 0.1, ..Kl::IN_REWARD };
        let printed: [&[&[f64]]; 2] = [
            &[
                &[0.896450, 1.102517, 1.308165],
                &[-0.731521, -0.706340],
                &[-0.797790, -0.803288, -0.786081, -0.790278],
                &[1.308165],
            ],
            &[&[0.576894, 0.784186], &[0.411269, 0.784186], &[-1.267798, -1.288737]],
        ];
        for (fixture, printed) in fixtures().iter().zip(printed) {
            let estimate = Advantage::WhitenedReturn { gamma: 0.9 }.estimate(&fixture.experience(&kl));
            close_rows(&estimate.values, printed, 1e-6);
        }
    }

    #[test]
    fn a_reset_at_environment_tokens_would_be_wrong() {
        assert_eq!(discounted(&[0, 2], &[0.0, 1.0], 0.5), [0.25, 1.0]);
        assert_eq!(discounted(&[0, 1], &[0.0, 1.0], 0.5), [0.5, 1.0]);
        assert_eq!(discounted(&[3, 4, 9], &[0.0, 0.0, 1.0], 1.0), [1.0; 3]);
        assert!(discounted(&[], &[], 0.9).is_empty(), "an empty answer has no place for its reward");
    }

    #[test]
    fn whitened_values_have_mean_zero_and_variance_one() {
        let white = whiten(vec![vec![3.0, 1.0], vec![], vec![-2.0, 0.5, 7.0]]);
        let all: Vec<f64> = white.concat();
        close(group::mean(&all), 0.0, 1e-12, "mean");
        close(group::standard_deviation(&all, 1), 1.0, 1e-8, "deviation");
        assert_eq!(whiten(vec![vec![0.1 + 0.2], vec![0.3, 0.3]]), [vec![0.0], vec![0.0; 2]], "rounding is no signal");
        assert_eq!(whiten(vec![vec![5.0]]), [vec![0.0]]);
        assert_eq!(whiten(vec![vec![], vec![]]), [vec![], Vec::<f64>::new()]);
    }

    #[test]
    fn the_baseline_form_needs_a_group_and_the_plain_one_does_not() {
        let needs = |name: &str| (method(name).unwrap().defaults)().advantage.needs_group();
        assert!(needs("reinforce_plus_plus_baseline") && !needs("reinforce_plus_plus"));
    }
}
