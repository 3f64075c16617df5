//! What an evaluation found: every answer, and what they come to.

use lapidary_core::{Key, Kind, Problem, Purpose, Result, Verdict};
use lapidary_reward::confidence::Measure;
use lapidary_statistics::{Interval, bootstrap_mean, mean, success_rate};
use serde::{Deserialize, Serialize};

use crate::paired::{Pairs, paired_bootstrap_difference, paired_mean_difference};
use crate::pass::{pass_at_k, pass_hat_k};
use crate::reliability::{Reliability, Sure};

/// A score this close below [`Settings::right_from`] still counts: scores are f32 sums.
pub(crate) const TOLERANCE: f32 = 1e-6;

/// How a model is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Decides which tokens are drawn. The prompts do not depend on it, so runs of any seed can be paired.
    pub seed: u64,
    /// How many held-out prompts, at most; a smaller split is taken whole.
    pub prompts: usize,
    /// Answers per prompt; 1 with greedy decoding.
    pub samples: usize,
    /// 0 takes the likeliest token each time (greedy); else the divisor of the logits.
    pub temperature: f32,
    /// Keep only the likeliest `k` tokens when drawing; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens with this probability when drawing; 1 keeps all.
    pub top_p: f32,
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// The score from which an answer is right.
    pub right_from: f32,
}

impl Default for Settings {
    /// 200 prompts, greedy, 256 tokens, right from a score of 1.
    fn default() -> Self {
        Self {
            seed: 0,
            prompts: 200,
            samples: 1,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            max_new_tokens: 256,
            right_from: 1.0,
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// What the model wrote, without special tokens.
    pub completion: String,
    /// Its length in tokens, the end token included.
    pub tokens: usize,
    /// Whether it ran into the limit.
    pub truncated: bool,
    /// What the reward said.
    pub verdict: Verdict,
    /// How sure the model is of its answer, in [0, 1], where that was measured; 0 where no answer was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The answer that the confidence is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// One prompt with its answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRecord {
    /// The item's name.
    pub id: String,
    /// Its words.
    pub prompt: String,
    /// The reference answer.
    pub answer: Option<String>,
    /// The answers, in order of sample.
    pub attempts: Vec<AttemptRecord>,
}

impl PromptRecord {
    fn scores(&self) -> impl Iterator<Item = f32> + '_ {
        self.attempts.iter().filter_map(|attempt| attempt.verdict.value())
    }

    /// Whether each answer with a verdict is right.
    fn outcomes(&self, right_from: f32) -> Vec<bool> {
        self.scores().map(|score| score >= right_from - TOLERANCE).collect()
    }

    /// Mean score of the answers with a verdict; `None` where there is none.
    pub fn mean_score(&self) -> Option<f64> {
        average(self.scores().map(f64::from))
    }

    /// Share of right answers among those with a verdict; `None` where there is none.
    pub fn success_rate(&self, right_from: f32) -> Option<f64> {
        average(self.outcomes(right_from).into_iter().map(|right| f64::from(u8::from(right))))
    }
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// Success when a prompt may be tried `k` times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassRate {
    /// How many tries.
    pub k: usize,
    /// pass@k: at least one of them is right.
    pub any: Interval,
    /// pass^k: all of them are right.
    pub all: Interval,
}

/// What an evaluation comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Prompts asked.
    pub prompts: usize,
    /// Answers given.
    pub attempts: usize,
    /// Answers that the reward could not judge. They are in no rate and no mean below.
    pub no_verdict: usize,
    /// Share of right answers; `None` where no answer was judged.
    pub accuracy: Option<Interval>,
    /// Mean score.
    pub score: Option<Interval>,
    /// pass@k and pass^k for k = 1, 2, 4, … up to the fewest judged answers of a prompt; empty with one sample.
    pub pass: Vec<PassRate>,
    /// Share of answers that ran into the limit of new tokens.
    pub truncated_share: f64,
    /// Mean length of an answer, in tokens.
    pub mean_length: f64,
}

/// An evaluation: what was asked, what was answered, what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the task.
    pub task: String,
    /// Name of the reward.
    pub reward: String,
    /// How it was made.
    pub settings: Settings,
    /// Optimiser steps that the weights had seen.
    pub weights: u64,
    /// What it comes to.
    pub summary: Summary,
    /// How confidence was measured, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
    /// Whether the model is right as often as it is sure, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Reliability>,
    /// Every prompt.
    pub prompts: Vec<PromptRecord>,
}

