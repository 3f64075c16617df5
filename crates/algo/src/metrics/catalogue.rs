//! What each number means.

/// A named number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, as TRL has it where TRL has it.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it looks like in a healthy run.
    pub good: &'static str,
    /// What it looks like in a sick one, and what to do.
    pub bad: &'static str,
}

/// Every metric that this crate reports.
pub fn metrics() -> &'static [Metric] {
    METRICS
}

/// The metric of that name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

const METRICS: &[Metric] = &[
    Metric {
        name: "loss",
        what: "what the step minimised: policy term + KL penalty − entropy bonus",
        good: "supervised: falls. Policy gradient: hovers around 0; its size says nothing about progress, `reward` \
                  does",
        bad: "a jump by orders of magnitude together with `grad_norm`: lower `learning_rate`",
    },
    Metric {
        name: "policy_loss",
        what: "the policy term of the loss alone",
        good: "near 0 on the first update of a rollout (advantages of a group add up to 0)",
        bad: "grows from update to update of one rollout: the weights leave the data; fewer `updates_per_rollout`",
    },
    Metric {
        name: "value_loss",
        what: "half the squared error of the value head, before its coefficient",
        good: "falls while the critic learns, then follows the spread of the rewards",
        bad: "grows: the value head chases a moving goal; lower `learning_rate`, or give it `critic_warmup_steps`",
    },
    Metric {
        name: "entropy",
        what: "mean over trained tokens of the entropy of the next-token distribution, in nats",
        good: "falls slowly and levels out above 0",
        bad: "drops to almost 0 in a few steps (collapse: every sample of a group is the same): raise `clip_high`, \
                  `entropy_coefficient` or `temperature`. Climbs without end: the policy comes apart, lower \
                  `learning_rate`",
    },
    Metric {
        name: "kl",
        what: "mean over trained tokens of the chosen estimate of KL(policy ‖ reference), in nats",
        good: "grows slowly from 0",
        bad: "grows much faster than `reward`: the policy moves where the reward does not ask it to; raise \
                  `kl_coefficient`",
    },
    Metric {
        name: "approx_kl",
        what: "mean over trained tokens of `w − 1 − log w`: how far this update has moved from the weights that \
                  sampled",
        good: "0 on the first update of a rollout, below about 0.05 on the last",
        bad: "rises above 0.1: fewer `updates_per_rollout` or a lower `learning_rate`",
    },
    Metric {
        name: "ratio/mean",
        what: "mean ratio before clipping: over trained tokens, or over answers for a sequence ratio",
        good: "exactly 1 on the first update of a rollout, then close to 1",
        bad: "not 1 on the first update: sampler and trainer disagree, see `sampling/logp_difference/max`",
    },
    Metric {
        name: "ratio/min",
        what: "smallest ratio before clipping",
        good: "between 0.5 and 1 (token ratio), 0.99 and 1 (sequence ratio)",
        bad: "near 0: some tokens have been all but forbidden in one rollout",
    },
    Metric {
        name: "ratio/max",
        what: "largest ratio before clipping",
        good: "between 1 and 2 (token ratio), 1 and 1.01 (sequence ratio)",
        bad: "in the tens or more: stale rollouts or too large a step; set `clip_dual` or lower `updates_per_rollout`",
    },
    Metric {
        name: "clip_ratio/low_mean",
        what: "share of trained tokens whose gradient the lower bound stopped (bad answers already less likely)",
        good: "0 on the first update, then a few percent with token ratios, about 15 % with GSPO (its paper's figure \
                  2)",
        bad: "most tokens: the later updates of a rollout teach nothing; fewer of them, or a lower `learning_rate`",
    },
    Metric {
        name: "clip_ratio/high_mean",
        what: "share of trained tokens whose gradient the upper bound stopped (good answers already likelier)",
        good: "0 on the first update, then a few percent with token ratios, about 15 % with GSPO (its paper's figure \
                  2)",
        bad: "high while `entropy` falls: rare good tokens cannot grow; raise `clip_high`",
    },
    Metric {
        name: "clip_ratio/region_mean",
        what: "share of trained tokens whose gradient either bound stopped: the two shares together",
        good: "0 on the first update, then a few percent with token ratios, about 15 % with GSPO (its paper's figure \
                  2)",
        bad: "always 0 with several `updates_per_rollout`: the bounds are too wide to do anything. Most tokens: they \
                  are too narrow, or there are too many updates",
    },
    Metric {
        name: "clip_ratio/dual_mean",
        what: "share of trained tokens stopped by `clip_dual` (bad answers that became much likelier)",
        good: "0, or a token now and then",
        bad: "percents: rollouts are stale or training is unstable",
    },
    Metric {
        name: "cispo_clip_ratio",
        what: "share of trained tokens whose weight CISPO holds at a bound; they still learn, with that weight",
        good: "0 on the first update, then a few percent",
        bad: "a third and more: the weights no longer say how likely a token has become; fewer `updates_per_rollout`, or a wider `clip_high`",
    },
    Metric {
        name: "clip_ratio/sequence_mean",
        what: "share of answers stopped by either bound (sequence ratio); the rows above weigh answers by their length",
        good: "0 on the first update, then about as large as `clip_ratio/region_mean`",
        bad: "much larger than `clip_ratio/region_mean`: mostly short answers are stopped, whose mean log-ratio moves \
                  most",
    },
    Metric {
        name: "clip_ratio/length_16_mean",
        what: "share of the answers of 1 to 16 trained tokens that either bound stopped (sequence ratio)",
        good: "close to `clip_ratio/sequence_mean`",
        bad: "far above the other lengths: an average over few tokens moves most; wider `clip_low` and `clip_high`, or leave short answers to a token ratio",
    },
    Metric {
        name: "clip_ratio/length_64_mean",
        what: "share of the answers of 17 to 64 trained tokens that either bound stopped",
        good: "close to `clip_ratio/sequence_mean`",
        bad: "far above the other lengths: an average over few tokens moves most; wider `clip_low` and `clip_high`, or leave short answers to a token ratio",
    },
    Metric {
        name: "clip_ratio/length_256_mean",
        what: "share of the answers of 65 to 256 trained tokens that either bound stopped",
        good: "close to `clip_ratio/sequence_mean`",
        bad: "far above the other lengths: an average over few tokens moves most; wider `clip_low` and `clip_high`, or leave short answers to a token ratio",
    },
    Metric {
        name: "clip_ratio/length_more_mean",
        what: "share of the answers of more than 256 trained tokens that either bound stopped",
        good: "close to `clip_ratio/sequence_mean`",
        bad: "far above the other lengths: long answers drift; with an un-normalised ratio that is to be expected",
    },
    Metric {
        name: "sampling/logp_difference/mean",
        what: "mean over trained tokens of |log-probability by the trainer − by the sampler|, same weights",
        good: "exactly 0 on the native engine",
        bad: "above 0.01: rollouts come from other weights, another temperature or other kernels",
    },
    Metric {
        name: "sampling/logp_difference/max",
        what: "largest such difference",
        good: "exactly 0 on the native engine",
        bad: "above 1: some tokens are scored as quite other tokens; check temperature, top-p and the tokenizer",
    },
    Metric {
        name: "sampling/mismatch_k1",
        what: "mean of log-probability by the sampler − by the trainer: a signed estimate of their KL",
        good: "exactly 0 on the native engine",
        bad: "steadily off 0: the two models differ in one direction",
    },
    Metric {
        name: "sampling/mismatch_k3",
        what: "mean of `ρ − log ρ − 1` with ρ = trainer's over sampler's probability: their KL, never negative",
        good: "exactly 0 on the native engine, below 0.001 elsewhere",
        bad: "above 0.01: expect biased gradients",
    },
    Metric {
        name: "sampling/perplexity_ratio",
        what: "mean over answers of the sampler's perplexity over the trainer's: `exp(mean log ρ)`",
        good: "exactly 1 on the native engine, within 1 % of it elsewhere",
        bad: "steadily off 1: sampler and trainer see different distributions; check temperature, top-p, precision",
    },
    Metric {
        name: "sampling/chi2_token",
        what: "mean over trained tokens of `ρ² − 1`: how much the variance of a token-corrected gradient grows",
        good: "exactly 0 on the native engine, below 0.01 elsewhere",
        bad: "above 0.1: few tokens carry the estimate; truncate (`correction_mode = \"truncate\"`)",
    },
    Metric {
        name: "sampling/chi2_sequence",
        what: "mean over answers of `(Π ρ)² − 1`: the same for a sequence-corrected gradient",
        good: "exactly 0 on the native engine",
        bad: "in the hundreds: whole-answer weights are useless at this length; `correction_level = \"token\"` or `\"geometric\"`",
    },
    Metric {
        name: "correction/truncated",
        what: "share of trained tokens whose weight is held at a bound of the correction; without one, those with ρ above 2",
        good: "0 on the native engine, below 1 % elsewhere",
        bad: "percents: sampler and trainer drift apart; see `sampling/logp_difference/max`",
    },
    Metric {
        name: "correction/rejected",
        what: "share of trained tokens that rejection, mask or veto take out of the loss; with all of them off, those with ρ outside [0.5, 2]",
        good: "0 on the native engine, below 1 % elsewhere",
        bad: "most tokens: nothing is learned; widen the bounds or mend the sampler",
    },
    Metric {
        name: "correction/weight_mean",
        what: "mean weight of the tokens that are learned from, rejected ones as 0 where they stay in the divisor",
        good: "close to 1",
        bad: "far below 1: the step is mostly thrown away; far above: a few tokens rule it",
    },
    Metric {
        name: "opsm/masked",
        what: "share of trained tokens of bad answers that off-policy sequence masking leaves out",
        good: "0 on the first update, then small",
        bad: "most bad answers: the rollout is too old; fewer `updates_per_rollout`",
    },
    Metric {
        name: "value/mean",
        what: "mean over trained tokens of the value head",
        good: "close to `reward`",
        bad: "far from `reward`: the critic is not there yet; more `critic_warmup_steps`",
    },
    Metric {
        name: "value/clip_ratio",
        what: "share of trained tokens whose value gradient `value_clip` stopped",
        good: "a few percent",
        bad: "a third and more: the critic is held back; a wider `value_clip`",
    },
    Metric {
        name: "value/explained_variance",
        what: "1 − variance of (return − value) over variance of the returns",
        good: "rises towards 1",
        bad: "at or below 0: the critic explains nothing and its advantages are noise; `gae_lambda = 1`, or a critic-free method",
    },
    Metric {
        name: "reward",
        what: "mean reward of the answers that got a verdict",
        good: "rises",
        bad: "flat with `frac_reward_zero_std` near 1: the task is too hard or too easy. Rises while held-out accuracy \
                  does not: the reward is being exploited, read some rollouts",
    },
    Metric {
        name: "reward_std",
        what: "mean over prompts of the standard deviation (unbiased) of its answers' rewards",
        good: "well above 0: answers to one prompt differ, so there is something to learn",
        bad: "near 0: groups agree; change difficulty, `samples_per_prompt` or `temperature`",
    },
    Metric {
        name: "frac_reward_zero_std",
        what: "share of prompts whose answers all got the same reward, or only one verdict: they teach a group method \
                  nothing",
        good: "below a half",
        bad: "near 1: the step is wasted; easier or harder prompts, more `samples_per_prompt`, or `dynamic_sampling = \
                  true`",
    },
    Metric {
        name: "frac_no_verdict",
        what: "share of answers that the reward could not judge; they are left out of statistics and loss",
        good: "0",
        bad: "above 0: the verifier fails; the reasons are in the rollouts file",
    },
    Metric {
        name: "kl_penalty",
        what: "mean over answers of what the KL takes off the reward",
        good: "small beside `reward`",
        bad: "larger than `reward_std`: the policy is paid for staying where it is; lower `kl_coefficient`",
    },
    Metric {
        name: "kl_coefficient",
        what: "what an adaptive KL coefficient has come to",
        good: "settles",
        bad: "falls to nothing or grows without end: `kl_target` is out of reach",
    },
    Metric {
        name: "entropy_credit/frac_clamped",
        what: "share of entropies below `entropy_floor`",
        good: "a few percent",
        bad: "most: inverse entropies are all the floor's; raise `entropy_floor` to 1e-3",
    },
    Metric {
        name: "entropy_credit/bonus_max",
        what: "largest bonus or malus that entropy gave",
        good: "below `entropy_weight` times the group's size, which it cannot pass",
        bad: "above the outcome's weight: one unsure token outweighs being right; lower `entropy_weight` or use the geometric mean",
    },
    Metric {
        name: "entropy_credit/bonus_share",
        what: "share of entropy in all shaped rewards",
        good: "`entropy_weight / (outcome_weight + entropy_weight)`, or a little off with geometric means",
        bad: "near a half: credit goes to entropy rather than to being right",
    },
    Metric {
        name: "entropy_credit/entropy_p10",
        what: "tenth percentile of the entropies that credit is given by, in nats",
        good: "above 0",
        bad: "0: many tokens are certain, and inverse entropies of failures explode",
    },
    Metric {
        name: "entropy_credit/entropy_p50",
        what: "their median",
        good: "steady",
        bad: "falls to 0 in a few steps: collapse",
    },
    Metric {
        name: "entropy_credit/entropy_p90",
        what: "their ninetieth percentile",
        good: "steady or rising a little",
        bad: "climbs without end: entropy itself is being rewarded; lower `entropy_weight`",
    },
    Metric {
        name: "entropy_credit/advantage_success",
        what: "mean advantage of right answers",
        good: "above 0",
        bad: "0 or below: the outcome has been normalised away (`entropy_normalise = \"subset\"`)",
    },
    Metric {
        name: "entropy_credit/advantage_failure",
        what: "mean advantage of wrong answers",
        good: "below 0",
        bad: "0 or above: the outcome has been normalised away (`entropy_normalise = \"subset\"`)",
    },
];
