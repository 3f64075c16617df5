//! From what was written to what makes sense: defaults, ranges, names, and keys that belong elsewhere.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde::Deserialize;

use super::comparisons::{self, COMPARISONS_ONLY, LossSettings, PREFERENCE, REWARD_MODEL};
use super::distill::{DISTILL_ONLY, SAMPLING};
use super::nearest::{listed, nearest};
use super::raw::{RawEval, RawHealth, RawRecipe, RawStage};
use super::raw_hint::HintPlace;
use super::read::{Refusal, What};
use super::settings::{self, Settings};
use super::supervised::SUPERVISED_ONLY;
use super::tree::Tree;
use super::*;
use crate::diagnose::rules::STOP_NO_VERDICT;

/// Keys of a stage that only `kind = "rl"` has.
const RL_ONLY: &[&str] = &[
    "method",
    "reward",
    "samples_per_prompt",
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "updates_per_rollout",
    "epochs_per_rollout",
    "routing_replay",
    "truncated",
    "dynamic_sampling",
    "curriculum",
    "difficulty",
    "one_shot",
    "dynamic_temperature",
    "second_layer",
    "hint",
    "interleave",
    "health",
];

/// Keys that only `kind = "self-feedback"` has.
const FEEDBACK_ONLY: &[&str] = &["confidence", "ranking"];

/// The limit on every count: far above any use, and a product of two still fits 64 bits.
const MOST: u64 = 1 << 31;

/// Checks the merged tree of the recipe at `path`.
pub(super) fn recipe(tree: &Tree, path: &Path) -> Result<Recipe> {
    let mut root = tree.root.clone();
    let settings = settings::take(&mut root, tree)?;
    let losses = comparisons::take(&mut root, tree)?;
    let raw = RawRecipe::deserialize(&root).map_err(|refusal| refused(tree, refusal, ""))?;
    let raw_stages = raw.stage.unwrap_or_default();
    if raw_stages.is_empty() {
        return Err(Problem::new(Kind::Usage, "R004", "the recipe has no stage")
            .at(tree.value_place("stage", "a `[[stage]]` belongs here"))
            .hint("add `[[stage]]` with `kind = \"sft\"` or `kind = \"rl\"`; `recipes/quickstart.toml` has both"));
    }
    let stages: Vec<Stage> = raw_stages
        .into_iter()
        .zip(settings.into_iter().zip(losses))
        .enumerate()
        .map(|(at, (raw, settings))| {
            Checker { tree, table: format!("stage.{}", at + 1) }.stage(raw, (&settings.0, &settings.1))
        })
        .collect::<Result<_>>()?;
    let top = Checker { tree, table: String::new() };
    let seed = raw.seed.unwrap_or(0);
    let name = top.name(raw.name, path)?;
    let model = top.model(raw.model)?;
    let adapter = raw.adapter.map(|raw| top.within("adapter").adapter(raw, &model)).transpose()?;
    let eval = Checker { tree, table: "eval".into() }.eval(raw.eval.unwrap_or_default(), &stages)?;
    top.detectors_see(&stages, &eval)?;
    let checker = Checker { tree, table: "checkpoint".into() };
    let raw_checkpoint = raw.checkpoint.unwrap_or_default();
    let checkpoint = Checkpoint {
        every: checker.count("every", raw_checkpoint.every, 50, 1)?,
        keep: checker.count("keep", raw_checkpoint.keep, 2, 2)? as usize,
    };
    Ok(Recipe { seed, name, model, adapter, stages, eval, checkpoint })
}

