//! What an rl stage learns from: dynamic sampling, a curriculum, a temperature that rises.

use lapidary_core::{Kind, Problem, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::write::float32;

/// Groups that teach nothing are replaced by those of new prompts (DAPO, arXiv 2503.14476, §3.2).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DynamicSampling {
    /// Prompts asked per group that is missing; at least 1.
    pub oversample: f64,
    /// Rounds of sampling in a step; positive.
    pub max_rounds: usize,
    /// Prompts sampled in a step; `None` has no limit but the rounds.
    pub max_prompts: Option<usize>,
    /// What happens to a step that is not full when rounds or prompts are used up.
    pub on_exhausted: OnExhausted,
    /// What happens to groups that could teach but have no place in the step.
    pub surplus: Surplus,
}

impl Default for DynamicSampling {
    /// One prompt per missing group, ten rounds (verl's `max_num_gen_batches`), and what was found is learned.
    fn default() -> Self {
        let (on_exhausted, surplus) = Default::default();
        Self { oversample: 1.0, max_rounds: 10, max_prompts: None, on_exhausted, surplus }
    }
}

/// What happens to a step that dynamic sampling could not fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The step learns from the groups that were found.
    #[default]
    LearnWhatThereIs,
    /// The step learns nothing.
    Skip,
    /// The run ends with an error.
    Stop,
}

/// What happens to groups beyond the step's prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// They are the first of the next step; by then the weights have moved on.
    #[default]
    NextStep,
    /// They are dropped.
    Drop,
}

/// Prompts by difficulty: first those that are sometimes solved, then those that eight draws miss and many do not
/// (GLM-4.5, arXiv 2508.06471, §3.2).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Curriculum {
    /// Items of the task that make the pool; `None` is all of a data set.
    pub pool: Option<usize>,
    /// Draws that measure an item; a moderate one is right in some of them and wrong in some. Positive.
    pub draws: usize,
    /// Draws after which an item that was never right counts as unsolvable; more than `draws`.
    pub hard_draws: usize,
    /// Total reward from which an answer is right.
    pub right_from: f64,
    /// Weight of a step's answers in an item's rate; in (0, 1].
    pub refresh: f64,
    /// When the hard items take over.
    pub switch: Switch,
}

/// When the second part of a curriculum begins.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Switch {
    /// When the smoothed reward has risen by less than `slope` per step over the last `window` steps.
    Plateau {
        /// Steps looked at; at least 2.
        window: usize,
        /// Rise per step.
        slope: f64,
    },
    /// After so many steps of the stage.
    Step(u64),
    /// Never.
    Never,
}

/// The sampling temperature rises when the reward has settled (GLM-4.5, arXiv 2508.06471, §3.2).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DynamicTemperature {
    /// Temperatures that are tried; ascending, at least one.
    pub grid: Vec<f32>,
    /// Steps over which the smoothed reward must be steady; at least 2.
    pub window: usize,
    /// Standard deviation of the smoothed reward below which it is steady.
    pub tolerance: f64,
    /// Held-out prompts that each temperature answers; positive.
    pub prompts: usize,
    /// Answers per prompt; positive.
    pub samples: usize,
    /// How much worse than the best a temperature may be.
    pub max_drop: f64,
    /// What `max_drop` is a part of.
    pub drop: Drop,
}

/// How a drop of accuracy is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drop {
    /// In points: the best accuracy − `max_drop`.
    #[default]
    Absolute,
    /// As a share: the best accuracy · (1 − `max_drop`).
    Relative,
}

/// Which experts the trainer uses for tokens that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoutingReplay {
    /// Those that its router chooses.
    #[default]
    Off,
    /// Those of the pass over the rollouts before the first update (GSPO, arXiv 2507.18071, §5.3).
    R2,
    /// Those that the sampler used (arXiv 2510.11370).
    R3,
}

/// Rounds, budget and left-overs of dynamic sampling; only where the method has `dynamic_sampling = true`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDynamicSampling {
    /// Prompts asked per group that is still missing, at least 1: above it, fewer rounds and some surplus. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub oversample: Option<f64>,
    /// Rounds of sampling in a step. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rounds: Option<u64>,
    /// Prompts sampled in a step; 0 has no limit but the rounds. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_prompts: Option<u64>,
    /// What happens to a step that is not full when rounds or prompts are used up. Default `learn_what_there_is`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exhausted: Option<OnExhausted>,
    /// What happens to groups that could teach but have no place in the step. Default `next_step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surplus: Option<Surplus>,
}

