//! `[stage.hint]` as it is written, and what it must fit.

use lapidary_core::{Kind, Problem, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Checker;
use super::raw::RawStage;
use super::{
    AlphaSchedule, Article, DynamicSampling, Hint, HintLength, HintObjective, HintScope, HintUnit, HintVariant,
    Regulariser, SftTarget, Surplus, Training,
};

/// Names of [`HintObjective`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ObjectiveName {
    #[default]
    Paper,
    CodeParity,
    Article,
}

/// Prompts that begin with a part of their demonstrations: UFT and what it is compared with.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHint {
    /// The method whose defaults the other keys have: `uft`, `r3` (uniform lengths, hints not learned), `stage` (shorter stage by
    /// stage), `rft` (no hints), `rft_cosine` (UFT's hints, not learned), `sft` (whole demonstrations, no policy gradient). Default `uft`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<HintVariant>,
    /// How the number of chunks is drawn. Default: the variant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<HintLength>,
    /// Probability of a chunk at the end of the hint phase. Default 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub low: Option<f64>,
    /// Probability of a chunk at the beginning of the hint phase. Default 0.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub high: Option<f64>,
    /// Steps of the stage with hints; none are given after. Default: three fifths of the stage (`r3`: the whole stage).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Most chunks that a demonstration is cut into. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub chunks: Option<u64>,
    /// What chunks are made of: `sentences`, `lines` or `tokens`. Default `sentences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<HintUnit>,
    /// Whether the samples of a prompt share a hint (`group`) or each draws its own (`per_rollout`). Default `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<HintScope>,
    /// How many samples of a prompt are given a hint; 0 is all. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hinted_samples: Option<u64>,
    /// How hints are learned: `paper` (KL and hint summed per answer, one β), `code_parity` (a mean over hint tokens) or `article`
    /// (α·SFT + (1 − α)·RL + β·reg). Default `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveName>,
    /// β of the paper, c_sft of its code, β of the article. Default 0.001.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub coefficient: Option<f64>,
    /// (code_parity) Prompts of a micro-batch whose means are averaged; 0 is a mean over the whole step. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_mean: Option<u64>,
    /// (article) α at the beginning. Default 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: Option<f64>,
    /// (article) α at the end of the stage, or where every answer is right. Default 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha_end: Option<f64>,
    /// (article) How α moves. Default `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_schedule: Option<AlphaSchedule>,
    /// (article) α of equal parts of the stage. Only with `alpha_schedule = "steps"`. Default [0.8, 0.6, 0.4, 0.2].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub alpha_levels: Option<Vec<f64>>,
    /// (article) What the SFT loss is of: the `hint`, the `full_solution` of the step's prompts, or a `separate_demo_batch`. Default
    /// `full_solution`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sft_target: Option<SftTarget>,
    /// (article) Demonstrations per step. Only with `sft_target = "separate_demo_batch"`. Default `prompts_per_step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub demonstrations: Option<u64>,
    /// (article) What keeps the policy in place. Default `kl_k3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regulariser: Option<Regulariser>,
}

/// What `[stage.hint]` must fit.
pub(super) struct HintPlace<'a> {
    pub training: &'a Training,
    pub samples: usize,
    pub kl_coefficient: f64,
    pub dynamic_sampling: Option<&'a DynamicSampling>,
}

