//! Degenerate batches: no variance, no group, no token, no number.

use lapidary_core::Kind;

use super::batches::Batch;
use super::*;
use crate::loss::Row;
use crate::{MethodKind, method, methods};

/// §2.13 (h), §4.10 (f): a value head or a reward shared out by entropy has no group to compare with; all others teach
/// exactly nothing where all rewards are equal.
#[test]
fn a_group_without_variance_has_exactly_no_gradient() {
    let batch = Batch { rewards: vec![Some(1.0); 6], groups: vec![0, 0, 0, 1, 1, 1], ..Batch::random(key(3), 6) };
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        // An entropy bonus acts whatever the rewards are.
        let objective = Objective { entropy_coefficient: 0.0, ..(method.defaults)() };
        let advantages = objective.advantages(&batch.experience()).unwrap();
        assert_eq!((advantages.groups, advantages.zero_variance_groups), (2, 2));
        assert_eq!(advantages.metrics()[2], ("frac_reward_zero_std", 1.0));
        if matches!(objective.advantage, Advantage::Gae { .. } | Advantage::EntropyShare) {
            continue;
        }
        let output = batch.loss(&objective);
        assert_eq!(output.loss, 0.0, "{}", method.name);
        assert!(output.grads.logp.flat().iter().all(|&slope| slope == 0.0), "{}", method.name);
    }
}

/// §2.11: verl gives the only answer of a prompt its reward as advantage; here it says nothing.
#[test]
fn a_group_of_one_has_no_gradient_where_a_group_is_needed() {
    let rewards = [1.0, 0.0, 1.0, 0.3].map(Some).to_vec();
    let batch = Batch { rewards, groups: vec![0, 1, 2, 3], ..Batch::random(key(13), 4) };
    for method in methods() {
        let objective = (method.defaults)();
        if objective.advantage.needs_group() {
            let output = batch.loss(&objective);
            assert!(output.grads.logp.flat().iter().all(|&slope| slope == 0.0), "{}", method.name);
            assert_eq!(method.kind, MethodKind::Group { min_samples: 2 });
        }
    }
}

/// An answer without a verdict has no part in any statistic, and no advantage.
#[test]
fn an_answer_without_a_verdict_changes_nothing_for_the_others() {
    let mut with = Batch::random(key(14), 8);
    with.rewards[3] = None;
    let without = [&[0, 1, 2][..], &[4, 5, 6, 7]].concat();
    let of = |from: &Ragged<f32>| from.select(without.iter().copied());
    let bare = Batch {
        mask: with.mask.select(without.iter().copied()),
        stats: TokenStats::default(),
        old: of(&with.old),
        rollout: of(&with.rollout),
        reference: of(&with.reference),
        entropy_before: of(&with.entropy_before),
        value_before: of(&with.value_before),
        rewards: without.iter().map(|&row| with.rewards[row]).collect(),
        groups: without.iter().map(|&row| with.groups[row]).collect(),
    };
    for method in methods() {
        for kl in [Kl::OFF, Kl { coefficient: 0.2, ..Kl::IN_REWARD }] {
            let objective = (method.defaults)();
            let got = objective.advantage.of(&with.experience(), &kl).unwrap();
            assert_eq!(got.rows, without);
            let expected = objective.advantage.of(&bare.experience(), &kl).unwrap();
            assert_eq!(got.values.select(without.iter().copied()), expected.values, "{}", method.name);
            assert!(got.values.select([3]).flat().iter().all(|&advantage| advantage == 0.0));
            assert_eq!((got.reward_mean, got.kl), (expected.reward_mean, expected.kl));
        }
    }
}

