//! Where every weight lives in one flat, panel-packed array.

use std::ops::Range;

use super::simd::{LANES, padded};
use crate::{Experts, ModelConfig, Router};

/// What PEFT puts before the name of a module.
pub(crate) const PEFT_PREFIX: &str = "base_model.model.";

/// A vector (norm weight, bias), padded with zeros to whole lanes.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub at: Range<usize>,
    pub parts: Vec<Part>,
}

/// Outputs `first..first + rows` of a fused tensor are the tensor `name` of the checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub name: String,
    pub first: usize,
    pub rows: usize,
}

/// A matrix `[outputs, inputs]` packed as `[outputs/16][inputs][16]`. Several matrices of a checkpoint that read the same
/// input (q, k, v; gate, up) are one, each part starting at a whole panel.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub at: Range<usize>,
    /// Padded outputs.
    pub outputs: usize,
    pub inputs: usize,
    pub parts: Vec<Part>,
    /// Where the transposed packing `[inputs/16][outputs][16]` lives in the array that holds those of one layer; empty where no
    /// derivative flows back through the matrix.
    pub transposed: Range<usize>,
    pub adapter: Option<Box<Adapter>>,
}

impl Matrix {
    /// Whether it is an A or B of adapters.
    pub fn is_adapter(&self) -> bool {
        self.parts.iter().any(|part| part.name.starts_with(PEFT_PREFIX))
    }
}

/// The adapters of the parts of a matrix.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// The A of every module under one another, each padded to whole panels.
    pub a: Matrix,
    pub modules: Vec<Module>,
    pub scale: f32,
}

/// One adapted part of a matrix.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub b: Matrix,
    /// Its first output of the adapted matrix.
    pub first: usize,
    /// Its first output of A.
    pub at: usize,
}

/// Which modules have adapters.
#[derive(Clone, Debug)]
pub(crate) struct Adapted {
    pub rank: usize,
    pub scale: f32,
    /// Names of modules, as `model.layers.0.self_attn.q_proj`.
    pub modules: std::collections::HashSet<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct LayerLayout {
    pub norm1: Vector,
    pub qkv: Matrix,
    pub qkv_bias: Option<Vector>,
    pub q_norm: Option<Vector>,
    pub k_norm: Option<Vector>,
    pub output: Matrix,
    pub output_bias: Option<Vector>,
    pub norm2: Vector,
    pub feed_forward: FeedForward,
}

/// What follows the second norm.
#[derive(Clone, Debug)]
pub(crate) enum FeedForward {
    Dense(Gated),
    Experts(Box<ExpertsLayout>),
}

/// A gated feed-forward: dense, one expert, or the shared expert.
#[derive(Clone, Debug)]
pub(crate) struct Gated {
    pub gate_up: Matrix,
    pub down: Matrix,
}

impl Gated {
    /// Padded width.
    pub fn width(&self) -> usize {
        self.gate_up.outputs / 2
    }
}

/// A router with its experts.
#[derive(Clone, Debug)]
pub(crate) struct ExpertsLayout {
    /// Where the layer's choice starts in a token's routing.
    pub routing_at: usize,
    pub router: Matrix,
    /// The correction bias: kept, never learned.
    pub correction: Option<Vector>,
    pub experts: Vec<Gated>,
    pub shared: Option<Gated>,
}

/// The whole model's.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Row-major `[vocabulary][padded hidden]`; `None` when the head is the embedding.
    pub embedding: Option<Vector>,
    pub layers: Vec<LayerLayout>,
    pub norm: Vector,
    /// The output head; also the embedding when tied.
    pub head: Matrix,
    pub value: Option<ValueHead>,
    /// `score.weight`, one row.
    pub reward: Option<Vector>,
    /// Length of the flat array.
    pub len: usize,
    /// What learns: everything up to the buffers, or only heads and adapters where there are adapters.
    pub learned: Range<usize>,
    /// Length of the array of the transposed matrices of one layer, or the head.
    pub transposed_len: usize,
}

