//! The tables of the detectors: `[stage.interleave.plateau]`, `[stage.interleave.gap]`, `[stage.interleave.shift]`.

use lapidary_core::Result;
use serde_json::{Value, json};

use super::check::Checker;
use super::nearest::nearest;
use super::raw_interleave::{DeltaMode, InputName, RawDelta, RawGap, RawPlateau, RawShift};
use crate::metrics::describe;
use crate::switch::{Delta, GapRule, Input, PlateauRule, ShiftRule, SwitchPolicy};

/// What an evaluation has for a plateau detector.
const OF_EVALUATIONS: [&str; 3] = ["eval/accuracy", "eval/reward", "eval/mean_length"];

/// The policy decides which keys have an effect.
pub(super) struct Needs<'a> {
    pub policy: SwitchPolicy,
    pub kind: &'a Checker<'a>,
}

fn share(x: f64) -> bool {
    (0.0..=1.0).contains(&x)
}

fn past(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}

fn not_negative(x: f64) -> bool {
    x >= 0.0 && x.is_finite()
}

impl Needs<'_> {
    /// The table of a detector; refused where no detector is asked.
    fn table(&self, name: &str) -> Result<Checker<'_>> {
        let table = self.kind.within(name);
        match self.policy {
            SwitchPolicy::Buffer => Err(table
                .wrong_table("R045", "this detector would never be asked")
                .why("`policy = \"buffer\"`, the paper's rule, looks at the buffer alone")
                .hint("set `policy = \"any\"` (or `all`, `weighted`) in `[stage.interleave]`, or remove the table")),
            _ => Ok(table),
        }
    }

    fn weight(&self, table: &Checker<'_>, weight: Option<f64>) -> Result<f64> {
        if weight.is_some() && self.policy != SwitchPolicy::Weighted {
            return Err(table
                .wrong_value("R006", "weight", "`weight` has no effect here", "only with `policy = \"weighted\"`")
                .hint("remove it, or change `policy`"));
        }
        table.number("weight", weight, 1.0, not_negative, "0 or more")
    }

    pub fn full_buffer(&self, given: Option<bool>) -> Result<bool> {
        if given.is_some() && self.policy == SwitchPolicy::Buffer {
            let label = "only with `any`, `all` or `weighted`";
            return Err(self
                .kind
                .wrong_value("R006", "full_buffer", "`full_buffer` has no effect here", label)
                .why("with `policy = \"buffer\"` a full buffer is the only signal"));
        }
        Ok(given.unwrap_or(false))
    }

    pub fn plateau(&self, raw: Option<RawPlateau>) -> Result<Option<PlateauRule>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.table("plateau")?;
        let metric = raw.metric.unwrap_or_else(|| OF_EVALUATIONS[0].to_string());
        let known = match metric.starts_with("eval/") {
            true => OF_EVALUATIONS.contains(&metric.as_str()),
            false => describe(&metric).is_some(),
        };
        if !known {
            let close = nearest(&metric, OF_EVALUATIONS.into_iter().chain(["reward", "loss", "entropy"]));
            let label = close.map_or("not a metric".to_string(), |name| format!("did you mean `{name}`?"));
            return Err(table.wrong_value(
                "R006",
                "metric",
                format!("no step and no evaluation has `{metric}`"),
                label,
            ));
        }
        let delta = match (raw.delta, raw.mode) {
            (Some(RawDelta::Auto), None) if metric == OF_EVALUATIONS[0] => Delta::Noise,
            (Some(RawDelta::Auto), mode) => {
                let why =
                    if mode.is_some() { "`mode` is for a number" } else { "only with `metric = \"eval/accuracy\"`" };
                return Err(table
                    .wrong_value("R006", "delta", "the noise of this metric is not known", why)
                    .why("`auto` is the standard error of a share of held-out prompts"));
            }
            (Some(RawDelta::Number(delta)), mode) => table.delta(delta, mode)?,
            (None, mode) => table.delta(0.01, mode)?,
        };
        Ok(Some(PlateauRule {
            metric,
            patience: table.count("patience", raw.patience, 3, 1)?,
            delta,
            ema: table.number("ema", raw.ema, 0.0, past, "at least 0 and below 1")?,
            min_looks: table.count("min_looks", raw.min_looks, 2, 1)?,
            lower_is_better: raw.lower_is_better.unwrap_or(false),
            reset_best: raw.reset_best.unwrap_or(false),
            weight: self.weight(&table, raw.weight)?,
        }))
    }

    pub fn gap(&self, raw: Option<RawGap>) -> Result<Option<GapRule>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.table("gap")?;
        Ok(Some(GapRule {
            key: raw.key.unwrap_or_else(|| "category".into()),
            window: table.count("window", raw.window, 256, 1)? as usize,
            threshold: table.number("threshold", raw.threshold, 0.1, share, "between 0 and 1")?,
            confidence: table.number("confidence", raw.confidence, 0.8, share, "between 0 and 1")?,
            min_answers: table.count("min_answers", raw.min_answers, 8, 1)?,
            new_steps: table.count("new_steps", raw.new_steps, 200, 0)?,
            drop: table.number("drop", raw.drop, 0.1, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")?,
            traffic: table.number("traffic", raw.traffic, 0.1, share, "between 0 (any) and 1")?,
            weight: self.weight(&table, raw.weight)?,
        }))
    }

    pub fn shift(&self, raw: Option<RawShift>) -> Result<Option<ShiftRule>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.table("shift")?;
        let limit = |key: &str, value: Option<f64>, default: f64| {
            let limit = table.number(key, value, default, not_negative, "0 (off) or more")?;
            Ok((limit > 0.0).then_some(limit))
        };
        let rule = ShiftRule {
            max_gap: limit("max_gap", raw.max_gap, 0.05)?,
            gap_ema: table.number("gap_ema", raw.gap_ema, 0.7, past, "at least 0 and below 1")?,
            gap_evaluations: table.count("gap_evaluations", raw.gap_evaluations, 2, 1)?,
            max_psi: limit("max_psi", raw.max_psi, 0.2)?,
            input: match (raw.input.unwrap_or_default(), raw.key.clone()) {
                (InputName::Length, None) => Input::Length,
                (InputName::Category, key) => Input::Category(key.unwrap_or_else(|| "category".into())),
                (InputName::Length, Some(_)) => {
                    return Err(table
                        .wrong_value("R006", "key", "`key` has no effect here", "only with `input = \"category\"`")
                        .hint("remove it, or set `input = \"category\"`"));
                }
            },
            window: table.count("window", raw.window, 256, 1)? as usize,
            max_nll_rise: limit("max_nll_rise", raw.max_nll_rise, 0.15)?,
            max_k3: limit("max_k3", raw.max_k3, 0.0)?,
            demonstrations: table.count("demonstrations", raw.demonstrations, 32, 1)? as usize,
            weight: self.weight(&table, raw.weight)?,
        };
        if [rule.max_gap, rule.max_psi, rule.max_nll_rise, rule.max_k3].iter().all(Option::is_none) {
            return Err(table.wrong_table("R045", "every monitor of this detector is off").hint(
                "give one of `max_gap`, `max_psi`, `max_nll_rise`, `max_k3` a limit above 0, or remove the table",
            ));
        }
        Ok(Some(rule))
    }
}

