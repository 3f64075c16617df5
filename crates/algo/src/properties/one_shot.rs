//! 1-shot RLVR (arXiv 2504.20571): its loss with all terms, the terms one by one, and batches without contrast.

use super::batches::Batch;
use super::*;
use crate::loss::Row;
use crate::testing::close;
use crate::{MethodKind, Overrides, method, methods};

/// The paper's loss on top of a method: a token mean, KL 0.001 in the loss, entropy weighted −0.001 in its sign, 0.001 in ours.
fn paper(more: &str) -> Objective {
    let text = format!(
        "{{\"aggregate\":\"token_mean\",\"kl_coefficient\":0.001,\"kl_estimator\":\"k3\",\"entropy_coefficient\":0.001{more}}}"
    );
    let given: Overrides = serde_json::from_str(&text).unwrap();
    (method("grpo").unwrap().defaults)().with(&given).unwrap()
}

/// Two answers of three and two tokens, the first right: the worked example of our specification.
fn example(objective: &Objective) -> (f64, f64, f64, f64) {
    let advantages = objective.advantages(&Experience::of_rewards(&[Some(1.0), Some(0.0)], &[0, 0])).unwrap();
    close(f64::from(advantages.mean_of(0)), 0.707106, 1e-6, "advantage");
    let answers = [
        (vec![-0.5, -1.0, -0.2], vec![-0.6, -0.9, -0.2], vec![-0.55, -1.1, -0.3], vec![1.2, 0.8, 0.4]),
        (vec![-0.7, -0.3], vec![-0.7, -0.5], vec![-0.8, -0.3], vec![0.9, 0.3]),
    ];
    let mask: Ragged<bool> = [vec![true; 3], vec![true; 2]].into_iter().collect();
    let normaliser = objective.normaliser(&mask, 4);
    let mut sums = (0.0, 0.0, 0.0, 0.0);
    for (at, (logp, old, reference, entropy)) in answers.into_iter().enumerate() {
        let advantage = vec![f64::from(advantages.mean_of(at)); logp.len()];
        let given = (Some(old), Some(reference), Some(entropy));
        let row = Row { logp, old: given.0, reference: given.1, entropy: given.2, advantage, ..Row::default() };
        let output = objective.row(&row, &normaliser).sums;
        sums.0 += output.loss;
        sums.1 += output.policy_loss;
        sums.2 += output.kl / 5.0;
        sums.3 += output.entropy / 5.0;
    }
    sums
}

#[test]
fn golden_loss_of_all_terms() {
    let (loss, policy, kl, entropy) = example(&paper(""));
    close(policy, -0.111526, 1e-6, "policy term");
    close(kl, 0.003148, 1e-6, "k3");
    close(entropy, 0.72, 1e-12, "entropy");
    close(loss, -0.112242, 1e-6, "loss");
}

/// Without the policy term: the KL and the entropy alone; the term itself is still reported.
#[test]
fn golden_loss_without_the_policy_term() {
    let (loss, policy, kl, entropy) = example(&paper(",\"policy_coefficient\":0"));
    close(policy, -0.111526, 1e-6, "policy term");
    close(loss, 0.001 * kl - 0.001 * entropy, 1e-15, "loss");
    let (half, ..) = example(&paper(",\"policy_coefficient\":0.5"));
    close(half - loss, -0.5 * 0.111526, 1e-6, "half of the policy term");
}

#[test]
fn golden_advantages_of_one_wrong_answer_of_eight() {
    let rewards = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0].map(Some);
    for (ddof, right, wrong) in [(1, 0.353552, -2.474867), (0, 0.377963, -2.645743)] {
        let advantages = Advantage::GroupZscore { ddof, delta: 1e-6 }
            .of(&Experience::of_rewards(&rewards, &[0; 8]), &Kl::OFF)
            .unwrap();
        close(f64::from(advantages.mean_of(0)), right, 1e-6, "right");
        close(f64::from(advantages.mean_of(7)), wrong, 2e-6, "wrong");
    }
}

/// A batch that is all right or all wrong: the policy term has exactly no gradient and nothing is NaN, while KL and entropy
/// go on; with one answer that differs, the control, the policy term acts.
#[test]
fn a_saturated_batch_leaves_kl_and_entropy_alone() {
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let plain = (method.defaults)();
        if matches!(plain.advantage, Advantage::Gae { .. } | Advantage::EntropyShare) {
            continue; // a value head, and a reward shared out, are not compared with a group
        }
        let kl = Kl {
            coefficient: 0.001,
            estimator: KlEstimator::K3,
            place: KlPlace::Loss,
            unbiased: false,
            adaptive: None,
        };
        let full = Objective { kl, entropy_coefficient: 0.001, ..plain.clone() };
        let without = Objective { policy_coefficient: 0.0, ..full.clone() };
        for reward in [0.0, 1.0] {
            let flat = Batch { rewards: vec![Some(reward); 8], groups: vec![0; 8], ..Batch::random(key(31), 8) };
            let (policy, all) = (flat.loss(&plain), flat.loss(&full));
            assert!(policy.grads.logp.flat().iter().all(|slope| *slope == 0.0), "{}", method.name);
            assert!(all.grads.logp.flat().iter().all(|slope| slope.is_finite()) && all.loss.is_finite());
            assert_eq!(all.grads.logp, flat.loss(&without).grads.logp, "{}: the same as without the term", method.name);
            assert!(all.grads.entropy.as_ref().unwrap().flat().iter().any(|slope| *slope < 0.0), "{}", method.name);
            let mut mixed = flat.clone();
            mixed.rewards[0] = Some(1.0 - reward);
            assert_ne!(mixed.loss(&full).grads.logp, mixed.loss(&without).grads.logp, "{}", method.name);
        }
    }
}

/// One baseline for all answers to an example: a single wrong answer among many groups gives each of them a gradient, where
/// groups of their own leave all but its group without.
#[test]
fn pooled_groups_share_one_failure() {
    let mut rewards = vec![Some(1.0); 32];
    rewards[5] = Some(0.0);
    let zscore = Advantage::GroupZscore { ddof: 1, delta: 1e-6 };
    let of = |groups: &[usize]| zscore.of(&Experience::of_rewards(&rewards, groups), &Kl::OFF).unwrap();
    let rows: Vec<usize> = (0..32).map(|row| row / 8).collect();
    let (apart, pooled) = (of(&rows), of(&[0; 32]));
    assert_eq!((0..32).filter(|&row| apart.mean_of(row) != 0.0).count(), 8);
    assert!((0..32).all(|row| pooled.mean_of(row) != 0.0));
    assert_eq!((apart.zero_variance_groups, pooled.zero_variance_groups), (3, 0));
}
