//! What a majority vote is worth, where the task has answers: logged, never learned from (TTRL, arXiv 2504.16084).

use lapidary_reward::{Attempt, Reward};

use crate::rollouts::Sampled;
use crate::watch::Metrics;

/// `vote/…` of the groups of a step; `label` names the reward that held the vote.
pub(crate) fn metrics(groups: &[Vec<&Sampled>], label: &str, gold: &dyn Reward) -> Metrics {
    let mut out = Metrics::new();
    let mut push = |name: &str, values: Vec<f64>| {
        if !values.is_empty() {
            out.push((format!("vote/{name}"), values.iter().sum::<f64>() / values.len() as f64));
        }
    };
    let share = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64 / flags.len().max(1) as f64;
    let [mut ratios, mut labels, mut rewards, mut truths, mut passes] = [const { Vec::new() }; 5];
    for group in groups {
        let score = |sampled: &Sampled| sampled.rewards.get(label).and_then(serde_json::Value::as_f64);
        let agrees: Vec<bool> = group.iter().map(|sampled| score(sampled) == Some(1.0)).collect();
        ratios.push(share(&agrees));
        let Some(right) = right(group, gold) else { continue };
        labels.push(f64::from(u8::from(agrees.iter().zip(&right).any(|(agrees, right)| *agrees && *right))));
        let same: Vec<bool> = agrees.iter().zip(&right).map(|(agrees, right)| agrees == right).collect();
        rewards.push(share(&same));
        truths.push(share(&right));
        passes.push(f64::from(u8::from(right.contains(&true))));
    }
    push("majority_ratio", ratios);
    push("label_accuracy", labels);
    push("reward_accuracy", rewards);
    push("ground_truth_ratio", truths);
    push("pass", passes);
    out
}

/// Whether each sample of a group is right; `None` where nobody can tell.
fn right(group: &[&Sampled], gold: &dyn Reward) -> Option<Vec<bool>> {
    let prompt = group.first()?.prompt_text.plain();
    let attempts: Vec<Attempt<'_>> = group
        .iter()
        .map(|sampled| Attempt {
            tokens: sampled.length(),
            truncated: sampled.truncated(),
            ..Attempt::new(&prompt, &sampled.completion, sampled.answer.as_deref(), &sampled.metadata)
        })
        .collect();
    gold.score(&attempts).iter().map(|verdict| verdict.value().map(|score| score >= 1.0)).collect()
}
