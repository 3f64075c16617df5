//! Several rewards, constraints and judges to one advantage: what RLUF and CGPO add to a policy gradient (specification C §5.5).

use lapidary_statistics::Moments;
use serde::{Deserialize, Serialize};

use crate::prior::sigmoid;

/// Added to a standard deviation before dividing by it.
const EPSILON: f64 = 1e-6;

/// How rewards are brought to one scale before they are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// As they are: the one with the widest range leads.
    Raw,
    /// Each objective is whitened within the group, then weighed.
    ZGroup,
}

/// `(x − mean)/(std + 1e-6)` with the unbiased standard deviation; 0 for one value.
pub fn whitened(values: &[f64]) -> Vec<f64> {
    let moments = Moments::of(values.iter().copied());
    let scale = moments.variance().map_or(0.0, f64::sqrt) + EPSILON;
    values.iter().map(|value| (value - moments.mean) / scale).collect()
}

/// Mixed rewards of a group, `rewards[objective][rollout]`: `Σ w_k·r̃_k`. Whiten the result for advantages ([`whitened`]).
pub fn mixed(rewards: &[Vec<f64>], weights: &[f64], scale: Scale) -> Vec<f64> {
    assert_eq!(rewards.len(), weights.len(), "a weight for each objective");
    let group = rewards.first().map_or(0, Vec::len);
    assert!(rewards.iter().all(|of| of.len() == group), "a reward of each objective for each rollout");
    let scaled: Vec<Vec<f64>> = match scale {
        Scale::Raw => rewards.to_vec(),
        Scale::ZGroup => rewards.iter().map(|of| whitened(of)).collect(),
    };
    (0..group).map(|rollout| scaled.iter().zip(weights).map(|(of, w)| w * of[rollout]).sum()).collect()
}

/// Running mean and deviation of a reward over steps, for a scale that does not change from group to group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningScale {
    mean: f64,
    square: f64,
    /// Weight of what was seen, which takes the zeros of the start out.
    weight: f64,
}

impl RunningScale {
    /// Takes a batch in: exponentially weighted moments that forget with `decay` per batch.
    pub fn observe(&mut self, rewards: &[f64], decay: f64) {
        if rewards.is_empty() {
            return;
        }
        let n = rewards.len() as f64;
        let (mean, square) = (rewards.iter().sum::<f64>() / n, rewards.iter().map(|r| r * r).sum::<f64>() / n);
        self.mean = decay * self.mean + (1.0 - decay) * mean;
        self.square = decay * self.square + (1.0 - decay) * square;
        self.weight = decay * self.weight + (1.0 - decay);
    }

    /// A reward on this scale; as it is before anything was seen.
    pub fn scaled(&self, reward: f64) -> f64 {
        if self.weight == 0.0 {
            return reward;
        }
        let mean = self.mean / self.weight;
        (reward - mean) / ((self.square / self.weight - mean * mean).max(0.0).sqrt() + EPSILON)
    }
}

/// Weights whose place `of` is at most `cap`; what is cut goes to the others in their proportion. The published reward hack came from a
/// love weight of 0.3 (RLUF, arXiv 2505.14946, §5); 0.1 was moderate.
pub fn capped(weights: &[f64], of: usize, cap: f64) -> Vec<f64> {
    let others: f64 = weights.iter().sum::<f64>() - weights[of];
    if weights[of] <= cap || others <= 0.0 {
        return weights.to_vec();
    }
    let grow = 1.0 + (weights[of] - cap) / others;
    weights.iter().enumerate().map(|(at, weight)| if at == of { cap } else { weight * grow }).collect()
}

/// Each objective's share of the mix's spread, `w_k·std_k / Σ w·std`: what a weight means. `None` where nothing varies.
pub fn spread_shares(rewards: &[Vec<f64>], weights: &[f64]) -> Option<Vec<f64>> {
    let spread = |(of, weight): (&Vec<f64>, &f64)| {
        weight.abs() * Moments::of(of.iter().copied()).variance().map_or(0.0, f64::sqrt)
    };
    let spreads: Vec<f64> = rewards.iter().zip(weights).map(spread).collect();
    let sum: f64 = spreads.iter().sum();
    (sum > 0.0).then(|| spreads.iter().map(|spread| spread / sum).collect())
}

/// Conservative reward of an ensemble, `mean − κ·std` (unbiased; 0 for one member): where the members disagree nobody knows. `None` without
/// members.
pub fn conservative(rewards: &[f64], kappa: f64) -> Option<f64> {
    let moments = Moments::of(rewards.iter().copied());
    (!rewards.is_empty()).then(|| moments.mean - kappa * moments.variance().map_or(0.0, f64::sqrt))
}