/// Prompts by difficulty: moderate ones, then hard ones. With it, prompts come from a finite pool.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCurriculum {
    /// How many items of the task make the pool; 0 is all of a data set. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<u64>,
    /// Draws that measure an item: a moderate one is right in some and wrong in some, a hard one wrong in all. Default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub draws: Option<u64>,
    /// Draws after which an item that was never right is given up. Default 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub hard_draws: Option<u64>,
    /// Total reward from which an answer is right. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_from: Option<f64>,
    /// Weight of a step's answers in the rate of an item that was trained on. Default 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub refresh: Option<f64>,
    /// When hard items take over: on a plateau of the reward, after `switch_step` steps, or never. Default `plateau`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<SwitchName>,
    /// Steps of the stage before hard items take over. Only with `switch = "step"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub switch_step: Option<u64>,
    /// Steps over which the smoothed reward is looked at. Only with `switch = "plateau"`. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub plateau_window: Option<u64>,
    /// Rise of the smoothed reward per step below which it is on a plateau. Only with `switch = "plateau"`. Default 1e-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau_slope: Option<f64>,
}

/// Names of [`Switch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SwitchName {
    Plateau,
    Step,
    Never,
}

/// A temperature that rises when the reward has settled, as far as held-out accuracy allows.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDynamicTemperature {
    /// Temperatures that are tried, ascending. Default [0.8, 0.9, 1.0, 1.1, 1.2, 1.3].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub grid: Option<Vec<f64>>,
    /// Steps over which the smoothed reward must be steady. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub window: Option<u64>,
    /// Standard deviation of the smoothed reward below which it is steady. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tolerance: Option<f64>,
    /// Held-out prompts of the stage's task that each temperature answers. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub prompts: Option<u64>,
    /// Answers per held-out prompt. Default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<u64>,
    /// How much worse than the best a temperature may be. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_drop: Option<f64>,
    /// Whether `max_drop` is in points of accuracy or a share of the best. Default `absolute`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<Drop>,
}

