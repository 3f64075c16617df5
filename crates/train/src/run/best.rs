//! The weights of the lowest held-out loss: kept as they are found, taken back when their stage ends.
//!
//! A best is committed before the checkpoint whose state names it, and stays as long as a checkpoint that may be resumed from
//! names it: so a run that is killed anywhere ends with the same weights.

use lapidary_core::{Kind, Problem, Result};
use serde_json::json;

use super::Run;
use crate::checkpoint::verify;
use crate::recipe::Stage;

impl Run<'_, '_, '_> {
    /// Keeps the weights at hand, with their optimiser.
    pub(super) fn keep_best(&mut self) -> Result<()> {
        let engine = &self.model.engine;
        let bytes = self.plan.checkpoint_bytes;
        let manifest = self.directory.best().commit(self.state.step, bytes, |directory| {
            engine.save_model(directory)?;
            let inner = directory.join("state");
            std::fs::create_dir(&inner).map_err(|error| Problem::io("make", &inner, &error))?;
            engine.save_optimizer(&inner)
        })?;
        self.state.early_stop.weights = Some(manifest.blake3);
        self.journal.event("best", json!({ "step": self.state.step, "eval/loss": self.state.early_stop.best }))
    }

    /// At the end of a stage: back to the weights of its best look, where they were kept and later ones are worse.
    pub(super) fn take_best(&mut self) -> Result<()> {
        let kept = std::mem::take(&mut self.state.early_stop);
        let Some(expected) = kept.weights.filter(|_| kept.best_step < self.state.step) else { return Ok(()) };
        let path = self.directory.best().path_of(kept.best_step);
        let found = verify(&path).and_then(|manifest| {
            if manifest.blake3 == expected { Ok(()) } else { Err("they are those of another run".to_string()) }
        });
        found.map_err(|reason| {
            let message = format!("the best weights of the stage, `{}`, cannot be used: {reason}", path.display());
            Problem::new(Kind::Model, "S014", message).hint("restore the folder, or start over with `--fresh`")
        })?;
        self.model.engine.restore(&path, &path.join("state"))?;
        self.journal.event("took_best", json!({ "step": kept.best_step, "eval/loss": kept.best }))
    }

    /// Removes bests that no checkpoint can ask for any more.
    pub(super) fn prune_best(&self) -> Result<()> {
        let keeps = |stage: &Stage| stage.early_stop().is_some();
        if !self.recipe.stages.iter().any(keeps) {
            return Ok(());
        }
        let oldest = self.directory.checkpoints().steps()?.last().copied().unwrap_or(0);
        self.directory.best().prune_before(oldest)
    }
}
