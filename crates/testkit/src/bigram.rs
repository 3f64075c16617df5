//! A language model that looks at one token: `p(next | last) = softmax(W[last] / temperature)`.

use std::fs;
use std::path::Path;

use lapidary_core::Key;
use lapidary_core::{Kind, Problem, Ragged, Result, StopReason, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::{Choose, Engine, Family, ModelConfig, Sample, SampleRequest, Update, UpdateStats};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

const WEIGHTS: &str = "bigram";
const MODEL_FILE: &str = "model.safetensors";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// The toy. It keeps every promise of [`Engine`]: sampler and scorer give the same bits, gradients add up to the same bits
/// however rows are split, and what is saved goes on bit for bit.
#[derive(Clone, Debug)]
pub struct Bigram {
    config: ModelConfig,
    /// `[vocabulary, vocabulary]`, then a value per previous token where there is a value head.
    weights: Vec<f32>,
    gradient: Vec<f64>,
    /// By [`Update::optimizer`].
    optimizers: Vec<Moments>,
    version: u64,
}

/// What AdamW remembers between its steps.
#[derive(Clone, Debug)]
struct Moments {
    both: [Vec<f32>; 2],
    /// Steps since the moments were zero.
    steps: u64,
}

impl Bigram {
    /// A model whose weights are small normals of `key`; `eos` ends an answer.
    pub fn new(vocabulary: usize, context: usize, eos: u32, key: Key) -> Self {
        let size = vocabulary * vocabulary;
        Self {
            config: ModelConfig {
                family: Family::Llama,
                vocabulary,
                hidden: vocabulary,
                layers: 1,
                heads: 1,
                kv_heads: 1,
                head_width: 2,
                rotary_width: 2,
                feed_forward: 1,
                experts: None,
                context,
                rope_theta: 1e4,
                rope_scaling: None,
                norm_epsilon: 1e-5,
                qkv_bias: false,
                output_bias: false,
                qk_norm: false,
                tied: true,
                language_head: true,
                value_head: false,
                reward_head: false,
                bos: None,
                eos: vec![eos],
            },
            weights: (0..size as u64).map(|i| (0.1 * key.at(i).normal()) as f32).collect(),
            gradient: vec![0.0; size],
            optimizers: Vec::new(),
            version: 0,
        }
    }

    /// The same with a value head that says 0: V(state) is one number per previous token.
    #[must_use]
    pub fn with_value_head(mut self) -> Self {
        self.config.value_head = true;
        let size = self.config.vocabulary * (self.config.vocabulary + 1);
        self.weights.resize(size, 0.0);
        self.optimizers.clear();
        self.gradient.resize(size, 0.0);
        self
    }

    /// What each previous token is worth, where there is a value head.
    pub fn values(&self) -> &[f32] {
        &self.weights[self.config.vocabulary.pow(2)..]
    }

    /// The same with a reward head that says 0: a sequence's reward is the mean of one number per token. Not with a value head.
    #[must_use]
    pub fn with_reward_head(mut self) -> Self {
        assert!(!self.config.value_head, "one head at a time");
        self = self.with_value_head();
        (self.config.value_head, self.config.reward_head) = (false, true);
        self
    }

    fn reward(&self, tokens: &[u32]) -> f32 {
        let sum: f64 = tokens.iter().map(|token| f64::from(self.values()[*token as usize])).sum();
        (sum / tokens.len().max(1) as f64) as f32
    }

    /// The weights, row by row.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weights, to be broken by a test.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// Log-probabilities of every next token.
    fn log_softmax(&self, last: u32, temperature: f32) -> Vec<f64> {
        let v = self.config.vocabulary;
        let row = &self.weights[last as usize * v..(last as usize + 1) * v];
        let logits: Vec<f64> = row.iter().map(|w| f64::from(*w) / f64::from(temperature)).collect();
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + max;
        logits.iter().map(|x| x - log_sum).collect()
    }

    fn continue_once(&self, request: &SampleRequest, sample: u64) -> Sample {
        let mut last = *request.prompt.last().expect("a prompt has a token");
        let support = (request.record.support && request.choose.cuts()).then(Ragged::new);
        let mut out = Sample { tokens: Vec::new(), logp: Vec::new(), stop: StopReason::Length, support, routing: None };
        for t in 0..request.max_new_tokens {
            let (token, logp) = match request.choose {
                Choose::Greedy => {
                    let logp = self.log_softmax(last, 1.0);
                    let best = (0..logp.len()).fold(0, |best, v| if logp[v] > logp[best] { v } else { best });
                    (best, logp[best])
                }
                Choose::Draw { temperature, top_k, top_p } => {
                    let whole = self.log_softmax(last, temperature);
                    let kept = likeliest(&whole, top_k, top_p);
                    let cut = within(&whole, &kept);
                    let drawn = draw(&kept, &cut, request.key.at(sample).at(t as u64).uniform());
                    let logp = if out.support.is_some() { cut[drawn as usize] } else { whole[drawn as usize] };
                    if let Some(support) = &mut out.support {
                        support.push(kept);
                    }
                    (drawn as usize, logp)
                }
            };
            last = token as u32;
            out.tokens.push(last);
            out.logp.push(logp as f32);
            if request.stop_tokens.contains(&last) {
                out.stop = StopReason::Eos;
                break;
            }
        }
        out
    }
}

/// The ids that top-k and top-p keep, ascending; empty where that is all of them.
fn likeliest(logp: &[f64], top_k: usize, top_p: f32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logp.len() as u32).collect();
    order.sort_by(|a, b| logp[*b as usize].total_cmp(&logp[*a as usize]));
    order.truncate(if top_k == 0 { logp.len() } else { top_k });
    if top_p < 1.0 {
        let mut reached = 0.0;
        let count = order.iter().take_while(|&&id| {
            let more = reached < f64::from(top_p);
            reached += logp[id as usize].exp();
            more
        });
        order.truncate(count.count().max(1));
    }
    order.sort_unstable();
    if order.len() == logp.len() { Vec::new() } else { order }
}