impl Evaluation {
    /// An evaluation of given answers; the summary is worked out here.
    pub fn new(task: &str, reward: &str, settings: Settings, weights: u64, prompts: Vec<PromptRecord>) -> Self {
        let summary = summarise(&prompts, &settings);
        let (task, reward) = (task.to_string(), reward.to_string());
        Self { task, reward, settings, weights, summary, measure: None, calibration: None, prompts }
    }

    /// The same with its calibration worked out: of every answer that has a verdict and a confidence, found or not.
    pub fn with_calibration(mut self, measure: &Measure) -> Self {
        let right_from = self.settings.right_from;
        let sure = |attempt: &AttemptRecord| {
            let right = attempt.verdict.value()? >= right_from - TOLERANCE;
            Some(Sure { confidence: attempt.confidence?, right })
        };
        let of_prompt = |prompt: &PromptRecord| prompt.attempts.iter().filter_map(sure).collect();
        let samples: Vec<Vec<Sure>> = self.prompts.iter().map(of_prompt).collect();
        let judged = self.prompts.iter().flat_map(|prompt| &prompt.attempts).filter(|attempt| sure(attempt).is_some());
        let not_found = judged.filter(|attempt| attempt.found.is_none()).count();
        self.calibration = Reliability::of(&samples, not_found, self.settings.seed);
        self.measure = Some(measure.clone());
        self
    }
}

fn summarise(prompts: &[PromptRecord], settings: &Settings) -> Summary {
    let attempts = || prompts.iter().flat_map(|prompt| &prompt.attempts);
    let outcomes: Vec<Vec<bool>> = prompts.iter().map(|prompt| prompt.outcomes(settings.right_from)).collect();
    let scores: Vec<f64> = prompts.iter().filter_map(PromptRecord::mean_score).collect();
    Summary {
        prompts: prompts.len(),
        attempts: attempts().count(),
        no_verdict: attempts().filter(|attempt| attempt.verdict.value().is_none()).count(),
        accuracy: success_rate(&outcomes),
        score: mean(&scores),
        pass: pass_rates(&outcomes, settings),
        truncated_share: average(attempts().map(|attempt| f64::from(u8::from(attempt.truncated)))).unwrap_or(0.0),
        mean_length: average(attempts().map(|attempt| attempt.tokens as f64)).unwrap_or(0.0),
    }
}

fn pass_rates(outcomes: &[Vec<bool>], settings: &Settings) -> Vec<PassRate> {
    let judged = || outcomes.iter().filter(|samples| !samples.is_empty());
    let fewest = judged().map(Vec::len).min().unwrap_or(0);
    if settings.samples < 2 {
        return Vec::new();
    }
    let key = Key::new(settings.seed, Purpose::Bootstrap).at_name("pass");
    let powers = std::iter::successors(Some(1usize), |k| Some(2 * k)).take_while(|&k| k <= fewest);
    let rate = |k: usize, of: fn(usize, usize, usize) -> f64| {
        let right = |samples: &[bool]| samples.iter().filter(|&&right| right).count();
        let values: Vec<f64> = judged().map(|samples| of(samples.len(), right(samples), k)).collect();
        bootstrap_mean(&values, key.at(k as u64))
    };
    powers.filter_map(|k| Some(PassRate { k, any: rate(k, pass_at_k)?, all: rate(k, pass_hat_k)? })).collect()
}

/// Two evaluations of the same prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Prompts compared: those that both asked and that both got a verdict on.
    pub prompts: usize,
    /// Prompts that only one of them asked.
    pub unpaired: usize,
    /// Prompts that both asked but that got no verdict on one side or both.
    pub no_verdict: usize,
    /// Accuracy before, over the prompts compared.
    pub before: Interval,
    /// Accuracy after.
    pub after: Interval,
    /// Accuracy after minus before, paired.
    pub difference: Interval,
    /// Mean score after minus before, paired; bootstrap.
    pub score_difference: Interval,
    /// Prompts by right or wrong before and after, where every prompt is one or the other (one sample).
    pub pairs: Option<Pairs>,
    /// Exact McNemar test of `pairs`.
    pub p_value: Option<f64>,
}

