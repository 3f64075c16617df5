//! Our own forward and backward pass on the CPU.
//!
//! Weights live in one flat array, packed for the one matrix kernel (`gemm`); every sum runs in an order that depends on the
//! data alone. Hence: sampler, scorer and trainer give the same bits for a token, whatever the batch, the threads, or the
//! split between prompt and completion; and the accumulated gradient is the same bits however micro-batches are cut
//! between groups of rows that begin alike.

mod adapter;
mod attention;
mod backward;
mod bf16;
mod choose;
mod experts;
mod gemm;
mod heads;
mod layout;
mod logits;
mod lora;
mod memory;
mod net;
mod optimizer;
mod rope;
mod router;
mod row;
mod rows;
mod sample;
mod simd;
mod support;
mod tape;
mod threads;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use crate::hf::{AdapterCheckpoint, Checkpoint};
use crate::{Engine, ModelConfig, Sample, SampleRequest, TensorSpec, Update, UpdateStats};
use backward::{Answers, Gradient, KEPT_LOGITS_BYTES, Work};
use lapidary_core::{Key, Kind, Problem, Purpose, Result, TokenBatch, TokenGrads, TokenStats, Want};
use layout::{Layout, Slot, Widths};
use net::Net;
use rope::Rope;
use rows::Rows;
use tape::{Keep, Tape, Targets};
use threads::Threads;

pub use bf16::Compute;
pub use memory::Footprint;
pub use simd::Isa;

/// `y[m, outputs] = x[m, inputs] · Wᵀ` with `W` packed as `[outputs/16][inputs][16]`: the kernel that everything runs through, for
/// benchmarks of it.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn packed_product(isa: Isa, m: usize, x: &[f32], packed: &[f32], inputs: usize, y: &mut [f32]) {
    gemm::linear(isa, m, x, inputs, packed, inputs, y, packed.len() / inputs, false);
}

/// Tokens that are scored in one pass, at most: enough for every thread, and a bound on its memory.
const SCORED_TOGETHER: usize = 4096;

/// A decoder on the CPU that scores, samples and learns.
pub struct Native {
    config: ModelConfig,
    /// `config.json` as it was read, so that saving keeps what we do not use.
    raw_config: serde_json::Value,
    raw_generation: Option<serde_json::Value>,
    widths: Widths,
    layout: Layout,
    flat: Vec<f32>,
    isa: Isa,
    threads: Threads,
    rope: RwLock<Arc<Rope>>,
    version: u64,
    /// Buffers of scoring, lent to one caller at a time.
    scoring: Mutex<Tape>,
    learning: Option<Box<Learning>>,
    lora: Option<lora::Lora>,
    /// Where the weights were read from, for adapters to name.
    base: Option<PathBuf>,
    /// Bytes that learning may take.
    memory_limit: Option<usize>,
    compute: Compute,
    /// The weights as bf16, made when they are first needed; whoever changes weights drops it.
    halves: OnceLock<Vec<u16>>,
}

/// What only training needs; made at the first `accumulate`.
#[derive(Default)]
struct Learning {
    gradient: Gradient,
    /// What AdamW remembers, by [`Update::optimizer`]; those that never took a step are empty.
    optimizers: Vec<Moments>,
    tape: Tape,
    work: Work,
    logits: Vec<f32>,
}

/// What AdamW remembers between its steps.
#[derive(Clone, Default)]
struct Moments {
    /// First and second moments.
    both: [Vec<f32>; 2],
    /// Steps since the moments were zero.
    steps: u64,
}