/// `V = weight·x + bias`. The weight is a table of one row.
#[derive(Clone, Debug)]
pub(crate) struct ValueHead {
    pub weight: Vector,
    pub bias: Vector,
}

/// Widths of activations, padded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub hidden: usize,
    /// All query heads.
    pub q: usize,
    /// All key heads, and all value heads.
    pub kv: usize,
    /// q, k and v.
    pub qkv: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    /// One head.
    pub head: usize,
    /// Experts recorded per token (not padded).
    pub routing: usize,
}

impl Widths {
    pub fn of(c: &ModelConfig) -> Self {
        let (q, kv) = (padded(c.heads * c.head_width), padded(c.kv_heads * c.head_width));
        Self {
            hidden: padded(c.hidden),
            q,
            kv,
            qkv: q + 2 * kv,
            feed_forward: padded(c.feed_forward),
            vocabulary: padded(c.vocabulary),
            head: padded(c.head_width),
            routing: c.routing_stride(),
        }
    }
}

#[derive(Default)]
struct Builder {
    at: usize,
    transposed: usize,
    transposed_len: usize,
    /// Whether the next matrices send no derivative back.
    one_way: bool,
}

impl Builder {
    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.at;
        self.at += padded(len);
        start..self.at
    }

    fn vector(&mut self, name: String, len: usize) -> Vector {
        Vector { at: self.take(len), parts: vec![Part { name, first: 0, rows: len }] }
    }

    /// A matrix of one row, which is read as it lies.
    fn row(&mut self, name: &str, len: usize) -> Vector {
        Vector { at: self.take(len), parts: vec![Part { name: name.into(), first: 0, rows: 1 }] }
    }

    fn matrix(&mut self, inputs: usize, names: Vec<(String, usize)>) -> Matrix {
        let mut outputs = 0;
        let mut parts = Vec::new();
        for (name, rows) in names {
            parts.push(Part { name, first: outputs, rows });
            outputs += padded(rows);
        }
        let transposed = self.transposed..self.transposed + if self.one_way { 0 } else { padded(inputs) * outputs };
        self.transposed = transposed.end;
        self.transposed_len = self.transposed_len.max(transposed.end);
        Matrix { at: self.take(outputs * inputs), outputs, inputs, parts, transposed, adapter: None }
    }

    /// Gives a matrix the adapters of its parts.
    fn adapt(&mut self, matrix: &mut Matrix, adapted: &Adapted) {
        let module =
            |part: &&Part| part.name.strip_suffix(".weight").is_some_and(|name| adapted.modules.contains(name));
        let parts: Vec<&Part> = matrix.parts.iter().filter(module).collect();
        if parts.is_empty() {
            return;
        }
        let name = |part: &Part, which: &str| {
            let module = part.name.trim_end_matches(".weight");
            format!("{PEFT_PREFIX}{module}.lora_{which}.weight")
        };
        self.one_way = matrix.transposed.is_empty();
        let a = self.matrix(matrix.inputs, parts.iter().map(|part| (name(part, "A"), adapted.rank)).collect());
        self.one_way = false;
        let firsts: Vec<usize> = a.parts.iter().map(|part| part.first).collect();
        let modules = parts.iter().zip(firsts).map(|(part, at)| Module {
            b: self.matrix(adapted.rank, vec![(name(part, "B"), part.rows)]),
            first: part.first,
            at,
        });
        let modules = modules.collect();
        matrix.adapter = Some(Box::new(Adapter { a, modules, scale: adapted.scale }));
    }

    /// The feed-forward whose tensors are called `at.gate_proj.weight` and so on.
    fn gated(&mut self, at: &str, hidden: usize, width: usize) -> Gated {
        let name = |rest: &str| format!("{at}.{rest}_proj.weight");
        Gated {
            gate_up: self.matrix(hidden, vec![(name("gate"), width), (name("up"), width)]),
            down: self.matrix(width, vec![(name("down"), hidden)]),
        }
    }

    /// `at` is the layer's `model.layers.0.mlp`. The correction bias gets its place last, behind everything that learns.
    fn experts(&mut self, at: &str, hidden: usize, e: &Experts, routing_at: usize) -> ExpertsLayout {
        let shared = e.shared_feed_forward;
        ExpertsLayout {
            routing_at,
            router: self.matrix(hidden, vec![(format!("{at}.gate.weight"), e.count)]),
            correction: matches!(e.router, Router::Sigmoid { .. }).then(|| Vector {
                at: 0..0,
                parts: vec![Part { name: format!("{at}.gate.e_score_correction_bias"), first: 0, rows: e.count }],
            }),
            experts: (0..e.count).map(|i| self.gated(&format!("{at}.experts.{i}"), hidden, e.feed_forward)).collect(),
            shared: (shared > 0).then(|| self.gated(&format!("{at}.shared_experts"), hidden, shared)),
        }
    }
}

