//! The second layer of an rl stage: the model learns to correct its own answers (MGRPO, Ding et al. 2025, arXiv 2506.04746).

use lapidary_core::Result;
use lapidary_eval::{SecondTurn, Shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Stage;
use super::check::Checker;
use super::write::float32;

/// Answers of the first layer are shown to the model again; what it makes of them is a second batch of groups.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SecondLayer {
    /// Second answers per first answer; positive.
    pub samples: usize,
    /// Weight of the second layer's loss; 0 is plain training on first answers.
    pub weight: f64,
    /// How the second question is worded.
    pub turn: SecondTurn,
    /// What is said to make the model look again; at least one, each drawn with its weight.
    pub phrases: Vec<String>,
    /// One positive weight per phrase.
    pub phrase_weights: Vec<f64>,
    /// How a phrase is chosen.
    pub phrase_order: PhraseOrder,
    /// Which first answers are shown.
    pub inputs: Inputs,
    /// Share of wrong answers under [`Inputs::Balanced`]; in (0, 1).
    pub wrong_share: f64,
    /// Share of the chosen answers that are shown, drawn at random; in (0, 1].
    pub fraction: f64,
    /// Whether first answers that ran into the limit are left out.
    pub exclude_truncated: bool,
    /// What a second answer is worth.
    pub reward: LayerReward,
    /// Weight of the improvement under [`LayerReward::Shaped`].
    pub shaping: f64,
    /// What is learned from.
    pub filter: Filter,
    /// What a second answer is compared with.
    pub group: LayerGroup,
    /// Whether both layers share an optimiser step.
    pub update: LayerUpdate,
    /// Who gives the first answers.
    pub policies: Policies,
    /// Longest second answer, in tokens; positive.
    pub max_new_tokens: usize,
    /// Divisor of the logits for second answers; positive.
    pub temperature: f32,
}

/// How a phrase is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhraseOrder {
    /// At random, by weight.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// Always the first.
    Fixed,
}

/// Which first answers are shown to the second layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// All that have a verdict.
    #[default]
    All,
    /// Wrong ones only: the model may learn to change whatever it sees.
    IncorrectOnly,
    /// Wrong and right ones in a fixed ratio.
    Balanced,
    /// Those of prompts that were answered rightly and wrongly.
    MixedGroupsOnly,
}

/// What a second answer is worth, with r₁ and r₂ the rewards of first and second answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerReward {
    /// r₂.
    #[default]
    Outcome,
    /// r₂ − r₁.
    Improve,
    /// r₂ + shaping · (r₂ − r₁).
    Shaped,
}

/// What the second layer learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Groups whose rewards vary.
    #[default]
    Group,
    /// Right second answers, with the advantage r₂ − r₁ as it is: imitation weighted by reward.
    SuccessOnly,
}

/// What a second answer is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerGroup {
    /// Other second answers to the same first answer.
    #[default]
    Parent,
    /// All second answers to the same question.
    Query,
}

/// Whether both layers share an optimiser step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerUpdate {
    /// Both are sampled by the same weights and learned in the same steps.
    #[default]
    Joint,
    /// The first layer is learned, then the second is sampled by the new weights and learned.
    Sequential,
}

/// Who gives the first answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policies {
    /// The model that learns, which learns from them too.
    #[default]
    Shared,
    /// The model as it was when the stage began: it stays, and another one learns to correct it.
    Separate,
}

