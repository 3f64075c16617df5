//! Numbers of training on one example.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric(
        "one_shot/accuracy",
        "Accuracy on the example",
        "share",
        "one-shot stages: share of right answers to the example in the step, of those that got a verdict",
        "rises to 1 and stays",
        "falls after it was 1: the update undoes what was learned, lower `learning_rate`. Stays at 0: the example is too hard or \
         its label is wrong",
    ),
    metric(
        "one_shot/saturation_step",
        "Step of saturation",
        "",
        "one-shot stages: first step of the run in which 99 % of the answers to the example were right; 0 before",
        "early: before a tenth of the run (before step 100 of 2000 in arXiv 2504.20571, §3.2.1)",
        "0 to the end: the example was not learned, so nothing is said about what comes after",
    ),
    metric(
        "one_shot/zero_advantage",
        "Answers without a gradient",
        "share",
        "one-shot stages: share of the answers with a verdict whose advantage is 0: no policy gradient comes from them",
        "rises towards 1 with saturation",
        "1 at all times: only KL and entropy act; `group_scope = \"prompt\"` lets one failure teach all",
    ),
    metric(
        "one_shot/train_garble_ratio",
        "Garble in training answers",
        "share",
        "one-shot stages: share of the written characters that are debris or letters of a script that neither the prompt nor the \
         reference uses (a single Greek letter is a symbol)",
        "0",
        "rises long after saturation while `one_shot/eval_garble_ratio` does not: the example is overfitted, multilingual gibberish \
         around a right answer; harmless so far, stop when `eval/accuracy` falls",
    ),
    metric(
        "one_shot/boxed_ratio",
        "Answers in a box",
        "share",
        "one-shot stages: share of the training answers with `\\boxed{…}`",
        "rises at once where the prompt asks for a box",
        "its rise explains all of the gain in accuracy: the format was learned, not the task; compare with a format reward",
    ),
    metric(
        "one_shot/reflection_words",
        "Words of reflection",
        "per answer",
        "one-shot stages: how often an answer says rethink, recheck or recalculate, in any form",
        "rises late, with length and entropy",
        "climbs without end while accuracy is flat: answers go in circles",
    ),
    metric(
        "one_shot/post_saturation_gain",
        "Gain after saturation, best",
        "",
        "one-shot stages, at evaluations: the best held-out accuracy since saturation less the one at it, as the paper reports it; \
         never below 0, since the best of many noisy evaluations is above any one of them",
        "several points (+3.4 and +9.9 in arXiv 2504.20571, §3.2.1)",
        "0: held-out accuracy has not been higher since",
    ),
    metric(
        "one_shot/post_saturation_change",
        "Change after saturation, latest",
        "",
        "one-shot stages, at evaluations: the latest held-out accuracy less the one at saturation; 0 before. Unlike the gain it is \
         no maximum, so it is the number to test",
        "above 0: one example went on teaching after it was learned",
        "below 0: training on the example alone does harm by now; take an earlier checkpoint",
    ),
    metric(
        "one_shot/eval_garble_ratio",
        "Garble in held-out answers",
        "share",
        "one-shot stages, at evaluations: as `one_shot/train_garble_ratio`, of held-out answers",
        "0, also when the training answers are garbled",
        "rises: the overfitting has reached other prompts",
    ),
    metric(
        "one_shot/eval_boxed_ratio",
        "Held-out answers in a box",
        "share",
        "one-shot stages, at evaluations: share of the held-out answers with `\\boxed{…}`",
        "as in training (96 to 97 % in arXiv 2504.20571, table 14)",
        "far below `one_shot/boxed_ratio`: the format did not carry over",
    ),
];