impl Checker<'_> {
    /// The table needs the switch of the method, which may be written elsewhere.
    pub(super) fn dynamic_sampling(
        &self,
        raw: Option<RawDynamicSampling>,
        (method, on): (&str, bool),
        prompts: u64,
    ) -> Result<Option<DynamicSampling>> {
        if !on {
            return match raw {
                None => Ok(None),
                Some(_) => Err(Problem::new(Kind::Usage, "R021", format!("`{method}` keeps every group"))
                    .at(self.tree.key_place(&self.path("dynamic_sampling"), "this table has no effect"))
                    .hint(format!(
                        "switch it on: `[stage.{method}]` with `dynamic_sampling = true`; or remove the table"
                    ))),
            };
        }
        let raw = raw.unwrap_or_default();
        let table = self.within("dynamic_sampling");
        let defaults = DynamicSampling::default();
        let most = table.count("max_prompts", raw.max_prompts, 0, 0)?;
        if most > 0 && most < prompts {
            return Err(table
                .wrong_value(
                    "R006",
                    "max_prompts",
                    format!("{most} prompts cannot fill a step of {prompts}"),
                    "too few",
                )
                .hint(format!("`prompts_per_step` is {prompts}: give as many or more, or 0 for no limit")));
        }
        let above = |x: f64| (1.0..=1e3).contains(&x);
        Ok(Some(DynamicSampling {
            oversample: table.number("oversample", raw.oversample, defaults.oversample, above, "1 to 1000")?,
            max_rounds: table.count("max_rounds", raw.max_rounds, defaults.max_rounds as u64, 1)? as usize,
            max_prompts: (most > 0).then_some(most as usize),
            on_exhausted: raw.on_exhausted.unwrap_or_default(),
            surplus: raw.surplus.unwrap_or_default(),
        }))
    }

    pub(super) fn curriculum(&self, raw: Option<RawCurriculum>) -> Result<Option<Curriculum>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("curriculum");
        let draws = table.count("draws", raw.draws, 8, 1)?;
        let pool = table.count("pool", raw.pool, 0, 0)?;
        let share = |x: f64| x > 0.0 && x <= 1.0;
        Ok(Some(Curriculum {
            pool: (pool > 0).then_some(pool as usize),
            draws: draws as usize,
            hard_draws: table.count("hard_draws", raw.hard_draws, draws.max(512).max(draws + 1), draws + 1)? as usize,
            right_from: table.number("right_from", raw.right_from, 0.5, f64::is_finite, "a number")?,
            refresh: table.number("refresh", raw.refresh, 0.3, share, "above 0 and at most 1")?,
            switch: table.switch(&raw)?,
        }))
    }

    fn switch(&self, raw: &RawCurriculum) -> Result<Switch> {
        let name = raw.switch.unwrap_or(SwitchName::Plateau);
        let keys = [
            ("switch_step", SwitchName::Step, raw.switch_step.is_some()),
            ("plateau_window", SwitchName::Plateau, raw.plateau_window.is_some()),
            ("plateau_slope", SwitchName::Plateau, raw.plateau_slope.is_some()),
        ];
        if let Some((key, needs, _)) = keys.iter().find(|(_, needs, given)| *given && *needs != name) {
            let needs = format!("{needs:?}").to_lowercase();
            return Err(self
                .wrong_value(
                    "R006",
                    key,
                    format!("`{key}` has no effect here"),
                    format!("only with `switch = \"{needs}\"`"),
                )
                .hint("remove it, or change `switch`"));
        }
        Ok(match name {
            SwitchName::Never => Switch::Never,
            SwitchName::Step => match raw.switch_step {
                Some(_) => Switch::Step(self.count("switch_step", raw.switch_step, 1, 1)?),
                None => {
                    return Err(self.missing("switch_step").hint("say after how many steps the hard items take over"));
                }
            },
            SwitchName::Plateau => Switch::Plateau {
                window: self.count("plateau_window", raw.plateau_window, 20, 2)? as usize,
                slope: self.number("plateau_slope", raw.plateau_slope, 1e-3, f64::is_finite, "a number")?,
            },
        })
    }

    pub(super) fn dynamic_temperature(&self, raw: Option<RawDynamicTemperature>) -> Result<Option<DynamicTemperature>> {
        /// What GLM-4.5's rule is shown with in the golden values of our tests.
        const GRID: [f64; 6] = [0.8, 0.9, 1.0, 1.1, 1.2, 1.3];
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("dynamic_temperature");
        let grid = raw.grid.unwrap_or(GRID.to_vec());
        let sound = grid.iter().all(|t| *t > 0.0 && *t <= 100.0) && grid.windows(2).all(|pair| pair[0] < pair[1]);
        if grid.is_empty() || !sound {
            let label = "temperatures above 0 and at most 100, ascending";
            return Err(table.wrong_value("R006", "grid", "the grid cannot be tried in order", label));
        }
        let share = |x: f64| (0.0..=1.0).contains(&x);
        Ok(Some(DynamicTemperature {
            grid: grid.iter().map(|t| *t as f32).collect(),
            window: table.count("window", raw.window, 20, 2)? as usize,
            tolerance: table.number("tolerance", raw.tolerance, 0.01, |x| x > 0.0, "above 0")?,
            prompts: table.count("prompts", raw.prompts, 100, 1)? as usize,
            samples: table.count("samples", raw.samples, 4, 1)? as usize,
            max_drop: table.number("max_drop", raw.max_drop, 0.01, share, "between 0 and 1")?,
            drop: raw.drop.unwrap_or_default(),
        }))
    }
}

impl DynamicSampling {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("oversample", json!(self.oversample)),
            ("max_rounds", json!(self.max_rounds)),
            ("max_prompts", json!(self.max_prompts.unwrap_or(0))),
            ("on_exhausted", json!(self.on_exhausted)),
            ("surplus", json!(self.surplus)),
        ]
    }
}

impl Curriculum {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("pool", json!(self.pool.unwrap_or(0))),
            ("draws", json!(self.draws)),
            ("hard_draws", json!(self.hard_draws)),
            ("right_from", json!(self.right_from)),
            ("refresh", json!(self.refresh)),
        ];
        match self.switch {
            Switch::Never => entries.push(("switch", json!(SwitchName::Never))),
            Switch::Step(step) => {
                entries.extend([("switch", json!(SwitchName::Step)), ("switch_step", json!(step))]);
            }
            Switch::Plateau { window, slope } => entries.extend([
                ("switch", json!(SwitchName::Plateau)),
                ("plateau_window", json!(window)),
                ("plateau_slope", json!(slope)),
            ]),
        }
        entries
    }
}

impl DynamicTemperature {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("grid", Value::Array(self.grid.iter().map(|t| float32(*t)).collect())),
            ("window", json!(self.window)),
            ("tolerance", json!(self.tolerance)),
            ("prompts", json!(self.prompts)),
            ("samples", json!(self.samples)),
            ("max_drop", json!(self.max_drop)),
            ("drop", json!(self.drop)),
        ]
    }
}