/// A second layer: the model sees its own answer and answers again.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecondLayer {
    /// Second answers per first answer: the group of the second layer. Default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<u64>,
    /// Weight of the second layer's loss beside the first one's. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight: Option<f64>,
    /// Words of the second question, with `{question}`, `{answer}` and `{phrase}` in it; in a conversation they take the place of
    /// the user's last message. Default `"{question}\n<think>{answer}</think>\n{phrase}\n"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// How much of the first answer is shown: `whole`, `after_think` (what follows its last `</think>`) or `{ tail = TOKENS }`.
    /// Default `whole`; whatever does not fit is cut at its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<RawShown>,
    /// What is said to make the model look again. Default: seven sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub phrases: Option<Vec<String>>,
    /// Weights of the phrases. Default: all equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrase_weights: Option<Vec<f64>>,
    /// `random` by weight, `round_robin`, or `fixed`: the first. Default `random`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrase_order: Option<PhraseOrder>,
    /// Which first answers are shown. Default `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Share of wrong answers among those shown. Only with `inputs = "balanced"`. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub wrong_share: Option<f64>,
    /// Share of the chosen answers that are shown: second answers cost `samples` times as much as first ones. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub fraction: Option<f64>,
    /// Leave out first answers that reached `max_new_tokens`; else they are shown and marked. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_truncated: Option<bool>,
    /// What a second answer is worth: its reward (`outcome`), what it gained (`improve`), or both (`shaped`). Default `outcome`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<LayerReward>,
    /// Weight of the gain. Only with `reward = "shaped"`. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shaping: Option<f64>,
    /// `group` learns from groups whose rewards vary, `success_only` from right answers alone, each by its gain. Default `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// What a second answer is compared with: others to the same first answer (`parent`), or to the question (`query`). Default
    /// `parent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<LayerGroup>,
    /// `joint`: both layers in the same optimiser steps. `sequential`: the second is sampled and learned after the first. Default
    /// `joint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<LayerUpdate>,
    /// `shared`: one model gives both answers. `separate`: the model as it was at the start of the stage gives the first, and
    /// only second answers are learned. Default `shared`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Longest second answer, in tokens. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u64>,
    /// Divisor of the logits for second answers. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: Option<f64>,
}

/// [`Shown`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawShown {
    Whole,
    AfterThink,
    Tail(u64),
}

/// How the answers of an evaluation are shown to the model again.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalTurn {
    /// How the second question is worded.
    pub turn: SecondTurn,
    /// What is said to make the model look again.
    pub phrase: String,
}

impl Default for EvalTurn {
    /// The default wording, and the first of the default phrases.
    fn default() -> Self {
        Self { turn: SecondTurn::default(), phrase: PHRASES[0].into() }
    }
}

/// Every held-out answer is shown to the model once more.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvalTurn {
    /// What is said to make the model look again. Default: the first phrase of the last second layer, else one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrase: Option<String>,
    /// As in `[stage.second_layer]`. Default: that of the last second layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// As in `[stage.second_layer]`. Default: that of the last second layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<RawShown>,
}

/// Demonstrations that follow a first answer of the model itself: what a second layer needs to start from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SecondTurns {
    /// Share of the demonstrations, drawn at random, that are shown so; in (0, 1].
    pub share: f64,
    /// How the second question is worded, and the phrase.
    pub asked: EvalTurn,
    /// Longest first answer, in tokens; positive.
    pub max_new_tokens: usize,
    /// Divisor of the logits for first answers; positive.
    pub temperature: f32,
}

/// A share of the demonstrations is shown after an answer of the model itself: the second question is the prompt.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecondTurns {
    /// Share of the demonstrations that are shown so. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub share: Option<f64>,
    /// What is said to make the model look again. Default: a sentence of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrase: Option<String>,
    /// As in `[stage.second_layer]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// As in `[stage.second_layer]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<RawShown>,
    /// Longest first answer, in tokens. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u64>,
    /// Divisor of the logits for first answers. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: Option<f64>,
}

/// Words that make a model look again, of our own.
const PHRASES: [&str; 7] = [
    "Check the answer above step by step and give your final answer.",
    "Is this right? Look for a mistake, then answer again.",
    "Solve it once more in another way and compare.",
    "Test the result against the question before you answer.",
    "One step may be wrong. Find it or confirm that there is none.",
    "Read the question again. Does the answer fit it?",
    "Go through the calculation again and correct it where needed.",
];

