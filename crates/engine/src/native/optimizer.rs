//! AdamW over the flat array, and its state on disk.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use super::layout::Layout;
use super::row::{self, Adam};
use super::simd::Isa;
use super::threads::{Shared, Threads};
use super::{Learning, Moments, Native};
use crate::{TensorSpec, Update, UpdateStats};
use lapidary_core::{Kind, Problem, Result};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};

/// Values summed in f32 lanes before the partial sum goes to f64, and updated by one task; a multiple of 16.
const CHUNK: usize = 1 << 14;
/// File name of the optimiser's state.
const FILE: &str = "optimizer.safetensors";
/// Name of the header's only entry: steps of the optimiser, steps of the weights, and then those of further optimisers.
const COUNTS: &str = "steps_and_version";
/// Prefixes of the two moments in that file.
const MOMENTS: [&str; 2] = ["first", "second"];

/// Root of the sum of squares: chunks in order, so the bits do not depend on threads.
fn norm(threads: &Threads, isa: Isa, values: &[f32]) -> f64 {
    let chunks: Vec<&[f32]> = values.chunks(CHUNK).collect();
    let mut sums = vec![0.0f32; chunks.len()];
    let out = Shared::new(&mut sums);
    threads.each(chunks.len(), |i| {
        let x = chunks[i];
        // SAFETY: the flat array and its chunks are whole lanes; each sum is one task's.
        unsafe { out.part(i..i + 1)[0] = row::dot(isa, x.len(), x.as_ptr(), x.as_ptr()) };
    });
    sums.iter().map(|s| f64::from(*s)).sum::<f64>().sqrt()
}

/// One step; see [`crate::Engine::step`].
pub(super) fn step(
    layout: &Layout,
    threads: &Threads,
    isa: Isa,
    update: &Update,
    flat: &mut [f32],
    learning: &mut Learning,
) -> Result<UpdateStats> {
    let grad_norm = norm(threads, isa, &learning.gradient.flat);
    if !grad_norm.is_finite() {
        let problem = not_finite(layout, &learning.gradient.flat);
        learning.gradient.flat.fill(0.0);
        return Err(problem);
    }
    let scale = match update.max_grad_norm {
        Some(max) if grad_norm > max => max / grad_norm,
        _ => 1.0,
    };
    learning.optimizer(update.optimizer, layout).steps += 1;
    let Learning { gradient, optimizers, .. } = learning;
    let Moments { both: [first, second], steps } = &mut optimizers[update.optimizer];
    let t = *steps as f64;
    let constants = |decay: f64| Adam {
        scale: scale as f32,
        beta1: update.beta1 as f32,
        beta2: update.beta2 as f32,
        correction1: (1.0 / (1.0 - update.beta1.powf(t))) as f32,
        correction2: (1.0 / (1.0 - update.beta2.powf(t))) as f32,
        learning_rate: update.learning_rate as f32,
        epsilon: update.epsilon as f32,
        keep: (1.0 - update.learning_rate * decay) as f32,
    };
    let mut tasks = Vec::new();
    for slot in layout.slots() {
        let Some(learned) = layout.learned_at(&slot.range()) else { continue };
        let decay = if slot.decays() || update.decay_all { update.weight_decay } else { 0.0 };
        for start in learned.clone().step_by(CHUNK) {
            tasks.push((start, CHUNK.min(learned.end - start), decay));
        }
    }
    let weights = &mut flat[layout.learned.clone()];
    let arrays = [&mut *weights, &mut gradient.flat, first, second].map(Shared::new);
    threads.each(tasks.len(), |task| {
        let (start, len, decay) = tasks[task];
        // SAFETY: tasks are disjoint ranges of whole lanes.
        unsafe {
            let [w, g, m, v] = arrays.map(|a| a.part(start..start + len).as_mut_ptr());
            row::adam(isa, len, constants(decay), w, g, m, v);
        }
    });
    Ok(UpdateStats { grad_norm, weight_norm: norm(threads, isa, &flat[layout.learned.clone()]) })
}

/// Names the first tensor whose gradient is not finite.
fn not_finite(layout: &Layout, gradient: &[f32]) -> Problem {
    let name = layout
        .slots()
        .into_iter()
        .filter_map(|slot| Some((slot, layout.learned_at(&slot.range())?)))
        .find(|(_, at)| !gradient[at.clone()].iter().all(|g| g.is_finite()))
        .map_or_else(|| "the sum of squares".to_string(), |(slot, _)| format!("`{}`", slot.parts()[0].name));
    Problem::new(
        Kind::Diverged,
        "N002",
        format!("the gradient of {name} is not finite; weights and optimiser are untouched"),
    )
    .hint("lower `learning_rate`, set `max_grad_norm`, or look at the step's samples for a broken reward")
}