/// Weighted Chebyshev distance to a goal, `max w_k·gap_k`, to be made small: reaches parts of a Pareto front that no weighted sum reaches.
pub fn chebyshev(weights: &[f64], gaps: &[f64]) -> f64 {
    assert_eq!(weights.len(), gaps.len(), "a gap for each objective");
    weights.iter().zip(gaps).map(|(w, gap)| w * gap).fold(f64::NEG_INFINITY, f64::max)
}

/// The same, smooth: `t·ln Σ exp(w_k·gap_k/t)`; towards [`chebyshev`] as t falls to 0.
pub fn soft_chebyshev(weights: &[f64], gaps: &[f64], t: f64) -> f64 {
    let most = chebyshev(weights, gaps);
    most + t * weights.iter().zip(gaps).map(|(w, gap)| ((w * gap - most) / t).exp()).sum::<f64>().ln()
}

/// The multiplier of one constraint `J ≤ limit` (turn the signs for a floor). All of it is state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Multiplier {
    /// λ, at or above 0.
    pub lambda: f64,
    /// Smoothed cost on held-out prompts; `None` before the first.
    pub cost: Option<f64>,
}

/// How a multiplier moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiplierRule {
    /// What the cost may be.
    pub limit: f64,
    /// Step size η; slower than the policy (an update every 10 to 20 steps).
    pub rate: f64,
    /// Largest λ.
    pub most: f64,
    /// Share of the smoothed cost that an observation keeps; 0 forgets at once.
    pub smoothing: f64,
    /// Whether λ moves by a factor (`λ·exp(η(Ĵ − d))`, never to 0) instead of by a sum (`max(0, λ + η(Ĵ − d))`).
    pub logarithmic: bool,
}

impl Multiplier {
    /// A multiplier that has seen nothing.
    pub fn new(lambda: f64) -> Self {
        Self { lambda, cost: None }
    }

    /// After an observed cost.
    pub fn updated(self, observed: f64, rule: &MultiplierRule) -> Self {
        let cost = self.cost.map_or(observed, |cost| rule.smoothing * cost + (1.0 - rule.smoothing) * observed);
        let push = rule.rate * (cost - rule.limit);
        let lambda = if rule.logarithmic { self.lambda * push.exp() } else { (self.lambda + push).max(0.0) };
        Self { lambda: lambda.min(rule.most), cost: Some(cost) }
    }
}

/// Advantages under constraints: `(A_R − Σ λ_k·A_k)/(1 + Σ λ_k)`, whose size does not grow with λ. `costs[constraint][rollout]`.
pub fn constrained(reward: &[f64], costs: &[Vec<f64>], lambdas: &[f64]) -> Vec<f64> {
    assert!(
        costs.len() == lambdas.len() && costs.iter().all(|cost| cost.len() == reward.len()),
        "a cost for each rollout"
    );
    let scale = 1.0 + lambdas.iter().sum::<f64>();
    let price =
        |rollout: usize| -> f64 { costs.iter().zip(lambdas).map(|(cost, lambda)| lambda * cost[rollout]).sum() };
    reward.iter().enumerate().map(|(rollout, reward)| (reward - price(rollout)) / scale).collect()
}

/// A rollout before judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Its reward.
    pub reward: f64,
    /// Whether all judges pass it.
    pub feasible: bool,
    /// `log π − log π_ref` of the whole answer.
    pub kl: f64,
}

/// CRPG's calibrated, constrained reward (CGPO, arXiv 2409.20370, §4.1): `1[feasible]·σ(r − r_baseline)·max(0, 1 − kl/kl_max)`.
pub fn calibrated_reward(rollout: &Judged, baseline: f64, kl_max: f64) -> f64 {
    let room = (1.0 - rollout.kl / kl_max).max(0.0);
    if rollout.feasible { sigmoid(rollout.reward - baseline) * room } else { 0.0 }
}

/// CRPG's rewards of a group and, less their mean, the advantages of its loss `−log π(y)·(R̃ − mean R̃)`.
pub fn crpg(group: &[Judged], baseline: f64, kl_max: f64) -> (Vec<f64>, Vec<f64>) {
    let rewards: Vec<f64> = group.iter().map(|rollout| calibrated_reward(rollout, baseline, kl_max)).collect();
    let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
    let advantages = rewards.iter().map(|reward| reward - mean).collect();
    (rewards, advantages)
}