impl Checker<'_> {
    pub(super) fn second_layer(
        &self,
        raw: Option<RawSecondLayer>,
        (max_new_tokens, temperature): (usize, f32),
    ) -> Result<Option<SecondLayer>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("second_layer");
        let turn = table.turn(raw.template.as_deref(), raw.shown, SecondTurn::default())?;
        let phrases = raw.phrases.clone().unwrap_or_else(|| PHRASES.map(String::from).to_vec());
        if phrases.is_empty() {
            return Err(table.wrong_value("R006", "phrases", "there is no phrase to say", "expected at least one"));
        }
        let phrase_weights = raw.phrase_weights.clone().unwrap_or_else(|| vec![1.0; phrases.len()]);
        if phrase_weights.len() != phrases.len() || !phrase_weights.iter().all(|w| *w > 0.0 && w.is_finite()) {
            let label = format!("expected {} numbers above 0, one per phrase", phrases.len());
            return Err(table.wrong_value("R006", "phrase_weights", "the phrases cannot be weighed", label));
        }
        let (inputs, reward) = (raw.inputs.unwrap_or_default(), raw.reward.unwrap_or_default());
        table.only_with(
            "wrong_share",
            raw.wrong_share.is_some(),
            ("inputs", "balanced", inputs == Inputs::Balanced),
        )?;
        table.only_with("shaping", raw.shaping.is_some(), ("reward", "shaped", reward == LayerReward::Shaped))?;
        let filter = raw.filter.unwrap_or_default();
        let group = raw.group.unwrap_or_default();
        let samples = table.count("samples", raw.samples, 4, 1)? as usize;
        if samples < 2 && filter == Filter::Group && group == LayerGroup::Parent {
            return Err(table
                .wrong_value(
                    "R014",
                    "samples",
                    "one second answer has nothing to be compared with",
                    "must be 2 or more",
                )
                .why("a group is made of the second answers to the same first answer")
                .hint("set `samples = 4`, or `group = \"query\"`, or `filter = \"success_only\"`"));
        }
        let open = |x: f64| x > 0.0 && x < 1.0;
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let warm = |t: f64| t > 0.0 && t <= 100.0;
        Ok(Some(SecondLayer {
            samples,
            weight: table.number("weight", raw.weight, 1.0, |x| x >= 0.0 && x.is_finite(), "0 or more")?,
            turn,
            phrases,
            phrase_weights,
            phrase_order: raw.phrase_order.unwrap_or_default(),
            inputs,
            wrong_share: table.number("wrong_share", raw.wrong_share, 0.5, open, "between 0 and 1")?,
            fraction: table.number("fraction", raw.fraction, 1.0, share, "above 0 and at most 1")?,
            exclude_truncated: raw.exclude_truncated.unwrap_or(false),
            reward,
            shaping: table.number("shaping", raw.shaping, 0.5, f64::is_finite, "a number")?,
            filter,
            group,
            update: raw.update.unwrap_or_default(),
            policies: raw.policies.unwrap_or_default(),
            max_new_tokens: table.count("max_new_tokens", raw.max_new_tokens, max_new_tokens as u64, 1)? as usize,
            temperature: table.number(
                "temperature",
                raw.temperature,
                f64::from(temperature),
                warm,
                "above 0 and at most 100",
            )? as f32,
        }))
    }

    /// The second turns of an sft stage.
    pub(super) fn second_turns(&self, raw: RawSecondTurns) -> Result<SecondTurns> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let warm = |t: f64| t > 0.0 && t <= 100.0;
        let turn = self.turn(raw.template.as_deref(), raw.shown, SecondTurn::default())?;
        Ok(SecondTurns {
            share: self.number("share", raw.share, 0.5, share, "above 0 and at most 1")?,
            asked: EvalTurn { turn, phrase: raw.phrase.unwrap_or(PHRASES[0].into()) },
            max_new_tokens: self.count("max_new_tokens", raw.max_new_tokens, 256, 1)? as usize,
            temperature: self.number("temperature", raw.temperature, 1.0, warm, "above 0 and at most 100")? as f32,
        })
    }

    /// The second turn of an evaluation: as written, else as the last second layer of the stages has it, else none.
    pub(super) fn eval_turn(&self, raw: Option<RawEvalTurn>, stages: &[Stage]) -> Result<Option<EvalTurn>> {
        let layer = stages.iter().rev().find_map(|stage| match stage {
            Stage::Rl(rl) => rl.second_layer.as_ref(),
            _ => None,
        });
        if raw.is_none() && layer.is_none() {
            return Ok(None);
        }
        let raw = raw.unwrap_or_default();
        let default = layer.map_or_else(SecondTurn::default, |layer| layer.turn.clone());
        let phrase = raw.phrase.or(layer.map(|layer| layer.phrases[0].clone())).unwrap_or(PHRASES[0].into());
        let turn = self.within("second_turn").turn(raw.template.as_deref(), raw.shown, default)?;
        Ok(Some(EvalTurn { turn, phrase }))
    }

    fn turn(&self, template: Option<&str>, shown: Option<RawShown>, default: SecondTurn) -> Result<SecondTurn> {
        let shown = match shown {
            None => default.shown,
            Some(RawShown::Whole) => Shown::Whole,
            Some(RawShown::AfterThink) => Shown::AfterThink,
            Some(RawShown::Tail(tokens)) => Shown::Tail(tokens as usize),
        };
        let turn = SecondTurn { template: template.map_or(default.template, String::from), shown };
        match turn.wrong() {
            None => Ok(turn),
            Some(what) => Err(self
                .wrong_value("R006", "template", what, "expected `{question}`, `{answer}` and `{phrase}`")
                .why("the model can only correct what it sees")),
        }
    }

    /// A key that has an effect beside one choice only.
    fn only_with(&self, key: &str, given: bool, (of, choice, chosen): (&str, &str, bool)) -> Result<()> {
        if !given || chosen {
            return Ok(());
        }
        Err(self
            .wrong_value("R006", key, format!("`{key}` has no effect here"), format!("only with `{of} = \"{choice}\"`"))
            .hint(format!("remove it, or change `{of}`")))
    }
}