#[test]
fn a_step_without_a_trained_token_is_quiet() {
    let mask: Ragged<bool> = [vec![false; 3], vec![]].into_iter().collect();
    let nothing = mask.like(f32::NAN);
    let stats = TokenStats {
        logp: nothing.clone(),
        entropy: nothing.clone(),
        value: Some(nothing.clone()),
        ..Default::default()
    };
    for method in methods() {
        let objective = (method.defaults)();
        let experience = Experience {
            mask: Some(&mask),
            logp: Some(&nothing),
            logp_reference: Some(&nothing),
            entropy: Some(&nothing),
            value: Some(&nothing),
            ..Experience::of_rewards(&[Some(1.0), Some(0.0)], &[0, 0])
        };
        let advantages = objective.advantages(&experience).unwrap();
        assert!(advantages.metrics().iter().all(|(_, value)| value.is_finite()), "{}", method.name);
        let batch = LossBatch {
            value_old: Some(&nothing),
            returns: advantages.returns.as_ref(),
            ..LossBatch::new(&mask, &advantages.values, Want { value: true, ..Want::ENTROPY })
        };
        let output = objective.loss(&batch, &stats, &objective.prepare(&mask, None, None, 4).normaliser).unwrap();
        assert_eq!((output.loss, output.grads.logp.flat()), (0.0, [0.0; 3].as_slice()));
        let losses = [("loss", 0.0), ("policy_loss", 0.0), ("value_loss", 0.0)];
        let reported = match method.kind {
            MethodKind::Supervised => 1,
            _ => 2 + usize::from(objective.critic.is_some()),
        };
        assert_eq!(output.metrics.finish(), losses[..reported]);
    }
}

#[test]
fn a_step_that_is_rejected_whole_is_quiet() {
    let batch = Batch::random(key(15), 6);
    for denominator in [Denominator::Original, Denominator::Remaining] {
        let off_policy = OffPolicy { veto: Some(0.999_999), denominator, ..OffPolicy::OFF };
        let all = Batch { rollout: batch.old.map(|logp| logp + 0.5), ..batch.clone() };
        for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
            let objective = Objective { off_policy, critic: None, entropy_coefficient: 0.0, ..(method.defaults)() };
            let output = all.loss(&objective);
            assert_eq!(output.loss, 0.0, "{}", method.name);
            assert!(output.grads.logp.flat().iter().all(|&slope| slope == 0.0));
            assert!(output.metrics.finish().iter().all(|(_, value)| value.is_finite()), "{}", method.name);
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let objective = (method("ppo").unwrap().defaults)();
    let whole = Batch::random(key(4), 4);
    let step = whole.step(&objective);
    let token = whole.mask.row(2).iter().position(|&on| on).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        type Target = fn(&mut Batch) -> &mut Ragged<f32>;
        let places: [(&str, Target); 6] = [
            ("log-probability", |batch| &mut batch.stats.logp),
            ("value", |batch| batch.stats.value.as_mut().unwrap()),
            ("old value", |batch| &mut batch.value_before),
            ("old log-probability", |batch| &mut batch.old),
            ("sampler's log-probability", |batch| &mut batch.rollout),
            ("reference log-probability", |batch| &mut batch.reference),
        ];
        for (what, target) in places {
            let mut batch = whole.clone();
            target(&mut batch).row_mut(2)[token] = bad;
            let problem = objective.loss(&batch.view(&step), &batch.stats, &step.prepared.normaliser).unwrap_err();
            assert_eq!((problem.kind(), problem.code()), (Kind::Diverged, "N010"));
            assert_eq!(problem.message(), format!("the {what} of token {token} in row 2 is {bad}"));
        }
        let mut batch = whole.clone();
        batch.value_before.row_mut(2)[token] = bad;
        let problem = objective.advantages(&batch.experience()).unwrap_err();
        assert_eq!(problem.message(), format!("the value of token {token} in row 2 is {bad}"));
    }
}

/// Ratios beyond e^±20 stay numbers, and where a log-ratio is held the gradient through it is 0.
#[test]
fn absurd_ratios_stay_numbers() {
    for method in methods() {
        for objective in variants(method) {
            for (logp, old) in [(-0.1, -3000.0), (-3000.0, -0.1)] {
                for advantage in [-2.0, 2.0] {
                    let row = Row {
                        logp: vec![logp],
                        old: Some(vec![old]),
                        rollout: Some(vec![-0.5]),
                        reference: Some(vec![old]),
                        entropy: Some(vec![0.0]),
                        advantage: vec![advantage],
                        ..Row::default()
                    };
                    let one: Ragged<bool> = [vec![true]].into_iter().collect();
                    let output = objective.row(&row, &objective.normaliser(&one, 1));
                    assert!(output.sums.loss.is_finite() && output.by_logp[0].is_finite());
                    if matches!(objective.surrogate, Surrogate::Clip { .. }) {
                        assert_eq!(output.by_logp[0], 0.0);
                    }
                    assert!(objective.off_policy.fate(&[old - logp]).weights[0].is_finite());
                }
            }
        }
    }
}