/// Log-probabilities of the distribution cut to `kept`; an empty list cuts nothing. Others are −∞.
fn within(logp: &[f64], kept: &[u32]) -> Vec<f64> {
    if kept.is_empty() {
        return logp.to_vec();
    }
    let log_sum = kept.iter().map(|id| logp[*id as usize].exp()).sum::<f64>().ln();
    let mut out = vec![f64::NEG_INFINITY; logp.len()];
    kept.iter().for_each(|&id| out[id as usize] = logp[id as usize] - log_sum);
    out
}

/// Inverse of the cumulative distribution, in the order of ids.
fn draw(kept: &[u32], logp: &[f64], uniform: f64) -> u32 {
    let mut left = uniform;
    for (id, logp) in logp.iter().enumerate() {
        left -= logp.exp();
        if left < 0.0 {
            return id as u32;
        }
    }
    kept.last().copied().unwrap_or(logp.len() as u32 - 1)
}

fn entropy(logp: &[f64]) -> f64 {
    -logp.iter().map(|l| l.exp() * l).sum::<f64>()
}

/// The ids that token `t` of a row was drawn from; empty is all.
fn support(batch: &TokenBatch, row: usize, t: usize) -> &[u32] {
    batch.support.as_ref().map_or(&[], |support| support.row(batch.tokens.start_of(row) + t))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn write(path: &Path, shape: Vec<usize>, tensors: &[(&str, &[f32])], note: &str) -> Result<()> {
    let raw: Vec<(&str, Vec<u8>)> = tensors.iter().map(|(name, values)| (*name, bytes(values))).collect();
    let views = raw.iter().map(|(name, raw)| {
        (*name, TensorView::new(Dtype::F32, shape.clone(), raw).expect("a shape that fits its data"))
    });
    let note = [("note".to_string(), note.to_string())].into_iter().collect();
    let file = safetensors::serialize(views, Some(note)).expect("tensors that can be written");
    fs::write(path, file).map_err(|error| Problem::io("write", path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Problem::io("read", path, &error))
}

fn tensor(path: &Path, file: &[u8], name: &str) -> Result<Vec<f32>> {
    let broken = |error: safetensors::SafeTensorError| {
        Problem::new(Kind::Model, "M008", format!("`{}`: {error}", path.display()))
    };
    let tensors = SafeTensors::deserialize(file).map_err(broken)?;
    let data = tensors.tensor(name).map_err(broken)?.data().to_vec();
    Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

impl Engine for Bigram {
    fn samples_as_scored(&self) -> bool {
        true
    }

    fn model(&self) -> &ModelConfig {
        &self.config
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn score(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats> {
        if (want.value && !self.config.value_head) || (want.reward && !self.config.reward_head) {
            let head = if want.reward { "reward" } else { "value" };
            return Err(Problem::new(Kind::Model, "N007", format!("the model has no {head} head")));
        }
        let zeros = || batch.tokens.like(0.0f32);
        let mut stats = TokenStats {
            logp: zeros(),
            entropy: zeros(),
            top: want.top.then(|| [zeros(), zeros()]),
            mean_nll: want.mean_nll.then(zeros),
            value: want.value.then(zeros),
            reward: want.reward.then(|| batch.tokens.iter().map(|tokens| self.reward(tokens)).collect()),
            ..Default::default()
        };
        for row in 0..batch.tokens.rows() {
            let tokens = batch.tokens.row(row);
            for t in (1..tokens.len()).filter(|&t| batch.scored.row(row)[t]) {
                let whole = self.log_softmax(tokens[t - 1], batch.temperature[row]);
                let cut = within(&whole, support(batch, row, t));
                stats.logp.row_mut(row)[t] = cut[tokens[t] as usize] as f32;
                if want.entropy {
                    stats.entropy.row_mut(row)[t] = entropy(&whole) as f32;
                }
                if let Some(top) = &mut stats.top {
                    let mut order = whole.clone();
                    order.sort_by(|a, b| b.total_cmp(a));
                    top.iter_mut().zip(&order).for_each(|(top, logp)| top.row_mut(row)[t] = logp.exp() as f32);
                }
                if let Some(value) = &mut stats.value {
                    value.row_mut(row)[t] = self.values()[tokens[t - 1] as usize];
                }
                if let Some(mean_nll) = &mut stats.mean_nll {
                    mean_nll.row_mut(row)[t] = (-whole.iter().sum::<f64>() / whole.len() as f64) as f32;
                }
            }
        }
        Ok(stats)
    }

    /// With `p` the distribution, `q` the same cut to the token's support, `T` the temperature and `H` the entropy of `p`:
    /// `d logp(y)/dW_j = (1[j = y] − q_j) / T` and `dH/dW_j = −p_j (log p_j + H) / T`.
    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        let grads = objective(&self.score(batch, want)?)?;
        let v = self.config.vocabulary;
        for row in 0..batch.tokens.rows() {
            let tokens = batch.tokens.row(row);
            let temperature = f64::from(batch.temperature[row]);
            if let Some(reward) = &grads.reward {
                let share = f64::from(reward[row]) / tokens.len().max(1) as f64;
                tokens.iter().for_each(|token| self.gradient[v * v + *token as usize] += share);
            }
            for t in (1..tokens.len()).filter(|&t| batch.scored.row(row)[t]) {
                let logp = self.log_softmax(tokens[t - 1], batch.temperature[row]);
                let cut = within(&logp, support(batch, row, t));
                let h = entropy(&logp);
                let by_logp = f64::from(grads.logp.row(row)[t]);
                let by_entropy = grads.entropy.as_ref().map_or(0.0, |grads| f64::from(grads.row(row)[t]));
                if let Some(value) = &grads.value {
                    self.gradient[v * v + tokens[t - 1] as usize] += f64::from(value.row(row)[t]);
                }
                let target = &mut self.gradient[tokens[t - 1] as usize * v..][..v];
                for j in 0..v {
                    let hit = if j == tokens[t] as usize { 1.0 } else { 0.0 };
                    let slope = by_logp * (hit - cut[j].exp()) - by_entropy * logp[j].exp() * (logp[j] + h);
                    target[j] += slope / temperature;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        let norm = self.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !norm.is_finite() {
            self.clear_gradient();
            return Err(Problem::new(Kind::Diverged, "N001", format!("the gradient of tensor `{WEIGHTS}` is {norm}")));
        }
        let scale = update.max_grad_norm.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0));
        let size = self.weights.len();
        if self.optimizers.len() <= update.optimizer {
            self.optimizers
                .resize(update.optimizer + 1, Moments { both: [vec![0.0; size], vec![0.0; size]], steps: 0 });
        }
        let Moments { both: [first, second], steps } = &mut self.optimizers[update.optimizer];
        *steps += 1;
        self.version += 1;
        let (c1, c2) = (1.0 - update.beta1.powi(*steps as i32), 1.0 - update.beta2.powi(*steps as i32));
        for i in 0..self.weights.len() {
            let g = self.gradient[i] * scale;
            let m = update.beta1 * f64::from(first[i]) + (1.0 - update.beta1) * g;
            let s = update.beta2 * f64::from(second[i]) + (1.0 - update.beta2) * g * g;
            (first[i], second[i]) = (m as f32, s as f32);
            let w = f64::from(self.weights[i]) * (1.0 - update.learning_rate * update.weight_decay);
            self.weights[i] = (w - update.learning_rate * (m / c1) / ((s / c2).sqrt() + update.epsilon)) as f32;
        }
        self.clear_gradient();
        let weight_norm = self.weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        Ok(UpdateStats { grad_norm: norm, weight_norm })
    }

    fn clear_gradient(&mut self) {
        self.gradient.fill(0.0);
    }

    fn sample(&self, requests: &[SampleRequest], progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        let mut out = Vec::with_capacity(requests.len());
        for request in requests {
            assert!(request.prompt.len() + request.max_new_tokens <= self.config.context, "beyond the context");
            let samples: Vec<Sample> =
                (0..request.samples as u64).map(|sample| self.continue_once(request, sample)).collect();
            progress(samples.iter().map(|sample| sample.tokens.len()).sum());
            out.push(samples);
        }
        Ok(out)
    }

    fn save_model(&self, directory: &Path) -> Result<()> {
        let v = self.config.vocabulary;
        let config = serde_json::to_vec_pretty(&self.config).expect("a shape is plain data");
        let path = directory.join("config.json");
        fs::write(&path, config).map_err(|error| Problem::io("write", &path, &error))?;
        write(&directory.join(MODEL_FILE), vec![self.weights.len() / v, v], &[(WEIGHTS, &self.weights)], "")
    }

    fn save_optimizer(&self, directory: &Path) -> Result<()> {
        let v = self.config.vocabulary;
        let moments = self.optimizers.iter().flat_map(|optimizer| optimizer.both.iter().map(Vec::as_slice));
        let names: Vec<String> = (0..2 * self.optimizers.len()).map(|at| at.to_string()).collect();
        let tensors: Vec<(&str, &[f32])> = names.iter().map(String::as_str).zip(moments).collect();
        let steps: Vec<String> = self.optimizers.iter().map(|optimizer| format!(" {}", optimizer.steps)).collect();
        let note = format!("{}{}", self.version, steps.concat());
        write(&directory.join(OPTIMIZER_FILE), vec![self.weights.len() / v, v], &tensors, &note)
    }

    fn restore(&mut self, model_directory: &Path, optimizer_directory: &Path) -> Result<()> {
        let (model, optimizer) = (model_directory.join(MODEL_FILE), optimizer_directory.join(OPTIMIZER_FILE));
        self.weights = tensor(&model, &read(&model)?, WEIGHTS)?;
        let file = read(&optimizer)?;
        let (_, header) = SafeTensors::read_metadata(&file).expect("just read");
        let note = header.metadata().as_ref().and_then(|notes| notes.get("note").cloned()).unwrap_or_default();
        let numbers: Vec<u64> = note.split(' ').filter_map(|number| number.parse().ok()).collect();
        self.version = numbers[0];
        self.optimizers = numbers[1..]
            .iter()
            .enumerate()
            .map(|(at, &steps)| {
                let moment = |at: usize| tensor(&optimizer, &file, &at.to_string());
                Ok(Moments { both: [moment(2 * at)?, moment(2 * at + 1)?], steps })
            })
            .collect::<Result<_>>()?;
        self.clear_gradient();
        Ok(())
    }

    fn learned(&self) -> &[f32] {
        &self.weights
    }

    fn set_learned(&mut self, values: &[f32]) {
        self.weights.copy_from_slice(values);
    }

    fn reset_optimizer(&mut self) {
        self.optimizers.clear();
    }
}

#[cfg(test)]
mod tests;