/// Compares two evaluations prompt by prompt. `seed` is that of the bootstrap.
///
/// # Errors
/// `Data`: no prompt in common, or a name that stands for two prompts.
pub fn compare(before: &Evaluation, after: &Evaluation, seed: u64) -> Result<Comparison> {
    let find: std::collections::BTreeMap<&str, &PromptRecord> =
        before.prompts.iter().map(|prompt| (prompt.id.as_str(), prompt)).collect();
    let (mut rates, mut scores) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let (mut common, mut no_verdict) = (0, 0);
    for new in &after.prompts {
        let Some(old) = find.get(new.id.as_str()) else { continue };
        if old.prompt != new.prompt || old.answer != new.answer {
            return Err(Problem::new(
                Kind::Data,
                "D051",
                format!("`{}` is not the same prompt in both evaluations", new.id),
            )
            .why(format!("one asks `{}`, the other `{}`", short(&old.prompt), short(&new.prompt)))
            .hint("compare evaluations of the same task with the same options"));
        }
        common += 1;
        let right_from = (before.settings.right_from, after.settings.right_from);
        let (Some(old_rate), Some(new_rate)) = (old.success_rate(right_from.0), new.success_rate(right_from.1)) else {
            no_verdict += 1;
            continue;
        };
        rates.0.push(old_rate);
        rates.1.push(new_rate);
        scores.0.push(old.mean_score().unwrap_or(0.0));
        scores.1.push(new.mean_score().unwrap_or(0.0));
    }
    let key = Key::new(seed, Purpose::Bootstrap).at_name("compare");
    let unpaired = before.prompts.len() + after.prompts.len() - 2 * common;
    finish(rates, &scores, key).map(|comparison| Comparison { unpaired, no_verdict, ..comparison }).ok_or_else(|| {
        Problem::new(Kind::Data, "D050", "the two evaluations have no judged prompt in common")
            .why(format!("they asked {} and {} prompts, {common} the same", before.prompts.len(), after.prompts.len()))
            .hint("evaluate both models on the same task")
    })
}

fn finish(rates: (Vec<f64>, Vec<f64>), scores: &(Vec<f64>, Vec<f64>), key: Key) -> Option<Comparison> {
    let binary = rates.0.iter().chain(&rates.1).all(|&rate| rate == 0.0 || rate == 1.0);
    let outcomes = rates.0.iter().zip(&rates.1).map(|(&old, &new)| (old == 1.0, new == 1.0));
    let pairs = binary.then(|| Pairs::count(outcomes));
    let accuracy = |rates: &[f64]| {
        if binary {
            success_rate(&rates.iter().map(|&rate| vec![rate == 1.0]).collect::<Vec<_>>())
        } else {
            mean(rates).map(|rate| rate.clamped(0.0, 1.0))
        }
    };
    let difference = match &pairs {
        Some(pairs) => pairs.difference()?,
        None => paired_mean_difference(&rates.0, &rates.1)?.clamped(-1.0, 1.0),
    };
    Some(Comparison {
        prompts: rates.0.len(),
        unpaired: 0,
        no_verdict: 0,
        before: accuracy(&rates.0)?,
        after: accuracy(&rates.1)?,
        difference,
        score_difference: paired_bootstrap_difference(&scores.0, &scores.1, key)?,
        p_value: pairs.as_ref().map(Pairs::mcnemar),
        pairs,
    })
}

fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(id: usize, scores: &[Option<f32>]) -> PromptRecord {
        let attempt = |score: &Option<f32>| AttemptRecord {
            completion: "x".into(),
            tokens: 4,
            truncated: score.is_none(),
            verdict: score.map_or(Verdict::none("broken"), |score| Verdict::score(score, "")),
            confidence: None,
            found: None,
        };
        let attempts = scores.iter().map(attempt).collect();
        PromptRecord { id: format!("p/{id}"), prompt: format!("q{id}"), answer: None, attempts }
    }

    fn evaluation(samples: usize, prompts: Vec<PromptRecord>) -> Evaluation {
        Evaluation::new("t", "answer", Settings { samples, ..Settings::default() }, 3, prompts)
    }

    #[test]
    fn no_verdict_is_counted_and_never_a_zero() {
        let found = evaluation(1, vec![prompt(0, &[Some(1.0)]), prompt(1, &[None]), prompt(2, &[Some(0.5)])]).summary;
        assert_eq!((found.prompts, found.attempts, found.no_verdict), (3, 3, 1));
        let accuracy = found.accuracy.unwrap();
        assert_eq!((accuracy.estimate, accuracy.units), (0.5, 2));
        assert_eq!(found.score.unwrap().estimate, 0.75);
        assert!((found.truncated_share - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(found.mean_length, 4.0);
        assert!(found.pass.is_empty());
        let none = evaluation(1, vec![prompt(0, &[None])]).summary;
        assert_eq!((none.accuracy, none.score, none.no_verdict), (None, None, 1));
    }

    /// Answers without a verdict have no place in a calibration; those that were not found do.
    #[test]
    fn calibration_is_over_judged_answers_found_or_not() {
        let mut prompts =
            vec![prompt(0, &[Some(1.0)]), prompt(1, &[Some(0.0)]), prompt(2, &[None]), prompt(3, &[Some(1.0)])];
        for (prompt, (confidence, found)) in
            prompts.iter_mut().zip([(0.9, true), (0.0, false), (0.8, true), (0.0, false)])
        {
            prompt.attempts[0].confidence = Some(confidence);
            prompt.attempts[0].found = found.then(|| "7".to_string());
        }
        let found = evaluation(1, prompts).with_calibration(&Measure::default());
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), found);
        let calibration = found.calibration.unwrap();
        assert_eq!((calibration.answers, calibration.not_found), (3, 2));
        // Two in the first bin, half of them right; one at 0.9, right: (2·0.5 + 0.1) / 3.
        assert!((calibration.ece.estimate - 1.1 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn pass_rates_are_those_of_the_specification() {
        let right = |c: usize| (0..4).map(|i| Some(f32::from(u8::from(i < c)))).collect::<Vec<_>>();
        let prompts = [4, 3, 1, 0].iter().enumerate().map(|(id, &c)| prompt(id, &right(c))).collect();
        let found = evaluation(4, prompts).summary;
        let shown: Vec<_> = found.pass.iter().map(|rate| (rate.k, rate.any.estimate, rate.all.estimate)).collect();
        assert_eq!(shown, [(1, 0.5, 0.5), (2, 0.625, 0.375), (4, 0.75, 0.25)]);
        // A prompt with fewer judged answers bounds k.
        let found = evaluation(4, vec![prompt(0, &right(2)), prompt(1, &[Some(1.0), None, None, Some(0.0)])]).summary;
        assert_eq!(found.pass.iter().map(|rate| rate.k).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn prompts_are_paired_by_name() {
        let before = evaluation(1, (0..6).map(|id| prompt(id, &[Some(0.0)])).collect());
        let mut prompts: Vec<_> = (1..7).map(|id| prompt(id, &[Some(1.0)])).collect();
        prompts[0] = prompt(1, &[None]);
        prompts.reverse();
        let found = compare(&before, &evaluation(1, prompts), 1).unwrap();
        assert_eq!((found.prompts, found.unpaired, found.no_verdict), (4, 2, 1));
        assert_eq!(found.pairs, Some(Pairs { gained: 4, ..Pairs::default() }));
        assert_eq!((found.difference.estimate, found.p_value), (1.0, Some(0.125)));
        assert_eq!(found.score_difference.estimate, 1.0);

        let one = |scores: &[Option<f32>]| evaluation(2, vec![prompt(0, scores)]);
        let found = compare(&one(&[Some(0.0), Some(1.0)]), &one(&[Some(1.0), Some(1.0)]), 1).unwrap();
        let difference = found.difference;
        assert_eq!((found.pairs, difference.estimate, difference.low, difference.high), (None, 0.5, -1.0, 1.0));

        let other = evaluation(1, vec![PromptRecord { prompt: "other".into(), ..prompt(0, &[Some(1.0)]) }]);
        assert_eq!(compare(&before, &other, 1).unwrap_err().code(), "D051");
        assert_eq!(compare(&before, &evaluation(1, vec![prompt(9, &[Some(1.0)])]), 1).unwrap_err().code(), "D050");
    }

    #[test]
    fn an_evaluation_is_json_and_back() {
        let found = evaluation(2, vec![prompt(0, &[Some(1.0), None]), prompt(1, &[Some(0.25), Some(0.0)])]);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), found);
        assert!(text.contains(r#""verdict":{"reason":"broken"}"#), "{text}");
    }
}
