//! Where every weight lives in one flat, panel-packed array.

use std::ops::Range;

use super::simd::{LANES, padded};
use crate::ModelConfig;

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
    pub norm2: Vector,
    pub gate_up: Matrix,
    pub down: Matrix,
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
    /// Length of the flat array.
    pub len: usize,
    /// Length of the array of transposed matrices.
    pub transposed_len: usize,
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
        let layers = (0..c.layers)
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
                    norm2: b.vector(at("post_attention_layernorm.weight"), c.hidden),
                    gate_up: b.matrix(
                        c.hidden,
                        vec![(at("mlp.gate_proj.weight"), c.feed_forward), (at("mlp.up_proj.weight"), c.feed_forward)],
                    ),
                    down: b.matrix(c.feed_forward, vec![(at("mlp.down_proj.weight"), c.hidden)]),
                }
            })
            .collect();
        let norm = b.vector("model.norm.weight".into(), c.hidden);
        let head_name = if c.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let head = b.matrix(c.hidden, vec![(head_name.into(), c.vocabulary)]);
        Layout { embedding, layers, norm, head, len: b.at, transposed_len: b.transposed }
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
            out.push(Slot::Vector(&l.norm2));
            out.push(Slot::Matrix(&l.gate_up));
            out.push(Slot::Matrix(&l.down));
        }
        out.push(Slot::Vector(&self.norm));
        out.push(Slot::Matrix(&self.head));
        out
    }
}

/// One entry of the flat array.
#[derive(Clone, Copy)]
pub(crate) enum Slot<'a> {
    /// The embedding, row by row.
    Table(&'a Vector),
    Vector(&'a Vector),
    Matrix(&'a Matrix),
}

impl Slot<'_> {
    pub fn range(&self) -> Range<usize> {
        match self {
            Slot::Table(v) | Slot::Vector(v) => v.at.clone(),
            Slot::Matrix(m) => m.at.clone(),
        }
    }

    /// Whether plain weight decay applies: matrices and the embedding, not norms and biases.
    pub fn decays(&self) -> bool {
        !matches!(self, Slot::Vector(_))
    }

    pub fn parts(&self) -> &[Part] {
        match self {
            Slot::Table(v) | Slot::Vector(v) => &v.parts,
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
            Slot::Vector(_) => (0..len).for_each(|i| visit(start + part.first + i, i)),
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
    use crate::Family;

    fn odd() -> ModelConfig {
        ModelConfig {
            family: Family::Qwen2,
            vocabulary: 37,
            hidden: 24,
            layers: 2,
            heads: 3,
            kv_heads: 1,
            head_width: 6,
            feed_forward: 20,
            context: 32,
            rope_theta: 1e4,
            rope_scaling: None,
            norm_epsilon: 1e-5,
            qkv_bias: true,
            qk_norm: true,
            tied: false,
            bos: None,
            eos: vec![],
        }
    }

    #[test]
    fn every_tensor_has_one_place_and_comes_back() {
        for tied in [false, true] {
            let c = ModelConfig { tied, ..odd() };
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
            assert_eq!(written, c.parameters());
            assert_eq!(flat.iter().filter(|x| !x.is_nan()).count(), written, "no two tensors share a place");
        }
    }

    #[test]
    fn the_transposed_packing_holds_the_same_matrix() {
        let layout = Layout::of(&odd());
        let m = &layout.layers[0].gate_up;
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
