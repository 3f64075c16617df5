//! `confidence`: how sure the model is of what it wrote (the article's direct form of RLSF).
//!
//! ```text
//! C = Σ_t M_t max_a p_θc(a | s_t) / Σ_t M_t          r = map(C)
//! ```
//! The model that is asked, θc, is by default the one at the start of the stage: it cannot learn to be sure of everything. A
//! completion that a guard refuses has C = 0. Without guards and a KL term this reward is won by short, repetitive text.

use lapidary_core::{Result, Verdict};

use crate::confidence::{Disparity, Measure, RewardMap, Span, SpanSource, Statistic, tokens_of};
use crate::intrinsic::{Reads, View, Weights, readings};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

const fn option(name: &'static str, kind: OptionKind, default: &'static str, meaning: &'static str) -> OptionInfo {
    OptionInfo { name, kind, default, meaning }
}

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "confidence",
    summary: "No label: how sure the model is of the tokens it wrote, or of its answer (RLSF, the article's direct form).",
    formula: "map(mean_t max_a p(a | s_t)), over the completion or the tokens of its answer",
    options: &[
        option(
            "statistic",
            OptionKind::Choice(&["max_probability", "probability_disparity", "predictive_probability", "entropy"]),
            "\"max_probability\"",
            "what a token says: max_a p, p(x) − p₂, p(x), or 1 − H/ln V",
        ),
        option(
            "disparity",
            OptionKind::Choice(&["chosen_minus_second", "top1_minus_top2"]),
            "\"chosen_minus_second\"",
            "what the second largest probability is taken from",
        ),
        option(
            "scope",
            OptionKind::Choice(&["trajectory", "answer_span"]),
            "\"trajectory\"",
            "over all tokens of the completion, or over those of its answer",
        ),
        option("span", OptionKind::Choice(SpanSource::OF_TEXT), "\"last_number\"", "how the answer is found"),
        option("pattern", OptionKind::Text, "null", "the regular expression of `span = \"regex\"`"),
        option(
            "model",
            OptionKind::Choice(&["frozen", "ema", "current"]),
            "\"frozen\"",
            "who is asked: the model at the start of the stage, the moving mean of its weights, or the one that sampled",
        ),
        option(
            "model_decay",
            OptionKind::Number(0.0, 1.0),
            "0.99",
            "weight of the old mean per step, for `model = \"ema\"`",
        ),
        option(
            "map",
            OptionKind::Choice(&["group", "signed", "threshold", "baseline"]),
            "\"group\"",
            "C, 2C − 1, ±1 beyond two thresholds, or C less its moving mean",
        ),
        option("high", OptionKind::Number(-1.0, 1.0), "0.9", "confidence from which `threshold` gives 1"),
        option("low", OptionKind::Number(-1.0, 1.0), "0.6", "confidence up to which `threshold` gives −1"),
        option(
            "baseline_decay",
            OptionKind::Number(0.0, 1.0),
            "0.99",
            "weight of the old mean per step, for `baseline`",
        ),
        option("needs_answer", OptionKind::Flag, "false", "guard: without an answer (`span`) C is 0"),
        option("min_tokens", OptionKind::Integer(0, 1 << 30), "0", "guard: with fewer tokens C is 0"),
    ],
    build: |options| Ok(Box::new(Confidence::new(options)?)),
};

#[derive(Debug)]
struct Confidence {
    statistic: Statistic,
    disparity: Disparity,
    /// Over the tokens of the answer alone.
    answer_only: bool,
    needs_answer: bool,
    min_tokens: usize,
    finder: Span,
    view: View,
    map: RewardMap,
    /// The moving mean of C, where the map has one.
    mean: Option<f64>,
}