impl Native {
    /// Reads a checkpoint, or an adapter of PEFT together with the model that it names. `threads` = 0 means one per core; the
    /// results do not depend on it.
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        if AdapterCheckpoint::is_at(path) {
            return Self::open_adapter(path, None, threads);
        }
        Self::from_checkpoint(&Checkpoint::open(path)?, threads)
    }

    /// Reads the weights of an opened checkpoint.
    pub fn from_checkpoint(checkpoint: &Checkpoint, threads: usize) -> Result<Self> {
        let mut native = Self::empty(checkpoint.config.clone(), checkpoint.raw_config().clone(), threads)?;
        native.raw_generation = checkpoint.raw_generation_config().cloned();
        native.base = Some(std::path::absolute(checkpoint.path()).unwrap_or_else(|_| checkpoint.path().to_path_buf()));
        native.read_weights(checkpoint)?;
        Ok(native)
    }

    /// A model that starts from nothing: matrices are normal with deviation 0.02, those that write to the residual stream
    /// 0.02/√(2·layers) (Radford et al. 2019, §2.3), norms are 1, biases 0 (that of a router's choice too); all from the seed.
    /// Heads are as [`Native::add_value_head`] and [`Native::add_reward_head`] make them.
    pub fn initialise(config: ModelConfig, seed: u64, threads: usize) -> Result<Self> {
        let raw = crate::hf::config_json(&config);
        let mut native = Self::empty(config, raw, threads)?;
        let root = Key::new(seed, Purpose::Initialise);
        let residual = 0.02 / ((2 * native.config.layers) as f64).sqrt();
        let sizes: HashMap<String, usize> =
            native.config.tensors().into_iter().map(|spec| (spec.name.clone(), spec.size())).collect();
        for slot in native.layout.slots() {
            for part in slot.parts() {
                let key = root.at_name(&part.name);
                let len = sizes[&part.name];
                let draw = |deviation: f64| (0..len as u64).map(|i| (key.at(i).normal() * deviation) as f32).collect();
                let values: Vec<f32> = match &slot {
                    Slot::Buffer(_) => vec![0.0; len],
                    Slot::Vector(_) if part.name.ends_with("bias") => vec![0.0; len],
                    Slot::Vector(_) => vec![1.0; len],
                    Slot::Table(_) if part.name == "value_head.weight" => vec![0.0; len],
                    Slot::Table(_) if part.name == "score.weight" => draw(1.0 / ((len + 1) as f64).sqrt()),
                    _ if part.name.ends_with("o_proj.weight") || part.name.ends_with("down_proj.weight") => {
                        draw(residual)
                    }
                    _ => draw(0.02),
                };
                slot.write(&mut native.flat, 0, part, &values);
            }
        }
        Ok(native)
    }

    fn empty(config: ModelConfig, raw_config: serde_json::Value, threads: usize) -> Result<Self> {
        let layout = Layout::of(&config, None);
        Ok(Self {
            widths: Widths::of(&config),
            flat: vec![0.0; layout.len],
            layout,
            raw_config,
            raw_generation: None,
            isa: Isa::detect(),
            threads: Threads::new(threads)?,
            rope: RwLock::new(Arc::new(Rope::new(&config, config.context.min(512)))),
            version: 0,
            scoring: Mutex::default(),
            learning: None,
            lora: None,
            base: None,
            memory_limit: None,
            compute: Compute::default(),
            halves: OnceLock::new(),
            config,
        })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Uses another instruction set of this machine; results may differ in the last bits.
    pub fn use_isa(&mut self, isa: Isa) {
        self.isa = isa;
    }

    /// In what precision weights are multiplied; f32 unless this says otherwise.
    pub fn compute_in(&mut self, compute: Compute) {
        self.compute = compute;
    }

    /// The weights as bf16, where products are computed in it.
    fn halves(&self) -> Option<&[u16]> {
        let make = || bf16::halves(&self.threads, &self.flat);
        (self.compute == Compute::Bf16).then(|| &self.halves.get_or_init(make)[..])
    }

    /// Limits what learning takes, weights and optimiser included: beyond it activations are computed again instead of kept, and a
    /// micro-batch is learned from in parts. Results are the same bits. What cannot be made smaller (see [`Footprint`] and the
    /// largest group of rows) may exceed it.
    pub fn limit_memory(&mut self, bytes: Option<usize>) {
        self.memory_limit = bytes;
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// A copy of the weights as a model of its own that only scores and samples: the frozen reference of a KL term.
    pub fn frozen(&self) -> Result<Self> {
        let mut copy = Self::empty(self.config.clone(), self.raw_config.clone(), self.threads.count())?;
        copy.rebuild(self.config.clone(), self.lora.clone());
        copy.flat.copy_from_slice(&self.flat);
        copy.version = self.version;
        copy.isa = self.isa;
        copy.compute = self.compute;
        Ok(copy)
    }

    fn read_weights(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let specs: HashMap<String, TensorSpec> =
            self.config.tensors().into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        self.halves = OnceLock::new();
        for slot in self.layout.slots() {
            for part in slot.parts() {
                slot.write(&mut self.flat, 0, part, &checkpoint.read(&specs[&part.name])?);
            }
        }
        Ok(())
    }

    /// Angles for at least `length` positions.
    fn rope(&self, length: usize) -> Arc<Rope> {
        let current = self.rope.read().unwrap_or_else(PoisonError::into_inner).clone();
        if current.length() >= length {
            return current;
        }
        let longer = Arc::new(Rope::new(&self.config, length.next_power_of_two().min(self.config.context.max(length))));
        *self.rope.write().unwrap_or_else(PoisonError::into_inner) = longer.clone();
        longer
    }

    fn net<'a>(&'a self, rope: &'a Rope) -> Net<'a> {
        Net {
            c: &self.config,
            w: self.widths,
            layout: &self.layout,
            flat: &self.flat,
            isa: self.isa,
            rope,
            adapters: true,
            halves: self.halves(),
            split: None,
        }
    }

    /// Refuses ids that the embedding does not have, and rows beyond the context.
    fn check(&self, batch: &TokenBatch, want: Want) -> Result<()> {
        if let Some(id) = batch.tokens.flat().iter().find(|id| **id as usize >= self.config.vocabulary) {
            return Err(outside_vocabulary(*id, self.config.vocabulary));
        }
        if let Some((row, n)) = batch.tokens.lengths().enumerate().find(|(_, n)| *n > self.config.context) {
            let context = self.config.context;
            return Err(Problem::new(
                Kind::Data,
                "N004",
                format!("row {row} has {n} tokens but the model's context is {context}"),
            )
            .hint("shorten the row or use a model with a longer context"));
        }
        heads::check(&self.config, batch, want)?;
        support::check(batch, self.config.vocabulary)?;
        router::check(&self.config, batch)
    }

    /// What an objective answers has the shape of what it was told.
    fn check_answer(&self, batch: &TokenBatch, grads: &TokenGrads) {
        let per_token = [Some(&grads.logp), grads.entropy.as_ref(), grads.value.as_ref()];
        for grads in per_token.into_iter().flatten() {
            assert!(grads.same_shape(&batch.tokens), "the objective answers one derivative per token");
        }
        let reward = grads.reward.as_ref();
        assert!(reward.is_none_or(|grads| grads.len() == batch.tokens.rows()), "one derivative of the reward per row");
        assert!(
            grads.value.is_none() || self.config.value_head,
            "a derivative of a value that the model does not have"
        );
        assert!(reward.is_none() || self.config.reward_head, "a derivative of a reward that the model does not have");
    }
}

/// A token id that the model has no embedding for.
fn outside_vocabulary(id: u32, vocabulary: usize) -> Problem {
    Problem::new(Kind::Data, "N005", format!("token id {id} is outside the model's vocabulary of {vocabulary}"))
        .hint("use the tokenizer that belongs to the model")
}

fn longest(batch: &TokenBatch) -> usize {
    batch.tokens.lengths().max().unwrap_or(0)
}

impl Engine for Native {
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
        self.score_with(batch, want, true)
    }

    fn score_base(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats> {
        self.score_with(batch, want, false)
    }

    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        self.check(batch, want)?;
        let mut learning = self.learning.take().unwrap_or_default();
        let footprint = Footprint::with(&self.config, &self.layout, self.threads.count());
        let footprint = if self.compute == Compute::Bf16 { footprint.in_bf16() } else { footprint };
        let (keep, parts) = footprint.choose(self.memory_limit, batch);
        let result = match &parts[..] {
            [] | [_] => self.accumulate_into(batch, &self.rows(batch, want), keep, want, objective, &mut learning),
            _ => self.accumulate_parts(batch, &parts, keep, want, objective, &mut learning),
        };
        self.learning = Some(learning);
        result
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        let mut learning = self.learning.take().unwrap_or_default();
        learning.prepare(&self.layout);
        learning.gradient.merge(&self.layout);
        let result = optimizer::step(&self.layout, &self.threads, self.isa, update, &mut self.flat, &mut learning);
        if result.is_ok() {
            self.version += 1;
            self.halves = OnceLock::new();
        }
        self.learning = Some(learning);
        result
    }

    fn clear_gradient(&mut self) {
        if let Some(learning) = &mut self.learning {
            learning.gradient.clear();
        }
    }

    fn sample(&self, requests: &[SampleRequest], progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        let length = requests.iter().map(|r| r.prompt.len() + r.max_new_tokens).max().unwrap_or(0);
        if !self.config.language_head && !requests.is_empty() {
            return Err(heads::no_language_head());
        }
        let rope = self.rope(length.min(self.config.context));
        sample::sample(self.net(&rope), &self.threads, requests, progress)
    }

    fn save_model(&self, directory: &Path) -> Result<()> {
        if let Some(lora) = &self.lora {
            return self.save_adapter(lora, directory);
        }
        let tensors = self.config.tensors().into_iter().map(|spec| {
            let values = self.tensor(&self.flat, 0, &spec.name, spec.shape.iter().product());
            (spec, values)
        });
        crate::hf::save(directory, &self.raw_config, self.raw_generation.as_ref(), tensors)
    }

    fn save_reward_model(&self, directory: &Path) -> Result<()> {
        let mut copy = self.frozen()?;
        copy.raw_generation = None;
        if copy.config.language_head {
            copy.drop_language_head();
        }
        copy.save_model(directory)
    }

    fn save_optimizer(&self, directory: &Path) -> Result<()> {
        optimizer::save(self, directory)
    }

    fn restore(&mut self, model_directory: &Path, optimizer_directory: &Path) -> Result<()> {
        if self.lora.is_some() {
            return self.restore_adapter(model_directory, optimizer_directory);
        }
        self.read_weights(&Checkpoint::open(model_directory)?)?;
        optimizer::restore(self, optimizer_directory)
    }

    fn learned(&self) -> &[f32] {
        &self.flat[self.layout.learned.clone()]
    }

    fn set_learned(&mut self, values: &[f32]) {
        self.flat[self.layout.learned.clone()].copy_from_slice(values);
        self.halves = OnceLock::new();
    }

    fn reset_optimizer(&mut self) {
        if let Some(learning) = &mut self.learning {
            learning.optimizers.clear();
        }
    }
}