impl Layout {
    /// With `adapted`, heads and adapters alone learn.
    pub fn of(c: &ModelConfig, adapted: Option<&Adapted>) -> Self {
        let mut b = Builder::default();
        let (q, kv) = (c.heads * c.head_width, c.kv_heads * c.head_width);
        let hidden = padded(c.hidden);
        let embedding = (!c.tied).then(|| Vector {
            at: b.take(c.vocabulary * hidden),
            parts: vec![Part { name: "model.embed_tokens.weight".into(), first: 0, rows: c.vocabulary }],
        });
        let mut routing_at = 0;
        let mut layers: Vec<LayerLayout> = (0..c.layers)
            .map(|l| {
                let at = |rest: &str| format!("model.layers.{l}.{rest}");
                b.transposed = 0;
                let norm1 = b.vector(at("input_layernorm.weight"), c.hidden);
                // Below the first projection is nothing that learns, if the embedding does not.
                b.one_way = adapted.is_some() && l == 0;
                let names = [("q", q), ("k", kv), ("v", kv)];
                let names = names.map(|(name, rows)| (at(&format!("self_attn.{name}_proj.weight")), rows));
                let qkv = b.matrix(c.hidden, names.into());
                b.one_way = false;
                LayerLayout {
                    norm1,
                    qkv,
                    qkv_bias: c.qkv_bias.then(|| Vector {
                        at: b.take(padded(q) + 2 * padded(kv)),
                        parts: vec![
                            Part { name: at("self_attn.q_proj.bias"), first: 0, rows: q },
                            Part { name: at("self_attn.k_proj.bias"), first: padded(q), rows: kv },
                            Part { name: at("self_attn.v_proj.bias"), first: padded(q) + padded(kv), rows: kv },
                        ],
                    }),
                    q_norm: c.qk_norm.then(|| b.vector(at("self_attn.q_norm.weight"), c.head_width)),
                    k_norm: c.qk_norm.then(|| b.vector(at("self_attn.k_norm.weight"), c.head_width)),
                    output: b.matrix(q, vec![(at("self_attn.o_proj.weight"), c.hidden)]),
                    output_bias: c.output_bias.then(|| b.vector(at("self_attn.o_proj.bias"), c.hidden)),
                    norm2: b.vector(at("post_attention_layernorm.weight"), c.hidden),
                    feed_forward: match c.experts_of(l) {
                        None => FeedForward::Dense(b.gated(&at("mlp"), c.hidden, c.feed_forward)),
                        Some(e) => {
                            routing_at += e.per_token;
                            let experts = b.experts(&at("mlp"), c.hidden, e, routing_at - e.per_token);
                            FeedForward::Experts(Box::new(experts))
                        }
                    },
                }
            })
            .collect();
        let norm = b.vector("model.norm.weight".into(), c.hidden);
        let head_name = if c.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        b.transposed = 0;
        let head = b.matrix(c.hidden, vec![(head_name.into(), c.vocabulary)]);
        let heads = b.at;
        let value = c.value_head.then(|| ValueHead {
            weight: b.row("value_head.weight", c.hidden),
            bias: b.vector("value_head.bias".into(), 1),
        });
        let reward = c.reward_head.then(|| b.row("score.weight", c.hidden));
        if let Some(adapted) = adapted {
            for layer in &mut layers {
                b.transposed = layer.matrices().iter().map(|matrix| matrix.transposed.end).max().unwrap_or(0);
                layer.projections_mut().into_iter().for_each(|matrix| b.adapt(matrix, adapted));
            }
        }
        let learned = if adapted.is_some() { heads } else { 0 }..b.at;
        for layer in &mut layers {
            if let FeedForward::Experts(e) = &mut layer.feed_forward
                && let Some(correction) = &mut e.correction
            {
                correction.at = b.take(e.experts.len());
            }
        }
        let (len, transposed_len) = (b.at, b.transposed_len);
        Layout { embedding, layers, norm, head, value, reward, len, learned, transposed_len }
    }

