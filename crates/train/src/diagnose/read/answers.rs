//! What saved rollouts say that no metric does: sameness, loops, and whether length pays.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::diagnose::history::{History, SampleSeen, Series};
use crate::rollouts::{self, Sampled};

/// Steps whose rollouts are read, evenly over the stage.
const STEPS_READ: usize = 24;
/// Words in a row that must have been there before to count as repeated.
const RUN_OF_WORDS: usize = 4;
/// Characters of a prompt or completion that are kept.
const KEPT_CHARACTERS: usize = 200;

/// Adds `rollouts/…` curves and a sample. Files that are gone or damaged are left out: they are no reason not to diagnose.
pub(super) fn add(history: &mut History, directory: &Path) {
    let Some((first, last)) = history.steps() else { return };
    let held: Vec<u64> = (first..=last).filter(|step| rollouts::path_of(directory, *step).is_file()).collect();
    let count = held.len().min(STEPS_READ);
    let chosen = (0..count).map(|at| held[if count > 1 { at * (held.len() - 1) / (count - 1) } else { 0 }]);
    let mut curves: [(&str, Vec<(u64, f64)>); 3] = [
        ("rollouts/commonest", Vec::new()),
        ("rollouts/repetition", Vec::new()),
        ("rollouts/reward_length_correlation", Vec::new()),
    ];
    for step in chosen {
        let Ok(samples) = rollouts::read(&rollouts::path_of(directory, step)) else { continue };
        if let Some((share, sample)) = commonest(&samples) {
            curves[0].1.push((step, share));
            history.sample = Some(seen(step, sample));
        }
        let repeated = samples.iter().map(|sample| repetition(&sample.completion)).sum::<f64>();
        curves[1].1.push((step, repeated / samples.len().max(1) as f64));
        curves[2].1.extend(correlation(&samples).map(|value| (step, value)));
    }
    for (name, points) in curves.into_iter().filter(|(_, points)| !points.is_empty()) {
        history.series.push(Series { name: name.into(), written_as: name.into(), points });
    }
}

/// The share of the commonest answer among all of a step, and one of its samples.
fn commonest(samples: &[Sampled]) -> Option<(f64, &Sampled)> {
    let mut counts: HashMap<&str, (usize, &Sampled)> = HashMap::new();
    for sample in samples {
        counts.entry(sample.completion.as_str()).or_insert((0, sample)).0 += 1;
    }
    let (count, sample) = counts.into_iter().max_by(|a, b| a.1.0.cmp(&b.1.0).then(b.0.cmp(a.0)))?.1;
    Some((count as f64 / samples.len() as f64, sample))
}

/// The share of an answer's words that end a run of four words that was there before.
fn repetition(text: &str) -> f64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut before = HashSet::new();
    let repeated = words.windows(RUN_OF_WORDS).filter(|run| !before.insert(run.to_vec())).count();
    repeated as f64 / words.len().max(1) as f64
}

/// Pearson's correlation of reward and length; `None` where one of them does not vary.
fn correlation(samples: &[Sampled]) -> Option<f64> {
    let pair = |sample: &Sampled| Some((f64::from(sample.verdict.value()?), sample.length() as f64));
    let pairs: Vec<(f64, f64)> = samples.iter().filter_map(pair).collect();
    let count = pairs.len() as f64;
    let (x, y) = (pairs.iter().map(|p| p.0).sum::<f64>() / count, pairs.iter().map(|p| p.1).sum::<f64>() / count);
    let sums = pairs.iter().fold((0.0, 0.0, 0.0), |(xx, yy, xy), (a, b)| {
        (xx + (a - x).powi(2), yy + (b - y).powi(2), xy + (a - x) * (b - y))
    });
    (sums.0 > 0.0 && sums.1 > 0.0).then(|| sums.2 / (sums.0 * sums.1).sqrt())
}

fn seen(step: u64, sample: &Sampled) -> SampleSeen {
    let start = |text: &str| text.chars().take(KEPT_CHARACTERS).collect::<String>();
    let prompt = sample.prompt_text.plain();
    let skipped = prompt.chars().count().saturating_sub(KEPT_CHARACTERS);
    SampleSeen {
        step,
        prompt: prompt.chars().skip(skipped).collect(),
        completion: start(&sample.completion),
        reward: sample.verdict.value(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{PromptText, Rollout, StopReason, TokenRole, Verdict};

    fn sample(completion: &str, reward: f32, length: usize) -> Sampled {
        Sampled {
            readings: Vec::new(),
            id: "x".into(),
            rollout: Rollout {
                prompt: 0,
                sample: 0,
                tokens: vec![1; length],
                roles: vec![TokenRole::Policy; length],
                logp: vec![0.0; length],
                temperature: 1.0,
                weights: 0,
                stop: StopReason::Eos,
                support: None,
                routing: None,
            },
            prompt_text: PromptText::Text("1+1=".into()),
            completion: completion.into(),
            answer: None,
            metadata: serde_json::Map::new(),
            verdict: Verdict::score(reward, ""),
            rewards: serde_json::Map::new(),
            length_penalty: 0.0,
            advantage: None,
        }
    }

    #[test]
    fn sameness_loops_and_paid_length_are_measured() {
        let samples = [sample("a", 0.0, 1), sample("b", 1.0, 3), sample("b", 2.0, 5), sample("c", 1.0, 3)];
        let (share, of) = commonest(&samples).unwrap();
        assert_eq!((share, of.completion.as_str()), (0.5, "b"));
        assert!((correlation(&samples).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(correlation(&samples[1..2]), None);
        assert_eq!(repetition("one two three four five"), 0.0);
        // Nine words, runs of four from 0 to 5; those from 3, 4 and 5 were there.
        assert!((repetition("a b c a b c a b c") - 3.0 / 9.0).abs() < 1e-12);
        assert_eq!(repetition(""), 0.0);
    }
}
