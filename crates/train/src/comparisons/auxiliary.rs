//! Auxiliary preferences made on the spot: pairs of answers sampled from the reference, and what a reward model says of them.
//!
//! ```text
//! prompt ─▶ 2m answers of the reference, temperature 1 ─▶ m pairs      ĝ(y₁ ≻ y₂) = σ(r(y₁) − r(y₂))
//! ```
//! VRPO (Ye et al. 2025, arXiv 2504.03784): what is drawn depends on seed and row alone, so a row that comes again, after a stop too,
//! brings the same pairs.

use std::collections::HashMap;

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result, StopReason};
use lapidary_engine::{Choose, Engine, Record, SampleRequest};
use lapidary_reward::{Attempt, Reward};
use serde_json::{Map, Value, json};

use crate::bench::Bench;
use crate::prompts::check_length;
use crate::recipe::AuxiliaryModel;
use crate::rollouts::end_tokens;
use crate::watch::Phase;

/// Rows whose pairs are kept; what comes later is drawn anew, the same.
const MOST_ROWS: usize = 100_000;

/// Who is asked beside the labels.
pub(super) struct Asked<'r> {
    rule: &'r AuxiliaryModel,
    reward: Box<dyn Reward>,
    /// m: pairs per prompt.
    pairs: usize,
    seed: u64,
    known: HashMap<String, Map<String, Value>>,
}

impl<'r> Asked<'r> {
    pub(super) fn new(rule: &'r AuxiliaryModel, pairs: usize, seed: u64) -> Result<Self> {
        let reward = lapidary_reward::build("model", &json!({ "model": rule.model }))?;
        Ok(Self { rule, reward, pairs, seed, known: HashMap::new() })
    }

    /// Puts pairs and preferences to the comparisons that have none.
    pub(super) fn opine(&mut self, bench: &Bench<'_, '_>, reference: &dyn Engine, items: &mut [Item]) -> Result<()> {
        let compared =
            |item: &Item| item.metadata.contains_key("chosen") && !item.metadata.contains_key("chosen_preference");
        let new: Vec<&Item> =
            items.iter().filter(|item| compared(item) && !self.known.contains_key(&item.id)).collect();
        let answers = self.sample(bench, reference, &new)?;
        let mut fresh = HashMap::new();
        for (item, answers) in new.into_iter().zip(answers) {
            fresh.insert(item.id.clone(), self.judge(item, &answers)?);
        }
        for item in items.iter_mut().filter(|item| compared(item)) {
            let columns = self.known.get(&item.id).or(fresh.get(&item.id)).cloned().unwrap_or_default();
            item.metadata.extend(columns);
        }
        if self.known.len() + fresh.len() <= MOST_ROWS {
            self.known.extend(fresh);
        }
        Ok(())
    }

    /// Answers of the reference, by item; those that were cut off are left out: nobody can end them.
    fn sample(&self, bench: &Bench<'_, '_>, reference: &dyn Engine, items: &[&Item]) -> Result<Vec<Vec<String>>> {
        let context = reference.model().context;
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            let prompt = bench.tokenizer.encode_prompt(&item.prompt)?;
            check_length(item, prompt.len(), context)?;
            requests.push(SampleRequest {
                max_new_tokens: self.rule.max_new_tokens.min(context - prompt.len()),
                prompt,
                samples: 2 * self.pairs,
                choose: Choose::Draw { temperature: 1.0, top_k: 0, top_p: 1.0 },
                stop_tokens: end_tokens(bench),
                key: Key::new(self.seed, Purpose::Sample).at_name("auxiliary").at_name(&item.id),
                record: Record::default(),
            });
        }
        let progress = bench.ear.progress(Phase::Sample, requests.len() as u64);
        let samples = bench.stopwatch.time(Phase::Sample, || reference.sample(&requests, &|_| ()))?;
        progress.reach(requests.len() as u64);
        let whole = |samples: Vec<lapidary_engine::Sample>| {
            let ended = samples.into_iter().filter(|sample| sample.stop == StopReason::Eos);
            ended.map(|sample| bench.tokenizer.decode(&sample.tokens)).collect()
        };
        Ok(samples.into_iter().map(whole).collect())
    }

    /// What the model says of the comparison and of the pairs, as the columns that rows bring it in.
    fn judge(&self, item: &Item, answers: &[String]) -> Result<Map<String, Value>> {
        let text = |key: &str| item.metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let labelled = [text("chosen"), text("rejected")];
        let prompt = item.prompt.plain();
        let all = labelled.into_iter().chain(answers.iter().map(String::as_str));
        let attempts: Vec<Attempt<'_>> = all
            .map(|answer| Attempt { asked: Some(&item.prompt), ..Attempt::new(&prompt, answer, None, &item.metadata) })
            .collect();
        let mut rewards = Vec::with_capacity(attempts.len());
        for verdict in self.reward.score(&attempts) {
            let Some(reward) = verdict.value() else {
                let message = format!("the auxiliary model `{}` says nothing of `{}`", self.rule.model, item.id);
                return Err(Problem::new(Kind::Data, "D069", message).why(verdict.reason().to_string()));
            };
            rewards.push(f64::from(reward));
        }
        let prefers = |first: f64, second: f64| 1.0 / (1.0 + (second - first).exp());
        let of_pair = rewards[2..].chunks_exact(2).map(|pair| prefers(pair[0], pair[1]));
        let side = |at: usize| answers.chunks_exact(2).map(|pair| pair[at].clone()).collect::<Vec<String>>();
        Ok(Map::from_iter([
            ("chosen_preference".to_string(), json!(prefers(rewards[0], rewards[1]))),
            ("a_1".to_string(), json!(side(0))),
            ("a_2".to_string(), json!(side(1))),
            ("a_1_preference".to_string(), json!(of_pair.collect::<Vec<f64>>())),
        ]))
    }
}