    /// Every slot, in the order of the flat array.
    pub fn slots(&self) -> Vec<Slot<'_>> {
        let mut out = Vec::new();
        out.extend(self.embedding.as_ref().map(Slot::Table));
        self.layers.iter().for_each(|layer| layer.slots(&mut out));
        out.push(Slot::Vector(&self.norm));
        out.push(Slot::Matrix(&self.head));
        if let Some(value) = &self.value {
            out.push(Slot::Table(&value.weight));
            out.push(Slot::Vector(&value.bias));
        }
        out.extend(self.reward.as_ref().map(Slot::Table));
        out.extend(self.adapters().flat_map(|adapter| {
            let bs = adapter.modules.iter().map(|module| &module.b);
            std::iter::once(&adapter.a).chain(bs).map(Slot::Matrix)
        }));
        out.extend(self.corrections().map(Slot::Buffer));
        out
    }

    /// All adapters, in the order of the flat array.
    pub fn adapters(&self) -> impl Iterator<Item = &Adapter> {
        self.layers.iter().flat_map(LayerLayout::projections).filter_map(|matrix| matrix.adapter.as_deref())
    }

    /// Where something lies in the arrays of what learns (gradient, moments); `None` for what is frozen or a buffer.
    pub fn learned_at(&self, at: &Range<usize>) -> Option<Range<usize>> {
        let first = self.learned.start;
        (at.start >= first && at.end <= self.learned.end).then(|| at.start - first..at.end - first)
    }

    fn corrections(&self) -> impl Iterator<Item = &Vector> {
        self.layers.iter().filter_map(|layer| match &layer.feed_forward {
            FeedForward::Dense(_) => None,
            FeedForward::Experts(e) => e.correction.as_ref(),
        })
    }
}

impl LayerLayout {
    /// The matrices that can have adapters: not those of routers and routed experts.
    fn projections(&self) -> Vec<&Matrix> {
        let gated = match &self.feed_forward {
            FeedForward::Dense(gated) => Some(gated),
            FeedForward::Experts(experts) => experts.shared.as_ref(),
        };
        let gated = gated.into_iter().flat_map(|g| [&g.gate_up, &g.down]);
        [&self.qkv, &self.output].into_iter().chain(gated).collect()
    }

    fn projections_mut(&mut self) -> Vec<&mut Matrix> {
        let gated = match &mut self.feed_forward {
            FeedForward::Dense(gated) => Some(gated),
            FeedForward::Experts(experts) => experts.shared.as_mut(),
        };
        let gated = gated.into_iter().flat_map(|g| [&mut g.gate_up, &mut g.down]);
        [&mut self.qkv, &mut self.output].into_iter().chain(gated).collect()
    }