impl Native {
    /// A tensor out of an array that is laid out as the weights from `origin` on.
    fn tensor(&self, flat: &[f32], origin: usize, name: &str, len: usize) -> Vec<f32> {
        for slot in self.layout.slots() {
            if let Some(part) = slot.parts().iter().find(|p| p.name == name) {
                return slot.read(flat, origin, part, len);
            }
        }
        unreachable!("{name} is a tensor of the model, and every one has a slot")
    }

    /// The accumulated gradient of a tensor, row-major, for tests and diagnosis; empty before any `accumulate` and for what is
    /// frozen.
    pub fn gradient(&self, name: &str) -> Vec<f32> {
        let spec = self.learned_tensors().into_iter().find(|spec| spec.name == name);
        let (Some(learning), Some(spec)) = (&self.learning, spec) else { return Vec::new() };
        let mut all = learning.gradient.clone();
        all.merge(&self.layout);
        self.tensor(&all.flat, self.layout.learned.start, name, spec.size())
    }

    /// Scores a batch in parts of whole groups, with or without its adapters.
    fn score_with(&self, batch: &TokenBatch, want: Want, adapters: bool) -> Result<TokenStats> {
        self.check(batch, want)?;
        let mut tape = self.scoring.lock().unwrap_or_else(PoisonError::into_inner);
        match &batch.microbatches(SCORED_TOGETHER)[..] {
            [] | [_] => Ok(self.score_part(batch, want, adapters, &mut tape)),
            parts => {
                let of_part = |part: &Range<usize>| {
                    let rows: Vec<usize> = part.clone().collect();
                    self.score_part(&batch.select(&rows), want, adapters, &mut tape)
                };
                Ok(memory::join(parts.iter().map(of_part).collect()))
            }
        }
    }

