//! Where every weight lives in one flat, panel-packed array.

use std::ops::Range;

use super::simd::{LANES, padded};
use crate::{Experts, ModelConfig, Router};

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
    /// Where the transposed packing `[inputs/16][outputs][16]` lives in the second array.
    pub transposed: Range<usize>,
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
    /// How much of it learns; buffers lie behind.
    pub learned: usize,
    /// Length of the array of transposed matrices.
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

struct Builder {
    at: usize,
    transposed: usize,
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
        let transposed = self.transposed..self.transposed + padded(inputs) * outputs;
        self.transposed = transposed.end;
        Matrix { at: self.take(outputs * inputs), outputs, inputs, parts, transposed }
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
    pub fn of(c: &ModelConfig) -> Self {
        let mut b = Builder { at: 0, transposed: 0 };
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
                LayerLayout {
                    norm1: b.vector(at("input_layernorm.weight"), c.hidden),
                    qkv: b.matrix(
                        c.hidden,
                        vec![
                            (at("self_attn.q_proj.weight"), q),
                            (at("self_attn.k_proj.weight"), kv),
                            (at("self_attn.v_proj.weight"), kv),
                        ],
                    ),
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
        let head = b.matrix(c.hidden, vec![(head_name.into(), c.vocabulary)]);
        let value = c.value_head.then(|| ValueHead {
            weight: b.row("value_head.weight", c.hidden),
            bias: b.vector("value_head.bias".into(), 1),
        });
        let reward = c.reward_head.then(|| b.row("score.weight", c.hidden));
        let learned = b.at;
        for layer in &mut layers {
            if let FeedForward::Experts(e) = &mut layer.feed_forward
                && let Some(correction) = &mut e.correction
            {
                correction.at = b.take(e.experts.len());
            }
        }
        let (len, transposed_len) = (b.at, b.transposed);
        Layout { embedding, layers, norm, head, value, reward, len, learned, transposed_len }
    }

    /// Every slot, in the order of the flat array.
    pub fn slots(&self) -> Vec<Slot<'_>> {
        let mut out = Vec::new();
        out.extend(self.embedding.as_ref().map(Slot::Table));
        for l in &self.layers {
            out.push(Slot::Vector(&l.norm1));
            out.push(Slot::Matrix(&l.qkv));
            out.extend([&l.qkv_bias, &l.q_norm, &l.k_norm].into_iter().flatten().map(Slot::Vector));
            out.push(Slot::Matrix(&l.output));
            out.extend(l.output_bias.as_ref().map(Slot::Vector));
            out.push(Slot::Vector(&l.norm2));
            l.feed_forward.slots(&mut out);
        }
        out.push(Slot::Vector(&self.norm));
        out.push(Slot::Matrix(&self.head));
        if let Some(value) = &self.value {
            out.push(Slot::Table(&value.weight));
            out.push(Slot::Vector(&value.bias));
        }
        out.extend(self.reward.as_ref().map(Slot::Table));
        out.extend(self.corrections().map(Slot::Buffer));
        out
    }

    fn corrections(&self) -> impl Iterator<Item = &Vector> {
        self.layers.iter().filter_map(|layer| match &layer.feed_forward {
            FeedForward::Dense(_) => None,
            FeedForward::Experts(e) => e.correction.as_ref(),
        })
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

impl Slot<'_> {
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

    pub fn parts(&self) -> &[Part] {
        match self {
            Slot::Table(v) | Slot::Vector(v) | Slot::Buffer(v) => &v.parts,
            Slot::Matrix(m) => &m.parts,
        }
    }

    /// Copies a checkpoint's tensor (row-major, `values`) into the flat array.
    pub fn write(&self, flat: &mut [f32], part: &Part, values: &[f32]) {
        self.each(part, values.len(), |at, index| flat[at] = values[index]);
    }

    /// The tensor of the checkpoint, row-major, out of the flat array.
    pub fn read(&self, flat: &[f32], part: &Part, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        self.each(part, len, |at, index| values[index] = flat[at]);
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

/// Writes the transposed packing `[inputs/16][outputs][16]` of a packed matrix, for panels of inputs `panels`.
pub(crate) fn transpose(m: &Matrix, packed: &[f32], panel: usize, out: &mut [f32]) {
    let first = panel * LANES;
    let live = LANES.min(m.inputs - first);
    for n in 0..m.outputs {
        let source = &packed[(n / LANES * m.inputs + first) * LANES + n % LANES..];
        let line = &mut out[n * LANES..][..LANES];
        for (i, value) in line.iter_mut().enumerate().take(live) {
            *value = source[i * LANES];
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
            let layout = Layout::of(&c);
            let mut flat = vec![f32::NAN; layout.len];
            let specs = c.tensors();
            let mut written = 0;
            for slot in layout.slots() {
                for part in slot.parts() {
                    let spec = specs.iter().find(|s| s.name == part.name).unwrap();
                    let len = spec.shape.iter().product();
                    let values: Vec<f32> = (0..len).map(|i| (written + i) as f32).collect();
                    slot.write(&mut flat, part, &values);
                    assert_eq!(slot.read(&flat, part, len), values, "{}", spec.name);
                    written += len;
                }
            }
            assert_eq!(written, specs.iter().map(TensorSpec::size).sum::<usize>());
            assert_eq!(flat.iter().filter(|x| !x.is_nan()).count(), written, "no two tensors share a place");
        }
    }

    #[test]
    fn the_transposed_packing_holds_the_same_matrix() {
        let layout = Layout::of(&odd());
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