impl Confidence {
    fn new(options: &Options) -> Result<Self> {
        let statistic = match options.text("statistic") {
            Some("probability_disparity") => Statistic::ProbabilityDisparity,
            Some("predictive_probability") => Statistic::PredictiveProbability,
            Some("entropy") => Statistic::Entropy,
            _ => Statistic::MaxProbability,
        };
        let weights = match options.text("model") {
            Some("current") => Weights::Current,
            Some("ema") => Weights::Ema { decay: options.number("model_decay").unwrap_or(0.99) },
            _ => Weights::Frozen,
        };
        let (high, low) = (options.number("high").unwrap_or(0.9), options.number("low").unwrap_or(0.6));
        if low > high {
            return Err(options.wrong(format!("`low` = {low} is above `high` = {high}")));
        }
        let map = match options.text("map") {
            Some("signed") => RewardMap::Signed,
            Some("threshold") => RewardMap::Threshold { high, low },
            Some("baseline") => RewardMap::Baseline { decay: options.number("baseline_decay").unwrap_or(0.99) },
            _ => RewardMap::Group,
        };
        let span = options.text("span").and_then(SpanSource::of_text).unwrap_or(SpanSource::LastNumber);
        let pattern = options.text("pattern").map(String::from);
        let measure = Measure { span, pattern, ..Measure::default() };
        Ok(Self {
            statistic,
            disparity: match options.text("disparity") {
                Some("top1_minus_top2") => Disparity::Top1MinusTop2,
                _ => Disparity::ChosenMinusSecond,
            },
            answer_only: options.text("scope") == Some("answer_span"),
            needs_answer: options.flag("needs_answer"),
            min_tokens: options.integer("min_tokens").unwrap_or(0) as usize,
            finder: measure.finder().map_err(|why| options.wrong(why))?,
            view: View { weights, sampled: false },
            map,
            mean: None,
        })
    }

    /// C, and a word on how it came about.
    fn measure(&self, attempt: &Attempt<'_>) -> std::result::Result<(f64, String), Verdict> {
        let seen = readings(attempt, self.view)?;
        if seen.len() < self.min_tokens {
            return Ok((0.0, format!("{} tokens, fewer than {}", seen.len(), self.min_tokens)));
        }
        let mut span = 0..seen.len();
        if self.answer_only || self.needs_answer {
            let bytes = self.finder.locate(attempt.completion, None);
            match bytes.and_then(|bytes| tokens_of(&seen.places, &bytes)) {
                None => return Ok((0.0, "no answer found".into())),
                Some(answer) if self.answer_only => span = answer,
                Some(_) => {}
            }
        }
        let count = span.len();
        let confidence = self.statistic.of_span(self.disparity, seen, span).unwrap_or(0.0);
        Ok((confidence, format!("confidence {confidence:.3} over {count} tokens")))
    }
}

