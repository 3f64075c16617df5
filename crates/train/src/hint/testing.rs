//! Rules for tests.

use crate::recipe::{Hint, Recipe, Stage};

/// The rule of `[stage.hint]` with these settings.
pub(super) fn rule(settings: &str) -> Hint {
    let text = format!(
        "model = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"grpo\"\ntask = \"chain-sum\"\nsteps = 9\nsamples_per_prompt = 4\n\
         [stage.hint]\n{settings}"
    );
    let recipe = Recipe::load_text("x.toml".as_ref(), &text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    match &recipe.stages[0] {
        Stage::Rl(rl) => rl.hint.clone().unwrap(),
        _ => unreachable!("the stage is rl"),
    }
}
