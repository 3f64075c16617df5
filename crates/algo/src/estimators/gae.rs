//! GAE: advantages from a value head.
//!
//! ```text
//! δ_t = r_t + γ·V_{t+1} − V_t,   Â_t = δ_t + γλ·Â_{t+1},   R_t = Â_t + V_t        (V beyond the end is 0)
//! ```
//! Schulman et al. 2016, arXiv 1506.02438, eq. 16. `t` counts the policy's own tokens: what an environment writes is
//! part of the next state, so `V_{t+1}` and `Â_{t+1}` are carried over it unchanged.

use super::returns::whiten;
use super::{Estimate, Rows, group};

pub(super) fn estimate(rows: &Rows, (gamma, lambda): (f64, f64), whitened: bool, whiten_rewards: bool) -> Estimate {
    let mut rewards: Vec<Vec<f64>> = (0..rows.tokens.len()).map(|row| rows.token_rewards(row)).collect();
    if whiten_rewards {
        let center = group::mean(&rewards.concat());
        rewards = whiten(rewards).into_iter().map(|row| row.iter().map(|reward| reward + center).collect()).collect();
    }
    let mut advantages = Vec::with_capacity(rows.tokens.len());
    let mut returns = Vec::with_capacity(rows.tokens.len());
    for (rewards, tokens) in rewards.iter().zip(&rows.tokens) {
        let of_row = of_tokens(rewards, &tokens.value, gamma, lambda);
        returns.push(of_row.iter().zip(&tokens.value).map(|(advantage, value)| advantage + value).collect());
        advantages.push(of_row);
    }
    let advantages = if whitened { whiten(advantages) } else { advantages };
    Estimate { returns: Some(returns), ..Estimate::tokens(advantages) }
}

/// Over the trained tokens of one answer.
fn of_tokens(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    assert_eq!(rewards.len(), values.len(), "one value per token");
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for token in (0..rewards.len()).rev() {
        let error = rewards[token] + gamma * next_value - values[token];
        next_advantage = error + gamma * lambda * next_advantage;
        next_value = values[token];
        advantages[token] = next_advantage;
    }
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::experience::TokenRow;
    use crate::testing::{close, close_rows};

    fn row(places: Vec<usize>, value: &[f64]) -> TokenRow {
        TokenRow { places, value: value.to_vec(), ..TokenRow::default() }
    }

    fn rows(reward: f64, tokens: TokenRow) -> Rows {
        Rows { verdicts: vec![Some(reward)], rewards: vec![Some(reward)], groups: vec![0], tokens: vec![tokens] }
    }

    /// Specification A, §12.5: r = [0, 0, 1], V = [.5, .6, .4], γ = 1, λ = .95.
    #[test]
    fn golden_advantages_returns_and_whitening() {
        let rows = rows(1.0, row(vec![0, 1, 2], &[0.5, 0.6, 0.4]));
        let plain = estimate(&rows, (1.0, 0.95), false, false);
        close_rows(&plain.values, &[&[0.4515, 0.37, 0.6]], 1e-12);
        for (got, expected) in plain.returns.unwrap()[0].iter().zip([0.9515, 0.97, 1.0]) {
            close(*got, expected, 1e-12, "return");
        }
        let white = estimate(&rows, (1.0, 0.95), true, false);
        close_rows(&white.values, &[&[-0.191513, -0.890393, 1.081906]], 1e-6);
        close(white.returns.unwrap()[0][0], 0.9515, 1e-12, "returns are made before whitening");
    }

    /// m = [1, 0, 1, 1], γ = .99, λ = .9: the observation in the middle, whose value is 9, is stepped over.
    #[test]
    fn golden_advantages_over_an_observation() {
        let rows = rows(1.0, row(vec![0, 2, 3], &[0.5, 0.6, 0.4]));
        close_rows(&estimate(&rows, (0.99, 0.9), false, false).values, &[&[0.388565, 0.330600, 0.600000]], 1e-6);
    }

    /// §2.13 (o).
    #[test]
    fn lambda_one_without_values_is_the_discounted_return_and_lambda_zero_the_td_error() {
        let (rewards, values) = ([0.3, -0.2, 0.0, 1.0], [0.7, -0.4, 0.1, 0.9]);
        let returns = crate::estimators::returns::discounted(&[0, 1, 2, 3], &rewards, 0.9);
        for (got, expected) in of_tokens(&rewards, &[0.0; 4], 0.9, 1.0).iter().zip(returns) {
            close(*got, expected, 1e-15, "return");
        }
        for (token, got) in of_tokens(&rewards, &values, 0.9, 0.0).iter().enumerate() {
            let next = values.get(token + 1).copied().unwrap_or(0.0);
            close(*got, rewards[token] + 0.9 * next - values[token], 1e-15, "TD error");
        }
    }

    #[test]
    fn an_empty_answer_and_one_without_a_verdict_have_nothing() {
        let mut rows = rows(1.0, TokenRow::default());
        assert_eq!(estimate(&rows, (1.0, 1.0), true, true).returns, Some(vec![vec![]]));
        rows.rewards = vec![None];
        assert_eq!(estimate(&rows, (1.0, 1.0), true, true).returns, Some(vec![vec![]]));
    }

    /// Token rewards 0, 0, 1 have a mean of 1/3 and an unbiased deviation of 0.57735: over it, with the mean kept.
    #[test]
    fn rewards_may_be_whitened_around_their_mean() {
        let rows = rows(1.0, row(vec![0, 1, 2], &[0.0; 3]));
        let plain = estimate(&rows, (1.0, 0.0), false, true);
        let (low, high) = (1.0 / 3.0 - 0.577350, 1.0 / 3.0 + 1.154701);
        close_rows(&plain.values, &[&[low, low, high]], 1e-6);
    }
}