/// Place of the rollout with the largest reward among those that hold; the first of equal ones. The code of CGPO multiplies reward and
/// judgement instead, which picks an infeasible rollout when all feasible rewards are negative.
fn best(group: &[Judged], holds: impl Fn(&Judged) -> bool) -> Option<usize> {
    let candidates = group.iter().enumerate().filter(|(_, rollout)| holds(rollout));
    candidates
        .fold(None, |best: Option<(usize, f64)>, (at, rollout)| match best {
            Some((_, reward)) if reward >= rollout.reward => best,
            _ => Some((at, rollout.reward)),
        })
        .map(|(at, _)| at)
}

/// CODPO's pair of a group (chosen, rejected): the best feasible one and the worst infeasible one, or the worst of all where all are
/// feasible. `None` where none is feasible, or the two are one.
pub fn codpo_pair(group: &[Judged]) -> Option<(usize, usize)> {
    let chosen = best(group, |rollout| rollout.feasible)?;
    let worst = |of: bool| {
        let turned: Vec<Judged> = group.iter().map(|rollout| Judged { reward: -rollout.reward, ..*rollout }).collect();
        best(&turned, |rollout| rollout.feasible == of)
    };
    let rejected = worst(false).or_else(|| worst(true))?;
    (chosen != rejected).then_some((chosen, rejected))
}

/// CODPO's loss of a pair: DPO's on `h = β·(Δ_w − Δ_l)` plus `λ/|y_w|` times the chosen answer's negative log-likelihood.
pub fn codpo_loss(h: f64, chosen_nll: f64, chosen_tokens: usize, coefficient: f64) -> f64 {
    let dpo = (-h).max(0.0) + (-h.abs()).exp().ln_1p();
    dpo + coefficient * chosen_nll / chosen_tokens.max(1) as f64
}

