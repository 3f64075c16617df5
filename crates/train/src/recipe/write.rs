//! The complete recipe as TOML.

use lapidary_algo::Objective;
use serde_json::{Map, Value, json};

use super::feedback::confidence_entries;
use super::{
    Curriculum, Difficulty, DynamicSampling, DynamicTemperature, Eval, Health, Interleave, OneShot, Recipe,
    RewardChoice, Rl, RoutingReplay, SecondLayer, Stage, TaskChoice, Training,
};
use crate::diagnose::rules::STOP_NO_VERDICT;

/// A table of the document: its header, its dotted path, and its keys in order.
struct Section {
    header: String,
    path: String,
    entries: Vec<(String, Value)>,
}

impl Section {
    fn new(header: &str, path: String, entries: Vec<(&'static str, Value)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        Self { header: header.into(), path, entries }
    }

    /// `[stage.gspo]`: every setting of the objective.
    fn objective(method: &str, path: &str, objective: &Objective) -> Self {
        // Settings are a struct of numbers and words, which JSON can always hold.
        let settings = serde_json::to_value(objective.settings()).unwrap_or_default();
        let entries = settings.as_object().cloned().unwrap_or_default().into_iter().collect();
        Self { header: format!("[stage.{method}]"), path: format!("{path}.{method}"), entries }
    }
}

/// The whole document.
pub(super) fn document(recipe: &Recipe) -> String {
    let mut out = String::new();
    for section in sections(recipe) {
        if !section.header.is_empty() {
            out.push_str(&format!("\n{}\n", section.header));
        }
        for (key, value) in section.entries {
            out.push_str(&format!("{key} = {}\n", render(&value)));
        }
    }
    out
}

/// Every key with its dotted path and its value as TOML.
pub(super) fn leaves(recipe: &Recipe) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for Section { path, entries, .. } in sections(recipe) {
        for (key, value) in entries {
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            out.push((path, render(&value)));
        }
    }
    out
}

fn sections(recipe: &Recipe) -> Vec<Section> {
    let mut sections = vec![Section::new(
        "",
        String::new(),
        vec![("seed", json!(recipe.seed)), ("name", json!(recipe.name)), ("model", json!(recipe.model))],
    )];
    if let Some(adapter) = &recipe.adapter {
        sections.push(Section::new("[adapter]", "adapter".into(), super::adapter::entries(adapter)));
    }
    for (at, stage) in recipe.stages.iter().enumerate() {
        let path = format!("stage.{}", at + 1);
        let mut entries = vec![("kind", json!(stage.kind())), ("task", task(stage.task()))];
        match stage {
            Stage::Sft(sft) => {
                entries.extend(sft.entries());
                training(&mut entries, &sft.training);
                sections.push(Section::new("[[stage]]", path.clone(), entries));
                sections.push(Section::objective("sft", &path, &sft.objective));
                if let Some(rule) = &sft.second_turn {
                    sections.push(Section::new("[stage.second_turn]", format!("{path}.second_turn"), rule.entries()));
                }
                if let Some(rule) = &sft.early_stop {
                    sections.push(Section::new("[stage.early_stop]", format!("{path}.early_stop"), rule.entries()));
                }
            }
            Stage::Distill(distill) => {
                entries.extend(distill.entries(reward));
                training(&mut entries, &distill.training);
                sections.push(Section::new("[[stage]]", path.clone(), entries));
                sections.push(Section::objective("sft", &path, &distill.objective));
                sections.push(Section::new("[stage.filter]", format!("{path}.filter"), distill.filter.entries()));
            }
            Stage::RewardModel(rule) | Stage::Preference(rule) => {
                let loss = rule.preference.method().name;
                entries.push(("method", json!(loss)));
                training(&mut entries, &rule.training);
                sections.push(Section::new("[[stage]]", path.clone(), entries));
                let (header, place) = (format!("[stage.{loss}]"), format!("{path}.{loss}"));
                sections.push(Section { header, path: place, entries: rule.settings() });
                sections.push(Section::new("[stage.pairs]", format!("{path}.pairs"), rule.pairs.entries()));
                if let Some(auxiliary) = &rule.auxiliary {
                    sections.push(Section::new("[stage.auxiliary]", format!("{path}.auxiliary"), auxiliary.entries()));
                }
                let stop = rule.early_stop.entries();
                sections.push(Section::new("[stage.early_stop]", format!("{path}.early_stop"), stop));
            }
            Stage::Rl(rl) => {
                rl_entries(&mut entries, rl);
                training(&mut entries, &rl.training);
                sections.push(Section::new("[[stage]]", path.clone(), entries));
                sections.push(Section::objective(&rl.method, &path, &rl.objective));
                exploration(&mut sections, &path, rl);
                sections.push(Section::new("[stage.health]", format!("{path}.health"), health(&rl.health)));
            }
            Stage::SelfFeedback(feedback) => {
                entries.extend(feedback.entries());
                sections.push(Section::new("[[stage]]", path.clone(), entries));
                let confidence = confidence_entries(&feedback.confidence);
                sections.push(Section::new("[stage.confidence]", format!("{path}.confidence"), confidence));
                let ranking = feedback.ranking_entries();
                sections.push(Section::new("[stage.ranking]", format!("{path}.ranking"), ranking));
            }
        }
    }
    sections.push(Section::new("[eval]", "eval".into(), eval(&recipe.eval)));
    if let Some(confidence) = &recipe.eval.confidence {
        let entries = confidence_entries(confidence);
        sections.push(Section::new("[eval.confidence]", "eval.confidence".into(), entries));
    }
    sections.push(Section::new(
        "[checkpoint]",
        "checkpoint".into(),
        vec![("every", json!(recipe.checkpoint.every)), ("keep", json!(recipe.checkpoint.keep))],
    ));
    sections
}

