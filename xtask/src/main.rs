//! Checks of the house: `cargo run -p xtask -- arrows`, `cargo run -p xtask -- gain RUN`, `cargo run -p xtask -- speed`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod speed;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Which crates a crate may use (DESIGN §3). An arrow that is not here is a decision, not an accident.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("algo", &["core"]),
    ("engine", &["core"]),
    ("text", &["core"]),
    ("statistics", &["core"]),
    ("feedback", &["core", "statistics"]),
    ("sandbox", &["core"]),
    ("reward", &["core", "text", "sandbox"]),
    ("world", &["core"]),
    ("task", &["core", "text", "reward"]),
    ("eval", &["core", "statistics", "text", "reward", "task", "engine"]),
    ("train", &["core", "algo", "engine", "text", "reward", "task", "eval"]),
    (
        "cli",
        &[
            "core",
            "algo",
            "engine",
            "text",
            "statistics",
            "feedback",
            "sandbox",
            "reward",
            "world",
            "task",
            "eval",
            "train",
        ],
    ),
    ("testkit", &["core", "engine"]),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["arrows"] => arrows(Path::new(".")),
        ["gain", run] => gain(Path::new(run)),
        ["speed"] => speed::write(Path::new(".")),
        _ => Err("usage: xtask arrows | xtask gain RUN_DIRECTORY | xtask speed".into()),
    };
    match result {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Checks that crates use each other only along the arrows, so that no cycle can arise.
fn arrows(root: &Path) -> Result<String, String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let folder = root.join("crates");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let mut count = 0;
    for name in &names {
        let may = allowed.get(name.as_str()).ok_or_else(|| format!("crate `{name}` has no row in xtask's ARROWS"))?;
        let path = folder.join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let manifest: toml::Table = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for key in dependencies.into_iter().flat_map(toml::Table::keys) {
            let Some(used) = key.strip_prefix("lapidary-") else { continue };
            if !may.contains(&used) {
                return Err(format!("`{name}` uses `{used}`, which is no arrow of DESIGN §3"));
            }
            count += 1;
        }
    }
    for (position, (name, may)) in ARROWS.iter().enumerate() {
        let earlier: Vec<&str> = ARROWS[..position].iter().map(|(n, _)| *n).collect();
        if let Some(later) = may.iter().find(|used| !earlier.contains(used)) {
            return Err(format!("ARROWS lets `{name}` use `{later}`, which stands below it: a cycle could arise"));
        }
    }
    Ok(format!("{} crates, {count} arrows, no cycle", names.len()))
}

/// Checks that a finished run gained at least 20 points of held-out accuracy through RL: between the last evaluation before
/// the first rl step and the last of all, with intervals that do not overlap.
fn gain(run: &Path) -> Result<String, String> {
    let path = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (mut before, mut after, mut learning) = (None, None, false);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{}: {e}", path.display()))?;
        learning |= row.get("reward").is_some();
        let number = |name: &str| row.get(name).and_then(serde_json::Value::as_f64);
        let names = ["eval/accuracy", "eval/accuracy_low", "eval/accuracy_high"];
        if let [Some(accuracy), Some(low), Some(high)] = names.map(number) {
            *(if learning { &mut after } else { &mut before }) = Some((accuracy, low, high));
        }
    }
    let (Some((before, _, before_high)), Some((after, after_low, _))) = (before, after) else {
        return Err(format!("{}: no evaluation before and after reinforcement learning", path.display()));
    };
    let points = 100.0 * (after - before);
    if points < 20.0 || after_low <= before_high {
        return Err(format!(
            "accuracy went from {before:.3} to {after:.3}: {points:.1} points, at least 20 are promised"
        ));
    }
    Ok(format!("accuracy went from {before:.3} to {after:.3}: {points:.1} points"))
}
