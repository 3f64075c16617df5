//! Stages that learn from what people said of answers: `reward-model` and `preference`.

use lapidary_algo::preference::Learns;
use lapidary_algo::{
    InvalidSetting, Preference, PreferenceLoss, PreferenceOverrides, preference_loss, preference_losses,
};
use lapidary_core::{Kind, Problem, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::check::{Checker, refused};
use super::nearest::listed;
use super::raw::RawStage;
use super::settings::Settings;
use super::sources::MODEL;
use super::supervised::{EarlyStop, RawEarlyStop};
use super::tree::{self, Node, Tree};
use super::{Stage, TaskChoice, Training, names};

/// The kind of a stage that trains a reward head.
pub(super) const REWARD_MODEL: &str = "reward-model";
/// The kind of a stage that trains the policy on preferences.
pub(super) const PREFERENCE: &str = "preference";
/// Keys that only these stages have.
pub(super) const COMPARISONS_ONLY: &[&str] = &["pairs", "auxiliary"];
/// A patience that no stage reaches: looks are taken, and never end it.
pub const NEVER: u64 = 1 << 31;

/// Learning from comparisons and judgements, as a reward model or as a policy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparisons {
    /// Where they come from.
    pub task: TaskChoice,
    /// What is minimised: the loss's vetted numbers with `[stage.<loss>]` put over them.
    pub preference: Preference,
    /// The steps and the optimiser; a prompt of a step is a comparison.
    pub training: Training,
    /// How rows become examples.
    pub pairs: PairRule,
    /// Who is asked beside the labels, where the loss debiases with it and the data do not say.
    pub auxiliary: Option<AuxiliaryModel>,
    /// When held-out examples are looked at, and when they end the stage.
    pub early_stop: EarlyStop,
}

/// A model whose preferences debias the labels, about them and about pairs that the reference writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuxiliaryModel {
    /// The directory of a reward model.
    pub model: String,
    /// Longest answer of the reference, in tokens; positive.
    pub max_new_tokens: usize,
}

/// How rows become examples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairRule {
    /// What the margins of the data are multiplied with; 0 leaves them out.
    pub margin_scale: f64,
    /// Comparisons whose margin, or difference of scores, is smaller are near ties; not negative.
    pub near_tie: f64,
    /// What happens to ties and near ties.
    pub near_ties: NearTies,
    /// What happens to rows that say what an earlier one said.
    pub duplicates: Duplicates,
    /// Most tokens of a prompt with its answer; longer ones are passed over. `None` is the model's context.
    pub max_length: Option<usize>,
}

/// What happens to comparisons that nobody won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NearTies {
    /// They are ties: a label of ½, or what `ties` of the loss makes of it.
    #[default]
    Half,
    /// They are left out.
    Drop,
}

/// What happens to rows that say what an earlier one said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// They are left out.
    #[default]
    Drop,
    /// They count again: a vote each.
    Keep,
}

/// A model whose preferences `vrpo` debiases the labels with.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuxiliary {
    /// The directory of a reward model, or `stage.1`: the one that the first stage of this run makes. It must not have learned from
    /// the comparisons of this stage. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Longest answer of the reference, in tokens; longer ones are left out. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u64>,
}

/// How rows of comparisons become examples.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPairs {
    /// What a `margin` of the data is multiplied with to be one in rewards; 0 leaves margins out. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub margin_scale: Option<f64>,
    /// Comparisons whose `margin`, or else difference of scores (`score_chosen`, `score_rejected`), is smaller are near ties. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub near_tie: Option<f64>,
    /// Ties and near ties are a label of one `half` (or what `ties` of the loss makes of it), or are left out (`drop`). Default `half`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_ties: Option<NearTies>,
    /// Rows that say what an earlier one said (same prompt, answers and winner) are left out (`drop`), or count again (`keep`). Default `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<Duplicates>,
    /// Most tokens of a prompt with its answer; longer ones are passed over. 0 is the model's context. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
}