/// CRRAFT's choice: the best feasible rollout with `kl ≤ kl_max` and its weight R̃; `(None, 0.5)`, the baseline answer with its own
/// calibrated reward, where there is none.
pub fn crraft(group: &[Judged], baseline: f64, kl_max: f64) -> (Option<usize>, f64) {
    match best(group, |rollout| rollout.feasible && rollout.kl <= kl_max) {
        Some(at) => (Some(at), calibrated_reward(&group[at], baseline, kl_max)),
        None => (None, 0.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6) && got.len() == expected.len(), "{got:?}");
    }

    fn objectives() -> (Vec<Vec<f64>>, [f64; 3]) {
        (vec![vec![1.2, 0.3, -0.5, 0.8], vec![0.9, 0.95, 0.99, 0.2], vec![0.02, 0.10, 0.01, 0.30]], [0.6, 0.3, 0.1])
    }

    fn group() -> Vec<Judged> {
        let all = [(1.5, true, 2.0), (0.2, true, 12.0), (2.5, false, 1.0), (0.9, true, 5.0)];
        all.map(|(reward, feasible, kl)| Judged { reward, feasible, kl }).to_vec()
    }

    /// Specification C §5.5.
    #[test]
    fn goldens_of_scalarisation() {
        let (rewards, weights) = objectives();
        let raw = mixed(&rewards, &weights, Scale::Raw);
        near(&raw, &[0.992, 0.475, -0.002, 0.570]);
        near(&whitened(&raw), &[1.184558, -0.082729, -1.251967, 0.150138]);
        let grouped = mixed(&rewards, &weights, Scale::ZGroup);
        near(&grouped, &[0.661174, 0.023511, -0.666635, -0.018051]);
        near(&whitened(&grouped), &[1.219089, 0.043350, -1.229156, -0.033282]);
        near(&[chebyshev(&weights, &[0.2, 0.05, 0.4])], &[0.12]);
        assert!((soft_chebyshev(&weights, &[0.2, 0.05, 0.4], 1e-4) - 0.12).abs() < 1e-9);
        near(&capped(&[0.5, 0.2, 0.3], 2, 0.1), &[0.642857, 0.257143, 0.1]);
        near(&capped(&[0.9, 0.1], 1, 0.1), &[0.9, 0.1]);
        let shares = spread_shares(&rewards, &weights).unwrap();
        assert!(shares[0] > 0.75 && shares[2] < 0.03, "{shares:?}");
        near(&[conservative(&[0.2, 0.4], 0.5).unwrap()], &[0.3 - 0.5 * 0.02f64.sqrt()]);
        assert_eq!((conservative(&[0.4], 3.0), conservative(&[], 1.0)), (Some(0.4), None));
        near(&whitened(&[3.0]), &[0.0]);
    }

    #[test]
    fn goldens_of_the_lagrangian() {
        let rule = MultiplierRule { limit: 0.05, rate: 0.1, most: 10.0, smoothing: 0.0, logarithmic: false };
        near(&[Multiplier::new(0.5).updated(0.08, &rule).lambda], &[0.503]);
        let logarithmic = MultiplierRule { logarithmic: true, ..rule };
        near(&[Multiplier::new(0.5).updated(0.08, &logarithmic).lambda], &[0.501502]);
        near(&constrained(&[1.0, -0.5], &[vec![0.4, -0.2]], &[0.5]), &[0.533333, -0.266667]);
        // Below the limit it falls to 0 and stays there; above it ends at the cap.
        let after = |cost: f64| (0..10_000).fold(Multiplier::new(0.5), |m, _| m.updated(cost, &rule)).lambda;
        assert_eq!((after(0.0), after(1.0)), (0.0, 10.0));
        // Smoothing: the second cost counts for a tenth.
        let slow = MultiplierRule { smoothing: 0.9, ..rule };
        near(&[Multiplier::new(0.5).updated(0.08, &slow).updated(0.18, &slow).cost.unwrap()], &[0.09]);
    }

    #[test]
    fn goldens_of_the_mixture_of_judges() {
        let (rewards, advantages) = crpg(&group(), 1.0, 10.0);
        near(&rewards, &[0.497967, 0.0, 0.0, 0.237510]);
        near(&advantages, &[0.314098, -0.183869, -0.183869, 0.053641]);
        assert_eq!(codpo_pair(&group()), Some((0, 2)));
        let (at, weight) = crraft(&group(), 1.0, 10.0);
        assert_eq!(at, Some(0));
        near(&[weight, codpo_loss(0.4, 6.0, 3, 0.1)], &[0.497967, 0.513015 + 0.2]);
        // All judges fail: no reward, no gradient, no pair, the baseline.
        let failed: Vec<Judged> = group().iter().map(|r| Judged { feasible: false, ..*r }).collect();
        assert_eq!(crpg(&failed, 1.0, 10.0).1, [0.0; 4]);
        assert_eq!((codpo_pair(&failed), crraft(&failed, 1.0, 10.0)), (None, (None, 0.5)));
        // All feasible: the worst is rejected. One rollout is no pair.
        let passed: Vec<Judged> = group().iter().map(|r| Judged { feasible: true, ..*r }).collect();
        assert_eq!((codpo_pair(&passed), codpo_pair(&passed[..1])), (Some((2, 1)), None));
        // Feasible rewards below 0: a product of reward and judgement would take the infeasible one, whose product is 0.
        let negative =
            [(-1.0, true), (3.0, false), (-2.0, true)].map(|(reward, feasible)| Judged { reward, feasible, kl: 0.0 });
        assert_eq!((crraft(&negative, 0.0, 1.0).0, codpo_pair(&negative)), (Some(0), Some((0, 1))));
    }

    #[test]
    fn a_running_scale_forgets() {
        let mut scale = RunningScale::default();
        assert_eq!(scale.scaled(3.0), 3.0);
        scale.observe(&[1.0, 3.0], 0.9);
        assert!((scale.scaled(3.0) - 1.0).abs() < 1e-5 && scale.scaled(2.0).abs() < 1e-9);
        (0..200).for_each(|_| scale.observe(&[10.0, 30.0], 0.9));
        assert!((scale.scaled(30.0) - 1.0).abs() < 1e-5);
        let before = scale;
        scale.observe(&[], 0.9);
        assert_eq!(scale, before);
    }

    proptest! {
        /// What is judged infeasible never earns more than what is feasible, and centred rewards add to 0.
        #[test]
        fn judges_gate(rewards in prop::collection::vec((-5.0f64..5.0, any::<bool>(), -2.0f64..20.0), 1..12)) {
            let group: Vec<Judged> = rewards.iter().map(|(reward, feasible, kl)| Judged { reward: *reward, feasible: *feasible, kl: *kl }).collect();
            let (rewards, advantages) = crpg(&group, 0.0, 10.0);
            prop_assert!(advantages.iter().sum::<f64>().abs() < 1e-9);
            for (rollout, reward) in group.iter().zip(&rewards) {
                prop_assert!(*reward >= 0.0 && (rollout.feasible || *reward == 0.0));
            }
            if let Some((chosen, rejected)) = codpo_pair(&group) {
                prop_assert!(group[chosen].feasible && (!group[rejected].feasible || group[chosen].reward >= group[rejected].reward));
            }
        }
    }
}