/// Turns serde's refusal into a problem with a suggestion.
pub(super) fn refused(tree: &Tree, refusal: Refusal, table: &str) -> Problem {
    let place = |label: String| match &refusal.span {
        Some(span) => tree.place(span, label),
        None => tree.value_place(table, label),
    };
    match &refusal.what {
        What::UnknownKey { key, known } => unknown_key(key, known, place),
        What::UnknownWord { word, known } => {
            let close = nearest(word, known.iter().copied());
            Problem::new(Kind::Usage, "R008", format!("`{word}` is not one of {}", listed(known.iter().copied())))
                .at(place(close.map_or("not known".into(), |name| format!("did you mean `{name}`?"))))
        }
        What::WrongType { got, expected } => {
            Problem::new(Kind::Usage, "R002", format!("{got} stands where {expected} belongs"))
                .at(place(format!("expected {expected}")))
        }
        What::Other(message) => Problem::new(Kind::Usage, "R002", message.clone()).at(place(String::new())),
    }
}

fn unknown_key(key: &str, known: &[&str], place: impl Fn(String) -> lapidary_core::Place) -> Problem {
    let problem = Problem::new(Kind::Usage, "R003", format!("unknown key `{key}`"));
    let mut known = known.to_vec();
    if known.contains(&"kind") {
        known.extend(names::methods()); // `[stage.<method>]`
        known.extend(names::losses());
    }
    match renamed(key)
        .filter(|(name, _)| known.contains(name))
        .or_else(|| nearest(key, known.iter().copied()).map(|name| (name, "")))
    {
        Some((name, why)) => {
            let problem = problem.at(place(format!("did you mean `{name}`?")));
            if why.is_empty() { problem } else { problem.why(why) }
        }
        None => problem
            .at(place("not a key of this table".into()))
            .hint(format!("keys here are {}", listed(known.iter().copied()))),
    }
}

/// Names that other tools use for one of our keys.
fn renamed(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "lr" => ("learning_rate", ""),
        "group_size" | "num_generations" | "n_samples_per_prompt" => ("samples_per_prompt", ""),
        "batch_size" | "train_batch_size" | "per_device_train_batch_size" => (
            "prompts_per_step",
            "`batch_size` means prompts to some and completions to others; here a step is `prompts_per_step` × `samples_per_prompt` completions",
        ),
        "max_completion_length" | "max_tokens" | "max_response_length" => ("max_new_tokens", ""),
        "max_steps" | "total_steps" => ("steps", ""),
        "clip_grad" | "max_norm" => ("max_grad_norm", ""),
        "lr_scheduler_type" | "scheduler" => ("schedule", ""),
        "algorithm" | "algo" | "loss_type" => ("method", ""),
        "dataset" | "data" => ("task", ""),
        "pg_loss_coeff" | "pg_loss_coefficient" => ("policy_coefficient", ""),
        "entropy_coeff" => (
            "entropy_coefficient",
            "here the bonus is subtracted from the loss: a weight of -0.001 elsewhere is `entropy_coefficient = 0.001`",
        ),
        "stages" => ("stage", "every stage is written as its own `[[stage]]`"),
        _ => return None,
    })
}

/// Checks one table; knows its dotted path for the places of messages.
pub(super) struct Checker<'a> {
    pub tree: &'a Tree,
    pub table: String,
}

