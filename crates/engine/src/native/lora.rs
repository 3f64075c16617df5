//! A model with adapters: making, opening, saving and merging them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use super::layout::{Adapted, Adapter, Layout, PEFT_PREFIX, Slot};
use super::{Native, optimizer};
use crate::hf::AdapterCheckpoint;
use crate::lora::linears;
use crate::{LoraConfig, ModelConfig, TensorSpec};
use lapidary_core::{Key, Kind, Problem, Purpose, Result};

/// The adapters of a model, as they are described on disk.
#[derive(Clone)]
pub(super) struct Lora {
    pub config: LoraConfig,
    pub adapted: Adapted,
    /// `adapter_config.json`.
    raw: Value,
}

impl Lora {
    fn new(config: &LoraConfig, modules: Vec<String>, raw: Value) -> Self {
        let adapted = Adapted {
            rank: config.rank,
            scale: config.scale() as f32,
            modules: modules.into_iter().collect::<HashSet<_>>(),
        };
        Self { config: config.clone(), adapted, raw }
    }
}

impl Native {
    /// Freezes the model and gives its linears adapters: A from the uniform distribution on `±1/√inputs` (as PEFT starts:
    /// Kaiming-uniform with a = √5), B zero, so that nothing changes yet. Value and reward heads go on learning whole. The optimiser
    /// starts anew.
    ///
    /// # Errors
    /// Those of [`LoraConfig::modules`]; `A004` where the model has an adapter already.
    pub fn adapt(&mut self, lora: &LoraConfig, seed: u64) -> Result<()> {
        if self.lora.is_some() {
            return Err(Problem::new(Kind::Usage, "A004", "the model has an adapter already")
                .hint("merge it first, or go on training the one that is there"));
        }
        let modules = lora.modules(&self.config)?;
        let raw = crate::hf::adapter_json(lora, &modules, self.base.as_deref());
        self.rebuild(self.config.clone(), Some(Lora::new(lora, modules, raw)));
        let root = Key::new(seed, Purpose::Initialise);
        let mut flat = std::mem::take(&mut self.flat);
        for Adapter { a, .. } in self.layout.adapters() {
            let bound = 1.0 / (a.inputs as f64).sqrt();
            for part in &a.parts {
                let key = root.at_name(&part.name);
                let draw = |i: u64| ((2.0 * key.at(i).uniform() - 1.0) * bound) as f32;
                let values: Vec<f32> = (0..(part.rows * a.inputs) as u64).map(draw).collect();
                Slot::Matrix(a).write(&mut flat, 0, part, &values);
            }
        }
        self.flat = flat;
        self.halves.take();
        Ok(())
    }

    /// The adapter's shape, where the model has one.
    pub fn adapter(&self) -> Option<&LoraConfig> {
        self.lora.as_ref().map(|lora| &lora.config)
    }

    /// Opens an adapter of PEFT with the model that it adapts: `base`, or the one that the adapter names.
    ///
    /// # Errors
    /// Those of [`AdapterCheckpoint::open`] and of the base model; `M032` for tensors that do not fit it.
    pub fn open_adapter(directory: &Path, base: Option<&Path>, threads: usize) -> Result<Self> {
        let adapter = AdapterCheckpoint::open(directory)?;
        let base = base.map_or_else(|| adapter.base(), |path| Ok(path.to_path_buf()))?;
        let mut native = Self::open(&base, threads)?;
        native.take_adapter(&adapter)?;
        Ok(native)
    }

    /// Puts an opened adapter on a model that has none.
    pub fn take_adapter(&mut self, adapter: &AdapterCheckpoint) -> Result<()> {
        let has = |name: &str| adapter.shape(&format!("{PEFT_PREFIX}{name}")).is_some();
        if has("value_head.weight") {
            self.add_value_head();
        }
        if has("score.weight") || adapter.classifies() {
            self.add_reward_head(0);
        }
        if adapter.classifies() && self.config.language_head {
            self.drop_language_head();
        }
        let all = linears(&self.config);
        let named = |name: &String| has(&format!("{name}.lora_A.weight"));
        let modules: Vec<String> = all.into_iter().filter(named).collect();
        if modules.is_empty() {
            return Err(adapter.misfit("it has no tensors for any linear of the model".into()));
        }
        self.rebuild(self.config.clone(), Some(Lora::new(adapter.lora(), modules, adapter.raw_config().clone())));
        let known: HashSet<String> = self.adapter_tensors().into_iter().map(|(spec, _)| spec.name).collect();
        if let Some(other) = adapter.names().find(|name| !known.contains(*name)) {
            return Err(adapter.misfit(format!("`{other}` has no place in it")));
        }
        self.read_adapter(adapter)
    }

    /// Folds the adapters into the weights, `W + scale·B·A`, and unfreezes the model. Without adapters it does nothing. The
    /// optimiser starts anew.
    pub fn merge_adapter(&mut self) {
        let Some(lora) = &self.lora else { return };
        let (rank, scale) = (lora.adapted.rank, f64::from(lora.adapted.scale));
        let sizes = self.sizes();
        let mut flat = std::mem::take(&mut self.flat);
        for slot in self.layout.slots() {
            let Slot::Matrix(matrix) = slot else { continue };
            let Some(adapter) = &matrix.adapter else { continue };
            for (module, part_a) in adapter.modules.iter().zip(&adapter.a.parts) {
                let a = Slot::Matrix(&adapter.a).read(&flat, 0, part_a, sizes[&part_a.name]);
                let part_b = &module.b.parts[0];
                let b = Slot::Matrix(&module.b).read(&flat, 0, part_b, sizes[&part_b.name]);
                let Some(part) = matrix.parts.iter().find(|part| part.first == module.first) else { continue };
                let mut w = slot.read(&flat, 0, part, sizes[&part.name]);
                for (row, line) in w.chunks_exact_mut(matrix.inputs).enumerate() {
                    for (k, w) in line.iter_mut().enumerate() {
                        let sum = |r: usize| f64::from(b[row * rank + r]) * f64::from(a[r * matrix.inputs + k]);
                        *w = (f64::from(*w) + scale * (0..rank).map(sum).sum::<f64>()) as f32;
                    }
                }
                slot.write(&mut flat, 0, part, &w);
            }
        }
        self.flat = flat;
        self.halves.take();
        self.rebuild(self.config.clone(), None);
    }