    fn slots<'a>(&'a self, out: &mut Vec<Slot<'a>>) {
        out.push(Slot::Vector(&self.norm1));
        out.push(Slot::Matrix(&self.qkv));
        out.extend([&self.qkv_bias, &self.q_norm, &self.k_norm].into_iter().flatten().map(Slot::Vector));
        out.push(Slot::Matrix(&self.output));
        out.extend(self.output_bias.as_ref().map(Slot::Vector));
        out.push(Slot::Vector(&self.norm2));
        self.feed_forward.slots(out);
    }

    /// Every matrix of the layer, those of adapters included.
    pub fn matrices(&self) -> Vec<&Matrix> {
        let mut slots = Vec::new();
        self.slots(&mut slots);
        let own = slots.into_iter().filter_map(|slot| if let Slot::Matrix(m) = slot { Some(m) } else { None });
        let adapters = self.projections().into_iter().filter_map(|matrix| matrix.adapter.as_deref());
        let adapters = adapters
            .flat_map(|adapter| std::iter::once(&adapter.a).chain(adapter.modules.iter().map(|module| &module.b)));
        own.chain(adapters).collect()
    }
}

impl FeedForward {
    fn slots<'a>(&'a self, out: &mut Vec<Slot<'a>>) {
        let gated = |g: &'a Gated| [Slot::Matrix(&g.gate_up), Slot::Matrix(&g.down)];
        match self {
            FeedForward::Dense(g) => out.extend(gated(g)),
            FeedForward::Experts(e) => {
                out.push(Slot::Matrix(&e.router));
                out.extend(e.experts.iter().chain(&e.shared).flat_map(gated));
            }
        }
    }
}