fn eval(eval: &Eval) -> Vec<(&'static str, Value)> {
    let mut entries = vec![
        ("task", task(&eval.task)),
        ("reward", reward(&eval.reward)),
        ("prompts", json!(eval.prompts)),
        ("samples", json!(eval.samples)),
        ("max_new_tokens", json!(eval.max_new_tokens)),
        ("temperature", float32(eval.temperature)),
        ("every", json!(eval.every)),
    ];
    entries.extend(eval.second_turn.as_ref().map(|turn| ("second_turn", turn.entry())));
    entries
}

fn rl_entries(entries: &mut Vec<(&'static str, Value)>, rl: &Rl) {
    entries.extend([
        ("method", json!(rl.method)),
        ("reward", Value::Array(rl.rewards.iter().map(reward).collect())),
        ("samples_per_prompt", json!(rl.samples_per_prompt)),
        ("max_new_tokens", json!(rl.max_new_tokens)),
        ("temperature", float32(rl.temperature)),
        ("top_k", json!(rl.top_k)),
        ("top_p", float32(rl.top_p)),
        ("updates_per_rollout", json!(rl.updates_per_rollout)),
        ("epochs_per_rollout", json!(rl.epochs_per_rollout)),
        ("truncated", json!(rl.truncated)),
    ]);
    if rl.routing_replay != RoutingReplay::Off {
        entries.push(("routing_replay", json!(rl.routing_replay)));
    }
}

/// The tables that a stage has only where they are switched on.
fn exploration(sections: &mut Vec<Section>, path: &str, rl: &Rl) {
    let tables = [
        ("dynamic_sampling", rl.dynamic_sampling.as_ref().map(DynamicSampling::entries)),
        ("curriculum", rl.curriculum.as_ref().map(Curriculum::entries)),
        ("difficulty", rl.difficulty.as_ref().map(Difficulty::entries)),
        ("one_shot", rl.one_shot.as_ref().map(OneShot::entries)),
        ("dynamic_temperature", rl.dynamic_temperature.as_ref().map(DynamicTemperature::entries)),
        ("second_layer", rl.second_layer.as_ref().map(SecondLayer::entries)),
        ("hint", rl.hint.as_ref().map(|hint| hint.entries(rl.samples_per_prompt))),
    ];
    for (name, entries) in tables {
        if let Some(entries) = entries {
            sections.push(Section::new(&format!("[stage.{name}]"), format!("{path}.{name}"), entries));
        }
    }
    for (name, entries) in rl.interleave.iter().flat_map(Interleave::tables) {
        sections.push(Section::new(&format!("[stage.{name}]"), format!("{path}.{name}"), entries));
    }
}

fn training(entries: &mut Vec<(&'static str, Value)>, training: &Training) {
    entries.push(match training.epochs {
        Some(epochs) => ("epochs", json!(epochs)),
        None => ("steps", json!(training.steps)),
    });
    entries.extend([
        ("prompts_per_step", json!(training.prompts_per_step)),
        ("tokens_per_microbatch", json!(training.tokens_per_microbatch)),
        ("learning_rate", json!(training.learning_rate)),
        ("schedule", json!(training.schedule)),
        ("warmup_steps", json!(training.warmup_steps)),
        ("weight_decay", json!(training.weight_decay)),
        ("beta1", json!(training.beta1)),
        ("beta2", json!(training.beta2)),
        ("max_grad_norm", json!(training.max_grad_norm.unwrap_or(0.0))),
    ]);
}

fn health(health: &Health) -> Vec<(&'static str, Value)> {
    let mut entries = vec![
        ("window", json!(health.window)),
        ("max_zero_std", json!(health.max_zero_std)),
        ("min_entropy", json!(health.min_entropy)),
        ("max_length_drift", json!(health.max_length_drift)),
        ("max_no_verdict", json!(health.max_no_verdict)),
    ];
    // a last resort, as the replay of routing is a special case: written where it was chosen
    if health.stop_no_verdict != STOP_NO_VERDICT {
        entries.push(("stop_no_verdict", json!(health.stop_no_verdict)));
    }
    entries
}

fn task(task: &TaskChoice) -> Value {
    let mut table = Map::new();
    match (&task.path, task.pairs) {
        (Some(path), _) => table.insert("path".into(), json!(path)),
        (None, Some(stage)) => table.insert("pairs".into(), json!(format!("stage.{}", stage + 1))),
        (None, None) => table.insert("name".into(), json!(task.name)),
    };
    table.extend(task.options.clone());
    Value::Object(table)
}

fn reward(reward: &RewardChoice) -> Value {
    let mut table = Map::new();
    table.insert("name".into(), json!(reward.name));
    table.insert("weight".into(), json!(reward.weight));
    table.extend(reward.options.clone());
    Value::Object(table)
}

/// A 32-bit float as the shortest decimal that gives it back, not as the 64-bit number nearest to it.
pub(super) fn float32(number: f32) -> Value {
    json!(number.to_string().parse::<f64>().unwrap_or(f64::from(number)))
}

/// A value as TOML, tables inline.
fn render(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) if !number.is_f64() => whole.to_string(),
            (_, Some(real)) if real != 0.0 && real.abs() < 1e-3 => format!("{real:e}"),
            (_, Some(real)) => toml::Value::Float(real).to_string(),
            _ => number.to_string(),
        },
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Array(values) => format!("[{}]", values.iter().map(render).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".into(),
        Value::Object(table) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", render_key(key), render(value));
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn render_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    // A quoted key must stay on one line, which TOML's basic string with JSON's escapes does.
    if bare { key.to_string() } else { json!(key).to_string() }
}
