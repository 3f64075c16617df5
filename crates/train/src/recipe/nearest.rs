//! Did you mean?

/// The known name that a person most likely meant, if any is close.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Jaro–Winkler similarity above which two names are taken for a misspelling of one another: `lerning_rate` and
    /// `learning_rate` are at 0.98, `group_size` and `grpo_size` at 0.96, unrelated keys of a recipe below 0.75.
    const CLOSE: f64 = 0.8;
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= CLOSE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_found_and_strangers_are_not() {
        let keys = ["steps", "learning_rate", "samples_per_prompt", "prompts_per_step", "task"];
        assert_eq!(nearest("lerning_rate", keys), Some("learning_rate"));
        assert_eq!(nearest("samples_per_prompts", keys), Some("samples_per_prompt"));
        assert_eq!(nearest("Step", keys), Some("steps"));
        assert_eq!(nearest("zebra", keys), None);
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
