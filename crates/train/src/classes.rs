//! Held-out accuracy by how hard a prompt was for the model that the run began with.
//!
//! ```text
//! share of right answers before the first step:  0 hardest · below 3/8 hard · below 3/4 medium · else easy
//! ```
//! Over eight answers these are ReLIFT's classes (arXiv 2506.07527): 0, 1 to 2, 3 to 5, 6 to 8 right. They are fixed for the whole run,
//! so that a class is the same prompts at every evaluation. A class is chosen by draws: answered by the same weights with other
//! draws, the hardest would not be exactly 0, so runs are compared with each other and not with 0.

use std::collections::HashMap;

use lapidary_eval::{Evaluation, PromptRecord};

use crate::metrics::Row;

/// Answers per prompt below which a class would be chance.
const LEAST_ANSWERS: usize = 8;
const NAMES: [&str; 4] = ["hardest", "hard", "medium", "easy"];

/// The class of a share of right answers.
fn class_of(share: f64) -> usize {
    match share {
        0.0 => 0,
        share if share < 0.375 => 1,
        share if share < 0.75 => 2,
        _ => 3,
    }
}

/// Share of right answers, where enough of them got a verdict.
fn share(prompt: &PromptRecord, of: &Evaluation) -> Option<f64> {
    let judged = prompt.attempts.iter().filter(|attempt| attempt.verdict.value().is_some()).count();
    prompt.success_rate(of.settings.right_from).filter(|_| judged >= LEAST_ANSWERS)
}

/// Adds `eval/class/<name>/accuracy` and `…/prompts` of `now` by the classes of `first`, where that has answers enough.
pub(crate) fn add(row: Row, first: &Evaluation, now: &Evaluation) -> Row {
    let classes: HashMap<&str, usize> =
        first.prompts.iter().filter_map(|prompt| Some((prompt.id.as_str(), class_of(share(prompt, first)?)))).collect();
    let mut sums = [(0.0, 0usize); NAMES.len()];
    for prompt in &now.prompts {
        if let (Some(&class), Some(share)) = (classes.get(prompt.id.as_str()), share(prompt, now)) {
            sums[class] = (sums[class].0 + share, sums[class].1 + 1);
        }
    }
    NAMES.iter().zip(sums).filter(|(_, (_, prompts))| *prompts > 0).fold(row, |row, (name, (sum, prompts))| {
        row.with(format!("eval/class/{name}/accuracy"), sum / prompts as f64)
            .with(format!("eval/class/{name}/prompts"), prompts as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::Verdict;
    use lapidary_eval::{AttemptRecord, Settings};

    /// Prompts by how many of their answers are right; `None` got no verdict.
    fn evaluation(prompts: &[(&str, usize, usize, usize)]) -> Evaluation {
        let attempt = |verdict: Verdict| AttemptRecord {
            completion: String::new(),
            tokens: 1,
            truncated: false,
            verdict,
            confidence: None,
            found: None,
        };
        let records = prompts.iter().map(|&(id, right, wrong, none)| {
            let verdicts =
                [(right, Verdict::score(1.0, "")), (wrong, Verdict::score(0.0, "")), (none, Verdict::none("x"))];
            let attempts = verdicts.into_iter().flat_map(|(count, verdict)| vec![attempt(verdict); count]).collect();
            PromptRecord { id: id.into(), prompt: String::new(), answer: None, attempts }
        });
        Evaluation::new("t", "r", Settings::default(), 0, records.collect())
    }

    #[test]
    fn over_eight_answers_the_classes_are_the_papers() {
        let classes: Vec<usize> = (0..=8).map(|right| class_of(right as f64 / 8.0)).collect();
        assert_eq!(classes, [0, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn classes_are_those_of_the_first_evaluation_for_good() {
        let first = evaluation(&[("a", 0, 8, 0), ("b", 0, 8, 0), ("c", 8, 0, 0), ("d", 0, 7, 1), ("e", 4, 4, 0)]);
        let now = evaluation(&[("a", 4, 4, 0), ("b", 0, 8, 0), ("c", 6, 2, 0), ("d", 8, 0, 0), ("f", 8, 0, 0)]);
        let row = add(Row::new(9, 1, "x"), &first, &now);
        let get = |class: &str, what: &str| row.get(&format!("eval/class/{class}/{what}"));
        assert_eq!((get("hardest", "accuracy"), get("hardest", "prompts")), (Some(0.25), Some(2.0)));
        assert_eq!((get("easy", "accuracy"), get("easy", "prompts")), (Some(0.75), Some(1.0)));
        assert_eq!(get("medium", "accuracy"), None, "nobody asked it again");
        assert_eq!(get("hard", "accuracy"), None);
        assert!(
            add(Row::new(9, 1, "x"), &evaluation(&[("a", 0, 1, 0)]), &now).values.is_empty(),
            "one answer is no class"
        );
    }
}
