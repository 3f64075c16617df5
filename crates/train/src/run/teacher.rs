//! The teacher of a distill stage: a saved model that answers in place of the one at hand.

use lapidary_core::{Kind, Problem, Result};
use lapidary_text::Tokenizer;

use super::Run;
use crate::recipe::Stage;

impl Run<'_, '_, '_> {
    /// Opens the teacher of the stage at hand, where it names one; its ids must mean what those of the model mean.
    pub(super) fn open_teacher(&mut self) -> Result<()> {
        let Some(Stage::Distill(distill)) = self.recipe.stages.get(self.state.stage) else { return Ok(()) };
        let Some(path) = &distill.teacher else { return Ok(()) };
        if !path.is_dir() {
            let message = format!("there is no teacher `{}`", path.display());
            return Err(Problem::new(Kind::Model, "M001", message)
                .hint("name the directory of a saved model: a checkpoint of a run, say"));
        }
        let named = |problem: Problem| problem.context(format!("the teacher `{}`", path.display()));
        let teacher = (self.model.reopen)(path).map_err(named)?;
        let (own, other) = (self.model.engine.model().vocabulary, teacher.model().vocabulary);
        if own != other {
            return Err(stranger(path, format!("it has {other} ids, the model has {own}")));
        }
        if path.join("tokenizer.json").exists() {
            let theirs = Tokenizer::from_directory(path).map_err(named)?;
            let tokenizer = &self.model.tokenizer;
            let ids = 0..tokenizer.vocabulary().max(theirs.vocabulary()) as u32;
            if let Some(id) = ids.into_iter().find(|&id| tokenizer.token_text(id) != theirs.token_text(id)) {
                let (own, other) = (tokenizer.token_text(id), theirs.token_text(id));
                return Err(stranger(path, format!("id {id} is {own:?} to the model and {other:?} to the teacher")));
            }
        }
        self.works[self.state.stage].set_teacher(teacher);
        Ok(())
    }
}

fn stranger(path: &std::path::Path, why: String) -> Problem {
    Problem::new(Kind::Model, "M015", format!("the teacher `{}` speaks another tokenizer", path.display()))
        .why(why)
        .hint("answers are learned as the ids that were sampled: use a teacher of the model's own family")
}