impl Checker<'_> {
    pub fn path(&self, key: &str) -> String {
        if self.table.is_empty() { key.to_string() } else { format!("{}.{key}", self.table) }
    }

    /// The checker of a table of this table.
    pub fn within(&self, key: &str) -> Self {
        Self { tree: self.tree, table: self.path(key) }
    }

    pub fn wrong_value(
        &self,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Problem {
        Problem::new(Kind::Usage, code, message).at(self.tree.value_place(&self.path(key), label))
    }

    /// A table that does not belong where it is.
    pub fn wrong_table(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::new(Kind::Usage, code, message).at(self.tree.value_place(&self.table, "this table"))
    }

    pub fn missing(&self, key: &str) -> Problem {
        Problem::new(Kind::Usage, "R004", format!("the key `{key}` is missing"))
            .at(self.tree.value_place(&self.table, format!("`{key}` belongs in this table")))
    }

    /// A whole number of at least `least`, or its default.
    pub fn count(&self, key: &str, value: Option<u64>, default: u64, least: u64) -> Result<u64> {
        let value = value.unwrap_or(default);
        if value < least {
            return Err(self.wrong_value(
                "R006",
                key,
                format!("`{key}` is {value}"),
                format!("must be {least} or more"),
            ));
        }
        if value > MOST {
            return Err(self.wrong_value(
                "R006",
                key,
                format!("`{key}` is {value}"),
                format!("must be {MOST} or less"),
            ));
        }
        Ok(value)
    }

    /// A number for which `fits` holds, or its default.
    pub fn number(
        &self,
        key: &str,
        value: Option<f64>,
        default: f64,
        fits: fn(f64) -> bool,
        range: &str,
    ) -> Result<f64> {
        let value = value.unwrap_or(default);
        if !fits(value) {
            return Err(self.wrong_value("R006", key, format!("`{key}` is {value}"), format!("must be {range}")));
        }
        Ok(value)
    }

    fn name(&self, name: Option<String>, path: &Path) -> Result<String> {
        let given = name.is_some();
        let name =
            name.unwrap_or_else(|| path.file_stem().map_or("run".into(), |stem| stem.to_string_lossy().into_owned()));
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !given {
            let name: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
            return Ok(if name.starts_with('.') || name.is_empty() { format!("run{name}") } else { name });
        }
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) || name.len() > 100 {
            return Err(self
                .wrong_value("R006", "name", format!("`{name}` cannot name a directory"), "this name")
                .hint("use up to 100 letters, digits, `.`, `_` and `-`, not starting with `.`"));
        }
        Ok(name)
    }

    fn model(&self, model: Option<String>) -> Result<String> {
        let model = model.ok_or_else(|| {
            self.missing("model")
                .hint("set `model = \"tiny\"`, or name a Hugging Face directory or a GGUF file: `--set model=DIR`")
        })?;
        let bare = !model.contains(['/', '\\', '.']);
        if bare && !names::PRESETS.contains(&model.as_str()) && !Path::new(&model).exists() {
            let label = match nearest(&model, names::PRESETS.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "neither a preset nor a path that exists".into(),
            };
            return Err(self.wrong_value("R013", "model", format!("there is no model `{model}`"), label).hint(
                format!(
                    "presets are {}; anything else is the path of a Hugging Face directory or a GGUF file",
                    listed(names::PRESETS.iter().copied())
                ),
            ));
        }
        Ok(model)
    }

    fn stage(&self, raw: RawStage, (settings, losses): (&Settings, &LossSettings)) -> Result<Stage> {
        let kind =
            raw.kind.clone().ok_or_else(|| self.missing("kind").hint("write `kind = \"sft\"` or `kind = \"rl\"`"))?;
        let compares = [REWARD_MODEL, PREFERENCE].contains(&kind.as_str());
        if let Some(key) = self.given(COMPARISONS_ONLY).or(losses.first().map(|(name, _)| *name)).filter(|_| !compares)
        {
            return Err(Problem::new(
                Kind::Usage,
                "R007",
                format!("`{key}` does not apply to a stage of kind `{kind}`"),
            )
            .at(self.tree.key_place(&self.path(key), "belongs to `reward-model` or `preference`"))
            .hint("remove it, or make the stage `kind = \"preference\"`"));
        }
        match kind.as_str() {
            _ if compares => {
                let foreign: Vec<&str> = [RL_ONLY, SUPERVISED_ONLY, DISTILL_ONLY, FEEDBACK_ONLY].concat();
                let foreign = foreign.into_iter().filter(|key| !["method", "early_stop"].contains(key));
                match self.given(&foreign.collect::<Vec<_>>()) {
                    Some(key) => Err(self.not_of_comparisons(key, &kind)),
                    None => self.comparisons(&kind, raw, (settings, losses)),
                }
            }
            "sft" => {
                if let Some(key) = self.given(&[RL_ONLY, DISTILL_ONLY, FEEDBACK_ONLY].concat()) {
                    return Err(self.misplaced(key));
                }
                Ok(Stage::Sft(Box::new(self.sft(raw, settings)?)))
            }
            "rl" => {
                if let Some(key) = self.given(FEEDBACK_ONLY) {
                    return Err(Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to an rl stage"))
                        .at(self.tree.key_place(&self.path(key), "belongs to `kind = \"self-feedback\"`"))
                        .hint("for confidence as a reward: `reward = [{ name = \"confidence\", … }]`"));
                }
                if let Some(key) = self.given(SUPERVISED_ONLY).or(self.given(DISTILL_ONLY)) {
                    let place = self.tree.key_place(&self.path(key), "belongs to another kind of stage");
                    return Err(Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to an rl stage"))
                        .at(place)
                        .why("an rl stage learns from its own samples, not from given text")
                        .hint("remove it, or put it into a stage of its kind"));
                }
                Ok(Stage::Rl(Box::new(self.rl(raw, settings)?)))
            }
            "distill" => {
                let foreign = RL_ONLY.iter().copied().filter(|key| !SAMPLING.contains(key)).collect::<Vec<_>>();
                match self.given(&[&foreign, SUPERVISED_ONLY, FEEDBACK_ONLY].concat()) {
                    Some(key) => Err(self.not_of_distill(key)),
                    None => Ok(Stage::Distill(Box::new(self.distill(raw, settings)?))),
                }
            }
            "self-feedback" => Ok(Stage::SelfFeedback(Box::new(self.self_feedback(raw)?))),
            other => {
                let label = nearest(other, names::KINDS.iter().copied())
                    .map_or("not a kind of stage".into(), |name| format!("did you mean `{name}`?"));
                Err(self.wrong_value("R008", "kind", format!("there is no kind of stage `{other}`"), label).hint(
                    "kinds are `sft` (learn demonstrations), `rl` (learn from rewards), `distill` (learn answers that pass), \
                     `self-feedback` (pairs from the model's own confidence), `reward-model` and `preference` (learn from \
                     comparisons)",
                ))
            }
        }
    }

    /// The kind that stage `stage` (from 0) is written to have.
    pub(super) fn kind_of(&self, stage: usize) -> Option<&str> {
        match &self.tree.get(&format!("stage.{}.kind", stage + 1))?.value {
            tree::Value::Text(kind) => Some(kind),
            _ => None,
        }
    }

    /// The first of `keys` that the stage has.
    fn given(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.tree.get(&self.path(key)).is_some())
    }

    fn misplaced(&self, key: &str) -> Problem {
        let place = self.tree.key_place(&self.path(key), "belongs to `kind = \"rl\"`");
        let why = match key {
            "max_new_tokens" | "temperature" | "top_k" | "top_p" | "samples_per_prompt" => {
                "an sft stage samples nothing: it learns the completions of its task"
            }
            _ => "an sft stage learns the completions of its task by maximum likelihood; nothing is scored",
        };
        let hint = match key {
            "max_new_tokens" | "temperature" => format!("remove it; for evaluation set `eval.{key}`"),
            _ => "remove it, or make this stage `kind = \"rl\"`".to_string(),
        };
        Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to an sft stage"))
            .at(place)
            .why(why)
            .hint(hint)
    }

    fn rl(&self, raw: RawStage, settings: &Settings) -> Result<Rl> {
        let method = self.method(raw.method.clone())?;
        let objective = self.objective(method.name, settings)?;
        let samples = self.count("samples_per_prompt", raw.samples_per_prompt, 8, 1)? as usize;
        self.group_size(method, &objective, samples)?;
        let prompts = self.count("prompts_per_step", raw.prompts_per_step, 8, 1)?;
        let updates = self.count("updates_per_rollout", raw.updates_per_rollout, 1, 1)?;
        if updates > prompts {
            return Err(self
                .wrong_value(
                    "R015",
                    "updates_per_rollout",
                    format!("{updates} updates cannot share {prompts} prompts"),
                    format!("must be {prompts} or less"),
                )
                .why("each update learns from an equal share of the step's prompts, and a group is never split")
                .hint(format!("set `prompts_per_step = {updates}` or more, or fewer updates")));
        }
        let epochs = self.count("epochs_per_rollout", raw.epochs_per_rollout, 1, 1)?;
        let several = [("updates_per_rollout", updates), ("epochs_per_rollout", epochs)];
        if let Some((key, _)) = several.iter().find(|(_, count)| *count > 1 && objective.on_policy_only()) {
            let label = format!("must be 1 for `{}`", method.name);
            return Err(self
                .wrong_value("R020", key, format!("`{}` takes one update per rollout", method.name), label)
                .why("its gradient is right only for the weights that sampled; after an update there are others")
                .hint(format!("set `{key} = 1`, or use a method with a ratio: `grpo`, `gspo`")));
        }
        let task = self.task(raw.task.clone())?;
        let rewards = self.rewards(raw.reward.clone().map(|rewards| rewards.0), &task)?;
        let probability = |p: f64| p > 0.0 && p <= 1.0;
        let difficulty = self.difficulty(raw.difficulty.clone(), &task)?;
        if difficulty.is_some() {
            let others = [
                ("curriculum", raw.curriculum.is_some()),
                ("dynamic_temperature", raw.dynamic_temperature.is_some()),
                ("one_shot", raw.one_shot.is_some()),
            ];
            self.difficulty_alone(&others)?;
        }
        let switch = (method.name, objective.dynamic_sampling);
        let one_shot = self.one_shot(raw.one_shot.clone(), (switch.1, raw.curriculum.is_some()))?;
        let dynamic_sampling = self.dynamic_sampling(raw.dynamic_sampling.clone(), switch, prompts)?;
        let max_new_tokens = self.count("max_new_tokens", raw.max_new_tokens, 256, 1)? as usize;
        let warm = |t: f64| t > 0.0 && t <= 100.0;
        let temperature = self.number("temperature", raw.temperature, 1.0, warm, "above 0 and at most 100")? as f32;
        let training = self.training(&raw, 1e-6)?;
        let place = HintPlace {
            training: &training,
            samples,
            kl_coefficient: objective.kl.coefficient,
            dynamic_sampling: dynamic_sampling.as_ref(),
        };
        let hint = self.hint(raw.hint.clone(), &place)?;
        self.one_way(&raw)?;
        Ok(Rl {
            hint,
            interleave: self.interleave(raw.interleave, &training, max_new_tokens)?,
            training,
            task,
            method: method.name.to_string(),
            objective,
            rewards,
            samples_per_prompt: samples,
            max_new_tokens,
            temperature,
            top_k: self.count("top_k", raw.top_k, 0, 0)? as usize,
            top_p: self.number("top_p", raw.top_p, 1.0, probability, "above 0 and at most 1")? as f32,
            updates_per_rollout: updates as usize,
            epochs_per_rollout: epochs as usize,
            routing_replay: raw.routing_replay.unwrap_or_default(),
            truncated: raw.truncated.unwrap_or_default(),
            dynamic_sampling,
            curriculum: self.curriculum(raw.curriculum)?,
            difficulty,
            one_shot,
            dynamic_temperature: self.dynamic_temperature(raw.dynamic_temperature)?,
            second_layer: self.second_layer(raw.second_layer, (max_new_tokens, temperature))?,
            health: self.within("health").health(raw.health.unwrap_or_default())?,
        })
    }

    pub(super) fn training(&self, raw: &RawStage, learning_rate: f64) -> Result<Training> {
        let (steps, epochs) = self.length(raw)?;
        let warmup_steps = self.count("warmup_steps", raw.warmup_steps, 0, 0)?;
        let decay = |beta: f64| (0.0..1.0).contains(&beta);
        let norm = self.number("max_grad_norm", raw.max_grad_norm, 1.0, |x| x >= 0.0, "0 (never clip) or more")?;
        Ok(Training {
            steps,
            epochs,
            prompts_per_step: self.count("prompts_per_step", raw.prompts_per_step, 8, 1)? as usize,
            tokens_per_microbatch: self.count("tokens_per_microbatch", raw.tokens_per_microbatch, 2048, 1)? as usize,
            learning_rate: self.number(
                "learning_rate",
                raw.learning_rate,
                learning_rate,
                |x| (0.0..=10.0).contains(&x),
                "0 to 10",
            )?,
            schedule: raw.schedule.unwrap_or_default(),
            warmup_steps,
            weight_decay: self.number(
                "weight_decay",
                raw.weight_decay,
                0.0,
                |x| (0.0..=1e3).contains(&x),
                "0 to 1000",
            )?,
            beta1: self.number("beta1", raw.beta1, 0.9, decay, "at least 0 and below 1")?,
            beta2: self.number("beta2", raw.beta2, 0.999, decay, "at least 0 and below 1")?,
            max_grad_norm: (norm > 0.0).then_some(norm),
        })
    }

    fn health(&self, raw: RawHealth) -> Result<Health> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        Ok(Health {
            window: self.count("window", raw.window, 10, 1)? as usize,
            max_zero_std: self.number("max_zero_std", raw.max_zero_std, 0.9, share, "between 0 and 1")?,
            min_entropy: self.number("min_entropy", raw.min_entropy, 0.01, |x| x >= 0.0, "0 or more")?,
            max_length_drift: self.number("max_length_drift", raw.max_length_drift, 3.0, |x| x > 1.0, "above 1")?,
            max_no_verdict: self.number("max_no_verdict", raw.max_no_verdict, 0.2, share, "between 0 and 1")?,
            stop_no_verdict: self.number(
                "stop_no_verdict",
                raw.stop_no_verdict,
                STOP_NO_VERDICT,
                share,
                "between 0 and 1",
            )?,
        })
    }

    fn eval(&self, raw: RawEval, stages: &[Stage]) -> Result<Eval> {
        let rl = stages.iter().rev().find_map(|stage| match stage {
            Stage::Rl(rl) => Some(rl),
            _ => None,
        });
        // Comparisons have no answers that a reward could check.
        let prompts = if raw.task.is_none() && stages.iter().all(Stage::compares) { 0 } else { 200 };
        let task = match raw.task {
            Some(task) => self.task(Some(task))?,
            None => {
                let other = stages.iter().rev().find(|stage| !stage.compares()).or(stages.last());
                rl.map(|rl| &rl.task).or(other.map(Stage::task)).cloned().ok_or_else(|| self.missing("task"))?
            }
        };
        let reward = match raw.reward {
            Some(reward) => self.single_reward(reward, &task)?,
            None => RewardChoice::answer(),
        };
        let length = rl.map_or(256, |rl| rl.max_new_tokens) as u64;
        Ok(Eval {
            task,
            reward,
            prompts: self.count("prompts", raw.prompts, prompts, 0)? as usize,
            samples: self.count("samples", raw.samples, 1, 1)? as usize,
            max_new_tokens: self.count("max_new_tokens", raw.max_new_tokens, length, 1)? as usize,
            temperature: self.number(
                "temperature",
                raw.temperature,
                0.0,
                |t| (0.0..=100.0).contains(&t),
                "between 0 (greedy) and 100",
            )? as f32,
            every: self.count("every", raw.every, 0, 0)?,
            second_turn: self.eval_turn(raw.second_turn, stages)?,
            confidence: raw.confidence.map(|raw| self.within("confidence").confidence(raw)).transpose()?,
        })
    }

    /// A name that the registry does not have: the nearest one, or all of them.
    pub fn unknown(&self, code: &'static str, what: &str, key: &str, name: &str, known: &[&str]) -> Problem {
        let problem = |label: String| self.wrong_value(code, key, format!("there is no {what} `{name}`"), label);
        match nearest(name, known.iter().copied()) {
            Some(close) => {
                problem(format!("did you mean `{close}`?")).hint(format!("`lapidary {what}s` lists all {what}s"))
            }
            None => problem(format!("not a {what} that Lapidary has"))
                .hint(format!("{what}s are {}", listed(known.iter().copied()))),
        }
    }
}