impl Reward for Confidence {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let measured: Vec<_> = attempts.iter().map(|attempt| self.measure(attempt)).collect();
        let known: Vec<f64> = measured.iter().flatten().map(|(confidence, _)| *confidence).collect();
        // Before the first step there is no mean yet but that of the batch.
        let mean = self.mean.or(self.map.mean_after(None, &known)).unwrap_or(0.0);
        let verdict = |found: std::result::Result<(f64, String), Verdict>| match found {
            Ok((confidence, why)) => Verdict::score(self.map.apply(confidence, mean) as f32, why),
            Err(verdict) => verdict,
        };
        measured.into_iter().map(verdict).collect()
    }

    fn reads(&self) -> Option<Reads> {
        Some(Reads { view: self.view, want: self.statistic.want(), least_kl: 5e-3 })
    }

    fn recall(&mut self, memory: Option<f64>) {
        self.mean = memory;
    }

    fn remember(&self, attempts: &[Attempt<'_>]) -> Option<f64> {
        let known: Vec<f64> = attempts.iter().flat_map(|attempt| self.measure(attempt)).map(|(c, _)| c).collect();
        self.map.mean_after(self.mean, &known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::Readings;
    use crate::intrinsic::Seen;
    use serde_json::{Map, Value, json};

    /// `so 72` in three tokens with these largest probabilities, the second `7`, the third `2`.
    fn seen(top: [f32; 3], weights: Weights) -> [(View, Readings); 1] {
        let readings = Readings {
            logp: vec![-0.1; 3],
            top: [top.to_vec(), vec![0.0; 3]],
            places: vec![0..3, 3..4, 4..5],
            vocabulary: 4,
            ..Readings::default()
        };
        [(View { weights, sampled: false }, readings)]
    }

    fn attempt<'a>(text: &'a str, readings: &'a [(View, Readings)], metadata: &'a Map<String, Value>) -> Attempt<'a> {
        Attempt { seen: Some(Seen { group: 0, readings }), ..Attempt::new("", text, None, metadata) }
    }

    fn scores(options: Value, texts: &[(&str, [f32; 3])]) -> Vec<f64> {
        let (metadata, reward) = (Map::new(), crate::build("confidence", &options).unwrap());
        let weights = reward.reads().unwrap().view.weights;
        let seen: Vec<_> = texts.iter().map(|(_, top)| seen(*top, weights)).collect();
        let attempts: Vec<Attempt<'_>> =
            texts.iter().zip(&seen).map(|((text, _), readings)| attempt(text, readings, &metadata)).collect();
        reward.score(&attempts).iter().map(|verdict| f64::from(verdict.value().unwrap())).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }

    /// Spec B §1.13: the mean of the largest probabilities of the golden tokens is 0.608397.
    #[test]
    fn the_whole_or_the_answer() {
        let golden = [("so 72", [0.643914, 0.311230, 0.870049])];
        close(&scores(json!({}), &golden), &[0.608397]);
        close(&scores(json!({"scope": "answer_span"}), &golden), &[0.590640]);
        close(&scores(json!({"map": "signed"}), &golden), &[0.216795]);
        close(&scores(json!({"map": "threshold", "high": 0.6}), &golden), &[1.0]);
        close(&scores(json!({"map": "threshold"}), &golden), &[0.0]);
        close(&scores(json!({"map": "threshold", "low": 0.7}), &golden), &[-1.0]);
    }

    #[test]
    fn guards_give_the_least() {
        let two = [("so 72", [0.9; 3]), ("so so", [0.9; 3])];
        close(&scores(json!({}), &two), &[0.9, 0.9]);
        close(&scores(json!({"needs_answer": true}), &two), &[0.9, 0.0]);
        close(&scores(json!({"needs_answer": true, "map": "signed"}), &two), &[0.8, -1.0]);
        close(&scores(json!({"min_tokens": 4}), &two), &[0.0, 0.0]);
    }

    #[test]
    fn a_baseline_is_remembered_by_the_run() {
        let mut reward = crate::build("confidence", &json!({"map": "baseline", "baseline_decay": 0.9})).unwrap();
        let metadata = Map::new();
        let seen = [seen([0.9; 3], Weights::Frozen), seen([0.5; 3], Weights::Frozen)];
        let attempts: Vec<Attempt<'_>> = seen.iter().map(|readings| attempt("so 72", readings, &metadata)).collect();
        let values = |reward: &dyn Reward| -> Vec<f64> {
            reward.score(&attempts[..2]).iter().map(|verdict| f64::from(verdict.value().unwrap())).collect()
        };
        close(&values(&*reward), &[0.2, -0.2]);
        let memory = reward.remember(&attempts).unwrap();
        close(&[memory], &[0.7]);
        reward.recall(Some(memory));
        close(&[reward.remember(&attempts[..1]).unwrap()], &[0.9 * 0.7 + 0.1 * 0.9]);
        reward.recall(Some(0.5));
        close(&values(&*reward), &[0.4, 0.0]);
    }

    #[test]
    fn the_model_that_is_asked_is_chosen_and_nonsense_refused() {
        let of =
            |options: Value| crate::build("confidence", &options).map(|reward| reward.reads().unwrap().view.weights);
        assert_eq!(of(json!({})).unwrap(), Weights::Frozen);
        assert_eq!(of(json!({"model": "current"})).unwrap(), Weights::Current);
        assert_eq!(of(json!({"model": "ema", "model_decay": 0.5})).unwrap(), Weights::Ema { decay: 0.5 });
        for options in [
            json!({"low": 0.95}),
            json!({"span": "regex"}),
            json!({"pattern": "x"}),
            json!({"statistic": "perplexity"}),
        ] {
            assert_eq!(of(options.clone()).unwrap_err().code(), "W003", "{options}");
        }
    }
}