    /// A batch laid out for computing. Rewards and routing are asked of last tokens too.
    fn rows(&self, batch: &TokenBatch, want: Want) -> Rows {
        Rows::of(batch, self.config.reward_head || want.routing)
    }

    fn score_part(&self, batch: &TokenBatch, want: Want, adapters: bool, tape: &mut Tape) -> TokenStats {
        let rope = self.rope(longest(batch));
        let net = Net { adapters, ..self.net(&rope) };
        let rows = self.rows(batch, want);
        let targets = Targets::of(batch, &rows);
        net.forward(&self.threads, &rows, Keep::Nothing, tape);
        let found = net.statistics(&self.threads, &targets, &tape.stream, want, &mut Vec::new(), None);
        let mut stats = net.told(batch, &rows, &targets, &found, &tape.stream, want);
        stats.routing = want.routing.then(|| tape.routing(batch, &rows, self.widths.routing));
        stats
    }

    /// Asks the objective about the whole batch, then learns from one part after another: two forward passes, memory for one part.
    fn accumulate_parts(
        &self,
        batch: &TokenBatch,
        parts: &[Range<usize>],
        keep: Keep,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
        learning: &mut Learning,
    ) -> Result<()> {
        let part_of = |part: &Range<usize>| batch.select(&part.clone().collect::<Vec<_>>());
        let told = parts.iter().map(|part| self.score_part(&part_of(part), want, true, &mut learning.tape)).collect();
        let grads = objective(&memory::join(told))?;
        self.check_answer(batch, &grads);
        for part in parts {
            let batch = part_of(part);
            let answer = &mut |_: &TokenStats| Ok(memory::part_of(&grads, part.clone()));
            self.accumulate_into(&batch, &self.rows(&batch, want), keep, want, answer, learning)?;
        }
        Ok(())
    }