/// A moment of one tensor, unpacked only when it is written.
struct Moment<'a> {
    native: &'a Native,
    array: &'a [f32],
    spec: TensorSpec,
}

impl View for Moment<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values =
            self.native.tensor(self.array, self.native.layout.learned.start, &self.spec.name, self.spec.size());
        Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.spec.shape.iter().product::<usize>()
    }
}

/// The prefix of a moment's tensors in the file.
fn prefix(number: usize, moment: &str) -> String {
    match number {
        0 => moment.to_string(),
        _ => format!("{number}.{moment}"),
    }
}

/// Writes the moments under the names of their tensors.
pub(super) fn save(native: &Native, directory: &Path) -> Result<()> {
    let path = directory.join(FILE);
    let optimizers = native.learning.as_ref().map_or(&[][..], |learning| &learning.optimizers);
    let mut tensors = Vec::new();
    for (number, optimizer) in optimizers.iter().enumerate().filter(|(_, optimizer)| optimizer.steps > 0) {
        for (array, moment) in optimizer.both.iter().zip(MOMENTS) {
            for spec in native.learned_tensors() {
                let name = format!("{}.{}", prefix(number, moment), spec.name);
                tensors.push((name, Moment { native, array, spec }));
            }
        }
    }
    // One entry: the header is a hash map, and two would be written in either order.
    let mut counts = vec![optimizers.first().map_or(0, |first| first.steps), native.version];
    counts.extend(optimizers.iter().skip(1).map(|other| other.steps));
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    let counts = HashMap::from([(COUNTS.to_string(), counts.join(" "))]);
    safetensors::serialize_to_file(tensors, Some(counts), &path).map_err(|error| match error {
        SafeTensorError::IoError(error) => Problem::io("write", &path, &error),
        error => Problem::new(Kind::Failed, "M041", format!("could not write `{}`: {error}", path.display())),
    })
}

/// Steps of each optimiser, and of the weights, as [`save`] wrote them.
fn read_counts(text: &str) -> Option<(Vec<u64>, u64)> {
    let mut counts = text.split(' ').map(|count| count.parse().ok()).collect::<Option<Vec<u64>>>()?;
    (counts.len() >= 2).then(|| {
        let version = counts.remove(1);
        (counts, version)
    })
}

/// Reads what [`save`] wrote.
pub(super) fn restore(native: &mut Native, directory: &Path) -> Result<()> {
    let path = directory.join(FILE);
    let broken = |what: String| {
        Problem::new(Kind::Model, "M040", format!("`{}` cannot be continued from: {what}", path.display()))
            .hint("use an earlier checkpoint, or start over with --fresh")
    };
    let bytes = std::fs::read(&path).map_err(|error| Problem::io("read", &path, &error))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let counts = metadata.metadata().as_ref().and_then(|m| m.get(COUNTS)).and_then(|text| read_counts(text));
    let (steps, version) = counts.ok_or_else(|| broken(format!("it does not say `{COUNTS}`")))?;
    let mut learning = Learning::default();
    learning.prepare(&native.layout);
    for (number, steps) in steps.into_iter().enumerate().filter(|(_, steps)| *steps > 0) {
        let optimizer = learning.optimizer(number, &native.layout);
        optimizer.steps = steps;
        for (array, moment) in optimizer.both.iter_mut().zip(MOMENTS) {
            read_moment(native, &file, &prefix(number, moment), array).map_err(&broken)?;
        }
    }
    native.version = version;
    native.learning = Some(Box::new(learning));
    Ok(())
}

/// Reads a moment of every tensor that learns into `array`.
fn read_moment(native: &Native, file: &SafeTensors<'_>, moment: &str, array: &mut [f32]) -> Result<(), String> {
    let specs = native.learned_tensors();
    let origin = native.layout.learned.start;
    for slot in native.layout.slots() {
        for part in slot.parts() {
            let Some(spec) = specs.iter().find(|spec| spec.name == part.name) else { continue };
            let name = format!("{moment}.{}", spec.name);
            let tensor = file.tensor(&name).map_err(|error| error.to_string())?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != spec.shape {
                return Err(format!("`{name}` is {:?} {:?}", tensor.dtype(), tensor.shape()));
            }
            let values: Vec<f32> = tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            slot.write(array, origin, part, &values);
        }
    }
    Ok(())
}
