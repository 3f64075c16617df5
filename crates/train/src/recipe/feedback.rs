//! `kind = "self-feedback"`: what a frozen model thinks of its own answers, as pairs (RLSF, arXiv 2507.21931).

use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::confidence::{Disparity, Margin, Measure, Pairing, Ranking, SpanSource, Statistic, Tie};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::raw::RawStage;
use super::tree;
use super::write::float32;
use super::{TaskChoice, Training};

/// CoT-decoding with the model at hand, which stays as it is; confidence of each trace; pairs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelfFeedback {
    /// Where questions come from; their answers are looked at for what is logged only.
    pub task: TaskChoice,
    /// Steps, questions per step and the memory knob; nothing is learned.
    pub training: Training,
    /// K: traces per question, each with another of the likeliest first tokens; at least 2.
    pub samples_per_prompt: usize,
    /// Longest trace, in tokens; positive.
    pub max_new_tokens: usize,
    /// How traces go on after their first token; 0 is greedy.
    pub temperature: f32,
    /// What a confidence is.
    pub confidence: Measure,
    /// How traces become pairs.
    pub ranking: Ranking,
}

/// Keys that a self-feedback stage has of those that another kind of stage has.
const KEYS: &[&str] = &[
    "kind",
    "task",
    "steps",
    "epochs",
    "prompts_per_step",
    "samples_per_prompt",
    "max_new_tokens",
    "temperature",
    "confidence",
    "ranking",
];

/// What a confidence is: a statistic of the tokens of the answer (self-feedback, or evaluation).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfidence {
    /// The statistic of a token; its mean over the answer's tokens is the confidence. Default `probability_disparity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistic: Option<Statistic>,
    /// What the second largest probability is taken from: the token's own, or the largest. Default `chosen_minus_second`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disparity: Option<Disparity>,
    /// How the answer is found in a trace: the model is asked again (`probe`), or the text is searched. Default `probe` in a
    /// self-feedback stage, `last_number` in evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<SpanSource>,
    /// Which of several equal places of a probed answer is taken. Default `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie: Option<Tie>,
    /// The regular expression of `span = "regex"`; its first group, or all of its last match, is the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What is appended to a trace to ask again; the trace itself is never changed. Default `So the answer is`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Most tokens of the answer to the probe. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub probe_tokens: Option<u64>,
}

/// How traces become pairs (self-feedback).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRanking {
    /// Confidence that the better trace of a pair must have. Default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<f64>,
    /// Which traces of a question are paired. Default `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairing: Option<Pairing>,
    /// The margin that is written beside a pair: exp of the difference of confidences, the difference, or none. Default `exp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
    /// Leaves out pairs whose answers are the same. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_equal_answers: Option<bool>,
    /// Most pairs of a question, those furthest apart; 0 keeps all. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pairs: Option<u64>,
}