impl SecondLayer {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("samples", json!(self.samples)),
            ("weight", json!(self.weight)),
            ("template", json!(self.turn.template)),
            ("shown", shown(self.turn.shown)),
            ("phrases", json!(self.phrases)),
            ("phrase_weights", json!(self.phrase_weights)),
            ("phrase_order", json!(self.phrase_order)),
            ("inputs", json!(self.inputs)),
            ("fraction", json!(self.fraction)),
            ("exclude_truncated", json!(self.exclude_truncated)),
            ("reward", json!(self.reward)),
            ("filter", json!(self.filter)),
            ("group", json!(self.group)),
            ("update", json!(self.update)),
            ("policies", json!(self.policies)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("temperature", float32(self.temperature)),
        ];
        if self.inputs == Inputs::Balanced {
            entries.push(("wrong_share", json!(self.wrong_share)));
        }
        if self.reward == LayerReward::Shaped {
            entries.push(("shaping", json!(self.shaping)));
        }
        entries
    }
}

impl SecondTurns {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("share", json!(self.share)),
            ("phrase", json!(self.asked.phrase)),
            ("template", json!(self.asked.turn.template)),
            ("shown", shown(self.asked.turn.shown)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("temperature", float32(self.temperature)),
        ]
    }
}

impl EvalTurn {
    pub(super) fn entry(&self) -> Value {
        json!({ "phrase": self.phrase, "template": self.turn.template, "shown": shown(self.turn.shown) })
    }
}

fn shown(shown: Shown) -> Value {
    match shown {
        Shown::Whole => json!("whole"),
        Shown::AfterThink => json!("after_think"),
        Shown::Tail(tokens) => json!({ "tail": tokens }),
    }
}
