//! PPO: a value head says how good each state is.
//!
//! ```text
//! δ_it = r_it + γ V_i,t+1 − V_it,   Â_it = δ_it + γλ Â_i,t+1,   R_it = Â_it + V_it,   A = whiten(Â)
//! L = −(1/Σm) Σ_it m_it · min(w_it A_it, clip(w_it, 1−ε, 1+ε) A_it)
//!     + c · ½ (1/Σm) Σ_it m_it · max((V_it − R_it)², (clip(V_it, V_old ± c_v) − R_it)²)
//! ```
//! Schulman et al., arXiv 1707.06347 and 1506.02438; for language models Ouyang et al., arXiv 2203.02155, and Ziegler
//! et al., arXiv 1909.08593 (KL in the reward, and its controller). `t` runs over the policy's own tokens: `V` and `Â`
//! are carried over what an environment writes.
//!
//! Coordinates: `gae × token × clip(0.2, 0.2) × token_mean`, with a critic.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Critic, Kl, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "ppo",
    title: "PPO (proximal policy optimisation)",
    paper: "Schulman et al. 2017, arXiv 1707.06347; GAE: arXiv 1506.02438; for language models arXiv 2203.02155",
    equation: "δ_t = r_t + γ·V_t+1 − V_t,   Â_t = δ_t + γλ·Â_t+1,   R_t = Â_t + V_t,   A = whiten(Â)\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·A_it, clip(w_it, 1−ε_lo, 1+ε_hi)·A_it)\n\
                   + c·½·(1/Σm) Σ_it m_it · max((V − R)², (clip(V, V_old ± c_v) − R)²)",
    summary: "A learned critic in place of a group: credit per token from one answer per prompt.",
    when: "Rewards that come before the end, long agent episodes, or sampling so dear that a group per prompt is out of \
           the question. It costs a value head and a critic that must be good before it helps.",
    differs: "The GRPO family takes the baseline from other answers to the prompt; here a value head learns it, so one \
              answer per prompt is enough and each token has its own advantage. With λ = 1 and values of 0 it is \
              `reinforce_plus_plus`. The value head shares the model with the policy: `value_coefficient` weighs them.",
    kind: MethodKind::Single,
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 1506.02438, eq. 16" },
        Source { key: "gamma", source: "slime, verl and TRL: no discount" },
        Source { key: "gae_lambda", source: "slime and verl: 1; TRL 0.95" },
        Source { key: "whiten_advantages", source: "verl, slime and TRL" },
        Source { key: "whiten_rewards", source: "off as in verl, slime and TRL; RLSF (arXiv 2507.21931) has it" },
        Source { key: "ratio", source: "arXiv 1707.06347, eq. 6" },
        Source { key: "surrogate", source: "arXiv 1707.06347, eq. 7" },
        Source { key: "clip_low", source: "arXiv 1707.06347, §6.1" },
        Source { key: "clip_high", source: "arXiv 1707.06347, §6.1" },
        Source { key: "clip_dual", source: "off as in slime; verl has 3 (arXiv 1912.09729)" },
        Source { key: "aggregate", source: "verl's default: token mean" },
        Source { key: "kl_coefficient", source: "off for verifiable rewards (arXiv 2503.14476, §2.3); TRL has 0.05" },
        Source { key: "kl_estimator", source: "arXiv 1909.08593, §2.2: the log-ratio itself" },
        Source { key: "kl_in", source: "arXiv 1909.08593, eq. 2: in the reward of each token" },
        Source { key: "entropy_coefficient", source: "off as in slime and TRL; arXiv 1707.06347 has 0.01 for games" },
        Source { key: "value_coefficient", source: "TRL's PPOConfig (`vf_coef`)" },
        Source { key: "value_clip", source: "slime and TRL (`cliprange_value`); verl has 0.5" },
        Source { key: "critic_warmup_steps", source: "off as in verl and slime (`num_critic_only_steps`)" },
    ],
    suggestions: &[
        Suggestion { key: "updates_per_rollout", value: 4.0, source: "TRL's PPOConfig: four epochs" },
        Suggestion { key: "learning_rate", value: 3e-6, source: "TRL's PPO recipe" },
    ],
};

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.2, dual: None };
    let gae = Advantage::Gae { gamma: 1.0, lambda: 1.0, whiten: true, whiten_rewards: false };
    Objective {
        kl: Kl::IN_REWARD,
        critic: Some(Critic { coefficient: 0.1, value_clip: Some(0.2), warmup_steps: 0 }),
        ..plain(gae, Ratio::Token, clip, Aggregate::TokenMean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{CriticRow, Row};
    use crate::testing::close;
    use crate::{Experience, RowAdvantage};
    use lapidary_core::Ragged;

    fn row() -> Row {
        Row {
            logp: vec![-0.7, -1.3],
            old: Some(vec![-0.5, -1.4]),
            advantage: vec![1.0, -1.0],
            critic: Some(CriticRow { value: vec![0.9, 0.1], before: vec![0.5, 0.4], goal: vec![1.0, 0.5] }),
            ..Row::default()
        }
    }

    fn one() -> Ragged<bool> {
        [vec![true, true]].into_iter().collect()
    }

    /// Specifications B, §1.13 and C, §1.2: the KL of each token in the reward, β = 0.05, a score of 1 at the end, λ = 0.95.
    #[test]
    fn golden_advantages_and_returns_of_a_scored_answer() {
        let of = |values: [f32; 3]| [values.to_vec()].into_iter().collect::<Ragged<f32>>();
        let cases = [
            (
                [[-0.5, -1.0, -0.2], [-0.6, -0.9, -0.4], [0.1, 0.2, 0.3]],
                [0.817475, 0.760500, 0.690000],
                [0.917475, 0.960500, 0.990000],
                [0.962828, 0.070600, -1.033428],
            ),
            (
                [[-0.5, -1.0, -0.3], [-0.7, -0.8, -0.4], [0.2, 0.5, 0.7]],
                [0.755738, 0.490250, 0.295000],
                [0.955738, 0.990250, 0.995000],
                [1.046769, -0.101239, -0.945529],
            ),
        ];
        for ([logp, reference, value], plain, returns, white) in cases {
            let mask = [vec![true; 3]].into_iter().collect();
            let (logp, reference, value) = (of(logp), of(reference), of(value));
            let experience = Experience {
                mask: Some(&mask),
                logp: Some(&logp),
                logp_reference: Some(&reference),
                value: Some(&value),
                ..Experience::of_rewards(&[Some(1.0)], &[0])
            };
            for (whiten, expected) in [(false, plain), (true, white)] {
                let advantage = Advantage::Gae { gamma: 1.0, lambda: 0.95, whiten, whiten_rewards: false };
                let objective = Objective { advantage, kl: Kl { coefficient: 0.05, ..Kl::IN_REWARD }, ..defaults() };
                let got = objective.advantages(&experience).unwrap();
                let RowAdvantage::Each(row) = got.values.row(0) else { panic!("one for each token") };
                for (at, expected) in expected.into_iter().enumerate() {
                    close(f64::from(row[at]), expected, 2e-6, "advantage");
                    close(f64::from(got.returns.as_ref().unwrap().row(0)[at]), returns[at], 1e-6, "return");
                }
            }
        }
    }

    /// The value loss of the specification (§12.5), 0.0625, enters with its coefficient.
    #[test]
    fn policy_and_value_add_up() {
        let normaliser = defaults().normaliser(&one(), 8);
        let output = defaults().row(&row(), &normaliser);
        close(output.sums.value_loss, 0.0625, 1e-12, "value loss");
        close(output.sums.loss, output.sums.policy_loss + 0.00625, 1e-12, "loss");
        assert_eq!(output.by_value, [0.0, 0.5 * 0.1 * (0.1 - 0.5)], "the first is stopped by the clip");
    }

    #[test]
    fn while_the_critic_warms_up_the_policy_stays() {
        let warming = Objective { critic_only: true, ..defaults() };
        let output = warming.row(&row(), &warming.normaliser(&one(), 8));
        assert_eq!(output.by_logp, [0.0, 0.0]);
        close(output.sums.loss, 0.00625, 1e-12, "the value loss alone");
        assert!(output.by_value[1] != 0.0);
    }
}
