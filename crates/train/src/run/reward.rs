//! A reward model is made of the policy: the policy waits meanwhile, and the next stage goes on with it.
//!
//! ```text
//! begin: policy ─▶ references/policy-N     train head and trunk     end: ─▶ reward-models/stage-N     next: policy ◀─ references/policy-N
//! ```
//! Checkpoints of the stage hold the reward model with both heads, so a run that is killed in it goes on with it.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::json;

use super::Run;
use crate::checkpoint::{commit_directory, verify};
use crate::disk::{require_space, write_whole};
use crate::recipe::Stage;
use crate::reward_models::ABOUT;
use crate::state::RunState;

impl Run<'_, '_, '_> {
    /// Whether stage `stage` (from 0) trains a reward model.
    pub(super) fn is_reward_model(&self, stage: usize) -> bool {
        matches!(self.recipe.stages.get(stage), Some(Stage::RewardModel(_)))
    }

    /// At the beginning of a stage that makes a reward model of the policy: the policy is kept, where a later stage wants it.
    pub(super) fn set_policy_aside(&mut self) -> Result<()> {
        let stage = self.state.stage;
        if !self.is_reward_model(stage) || stage + 1 == self.recipe.stages.len() {
            return Ok(());
        }
        let path = self.directory.policy(stage);
        make_parent(&path)?;
        require_space(
            path.parent().unwrap_or(&path),
            4 * self.plan.trained_parameters,
            "the policy that waits for its reward model",
        )?;
        let engine = &self.model.engine;
        let manifest = commit_directory(&path, self.state.step, |directory| {
            engine.save_model(directory)?;
            let inner = directory.join("state");
            std::fs::create_dir(&inner).map_err(|error| Problem::io("make", &inner, &error))?;
            engine.save_optimizer(&inner)
        })?;
        self.state.comparison.policy = Some(manifest.blake3);
        Ok(())
    }

    /// At the beginning of the stage after that: back to the policy.
    pub(super) fn take_policy_back(&mut self) -> Result<()> {
        let Some(expected) = self.state.comparison.policy.take() else { return Ok(()) };
        let path = self.directory.policy(self.state.stage - 1);
        let found = verify(&path).and_then(|manifest| {
            if manifest.blake3 == expected { Ok(()) } else { Err("it is that of another run".to_string()) }
        });
        found.map_err(|reason| {
            let message = format!("the policy `{}` that waited cannot be used: {reason}", path.display());
            Problem::new(Kind::Model, "S016", message).hint("restore the folder, or start over with `--fresh`")
        })?;
        self.model.engine.restore(&path, &path.join("state"))
    }

    /// At the end of a stage that made a reward model: it is written where rewards look for it.
    pub(super) fn keep_reward_model(&mut self) -> Result<()> {
        if !self.is_reward_model(self.state.stage) {
            return Ok(());
        }
        let path = self.directory.reward_model(self.state.stage);
        make_parent(&path)?;
        require_space(path.parent().unwrap_or(&path), 4 * self.plan.trained_parameters, "the reward model")?;
        let (model, state) = (&self.model, &self.state);
        commit_directory(&path, self.state.step, |directory| {
            model.engine.save_reward_model(directory)?;
            model.tokenizer.save(directory)?;
            describe(state, directory)
        })?;
        self.journal.event("reward_model", json!({ "step": self.state.step, "path": path }))
    }
}

/// Writes what the rewards of held-out answers look like, where a stage has looked at them.
pub(super) fn describe(state: &RunState, directory: &Path) -> Result<()> {
    let Some(rewards) = &state.comparison.rewards else { return Ok(()) };
    let path = directory.join(ABOUT);
    let text = serde_json::to_vec_pretty(rewards).map_err(|error| {
        Problem::new(Kind::Failed, "S001", format!("could not write `{}`: {error}", path.display()))
    })?;
    write_whole(&path, &text)
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| Problem::io("make", parent, &error))
}
