//! The table of rules as a page of the book.

use super::rules::{Applies, Rule, Severity, rules};

/// The page, in Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# The rules of `diagnose`\n\n\
         Made from the table in `crates/train/src/diagnose/rules/`. *Begin* and *end* are medians of the first and the last tenth of \
         the steps\n(3 to 20 of them, at least 8 steps). Where a source says \"ours\", the number is a choice of this project and \
         no measured constant.\n",
    );
    for severity in [Severity::Collapse, Severity::Problem, Severity::Note] {
        let heading = match severity {
            Severity::Collapse => "Collapse: what was learned is being lost",
            Severity::Problem => "Problems: learning is slowed down or bent",
            Severity::Note => "Notes: worth knowing",
        };
        out.push_str(&format!("\n## {heading}\n"));
        rules().filter(|rule| rule.severity == severity).for_each(|rule| out.push_str(&entry(rule)));
    }
    out
}

fn entry(rule: &Rule) -> String {
    let only = match rule.applies {
        Applies::Always => "",
        Applies::TokenRatio => " Only for methods with a ratio of tokens.",
        Applies::SequenceRatio => " Only for methods with a ratio of answers.",
        Applies::Groups => " Only for methods that compare the answers to a prompt.",
        Applies::Ours => " Only for runs of Lapidary.",
        Applies::Others => " Only for runs of other trainers.",
    };
    let mut metrics: Vec<String> = rule.signs.metrics().iter().map(|name| format!("`{name}`")).collect();
    metrics.sort();
    metrics.dedup();
    let looks = if metrics.is_empty() { String::new() } else { format!("* **Looks at**: {}\n", metrics.join(", ")) };
    format!(
        "\n### {} (`{}`)\n\n* **Holds when** {}.{only}\n{looks}* **Thresholds from**: {}\n* **Cause**: {}\n* **Do**: {}\n",
        rule.title, rule.name, rule.words, rule.source, rule.cause, rule.advice
    )
}