    /// Takes another set of heads or adapters; weights that both have are kept, new ones are 0. The optimiser starts anew.
    pub(super) fn rebuild(&mut self, config: ModelConfig, lora: Option<Lora>) {
        let layout = Layout::of(&config, lora.as_ref().map(|lora| &lora.adapted));
        // Trunk and language head stay where they are, unless the language head goes.
        let kept = if layout.head.at == self.layout.head.at { layout.head.at.end } else { 0 };
        let sizes = self.sizes();
        let mut moved = HashMap::new();
        for slot in self.layout.slots().into_iter().filter(|slot| slot.range().start >= kept) {
            for part in slot.parts() {
                moved.insert(part.name.clone(), slot.read(&self.flat, 0, part, sizes[&part.name]));
            }
        }
        let mut flat = std::mem::take(&mut self.flat);
        flat.truncate(kept);
        flat.resize(layout.len, 0.0);
        for slot in layout.slots().into_iter().filter(|slot| slot.range().start >= kept) {
            for part in slot.parts() {
                if let Some(values) = moved.get(&part.name) {
                    slot.write(&mut flat, 0, part, values);
                }
            }
        }
        crate::hf::describe_heads(&mut self.raw_config, &config);
        (self.config, self.layout, self.flat, self.lora, self.learning) = (config, layout, flat, lora, None);
        self.halves.take();
    }

    /// Every tensor that the model holds: its own and its adapters'.
    fn all_tensors(&self) -> Vec<TensorSpec> {
        let mut out = self.config.tensors();
        for Adapter { a, modules, .. } in self.layout.adapters() {
            for part in &a.parts {
                out.push(TensorSpec { name: part.name.clone(), shape: vec![part.rows, a.inputs] });
            }
            for part in modules.iter().flat_map(|module| &module.b.parts) {
                out.push(TensorSpec { name: part.name.clone(), shape: vec![part.rows, modules[0].b.inputs] });
            }
        }
        out
    }

    /// Number of values of every tensor, by name.
    pub(super) fn sizes(&self) -> HashMap<String, usize> {
        self.all_tensors().into_iter().map(|spec| (spec.name.clone(), spec.size())).collect()
    }

    /// The tensors that learn: all but buffers, or heads and adapters where there are adapters.
    pub(super) fn learned_tensors(&self) -> Vec<TensorSpec> {
        let slots = self.layout.slots().into_iter().filter(|slot| self.layout.learned_at(&slot.range()).is_some());
        let learned: HashSet<&String> = slots.flat_map(|slot| slot.parts()).map(|part| &part.name).collect();
        self.all_tensors().into_iter().filter(|spec| learned.contains(&spec.name)).collect()
    }

    /// The tensors of an adapter's file under PEFT's names, each with the model's name.
    fn adapter_tensors(&self) -> Vec<(TensorSpec, String)> {
        let named = |spec: TensorSpec| {
            let own = spec.name.clone();
            let name = if own.starts_with(PEFT_PREFIX) { own.clone() } else { format!("{PEFT_PREFIX}{own}") };
            (TensorSpec { name, ..spec }, own)
        };
        self.learned_tensors().into_iter().map(named).collect()
    }

    /// Writes the adapters, and the heads that learn with them, as PEFT does.
    pub(super) fn save_adapter(&self, lora: &Lora, directory: &Path) -> Result<()> {
        let mut raw = lora.raw.clone();
        if self.config.reward_head {
            raw["modules_to_save"] = json!(["score"]);
        }
        if !self.config.language_head {
            raw["task_type"] = json!("SEQ_CLS");
        }
        let values = |(spec, own): (TensorSpec, String)| {
            let values = self.tensor(&self.flat, 0, &own, spec.size());
            (spec, values)
        };
        crate::hf::save_adapter(directory, &raw, self.adapter_tensors().into_iter().map(values).collect())
    }

    /// Reads what [`Native::save_adapter`] wrote.
    pub(super) fn read_adapter(&mut self, adapter: &AdapterCheckpoint) -> Result<()> {
        let names: HashMap<String, TensorSpec> =
            self.adapter_tensors().into_iter().map(|(spec, own)| (own, spec)).collect();
        for slot in self.layout.slots() {
            for part in slot.parts() {
                if let Some(spec) = names.get(&part.name) {
                    slot.write(&mut self.flat, 0, part, &adapter.read(spec)?);
                }
            }
        }
        Ok(())
    }

    /// As [`crate::Engine::restore`] for a model with adapters.
    pub(super) fn restore_adapter(&mut self, model_directory: &Path, optimizer_directory: &Path) -> Result<()> {
        let adapter = AdapterCheckpoint::open(model_directory)?;
        self.read_adapter(&adapter)?;
        optimizer::restore(self, optimizer_directory)
    }
}