impl Checker<'_> {
    fn delta(&self, delta: f64, mode: Option<DeltaMode>) -> Result<Delta> {
        let delta = self.number("delta", Some(delta), 0.01, not_negative, "0 or more")?;
        Ok(match mode.unwrap_or_default() {
            DeltaMode::Absolute => Delta::Absolute(delta),
            DeltaMode::Relative => Delta::Relative(delta),
        })
    }
}

fn weighted(mut entries: Vec<(&'static str, Value)>, weight: f64, on: bool) -> Vec<(&'static str, Value)> {
    entries.extend(on.then(|| ("weight", json!(weight))));
    entries
}

pub(super) fn plateau(rule: &PlateauRule, on: bool) -> Vec<(&'static str, Value)> {
    let mut entries = vec![("metric", json!(rule.metric)), ("patience", json!(rule.patience))];
    match rule.delta {
        Delta::Noise => entries.push(("delta", json!("auto"))),
        Delta::Absolute(delta) => entries.extend([("delta", json!(delta)), ("mode", json!(DeltaMode::Absolute))]),
        Delta::Relative(delta) => entries.extend([("delta", json!(delta)), ("mode", json!(DeltaMode::Relative))]),
    }
    entries.extend([
        ("ema", json!(rule.ema)),
        ("min_looks", json!(rule.min_looks)),
        ("lower_is_better", json!(rule.lower_is_better)),
        ("reset_best", json!(rule.reset_best)),
    ]);
    weighted(entries, rule.weight, on)
}

pub(super) fn gap(rule: &GapRule, on: bool) -> Vec<(&'static str, Value)> {
    let entries = vec![
        ("key", json!(rule.key)),
        ("window", json!(rule.window)),
        ("threshold", json!(rule.threshold)),
        ("confidence", json!(rule.confidence)),
        ("min_answers", json!(rule.min_answers)),
        ("new_steps", json!(rule.new_steps)),
        ("drop", json!(rule.drop)),
        ("traffic", json!(rule.traffic)),
    ];
    weighted(entries, rule.weight, on)
}

pub(super) fn shift(rule: &ShiftRule, on: bool) -> Vec<(&'static str, Value)> {
    let limit = |limit: Option<f64>| json!(limit.unwrap_or(0.0));
    let mut entries = vec![
        ("max_gap", limit(rule.max_gap)),
        ("gap_ema", json!(rule.gap_ema)),
        ("gap_evaluations", json!(rule.gap_evaluations)),
        ("max_psi", limit(rule.max_psi)),
    ];
    match &rule.input {
        Input::Length => entries.push(("input", json!(InputName::Length))),
        Input::Category(key) => entries.extend([("input", json!(InputName::Category)), ("key", json!(key))]),
    }
    entries.extend([
        ("window", json!(rule.window)),
        ("max_nll_rise", limit(rule.max_nll_rise)),
        ("max_k3", limit(rule.max_k3)),
        ("demonstrations", json!(rule.demonstrations)),
    ]);
    weighted(entries, rule.weight, on)
}
