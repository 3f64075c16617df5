//! Rewards that are reward models: by their directory, or by the stage of this run that makes them.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value};

use super::check::Checker;
use super::comparisons::REWARD_MODEL;
use super::names::stage_of;
use super::sources::MODEL;
use super::{Recipe, RewardChoice, Stage};
use crate::run_dir::reward_model_at;

fn model_of(options: &Map<String, Value>) -> Option<&str> {
    options.get(MODEL).and_then(Value::as_str)
}

impl Checker<'_> {
    /// A stage that is named must be one that has made a reward model before.
    pub(super) fn reward_model(&self, options: &Map<String, Value>, key: &str) -> Result<()> {
        let Some(stage) = model_of(options).and_then(stage_of) else { return Ok(()) };
        let own = self.table.strip_prefix("stage.").and_then(|own| own.split('.').next()?.parse::<usize>().ok());
        let before = own.is_none_or(|own| stage + 1 < own);
        if before && self.kind_of(stage) == Some(REWARD_MODEL) {
            return Ok(());
        }
        let message = format!("stage {} has made no reward model by then", stage + 1);
        Err(Problem::new(Kind::Usage, "R051", message)
            .at(self.tree.value_place(&self.path(&format!("{key}.{MODEL}")), "this stage"))
            .hint("name an earlier stage of kind `reward-model`, or the directory of a reward model"))
    }
}

impl Recipe {
    /// The recipe as the run at `run` works with it: rewards that are made by one of its own stages are named by their place.
    pub fn with_reward_models(&self, run: &Path) -> Recipe {
        let mut recipe = self.clone();
        let place = |choice: &mut RewardChoice| {
            if choice.name == MODEL
                && let Some(stage) = model_of(&choice.options).and_then(stage_of)
            {
                let path = reward_model_at(run, stage).to_string_lossy().into_owned();
                choice.options.insert(MODEL.into(), path.into());
            }
        };
        for stage in &mut recipe.stages {
            if let Stage::RewardModel(rule) | Stage::Preference(rule) = stage
                && let Some(auxiliary) = &mut rule.auxiliary
                && let Some(stage) = stage_of(&auxiliary.model)
            {
                auxiliary.model = reward_model_at(run, stage).to_string_lossy().into_owned();
            }
            let rewards: &mut [RewardChoice] = match stage {
                Stage::Rl(rl) => &mut rl.rewards,
                Stage::Distill(distill) => &mut distill.rewards,
                _ => &mut [],
            };
            rewards.iter_mut().for_each(place);
        }
        place(&mut recipe.eval.reward);
        recipe
    }
}