impl Checker<'_> {
    pub(super) fn self_feedback(&self, raw: RawStage) -> Result<SelfFeedback> {
        self.only(KEYS, "a self-feedback stage learns nothing: it samples, measures and writes pairs")?;
        let mut confidence = raw.confidence.clone().unwrap_or_default();
        confidence.span.get_or_insert_default();
        let confidence = self.within("confidence").confidence(confidence)?;
        let ranking = self.within("ranking").ranking(raw.ranking.clone().unwrap_or_default(), confidence.statistic)?;
        Ok(SelfFeedback {
            training: self.training(&raw, 0.0)?,
            samples_per_prompt: self.count("samples_per_prompt", raw.samples_per_prompt, 10, 2)? as usize,
            max_new_tokens: self.count("max_new_tokens", raw.max_new_tokens, 256, 1)? as usize,
            temperature: self.number(
                "temperature",
                raw.temperature,
                0.0,
                |t| (0.0..=100.0).contains(&t),
                "between 0 (greedy) and 100",
            )? as f32,
            task: self.task(raw.task)?,
            confidence,
            ranking,
        })
    }

    /// Refuses every key of this stage that is not among `keys`.
    fn only(&self, keys: &[&str], why: &str) -> Result<()> {
        let kind = "self-feedback";
        let written = match self.tree.get(&self.table).map(|node| &node.value) {
            Some(tree::Value::Table(entries)) => entries.as_slice(),
            _ => &[],
        };
        match written.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                Err(Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to a stage of kind `{kind}`"))
                    .at(self.tree.key_place(&self.path(key), "belongs to another kind of stage"))
                    .why(why.to_string())
                    .hint("remove it, or give it to the stage that learns from the pairs"))
            }
        }
    }

    /// The table in which a confidence is described.
    pub(super) fn confidence(&self, raw: RawConfidence) -> Result<Measure> {
        let defaults = Measure::default();
        let probe_tokens = self.count("probe_tokens", raw.probe_tokens, defaults.probe_tokens as u64, 1)? as usize;
        let span = raw.span.unwrap_or(SpanSource::LastNumber);
        let measure = Measure {
            statistic: raw.statistic.unwrap_or_default(),
            disparity: raw.disparity.unwrap_or_default(),
            span,
            tie: raw.tie.unwrap_or_default(),
            pattern: raw.pattern,
            probe: raw.probe.unwrap_or(defaults.probe),
            probe_tokens,
        };
        match measure.finder() {
            Ok(_) => Ok(measure),
            Err(why) => {
                let key = if measure.pattern.is_some() { "pattern" } else { "span" };
                Err(self.wrong_value("R006", key, why, "this value"))
            }
        }
    }

    fn ranking(&self, raw: RawRanking, statistic: Statistic) -> Result<Ranking> {
        let defaults = Ranking::default();
        let (low, high, range) = match statistic {
            Statistic::Perplexity => (-1e6, -1.0, "at most −1: a negated perplexity"),
            _ => (-1.0, 1.0, "between −1 and 1"),
        };
        let least = raw.min_confidence.unwrap_or(defaults.min_confidence);
        if !(low..=high).contains(&least) {
            return Err(self
                .wrong_value(
                    "R006",
                    "min_confidence",
                    format!("`min_confidence` is {least}"),
                    format!("must be {range}"),
                )
                .hint("it is compared with the statistic of `[stage.confidence]`"));
        }
        let margin = raw.margin.unwrap_or_default();
        if statistic == Statistic::Perplexity && margin == Margin::Exp {
            return Err(self
                .wrong_value("R006", "margin", "a difference of perplexities has no exponential", "`exp`")
                .why("perplexities have no upper end, so the margin of a pair would not either")
                .hint("set `margin = \"linear\"` or `\"none\"`"));
        }
        Ok(Ranking {
            min_confidence: least,
            pairing: raw.pairing.unwrap_or_default(),
            margin,
            skip_equal_answers: raw.skip_equal_answers.unwrap_or(false),
            max_pairs: self.count("max_pairs", raw.max_pairs, 0, 0)? as usize,
        })
    }
}

impl SelfFeedback {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("samples_per_prompt", json!(self.samples_per_prompt)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("temperature", float32(self.temperature)),
            match self.training.epochs {
                Some(epochs) => ("epochs", json!(epochs)),
                None => ("steps", json!(self.training.steps)),
            },
            ("prompts_per_step", json!(self.training.prompts_per_step)),
        ]
    }

    pub(super) fn ranking_entries(&self) -> Vec<(&'static str, Value)> {
        let Ranking { min_confidence, pairing, margin, skip_equal_answers, max_pairs } = self.ranking;
        vec![
            ("min_confidence", json!(min_confidence)),
            ("pairing", json!(pairing)),
            ("margin", json!(margin)),
            ("skip_equal_answers", json!(skip_equal_answers)),
            ("max_pairs", json!(max_pairs)),
        ]
    }
}

/// `[stage.confidence]`, `[eval.confidence]`: every key that has a value.
pub(super) fn confidence_entries(measure: &Measure) -> Vec<(&'static str, Value)> {
    let Measure { statistic, disparity, span, tie, pattern, probe, probe_tokens } = measure;
    let mut entries = vec![
        ("statistic", json!(statistic)),
        ("disparity", json!(disparity)),
        ("span", json!(span)),
        ("tie", json!(tie)),
        ("probe", json!(probe)),
        ("probe_tokens", json!(probe_tokens)),
    ];
    if let Some(pattern) = pattern {
        entries.push(("pattern", json!(pattern)));
    }
    entries
}
