//! What every number of a run is, in which unit, and what good and bad look like.
//!
//! One table feeds the report, the documentation and the command line. Names follow TRL's where TRL has one.

use std::sync::LazyLock;

mod comparisons;
mod demonstrations;
mod one_shot;
mod second_layer;

/// A named number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in `metrics.jsonl`; `<name>` stands for the label of a reward.
    pub name: &'static str,
    /// A few words for the head of a chart.
    pub title: &'static str,
    /// The unit: `nats per token`, `tokens`, `share`, or empty.
    pub unit: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it looks like in a healthy run.
    pub good: &'static str,
    /// What it looks like in a sick one, and what to do.
    pub bad: &'static str,
}

/// Every metric: those that the algorithms report, then those of the loop and of evaluation.
pub fn catalogue() -> &'static [Metric] {
    static ALL: LazyLock<Vec<Metric>> = LazyLock::new(|| {
        let known = lapidary_algo::metrics();
        let of_losses = lapidary_algo::preference::preference_metrics();
        let of_losses = of_losses.iter().filter(|metric| known.iter().all(|other| other.name != metric.name));
        let of_algorithms = known.iter().chain(of_losses).map(|metric| {
            let heading = HEADINGS.iter().chain(comparisons::HEADINGS).find(|(name, ..)| *name == metric.name);
            let (title, unit) = heading.map_or((metric.name, ""), |(_, title, unit)| (*title, *unit));
            Metric { name: metric.name, title, unit, what: metric.what, good: metric.good, bad: metric.bad }
        });
        let of_tables = [
            comparisons::METRICS,
            one_shot::METRICS,
            second_layer::METRICS,
            demonstrations::METRICS,
            super::confidence::METRICS,
        ]
        .concat();
        of_algorithms.chain(METRICS.iter().copied()).chain(of_tables).collect()
    });
    &ALL
}

/// The metric that a name of `metrics.jsonl` belongs to: `rewards/answer/mean` is `rewards/<name>/mean`.
pub fn describe(name: &str) -> Option<&'static Metric> {
    catalogue().iter().find(|metric| match metric.name.split_once("<name>") {
        None => metric.name == name,
        Some((before, after)) => {
            name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    })
}

pub(super) const fn metric(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    what: &'static str,
    good: &'static str,
    bad: &'static str,
) -> Metric {
    Metric { name, title, unit, what, good, bad }
}

/// Title and unit of the metrics that `lapidary_algo` describes.
const HEADINGS: &[(&str, &str, &str)] = &[
    ("loss", "Loss", ""),
    ("policy_loss", "Policy term of the loss", ""),
    ("value_loss", "Value loss", ""),
    ("entropy", "Entropy", "nats per token"),
    ("kl", "KL to the reference", "nats per token"),
    ("approx_kl", "Distance moved", "nats per token"),
    ("ratio/mean", "Importance ratio, mean", ""),
    ("ratio/min", "Importance ratio, smallest", ""),
    ("ratio/max", "Importance ratio, largest", ""),
    ("clip_ratio/low_mean", "Clipped below", "share"),
    ("clip_ratio/high_mean", "Clipped above", "share"),
    ("clip_ratio/region_mean", "Clipped", "share"),
    ("clip_ratio/dual_mean", "Clipped by the dual bound", "share"),
    ("cispo_clip_ratio", "Weights capped", "share"),
    ("clip_ratio/sequence_mean", "Answers clipped", "share"),
    ("clip_ratio/length_16_mean", "Answers clipped, to 16 tokens", "share"),
    ("clip_ratio/length_64_mean", "Answers clipped, to 64 tokens", "share"),
    ("clip_ratio/length_256_mean", "Answers clipped, to 256 tokens", "share"),
    ("clip_ratio/length_more_mean", "Answers clipped, above 256 tokens", "share"),
    ("sampling/logp_difference/mean", "Sampler against trainer, mean", "nats"),
    ("sampling/logp_difference/max", "Sampler against trainer, largest", "nats"),
    ("sampling/mismatch_k1", "Sampler against trainer, signed", "nats per token"),
    ("sampling/mismatch_k3", "Sampler against trainer, KL", "nats per token"),
    ("sampling/perplexity_ratio", "Sampler against trainer, perplexity", ""),
    ("sampling/chi2_token", "Sampler against trainer, variance per token", ""),
    ("sampling/chi2_sequence", "Sampler against trainer, variance per answer", ""),
    ("correction/truncated", "Weights truncated", "share"),
    ("correction/rejected", "Tokens rejected", "share"),
    ("correction/weight_mean", "Correction weight", ""),
    ("opsm/masked", "Stale tokens left out", "share"),
    ("value/mean", "Value", ""),
    ("value/clip_ratio", "Values clipped", "share"),
    ("value/explained_variance", "Explained variance", "share"),
    ("reward", "Reward", ""),
    ("reward_std", "Reward spread", ""),
    ("frac_reward_zero_std", "Prompts without contrast", "share"),
    ("frac_no_verdict", "Answers without a verdict", "share"),
    ("kl_penalty", "KL in the reward", ""),
    ("kl_coefficient", "KL coefficient", ""),
    ("entropy_credit/frac_clamped", "Entropies at the floor", "share"),
    ("entropy_credit/bonus_max", "Largest entropy bonus", ""),
    ("entropy_credit/bonus_share", "Entropy in the reward", "share"),
    ("entropy_credit/entropy_p10", "Entropy, tenth percentile", "nats"),
    ("entropy_credit/entropy_p50", "Entropy, median", "nats"),
    ("entropy_credit/entropy_p90", "Entropy, ninetieth percentile", "nats"),
    ("entropy_credit/advantage_success", "Advantage of right answers", ""),
    ("entropy_credit/advantage_failure", "Advantage of wrong answers", ""),
];