/// One entry of the flat array.
#[derive(Clone, Copy)]
pub(crate) enum Slot<'a> {
    /// The embedding or a scalar head, row by row.
    Table(&'a Vector),
    Vector(&'a Vector),
    Matrix(&'a Matrix),
    /// Saved and loaded, but no parameter: no gradient and no optimiser state.
    Buffer(&'a Vector),
}

impl<'a> Slot<'a> {
    pub fn range(&self) -> Range<usize> {
        match self {
            Slot::Table(v) | Slot::Vector(v) | Slot::Buffer(v) => v.at.clone(),
            Slot::Matrix(m) => m.at.clone(),
        }
    }

    /// Whether plain weight decay applies: matrices and the embedding, not norms and biases.
    pub fn decays(&self) -> bool {
        !matches!(self, Slot::Vector(_) | Slot::Buffer(_))
    }

    pub fn parts(&self) -> &'a [Part] {
        match self {
            Slot::Table(v) | Slot::Vector(v) | Slot::Buffer(v) => &v.parts,
            Slot::Matrix(m) => &m.parts,
        }
    }

    /// Copies a checkpoint's tensor (row-major, `values`) into the flat array, or into one that holds its part from `origin` on.
    pub fn write(&self, flat: &mut [f32], origin: usize, part: &Part, values: &[f32]) {
        self.each(part, values.len(), |at, index| flat[at - origin] = values[index]);
    }

    /// The tensor of the checkpoint, row-major, out of the flat array, or of one that holds its part from `origin` on.
    pub fn read(&self, flat: &[f32], origin: usize, part: &Part, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        self.each(part, len, |at, index| values[index] = flat[at - origin]);
        values
    }

    /// Calls `visit(index in the flat array, index in the row-major tensor)` for every value of a part.
    fn each(&self, part: &Part, len: usize, mut visit: impl FnMut(usize, usize)) {
        let start = self.range().start;
        match self {
            Slot::Vector(_) | Slot::Buffer(_) => (0..len).for_each(|i| visit(start + part.first + i, i)),
            Slot::Table(_) => {
                let width = len / part.rows;
                for i in 0..len {
                    visit(start + i / width * padded(width) + i % width, i);
                }
            }
            Slot::Matrix(m) => {
                for row in 0..part.rows {
                    let n = part.first + row;
                    let line = start + n / LANES * m.inputs * LANES + n % LANES;
                    for k in 0..m.inputs {
                        visit(line + k * LANES, row * m.inputs + k);
                    }
                }
            }
        }
    }
}

/// Writes one panel of the transposed packing `[inputs/16][outputs][16]` of a packed matrix: blocks of 16 × 16 values that lie
/// whole in both.
pub(crate) fn transpose(m: &Matrix, packed: &[f32], panel: usize, out: &mut [f32]) {
    let first = panel * LANES;
    let live = LANES.min(m.inputs - first);
    for (from, to) in packed.chunks_exact(m.inputs * LANES).zip(out.chunks_exact_mut(LANES * LANES)) {
        let block = &from[first * LANES..][..live * LANES];
        for (n, line) in to.chunks_exact_mut(LANES).enumerate() {
            for (value, source) in line.iter_mut().zip(block.chunks_exact(LANES)) {
                *value = source[n];
            }
            line[live..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, TensorSpec};

    fn odd() -> ModelConfig {
        ModelConfig {
            family: Family::Qwen2,
            vocabulary: 37,
            hidden: 24,
            layers: 2,
            heads: 3,
            kv_heads: 1,
            head_width: 6,
            rotary_width: 6,
            feed_forward: 20,
            experts: None,
            context: 32,
            rope_theta: 1e4,
            rope_scaling: None,
            norm_epsilon: 1e-5,
            qkv_bias: true,
            output_bias: false,
            qk_norm: true,
            tied: false,
            language_head: true,
            value_head: false,
            reward_head: false,
            bos: None,
            eos: vec![],
        }
    }

    #[test]
    fn every_tensor_has_one_place_and_comes_back() {
        let experts = Experts {
            count: 5,
            per_token: 2,
            feed_forward: 7,
            shared_feed_forward: 9,
            router: Router::Sigmoid { groups: 1, kept_groups: 1 },
            renormalise: true,
            scale: 1.0,
            dense_layers: vec![0],
        };
        for (tied, heads, experts) in [(false, false, None), (true, true, None), (false, true, Some(experts))] {
            let output_bias = experts.is_some();
            let c = ModelConfig { tied, output_bias, experts, value_head: heads, reward_head: heads, ..odd() };
            let layout = Layout::of(&c, None);
            let mut flat = vec![f32::NAN; layout.len];
            let specs = c.tensors();
            let mut written = 0;
            for slot in layout.slots() {
                for part in slot.parts() {
                    let spec = specs.iter().find(|s| s.name == part.name).unwrap();
                    let len = spec.shape.iter().product();
                    let values: Vec<f32> = (0..len).map(|i| (written + i) as f32).collect();
                    slot.write(&mut flat, 0, part, &values);
                    assert_eq!(slot.read(&flat, 0, part, len), values, "{}", spec.name);
                    written += len;
                }
            }
            assert_eq!(written, specs.iter().map(TensorSpec::size).sum::<usize>());
            assert_eq!(flat.iter().filter(|x| !x.is_nan()).count(), written, "no two tensors share a place");
        }
    }

    #[test]
    fn the_transposed_packing_holds_the_same_matrix() {
        let layout = Layout::of(&odd(), None);
        let FeedForward::Dense(Gated { gate_up: m, .. }) = &layout.layers[0].feed_forward else { unreachable!() };
        let flat: Vec<f32> = (0..m.at.len()).map(|i| i as f32).collect();
        let panels = padded(m.inputs) / LANES;
        let mut out = vec![0.0; panels * m.outputs * LANES];
        for p in 0..panels {
            transpose(m, &flat, p, &mut out[p * m.outputs * LANES..][..m.outputs * LANES]);
        }
        for n in 0..m.outputs {
            for k in 0..m.inputs {
                let expected = flat[(n / LANES * m.inputs + k) * LANES + n % LANES];
                assert_eq!(out[(k / LANES * m.outputs + n) * LANES + k % LANES], expected);
            }
        }
    }
}
