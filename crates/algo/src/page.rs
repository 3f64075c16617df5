//! Page: a method's documentation, made from its registry line so that it cannot disagree with the code.

use std::fmt::Write;

use lapidary_core::{Ragged, Want};

use crate::estimators::{Experience, TokenAdvantages};
use crate::kl::Kl;
use crate::loss::LossBatch;
use crate::methods::{Method, MethodKind, methods};
use crate::metrics::{LossMetrics, Metric, RowSums, metrics};

const NOTICE: &str = "<!-- Made from the registry in `crates/algo`; its tests say how to renew it. -->";

/// The metrics of a run in which everything that can be seen is seen.
pub(crate) fn metrics_of(method: &Method) -> Vec<&'static Metric> {
    let objective = (method.defaults)();
    let mask: Ragged<bool> = [16, 17, 65, 257].into_iter().map(|length| vec![true; length]).collect();
    let numbers = mask.like(0.0_f32);
    let supervised = method.kind == MethodKind::Supervised;
    let advantages = TokenAdvantages::PerRow(vec![0.0; mask.rows()]);
    let batch = LossBatch {
        logp_rollout: (!supervised).then_some(&numbers),
        logp_reference: Some(&numbers),
        ..LossBatch::new(&mask, &advantages, Want::ENTROPY)
    };
    let mut seen = LossMetrics::for_batch(&objective, &batch);
    for length in mask.lengths() {
        seen.push(RowSums { tokens: length as f64, ratios: 1.0, ..RowSums::default() });
    }
    let mut names: Vec<&str> = seen.finish().into_iter().map(|(name, _)| name).collect();
    if !supervised {
        let (rewards, groups) = ([Some(0.0); 4], [0, 0, 1, 1]);
        let experience = Experience {
            mask: Some(&mask),
            logp: Some(&numbers),
            logp_reference: Some(&numbers),
            entropy: Some(&numbers),
            value: Some(&numbers),
            ..Experience::of_rewards(&rewards, &groups)
        };
        let kl = Kl { coefficient: 1.0, ..objective.kl };
        if let Ok(advantages) = objective.advantage.of(&experience, &kl) {
            names.extend(advantages.metrics().into_iter().map(|(name, _)| name));
        }
    }
    metrics().iter().filter(|metric| names.contains(&metric.name)).collect()
}

pub(crate) fn page_of(method: &Method) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "# {}\n\n{NOTICE}\n\n`method = \"{}\"` · {}\n\n{}\n\n```text\n{}\n```\n\n{}\n\n\
         ## When to use it\n\n{}\n\n## How it differs\n\n{}\n\n",
        method.title,
        method.name,
        method.paper,
        method.summary,
        method.equation,
        needs(method.kind),
        method.when,
        method.differs,
    );
    settings(&mut page, method);
    stage_values(&mut page, method);
    metrics_table(&mut page, method);
    page
}

/// The table of all methods by their coordinates: `docs/methods/README.md`.
pub fn methods_page() -> String {
    let mut page = format!(
        "# Methods\n\n{NOTICE}\n\n\
         A method is four choices and a few numbers: `advantage × ratio × surrogate × aggregate`.\n\
         Each can be changed in a recipe.\n\n\
         | method | advantage | ratio | surrogate | aggregate | when to use it |\n|---|---|---|---|---|---|\n",
    );
    for method in methods() {
        let entries = (method.defaults)().settings().entries();
        let cell =
            |key: &str| entries.iter().find(|entry| entry.0 == key).map_or("–", |entry| entry.1.trim_matches('"'));
        let _ = writeln!(
            page,
            "| [`{name}`]({name}.md) | {} | {} | {} | {} | {} |",
            cell("advantage"),
            cell("ratio"),
            cell("surrogate"),
            cell("aggregate"),
            method.when,
            name = method.name,
        );
    }
    page
}

fn needs(kind: MethodKind) -> String {
    match kind {
        MethodKind::Supervised => "Learns from demonstrations (`kind = \"sft\"`).".into(),
        MethodKind::Single => "Learns from rewards; any `samples_per_prompt` (`kind = \"rl\"`).".into(),
        MethodKind::Group { min_samples } => {
            format!("Learns from rewards; needs `samples_per_prompt` of at least {min_samples} (`kind = \"rl\"`).")
        }
    }
}

fn settings(page: &mut String, method: &Method) {
    let _ = write!(
        page,
        "## Defaults\n\nEach can be changed in `[stage.{}]`.\n\n| key | default | source |\n|---|---|---|\n",
        method.name
    );
    for (key, value) in (method.defaults)().settings().entries() {
        let source = method.source(key).unwrap_or_default();
        let _ = writeln!(page, "| `{key}` | `{value}` | {source} |");
    }
}

fn stage_values(page: &mut String, method: &Method) {
    let _ = write!(
        page,
        "\nValues of the stage that go with it. Learning rates are those of models with billions of weights; small \
         models want larger ones.\n\n| key | value | source |\n|---|---|---|\n"
    );
    for suggestion in method.suggestions {
        let _ = writeln!(page, "| `{}` | `{}` | {} |", suggestion.key, shown(suggestion.value), suggestion.source);
    }
}

/// As a person would write it: `0.0003` but `1e-6`.
pub(crate) fn shown(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 { format!("{value:e}") } else { value.to_string() }
}

fn metrics_table(page: &mut String, method: &Method) {
    let sampling = match method.kind {
        MethodKind::Supervised => "",
        _ => ", `sampling/…` where the sampler's log-probabilities are kept",
    };
    let _ = write!(
        page,
        "\n## Metrics\n\n`kl` appears with a reference{sampling}.\n\n\
         | metric | what it is | good | bad |\n|---|---|---|---|\n",
    );
    for metric in method.metrics() {
        let cells = [metric.what, metric.good, metric.bad].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| `{}` | {} |", metric.name, cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use crate::{methods, methods_page};

    /// Run with `LAPIDARY_RENEW=1` to write the pages anew.
    #[test]
    fn the_pages_in_the_docs_are_those_of_the_registry() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/methods");
        let pages = methods().iter().map(|method| (format!("{}.md", method.name), method.page()));
        for (name, page) in pages.chain([("README.md".to_string(), methods_page())]) {
            let path = folder.join(name);
            if std::env::var_os("LAPIDARY_RENEW").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &page).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
            assert_eq!(written, page, "{} is stale: LAPIDARY_RENEW=1 cargo test", path.display());
        }
    }

    #[test]
    fn the_book_lists_every_page() {
        let summary = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SUMMARY.md");
        let summary = std::fs::read_to_string(summary).unwrap();
        for method in methods() {
            assert!(summary.contains(&format!("(methods/{}.md)", method.name)), "{}", method.name);
        }
    }

    #[test]
    fn every_setting_has_a_source_and_every_source_a_setting() {
        for method in methods() {
            let settings: Vec<&str> = (method.defaults)().settings().entries().iter().map(|entry| entry.0).collect();
            for key in &settings {
                assert!(method.source(key).is_some_and(|source| !source.is_empty()), "{}: {key}", method.name);
            }
            for source in method.sources {
                assert!(settings.contains(&source.key), "{}: {}", method.name, source.key);
            }
        }
    }
}