const METRICS: &[Metric] = &[
    metric(
        "distill/kept",
        "Answers learned",
        "",
        "distill: answers of the step that passed all filters and are learned",
        "steady, or rising as the model learns from itself",
        "0 in many steps: nothing passes; lower `pass`, sample more, or use a better `teacher`",
    ),
    metric(
        "distill/prompts",
        "Prompts with an answer learned",
        "share",
        "distill: share of the step's prompts of which an answer is learned",
        "steady or rising",
        "falls: the model learns what it can do and forgets the rest",
    ),
    metric(
        "distill/dropped/<name>",
        "Answers dropped",
        "share",
        "distill: answers that are not learned, by the first reason: `truncated`, `short`, `long`, `repetitive`, `no_verdict`, `failed`, `duplicate`, `not_best`",
        "`failed` falls",
        "`truncated` grows: raise `max_new_tokens`; `duplicate` grows: the model has little left to say; raise `temperature`",
    ),
    metric(
        "hint/p",
        "Probability of a hint's chunk",
        "",
        "UFT: probability that a chunk of the demonstration is shown",
        "falls along half a cosine from `high` to `low`, then 0",
        "0 from the start: the hint phase is over or has no length",
    ),
    metric(
        "hint/share_mean",
        "Share of the demonstration shown",
        "share",
        "mean share of the demonstration, in sentences, lines or tokens, that answers of the step were given",
        "follows `hint/p`",
        "0 while `hint/p` is not: the items have no demonstrations, see `hint/missing`",
    ),
    metric(
        "hint/share_min",
        "Smallest share shown",
        "share",
        "smallest share of the demonstration that an answer was given",
        "0 in the end",
        "1: every answer is given away",
    ),
    metric(
        "hint/share_max",
        "Largest share shown",
        "share",
        "largest share of the demonstration that an answer was given",
        "0 in the end",
        "1 late in the hint phase: `chunks` is too small to thin hints out",
    ),
    metric(
        "hint/tokens",
        "Length of hints",
        "tokens",
        "mean number of hint tokens per answer",
        "falls to 0",
        "near the context: hints lose their tails, and answers their room",
    ),
    metric(
        "hint/missing",
        "Items without a demonstration",
        "share",
        "share of the step's items that no hint can be taken from",
        "0",
        "above 0: those items are learned by reward alone",
    ),
    metric(
        "hint/loss",
        "Loss of hints",
        "nats per token",
        "mean −log p of the hint tokens",
        "falls",
        "flat while `hint/right` rises: `coefficient` is too small to teach anything; rises: the policy leaves the demonstrations",
    ),
    metric(
        "hint/demonstration_loss",
        "Loss of demonstrations",
        "nats per token",
        "mean −log p of the demonstrations that are learned beside the answers",
        "falls",
        "rises: the policy's loss pulls away from them; raise `alpha`",
    ),
    metric(
        "hint/alpha",
        "α",
        "",
        "weight of the SFT loss in the article's form; the policy's is 1 − α",
        "falls as scheduled",
        "stays high under `success_rate`: answers are not getting right",
    ),
    metric(
        "hint/success",
        "Smoothed share of right answers",
        "share",
        "what the article's α follows under `success_rate`",
        "rises",
        "flat: see `reward`",
    ),
    metric(
        "hint/reward",
        "Reward with a hint",
        "",
        "mean reward of answers that were given a hint",
        "high early",
        "low: the hint does not lead to the answer, or the verifier does not see it",
    ),
    metric(
        "hint/reward_without",
        "Reward without a hint",
        "",
        "mean reward of answers that were given none",
        "rises before the hint phase ends",
        "low when the hint phase ends: what was learned needs the hint; lengthen `steps`",
    ),
    metric(
        "hint/right",
        "Right with a hint",
        "share",
        "share of right answers among those that were given a hint",
        "high early",
        "low: as for `hint/reward`",
    ),
    metric(
        "hint/right_without",
        "Right without a hint",
        "share",
        "share of right answers among those that were given none; `eval/accuracy` is the same of held-out prompts",
        "closes up to `hint/right`",
        "stays behind `hint/right`: the policy leans on hints",
    ),
    metric(
        "hint/solved",
        "Prompts solved",
        "share",
        "share of the step's prompts with at least one right answer: whether exploration finds anything",
        "rises",
        "near 0 without hints: rewards alone have nothing to learn from",
    ),
    metric(
        "sampling/rounds",
        "Rounds of sampling",
        "",
        "dynamic sampling: how often new prompts were asked until the step was full",
        "1 or 2",
        "`max_rounds` in most steps: hardly any prompt teaches; choose easier or harder ones, or set `oversample`",
    ),
    metric(
        "sampling/prompts",
        "Prompts sampled",
        "",
        "dynamic sampling: prompts that were answered in the step",
        "close to `prompts_per_step`",
        "many times `prompts_per_step`: most of the sampling is thrown away; change the prompts, or use a curriculum",
    ),
    metric(
        "sampling/held_over",
        "Groups held over",
        "",
        "dynamic sampling: groups of the step that the step before had no place for",
        "a few",
        "as many as `prompts_per_step`: `oversample` is too high, and the step learns from older weights",
    ),
    metric(
        "sampling/kept",
        "Groups that teach",
        "",
        "dynamic sampling: groups that the step learns from",
        "`prompts_per_step`",
        "below it: rounds or prompts were used up; 0: the step learned nothing",
    ),
    metric(
        "sampling/reward",
        "Reward before selection",
        "",
        "dynamic sampling: mean reward of all that was sampled, dropped groups included",
        "rises",
        "flat while `reward` hovers around one half: `reward` is over kept groups only, which are never all right",
    ),
    metric(
        "sampling/dropped/<name>",
        "Groups dropped",
        "",
        "dynamic sampling: groups that were not learned from, by reason: `all_right`, `all_wrong`, `no_verdict`, `single` (one verdict only), `truncated` (every answer cut and masked), `surplus`",
        "`all_right` grows as the task is learned",
        "`all_wrong` grows: the prompts are too hard; `no_verdict`: the reward fails; `truncated`: raise `max_new_tokens`",
    ),
    metric(
        "sampling/staleness",
        "Age of the samples",
        "optimiser steps",
        "mean number of optimiser steps between the weights that sampled and those at the start of the step",
        "0, or a few with held-over groups",
        "grows: samples are older than corrections can mend; set `surplus = \"drop\"`",
    ),
    metric(
        "routing/changed",
        "Experts that changed",
        "",
        "share of the experts used in the learning passes of the step that the sampler did not use for the same token; logged for \
         mixtures of experts without routing replay",
        "0 in the first update, a few hundredths later (about 0.1 per update in a large model, arXiv 2507.18071 §5.3)",
        "above 0.1 to 0.3: token ratios are of other sub-networks; use `gspo` or `routing_replay = \"r3\"`",
    ),
    metric(
        "curriculum/draws",
        "Measuring draws",
        "",
        "answers sampled in this step only to measure the difficulty of prompts",
        "0 but for the first step and the switch",
        "large in a step: measuring costs more than learning; use a smaller `pool` or fewer `hard_draws`",
    ),
    metric(
        "curriculum/phase",
        "Part of the curriculum",
        "",
        "1 while moderate prompts are learned, 2 once hard ones have taken over",
        "1, then 2",
        "stays 1 on a plateau: the pool held no hard prompt that was ever solved",
    ),
    metric(
        "curriculum/eligible",
        "Eligible prompts",
        "",
        "prompts of the pool that this part of the curriculum learns from",
        "several times `prompts_per_step`",
        "below `prompts_per_step`: prompts repeat or others fill in; use a larger `pool`",
    ),
    metric(
        "curriculum/unsolved",
        "Prompts never solved",
        "",
        "prompts of the pool without a right answer so far",
        "falls",
        "equals the pool: the model cannot do the task at all; train on demonstrations first",
    ),
    metric(
        "curriculum/rate",
        "Solved share of the pool",
        "share",
        "mean over the pool of the share of right answers, newer ones weighing more",
        "rises",
        "flat while `reward` rises: the same few prompts are learned again and again",
    ),
    metric(
        "curriculum/others",
        "Prompts that were not eligible",
        "",
        "prompts of the step that only filled it up",
        "0",
        "many: the pool is too small or the part is learned out",
    ),
    metric(
        "difficulty/level",
        "Level of the task",
        "",
        "the level that the questions of the step are of, from 1",
        "rises step by step, and now and then falls by one",
        "stays 1 while `difficulty/rate` is 0: even the easiest level is too hard; train on demonstrations first",
    ),
    metric(
        "difficulty/rate",
        "Right answers at this level",
        "share",
        "share of the step's answers that are right; the level follows it",
        "between `lower_below` and `raise_above` most of the time",
        "near 1 at the last level: the task is learned; take a harder one",
    ),
    metric(
        "temperature",
        "Sampling temperature",
        "",
        "divisor of the logits while sampling and training",
        "rises in steps when the reward has settled",
        "stays while `entropy` falls to 0: the grid ends too early, or `max_drop` is too strict",
    ),
    metric(
        "temperature/accuracy/<name>",
        "Accuracy at a temperature",
        "share",
        "held-out accuracy at a temperature of the grid, when it was tried",
        "falls slowly with the temperature",
        "falls at once: the policy is brittle, and a higher temperature would only add noise",
    ),
    metric(
        "rewards/<name>/mean",
        "One reward, mean",
        "",
        "mean of one of the rewards, before its weight",
        "rises, or stays at its best",
        "falls while `reward` rises: the other rewards are bought with this one; change the weights",
    ),
    metric(
        "rewards/<name>/std",
        "One reward, spread",
        "",
        "standard deviation of one of the rewards over all answers of the step",
        "above 0 while there is something to learn",
        "0: this reward tells no answer from another and only shifts the sum",
    ),
    metric(
        "rewards/<name>/no_verdict",
        "One reward, no verdict",
        "share",
        "share of the completions that one of the rewards was asked about and gave no verdict on; those behind a closed gate \
         are not asked",
        "0",
        "above 0: this reward fails; the reasons are in `rollouts/`. Above `health.stop_no_verdict` the run stops",
    ),
    metric(
        "completions/mean_length",
        "Length of answers",
        "tokens",
        "mean number of tokens of an answer",
        "settles at what the task needs",
        "climbs or falls while accuracy is flat: length is being rewarded, by the reward or by the aggregation",
    ),
    metric(
        "completions/min_length",
        "Shortest answer",
        "tokens",
        "number of tokens of the shortest answer",
        "steady",
        "1: some answers are empty",
    ),
    metric(
        "completions/max_length",
        "Longest answer",
        "tokens",
        "number of tokens of the longest answer",
        "below `max_new_tokens`",
        "always `max_new_tokens`: see `completions/clipped_ratio`",
    ),
    metric(
        "completions/mean_terminated_length",
        "Length of finished answers",
        "tokens",
        "mean number of tokens of the answers that ended by themselves",
        "close to `completions/mean_length`",
        "far below it: the cut ones are a class of their own",
    ),
    metric(
        "completions/min_terminated_length",
        "Shortest finished answer",
        "tokens",
        "number of tokens of the shortest answer that ended by itself",
        "steady",
        "1: some answers are empty",
    ),
    metric(
        "completions/max_terminated_length",
        "Longest finished answer",
        "tokens",
        "number of tokens of the longest answer that ended by itself",
        "well below `max_new_tokens`",
        "close to `max_new_tokens`: the limit is about to cut good answers",
    ),
    metric(
        "completions/clipped_ratio",
        "Answers cut off",
        "share",
        "share of answers that ran into `max_new_tokens`",
        "near 0",
        "rises: answers do not fit or do not end; raise `max_new_tokens`, or train longer on demonstrations first",
    ),
    metric(
        "grad_norm",
        "Gradient norm",
        "",
        "global norm of the gradient before it is clipped to `max_grad_norm`",
        "steady, with a few spikes",
        "grows step by step, or spikes with `loss`: lower `learning_rate` or `max_grad_norm`. 0: nothing is learned",
    ),
    metric(
        "weight_norm",
        "Weight norm",
        "",
        "global norm of the weights after the step",
        "changes by parts per thousand",
        "grows by percents: `learning_rate` is too high for post-training",
    ),
    metric(
        "learning_rate",
        "Learning rate",
        "",
        "learning rate of the step's last update",
        "follows the schedule of the recipe",
        "0 before the end: the schedule is shorter than the run",
    ),
    metric(
        "num_tokens",
        "Tokens learned from",
        "tokens",
        "tokens that forward and backward passes of training have seen so far, prompts included",
        "grows evenly",
        "grows ever faster: answers get longer",
    ),
    metric(
        "mean_token_accuracy",
        "Demonstration tokens guessed",
        "share",
        "sft: share of the demonstration's tokens that are the model's likeliest choice",
        "rises",
        "1 on few demonstrations: they are being memorised",
    ),
    metric(
        "eval/loss",
        "Held-out loss",
        "nats per token",
        "sft with `[stage.early_stop]`: mean −log p of the learned tokens of held-out demonstrations; comparisons: the stage's loss on \
         held-out examples (in its own unit)",
        "falls with `loss`",
        "rises while `loss` falls: the demonstrations are being memorised; the stage ends by itself and keeps its best weights",
    ),
    metric(
        "eval/accuracy",
        "Held-out accuracy",
        "share",
        "share of held-out prompts answered correctly, of those that got a verdict",
        "rises, beyond the 95 % interval of where it began",
        "flat or falling while `reward` rises: the gain does not carry over to prompts that were not trained on",
    ),
    metric(
        "eval/accuracy_low",
        "Held-out accuracy, lower end",
        "share",
        "lower end of the 95 % interval of `eval/accuracy`",
        "rises",
        "far below `eval/accuracy`: evaluate on more prompts",
    ),
    metric(
        "eval/accuracy_high",
        "Held-out accuracy, upper end",
        "share",
        "upper end of the 95 % interval of `eval/accuracy`",
        "rises",
        "far above `eval/accuracy`: evaluate on more prompts",
    ),
    metric(
        "eval/reward",
        "Held-out reward",
        "",
        "mean score of the answers to held-out prompts",
        "rises with `reward`",
        "flat while `reward` rises: overfitting to the training prompts",
    ),
    metric(
        "eval/mean_length",
        "Held-out length",
        "tokens",
        "mean number of tokens of an answer to a held-out prompt",
        "settles",
        "climbs while `eval/accuracy` does not",
    ),
    metric(
        "eval/clipped_ratio",
        "Held-out answers cut off",
        "share",
        "share of held-out answers that ran into `max_new_tokens`",
        "near 0",
        "above a few percent: accuracy is held down by the limit; raise `max_new_tokens`",
    ),
    metric(
        "eval/frac_no_verdict",
        "Held-out answers without a verdict",
        "share",
        "share of held-out answers that the reward could not judge; accuracy is over the others",
        "0",
        "above 0: the verifier fails; the reasons are in `evaluations/`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_something_and_has_its_own_name() {
        for (at, metric) in catalogue().iter().enumerate() {
            for text in [metric.title, metric.what, metric.good, metric.bad] {
                assert!(!text.is_empty() && !text.contains("  "), "{}: `{text}`", metric.name);
            }
            assert!(catalogue()[..at].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert_eq!(describe(metric.name), Some(metric));
        }
    }

    #[test]
    fn every_metric_of_an_algorithm_has_a_heading_and_every_heading_a_metric() {
        let described: Vec<_> = lapidary_algo::metrics().iter().map(|metric| metric.name).collect();
        assert_eq!(HEADINGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), described);
    }

    #[test]
    fn labels_of_rewards_are_filled_in() {
        assert_eq!(describe("rewards/answer/mean").unwrap().name, "rewards/<name>/mean");
        assert_eq!(describe("rewards/a/b/std").unwrap().name, "rewards/<name>/std");
        assert_eq!(describe("rewards/judge/no_verdict").unwrap().name, "rewards/<name>/no_verdict");
        assert_eq!(describe("rewards//mean"), None);
        assert_eq!(describe("rewards/mean"), None);
        assert_eq!(describe("made_up"), None);
    }
}
