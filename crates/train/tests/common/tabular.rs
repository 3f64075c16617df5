//! A policy that is a table: logits of four actions for every prefix, learned by plain gradient descent.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use lapidary_core::{Result, StopReason, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::{Choose, Engine, ModelConfig, Sample, SampleRequest, Update, UpdateStats};
use lapidary_text::Tokenizer;

/// Actions of a step.
pub const ACTIONS: usize = 4;
/// Steps from the root to a leaf; after them comes the end.
pub const DEPTH: usize = 6;

/// Prompts end with `=`; what follows are actions, digits below [`ACTIONS`].
pub struct Tabular {
    config: ModelConfig,
    actions: Vec<u32>,
    start: u32,
    eos: u32,
    table: HashMap<Vec<u32>, [f64; ACTIONS]>,
    gradient: BTreeMap<Vec<u32>, [f64; ACTIONS]>,
    version: u64,
}

impl Tabular {
    pub fn new() -> Self {
        let tokenizer = Tokenizer::characters();
        let id = |text: &str| tokenizer.id_of(text).unwrap();
        Self {
            config: super::toy().model().clone(),
            actions: (0..ACTIONS).map(|action| id(&action.to_string())).collect(),
            start: id("="),
            eos: tokenizer.eos().unwrap(),
            table: HashMap::new(),
            gradient: BTreeMap::new(),
            version: 0,
        }
    }

    /// Log-probabilities of the actions after a prefix; `None` at a leaf, where only the end can come.
    fn actions_after(&self, prefix: &[u32], temperature: f64) -> Option<[f64; ACTIONS]> {
        let depth = prefix.len() - 1 - prefix.iter().position(|id| *id == self.start).unwrap();
        if depth >= DEPTH {
            return None;
        }
        let logits = self.table.get(prefix).copied().unwrap_or_default().map(|logit| logit / temperature);
        let log_sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        Some(logits.map(|logit| logit - log_sum))
    }

    fn action(&self, id: u32) -> usize {
        self.actions.iter().position(|action| *action == id).unwrap()
    }
}

impl Engine for Tabular {
    fn samples_as_scored(&self) -> bool {
        true
    }
    fn model(&self) -> &ModelConfig {
        &self.config
    }
    fn version(&self) -> u64 {
        self.version
    }

    fn score(&self, batch: &TokenBatch, _: Want) -> Result<TokenStats> {
        let zeros = || batch.tokens.like(0.0f32);
        let mut stats = TokenStats { logp: zeros(), entropy: zeros(), ..TokenStats::default() };
        for row in 0..batch.tokens.rows() {
            let tokens = batch.tokens.row(row);
            for t in (1..tokens.len()).filter(|&t| batch.scored.row(row)[t]) {
                if let Some(logp) = self.actions_after(&tokens[..t], f64::from(batch.temperature[row])) {
                    stats.logp.row_mut(row)[t] = logp[self.action(tokens[t])] as f32;
                    stats.entropy.row_mut(row)[t] = -logp.iter().map(|l| l * l.exp()).sum::<f64>() as f32;
                }
            }
        }
        Ok(stats)
    }

    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        let grads = objective(&self.score(batch, want)?)?;
        for row in 0..batch.tokens.rows() {
            let tokens = batch.tokens.row(row);
            for t in (1..tokens.len()).filter(|&t| batch.scored.row(row)[t]) {
                let Some(logp) = self.actions_after(&tokens[..t], 1.0) else { continue };
                let (hit, slope) = (self.action(tokens[t]), f64::from(grads.logp.row(row)[t]));
                let target = self.gradient.entry(tokens[..t].to_vec()).or_default();
                for (action, by) in target.iter_mut().enumerate() {
                    *by += slope * (f64::from(u8::from(action == hit)) - logp[action].exp());
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        let grad_norm = self.gradient.values().flatten().map(|by| by * by).sum::<f64>().sqrt();
        for (prefix, by) in std::mem::take(&mut self.gradient) {
            let logits = self.table.entry(prefix).or_default();
            logits.iter_mut().zip(by).for_each(|(logit, by)| *logit -= update.learning_rate * by);
        }
        self.version += 1;
        Ok(UpdateStats { grad_norm, weight_norm: 0.0 })
    }

    fn clear_gradient(&mut self) {
        self.gradient.clear();
    }

    fn sample(&self, requests: &[SampleRequest], _: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        let one = |request: &SampleRequest, sample: u64| {
            let Choose::Draw { temperature, .. } = request.choose else { panic!("drawn") };
            let mut row = request.prompt.clone();
            let (mut logp, mut stop) = (Vec::new(), StopReason::Length);
            for t in 0..request.max_new_tokens as u64 {
                let Some(all) = self.actions_after(&row, f64::from(temperature)) else {
                    row.push(self.eos);
                    logp.push(0.0);
                    stop = StopReason::Eos;
                    break;
                };
                let mut left = request.key.at(sample).at(t).uniform();
                let drawn = all.iter().position(|l| {
                    left -= l.exp();
                    left < 0.0
                });
                let drawn = drawn.unwrap_or(ACTIONS - 1);
                row.push(self.actions[drawn]);
                logp.push(all[drawn] as f32);
            }
            Sample { tokens: row[request.prompt.len()..].to_vec(), logp, stop, support: None, routing: None }
        };
        let all = |request| (0..request_samples(request)).map(|sample| one(request, sample)).collect();
        Ok(requests.iter().map(all).collect())
    }

    fn save_model(&self, directory: &Path) -> Result<()> {
        std::fs::write(directory.join("model.safetensors"), format!("{} prefixes", self.table.len())).unwrap();
        Ok(())
    }
    fn save_optimizer(&self, directory: &Path) -> Result<()> {
        std::fs::write(directory.join("optimizer.safetensors"), "none").unwrap();
        Ok(())
    }
    fn restore(&mut self, _: &Path, _: &Path) -> Result<()> {
        unreachable!("these runs are never resumed")
    }
    fn reset_optimizer(&mut self) {}
}

fn request_samples(request: &SampleRequest) -> u64 {
    request.samples as u64
}
