//! `lapidary methods`: the registry of methods.

use clap::Args;
use lapidary_algo::{Method, MethodKind, method, methods};
use lapidary_core::{Kind, Problem};
use serde_json::{Value, json};

use super::did_you_mean;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// List the methods, or show one with its equation, defaults and metrics
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary methods gspo")]
pub struct Methods {
    /// Show this method
    name: Option<String>,
}

impl Methods {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let Some(name) = &self.name else { return list(output) };
        let method = method(name).ok_or_else(|| {
            let known: Vec<&str> = methods().iter().map(|method| method.name).collect();
            Problem::new(Kind::Usage, "U010", format!("there is no method `{name}`")).hint(did_you_mean(name, &known))
        })?;
        if output.json { output.json(&in_full(method)) } else { show(method, output) }
    }
}

fn list(output: &mut Output) -> Outcome {
    if output.json {
        return methods().iter().try_for_each(|method| output.json(&in_full(method)));
    }
    let rows = methods().iter().map(|method| {
        vec![method.name.into(), learns_from(method.kind).into(), method.summary.into(), method.paper.into()]
    });
    output.table(&["method", "learns from", "what it is", "paper"], rows)?;
    output.note("lapidary methods NAME shows the equation and the defaults of one");
    Ok(())
}

fn learns_from(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Supervised => "demonstrations",
        MethodKind::Single => "rewards",
        MethodKind::Group { .. } => "rewards of a group",
    }
}

fn in_full(method: &Method) -> Value {
    json!({
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "equation": method.equation,
        "summary": method.summary,
        "when": method.when,
        "differs": method.differs,
        "learns_from": learns_from(method.kind),
        "min_samples_per_prompt": match method.kind { MethodKind::Group { min_samples } => min_samples, _ => 1 },
        "defaults": (method.defaults)().settings(),
        "metrics": method.metrics().iter().map(|metric| metric.name).collect::<Vec<_>>(),
    })
}

fn show(method: &Method, output: &mut Output) -> Outcome {
    output.line(theme::bold(method.title))?;
    output.line(method.paper)?;
    output.line(format!("\n{}\n", method.summary))?;
    for line in method.equation.lines() {
        output.line(format!("    {line}"))?;
    }
    output.line(format!("\n{}\n{}\n", theme::bold("When to use it"), method.when))?;
    output.line(format!("{}\n{}\n", theme::bold("How it differs"), method.differs))?;
    output.line(theme::bold(format!("Defaults, each to be changed in [stage.{}]", method.name)))?;
    let settings = (method.defaults)().settings().entries();
    output.table(
        &["key", "default", "source"],
        settings
            .into_iter()
            .map(|(key, value)| vec![key.to_string(), value, method.source(key).unwrap_or_default().to_string()]),
    )?;
    output.line(format!("\n{}", theme::bold("Values of the stage that go with it")))?;
    output.table(
        &["key", "value", "source"],
        method.suggestions.iter().map(|it| vec![it.key.into(), number(it.value), it.source.into()]),
    )?;
    output.line(format!("\n{}", theme::bold("Metrics")))?;
    output.table(
        &["metric", "what it is", "good", "bad"],
        method.metrics().into_iter().map(|it| vec![it.name.into(), it.what.into(), it.good.into(), it.bad.into()]),
    )
}

/// `8` and `1e-6`.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:e}") } else { value.to_string() }
}