impl Checker<'_> {
    pub(super) fn hint(&self, raw: Option<RawHint>, place: &HintPlace<'_>) -> Result<Option<Hint>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("hint");
        let variant = raw.variant.unwrap_or_default();
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let hinted = table.count("hinted_samples", raw.hinted_samples, 0, 0)? as usize;
        if hinted > place.samples {
            let label = format!("at most `samples_per_prompt` ({})", place.samples);
            let message = format!("{hinted} samples cannot be hinted");
            return Err(table.wrong_value("R006", "hinted_samples", message, label));
        }
        let hint = Hint {
            variant,
            length: raw.length.unwrap_or(variant.length()),
            low: table.number("low", raw.low, 0.05, share, "between 0 and 1")?,
            high: table.number("high", raw.high, 0.95, share, "between 0 and 1")?,
            steps: table.hint_steps(&raw, variant, place.training)?,
            chunks: table.count("chunks", raw.chunks, 5, 1)? as usize,
            unit: raw.unit.unwrap_or_default(),
            scope: raw.scope.unwrap_or_default(),
            hinted_samples: if hinted == 0 { place.samples } else { hinted },
            objective: table.hint_objective(&raw, variant, place)?,
        };
        let held = place.dynamic_sampling.is_some_and(|rule| rule.surplus == Surplus::NextStep);
        if held && hint.learns_solutions() {
            let message = "groups that are held over have left their demonstrations behind";
            return Err(Problem::new(Kind::Usage, "R032", message)
                .at(self.tree.key_place(&self.path("hint"), "learns the demonstrations of the step's prompts"))
                .hint("set `surplus = \"drop\"` in `[stage.dynamic_sampling]`, or another `sft_target`"));
        }
        Ok(Some(hint))
    }

    /// A second layer's answers begin with answers, not with demonstrations.
    pub(super) fn one_way(&self, raw: &RawStage) -> Result<()> {
        if raw.hint.is_none() || raw.second_layer.is_none() {
            return Ok(());
        }
        let message = "a stage has hints or a second layer, not both";
        Err(Problem::new(Kind::Usage, "R034", message)
            .at(self.tree.key_place(&self.path("hint"), "beside `[stage.second_layer]`"))
            .hint("make two stages of them"))
    }

    fn hint_steps(&self, raw: &RawHint, variant: HintVariant, training: &Training) -> Result<u64> {
        let all = training.steps;
        if raw.steps.is_none() && training.epochs.is_some() {
            return Err(self.missing("steps").hint("the stage is as long as its data: say how many steps have hints"));
        }
        let default = if variant == HintVariant::R3 { all } else { (all * 3 / 5).max(1) };
        self.count("steps", raw.steps, default, 1)
    }

    fn hint_objective(&self, raw: &RawHint, variant: HintVariant, place: &HintPlace<'_>) -> Result<HintObjective> {
        let name = raw.objective.unwrap_or_default();
        self.refuse_idle(raw, name)?;
        let from_zero = |x: f64| (0.0..=1e3).contains(&x);
        let coefficient = self.number("coefficient", raw.coefficient, 1e-3, from_zero, "0 to 1000")?;
        if name == ObjectiveName::Paper && place.kl_coefficient != 0.0 {
            let message = "the paper has one β, which is `coefficient`";
            return Err(self
                .wrong_value("R033", "coefficient", message, "scales the KL and the hint's likelihood alike")
                .why(format!("the method's `kl_coefficient` is {}", place.kl_coefficient))
                .hint("remove `kl_coefficient`, or set `objective = \"code_parity\"`, which has both"));
        }
        if variant == HintVariant::Sft && name == ObjectiveName::Article {
            return Err(self
                .wrong_value(
                    "R033",
                    "variant",
                    "`sft` has no policy gradient, which the article's form blends in",
                    "not with `article`",
                )
                .hint("set `alpha = 1` and `alpha_schedule = \"constant\"`, or another `objective`"));
        }
        Ok(match name {
            ObjectiveName::Paper => HintObjective::Paper { coefficient },
            ObjectiveName::CodeParity => HintObjective::CodeParity {
                coefficient,
                micro_mean: self.count("micro_mean", raw.micro_mean, 0, 0)? as usize,
            },
            ObjectiveName::Article => HintObjective::Article(self.article(raw, coefficient, place.training)?),
        })
    }

    fn article(&self, raw: &RawHint, coefficient: f64, training: &Training) -> Result<Article> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let levels = raw.alpha_levels.clone().unwrap_or(vec![0.8, 0.6, 0.4, 0.2]);
        if levels.is_empty() || !levels.iter().all(|level| share(*level)) {
            let label = "one or more numbers between 0 and 1";
            return Err(self.wrong_value("R006", "alpha_levels", "these are no levels of α", label));
        }
        let prompts = training.prompts_per_step as u64;
        Ok(Article {
            alpha: self.number("alpha", raw.alpha, 0.8, share, "between 0 and 1")?,
            alpha_end: self.number("alpha_end", raw.alpha_end, 0.2, share, "between 0 and 1")?,
            schedule: raw.alpha_schedule.unwrap_or_default(),
            levels,
            target: raw.sft_target.unwrap_or_default(),
            demonstrations: self.count("demonstrations", raw.demonstrations, prompts, 1)? as usize,
            regulariser: raw.regulariser.unwrap_or_default(),
            coefficient,
        })
    }

    /// Keys that would have no effect are refused.
    fn refuse_idle(&self, raw: &RawHint, name: ObjectiveName) -> Result<()> {
        let article = name == ObjectiveName::Article;
        let steps = raw.alpha_schedule.unwrap_or_default() == AlphaSchedule::Steps;
        let separate = raw.sft_target == Some(SftTarget::SeparateDemoBatch);
        let keys = [
            ("micro_mean", raw.micro_mean.is_some(), name == ObjectiveName::CodeParity, "objective = \"code_parity\""),
            ("alpha", raw.alpha.is_some(), article, "objective = \"article\""),
            ("alpha_end", raw.alpha_end.is_some(), article, "objective = \"article\""),
            ("alpha_schedule", raw.alpha_schedule.is_some(), article, "objective = \"article\""),
            ("alpha_levels", raw.alpha_levels.is_some(), article && steps, "alpha_schedule = \"steps\" of the article"),
            ("sft_target", raw.sft_target.is_some(), article, "objective = \"article\""),
            ("regulariser", raw.regulariser.is_some(), article, "objective = \"article\""),
            (
                "demonstrations",
                raw.demonstrations.is_some(),
                article && separate,
                "sft_target = \"separate_demo_batch\" of the article",
            ),
        ];
        match keys.iter().find(|(_, given, fits, _)| *given && !fits) {
            None => Ok(()),
            Some((key, _, _, needs)) => Err(self
                .wrong_value("R006", key, format!("`{key}` has no effect here"), format!("only with `{needs}`"))
                .hint("remove it")),
        }
    }
}