    fn accumulate_into(
        &self,
        batch: &TokenBatch,
        rows: &Rows,
        keep: Keep,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
        learning: &mut Learning,
    ) -> Result<()> {
        learning.prepare(&self.layout);
        let rope = self.rope(longest(batch));
        let net = self.net(&rope);
        let targets = Targets::of(batch, rows);
        net.forward(&self.threads, rows, keep, &mut learning.tape);
        let kept = targets.len() * self.widths.vocabulary * 4 <= KEPT_LOGITS_BYTES;
        let logits = kept.then_some(&mut learning.logits);
        let found = net.statistics(&self.threads, &targets, &learning.tape.stream, want, &mut Vec::new(), logits);
        let mut stats = net.told(batch, rows, &targets, &found, &learning.tape.stream, want);
        stats.routing = want.routing.then(|| learning.tape.routing(batch, rows, self.widths.routing));
        let grads = objective(&stats)?;
        self.check_answer(batch, &grads);
        let answers = Answers::of(&targets, &found, grads);
        let logits = kept.then_some(&mut learning.logits);
        net.backward(
            &self.threads,
            rows,
            &targets,
            &answers,
            &mut learning.tape,
            logits,
            &mut learning.work,
            &mut learning.gradient,
        );
        Ok(())
    }
}

impl Learning {
    /// Makes the arrays that training needs.
    fn prepare(&mut self, layout: &Layout) {
        self.gradient.flat.resize(layout.learned.len(), 0.0);
    }

    /// The optimiser's state of that number, made where it is new.
    fn optimizer(&mut self, number: usize, layout: &Layout) -> &mut Moments {
        if self.optimizers.len() <= number {
            self.optimizers.resize_with(number + 1, Moments::default);
        }
        let moments = &mut self.optimizers[number];
        moments.both.iter_mut().for_each(|array| array.resize(layout.learned.len(), 0.0));
        moments
    }
}