/// The tables of a stage that carry the name of a preference loss.
pub(super) type LossSettings = Vec<(&'static str, PreferenceOverrides)>;

/// Takes `[stage.<loss>]` out of every stage of the tree: the names are the registry's, so no struct can list them.
pub(super) fn take(root: &mut Node, tree: &Tree) -> Result<Vec<LossSettings>> {
    let tree::Value::Table(entries) = &mut root.value else { return Ok(Vec::new()) };
    let Some((_, Node { value: tree::Value::List(stages), .. })) = entries.iter_mut().find(|(key, _)| key == "stage")
    else {
        return Ok(Vec::new());
    };
    let mut all = Vec::with_capacity(stages.len());
    for (at, stage) in stages.iter_mut().enumerate() {
        let mut settings = LossSettings::new();
        for name in preference_losses().iter().map(|loss| loss.name) {
            if let Some(node) = stage.take(name) {
                let given = PreferenceOverrides::deserialize(&node)
                    .map_err(|refusal| refused(tree, refusal, &format!("stage.{}.{name}", at + 1)))?;
                settings.push((name, given));
            }
        }
        all.push(settings);
    }
    Ok(all)
}

impl Checker<'_> {
    /// A stage of either kind.
    pub(super) fn comparisons(
        &self,
        kind: &str,
        raw: RawStage,
        (settings, losses): (&Settings, &LossSettings),
    ) -> Result<Stage> {
        let (target, default) = match kind {
            REWARD_MODEL => (Learns::Reward, Some("bradley_terry")),
            _ => (Learns::Policy, None),
        };
        let loss = self.loss(raw.method.as_deref().or(default), (kind, target))?;
        if let Some((other, _)) = settings.first() {
            return Err(self.foreign_settings(other, loss.name));
        }
        let preference = self.preference(loss, target, losses)?;
        let suggested = loss.suggestions.iter().find(|found| found.key == "learning_rate").map(|found| found.value);
        let rate = suggested.unwrap_or(if target == Learns::Reward { 1e-4 } else { 1e-6 });
        let training = self.training(&raw, rate)?;
        self.enough_examples(&preference, training.prompts_per_step)?;
        let auxiliary = raw.auxiliary.clone().map(|raw| self.auxiliary(raw, &preference)).transpose()?;
        let comparisons = Box::new(Comparisons {
            auxiliary,
            task: self.task(raw.task)?,
            preference,
            training,
            pairs: self.within("pairs").pairs(raw.pairs.unwrap_or_default())?,
            early_stop: match raw.early_stop {
                Some(raw) => self.within("early_stop").early_stop(raw)?,
                None => {
                    let looks = RawEarlyStop { patience: Some(NEVER), keep_best: Some(false), ..Default::default() };
                    self.early_stop(looks)?
                }
            },
        });
        Ok(if target == Learns::Reward { Stage::RewardModel(comparisons) } else { Stage::Preference(comparisons) })
    }

    fn loss(&self, name: Option<&str>, (kind, target): (&str, Learns)) -> Result<&'static PreferenceLoss> {
        let known: Vec<&str> =
            preference_losses().iter().filter(|loss| loss.teaches(target)).map(|loss| loss.name).collect();
        let name = name
            .ok_or_else(|| self.missing("method").hint(format!("choose one of {}", listed(known.iter().copied()))))?;
        match preference_loss(name) {
            Some(loss) if loss.teaches(target) => Ok(loss),
            Some(_) => Err(self
                .wrong_value("R016", "method", format!("`{name}` cannot teach a {kind} stage"), "this loss")
                .hint(format!("choose one of {}", listed(known.iter().copied())))),
            None => Err(self
                .unknown("R010", "method", "method", name, &known)
                .hint(format!("losses of a {kind} stage are {}", listed(known.iter().copied())))),
        }
    }

    /// The loss's numbers with the stage's settings put over them.
    fn preference(&self, loss: &'static PreferenceLoss, target: Learns, given: &LossSettings) -> Result<Preference> {
        if let Some((other, _)) = given.iter().find(|(name, _)| *name != loss.name) {
            return Err(self.foreign_settings(other, loss.name));
        }
        let none = PreferenceOverrides::default();
        let overrides = given.first().map_or(&none, |(_, overrides)| overrides);
        let resolved = if target == Learns::Reward { loss.reward(overrides) } else { loss.policy(overrides) };
        resolved.map_err(|InvalidSetting { key, expected, got }| {
            let key = format!("{}.{key}", loss.name);
            self.wrong_value("R017", &key, format!("`{key}` cannot be {got}"), format!("expected {expected}"))
        })
    }

    /// Settings that would have no effect.
    pub(super) fn foreign_settings(&self, other: &str, used: &str) -> Problem {
        let place = self.tree.key_place(&self.path(other), format!("this stage uses `{used}`"));
        Problem::new(Kind::Usage, "R018", format!("settings of `{other}` in a stage of `{used}`"))
            .at(place)
            .why("they would have no effect")
            .hint(format!("rename the table to `[stage.{used}]`, or remove it"))
    }

    fn enough_examples(&self, preference: &Preference, prompts: usize) -> Result<()> {
        let least = preference.needs().min_examples;
        if prompts >= least {
            return Ok(());
        }
        let name = preference.method().name;
        let message = format!("`{name}` needs {least} comparisons in a step, not {prompts}");
        let problem = self.wrong_value("R050", "prompts_per_step", message, format!("must be {least} or more"));
        Err(match preference.method().coupling.why() {
            Some(why) => problem.why(why),
            None => problem,
        })
    }

    /// `task = { pairs = "stage.2" }`: the pairs of an earlier stage of self-feedback, for a stage that learns from pairs.
    pub(super) fn pairs_of(&self, stage: &str, options: Map<String, Value>) -> Result<TaskChoice> {
        let wrong = |message: String| self.wrong_value("R053", "task.pairs", message, "these pairs");
        let learns = |own: &usize| matches!(self.kind_of(*own), Some(REWARD_MODEL | PREFERENCE));
        let Some(own) = names::stage_of(&self.table).filter(learns) else {
            return Err(wrong("only a reward-model or a preference stage learns from pairs".into()));
        };
        let writes = |maker: &usize| *maker < own && self.kind_of(*maker) == Some(names::SELF_FEEDBACK);
        match names::stage_of(stage).filter(writes) {
            Some(maker) => Ok(TaskChoice { name: String::new(), path: None, pairs: Some(maker), options }),
            None => Err(wrong(format!("`{stage}` is no earlier stage of kind `self-feedback`"))
                .hint("count the stages from 1: `task = { pairs = \"stage.2\" }`; for a file write `path`")),
        }
    }

    fn auxiliary(&self, raw: RawAuxiliary, preference: &Preference) -> Result<AuxiliaryModel> {
        let within = self.within("auxiliary");
        let name = preference.method().name;
        if preference.needs().synthetic_pairs.is_none() {
            return Err(within
                .wrong_table("R052", format!("`{name}` asks no auxiliary model"))
                .hint("remove the table, or use `method = \"vrpo\"`"));
        }
        let model = raw.model.ok_or_else(|| within.missing("model"))?;
        self.reward_model(&Map::from_iter([(MODEL.to_string(), json!(model))]), "auxiliary")?;
        Ok(AuxiliaryModel {
            model,
            max_new_tokens: within.count("max_new_tokens", raw.max_new_tokens, 256, 1)? as usize,
        })
    }

    fn pairs(&self, raw: RawPairs) -> Result<PairRule> {
        let from_zero = |x: f64| (0.0..=1e6).contains(&x);
        let most = self.count("max_length", raw.max_length, 0, 0)?;
        Ok(PairRule {
            margin_scale: self.number("margin_scale", raw.margin_scale, 1.0, from_zero, "0 to 1000000")?,
            near_tie: self.number("near_tie", raw.near_tie, 0.0, from_zero, "0 to 1000000")?,
            near_ties: raw.near_ties.unwrap_or_default(),
            duplicates: raw.duplicates.unwrap_or_default(),
            max_length: (most > 0).then_some(most as usize),
        })
    }

    /// A key that does not belong to a stage of comparisons.
    pub(super) fn not_of_comparisons(&self, key: &str, kind: &str) -> Problem {
        Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to a {kind} stage"))
            .at(self.tree.key_place(&self.path(key), "belongs to another kind of stage"))
            .why("the stage learns from answers that are there already, and from what was said of them")
            .hint("remove it, or put it into a stage of its kind")
    }
}

impl PairRule {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("margin_scale", json!(self.margin_scale)),
            ("near_tie", json!(self.near_tie)),
            ("near_ties", json!(self.near_ties)),
            ("duplicates", json!(self.duplicates)),
            ("max_length", json!(self.max_length.unwrap_or(0))),
        ]
    }
}

impl AuxiliaryModel {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![("model", json!(self.model)), ("max_new_tokens", json!(self.max_new_tokens))]
    }
}

impl Comparisons {
    /// The settings of its loss, as a recipe writes them.
    pub(super) fn settings(&self) -> Vec<(String, Value)> {
        // Settings are a struct of numbers and words, which JSON can always hold.
        let settings = serde_json::to_value(self.preference.settings()).unwrap_or_default();
        settings.as_object().cloned().unwrap_or_default().into_iter().collect()
    }
}
