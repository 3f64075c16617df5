//! What others call the numbers that Lapidary logs.

use super::history::Writer;

/// Another trainer's name, ours, and whose it is. Where a name is in the log under two of these, the first row wins.
///
/// Sources: TRL 1.16 (`GRPOTrainer._metrics`, read by running it) and older names of 0.14–0.17; verl
/// (`trainer/ppo/metric_utils.py`, `rollout_corr_helper.py`, `workers/actor/dp_actor.py`).
const TABLE: &[(&str, &str, Writer)] = &[
    // TRL has most of our names; these differ.
    ("sampling/sampling_logp_difference/mean", "sampling/logp_difference/mean", Writer::Trl),
    ("sampling/sampling_logp_difference/max", "sampling/logp_difference/max", Writer::Trl),
    ("sampling/importance_sampling_ratio/max", "sampling/ratio/max", Writer::Trl),
    ("sampling/importance_sampling_ratio/min", "sampling/ratio/min", Writer::Trl),
    ("completion_length", "completions/mean_length", Writer::Trl),
    ("clip_ratio", "clip_ratio/region_mean", Writer::Trl),
    ("eval_reward", "eval/reward", Writer::Trl),
    ("eval/eval_reward", "eval/reward", Writer::Trl),
    ("objective/kl", "kl", Writer::Trl),
    ("objective/entropy", "entropy", Writer::Trl),
    ("objective/scores", "reward", Writer::Trl),
    // verl
    ("critic/score/mean", "reward", Writer::Verl),
    ("critic/rewards/mean", "reward", Writer::Verl),
    ("actor/entropy", "entropy", Writer::Verl),
    ("actor/entropy_loss", "entropy", Writer::Verl),
    ("actor/kl_loss", "kl", Writer::Verl),
    ("actor/reward_kl_penalty", "kl", Writer::Verl),
    ("critic/kl", "kl", Writer::Verl),
    ("actor/ppo_kl", "approx_kl", Writer::Verl),
    ("actor/pg_clipfrac", "clip_ratio/region_mean", Writer::Verl),
    ("actor/pg_clipfrac_lower", "clip_ratio/dual_mean", Writer::Verl),
    ("actor/pg_loss", "policy_loss", Writer::Verl),
    ("actor/grad_norm", "grad_norm", Writer::Verl),
    ("actor/lr", "learning_rate", Writer::Verl),
    ("response_length/mean", "completions/mean_length", Writer::Verl),
    ("response_length/min", "completions/min_length", Writer::Verl),
    ("response_length/max", "completions/max_length", Writer::Verl),
    ("response_length/clip_ratio", "completions/clipped_ratio", Writer::Verl),
    ("training/rollout_probs_diff_mean", "sampling/probability_difference/mean", Writer::Verl),
    ("training/rollout_probs_diff_max", "sampling/probability_difference/max", Writer::Verl),
    ("rollout_corr/kl", "sampling/mismatch_k1", Writer::Verl),
    ("rollout_corr/k3_kl", "sampling/mismatch_k3", Writer::Verl),
    ("rollout_corr/rollout_is_max", "sampling/ratio/max", Writer::Verl),
];

/// Names that only TRL (of the three) writes though Lapidary has them too.
const TRL_ONLY: &[&str] = &["step_time", "epoch", "clip_ratio/low_min", "clip_ratio/high_max", "train_runtime"];
/// Names under `rewards/` that are not the mean of a reward function (DPO).
const NOT_REWARDS: &[&str] = &["chosen", "rejected", "accuracies", "margins"];

/// Our name of a metric and how good a match it is: of several in one log, the smallest rank is taken.
pub(super) fn ours(written: &str) -> (String, usize) {
    let name = written.strip_prefix("train/").unwrap_or(written);
    if let Some(rank) = TABLE.iter().position(|(theirs, ..)| *theirs == name) {
        return (TABLE[rank].1.to_string(), rank + 1);
    }
    if let Some(rank) = validation(name) {
        return ("eval/accuracy".into(), rank);
    }
    match name.strip_prefix("rewards/") {
        Some(label) if !label.contains('/') && !NOT_REWARDS.contains(&label) => (format!("rewards/{label}/mean"), 1),
        _ => (name.to_string(), 0),
    }
}

/// verl's held-out scores: `val-core/<data set>/acc/mean@1`, else `…/reward/mean@1`, else (older) `val/test_score/<data set>`.
fn validation(name: &str) -> Option<usize> {
    let mean = name.rsplit('/').next().is_some_and(|last| last.starts_with("mean@"));
    match name.split('/').next()? {
        "val-core" if mean && name.contains("/acc/") => Some(1),
        "val-core" if mean && name.contains("/reward/") => Some(2),
        "val" if name.starts_with("val/test_score/") => Some(3),
        _ => None,
    }
}

/// Whose log it is, by the names in it.
pub(super) fn writer<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Writer {
    let has = |test: &dyn Fn(&str) -> bool| names.clone().any(test);
    let of = |writer: Writer, name: &str| TABLE.iter().any(|(theirs, _, whose)| *theirs == name && *whose == writer);
    let plain = |name: &str| name.strip_prefix("train/").unwrap_or(name).to_string();
    if has(&|name| of(Writer::Verl, &plain(name))) {
        Writer::Verl
    } else if has(&|name| of(Writer::Trl, &plain(name)) || TRL_ONLY.contains(&plain(name).as_str())) {
        Writer::Trl
    } else if has(&|name| name == "stage") {
        Writer::Lapidary
    } else {
        Writer::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_peers_become_ours() {
        for (written, name) in [
            ("train/reward", "reward"),
            ("entropy", "entropy"),
            ("actor/entropy", "entropy"),
            ("sampling/sampling_logp_difference/max", "sampling/logp_difference/max"),
            ("val-core/openai/gsm8k/acc/mean@1", "eval/accuracy"),
            ("val/test_score/openai/gsm8k", "eval/accuracy"),
            ("rewards/format_reward", "rewards/format_reward/mean"),
            ("rewards/format_reward/mean", "rewards/format_reward/mean"),
            ("rewards/chosen", "rewards/chosen"),
            ("timing_s/gen", "timing_s/gen"),
        ] {
            assert_eq!(ours(written).0, name, "{written}");
        }
        assert!(
            ours("critic/score/mean").1 < ours("critic/rewards/mean").1,
            "the score before the KL penalty is meant"
        );
        assert!(ours("reward").1 < ours("critic/score/mean").1);
    }

    #[test]
    fn every_target_is_a_metric_that_a_rule_or_the_catalogue_knows() {
        let asked: Vec<&str> = super::super::rules::rules().flat_map(|rule| rule.signs.metrics()).collect();
        for (theirs, name, _) in TABLE {
            let known = crate::metrics::describe(name).is_some() || asked.contains(name);
            assert!(known || name.starts_with("sampling/"), "{theirs} → {name}");
        }
    }

    #[test]
    fn the_writer_is_known_by_its_names() {
        let of = |names: &[&str]| writer(names.iter().copied());
        assert_eq!(of(&["step", "stage", "reward"]), Writer::Lapidary);
        assert_eq!(of(&["train/reward", "train/epoch"]), Writer::Trl);
        assert_eq!(of(&["actor/lr", "timing_s/gen"]), Writer::Verl);
        assert_eq!(of(&["reward", "kl"]), Writer::Unknown);
    }
}
