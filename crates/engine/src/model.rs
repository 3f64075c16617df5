//! The shape of a decoder.

use serde::{Deserialize, Serialize};

/// The families of `model_type` that the native engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `LlamaForCausalLM`.
    Llama,
    /// `Qwen2ForCausalLM`: biases on q, k and v.
    Qwen2,
    /// `Qwen3ForCausalLM`: per-head RMS norm of q and k.
    Qwen3,
    /// `Qwen3MoeForCausalLM`: as Qwen3, with experts behind a softmax router.
    #[serde(rename = "qwen3_moe")]
    Qwen3Moe,
    /// `Glm4MoeForCausalLM` (GLM-4.5): experts behind a sigmoid router with a correction bias, a shared expert, and a rotation
    /// of only a part of each head.
    #[serde(rename = "glm4_moe")]
    Glm4Moe,
}

/// The feed-forward of a mixture of experts: a router sends each token to a few of many small feed-forwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experts {
    /// How many experts a layer has; below [`lapidary_core::UNROUTED`].
    pub count: usize,
    /// How many of them a token uses.
    pub per_token: usize,
    /// Width of one expert.
    pub feed_forward: usize,
    /// Width of the expert that every token uses beside its own; 0 where there is none.
    pub shared_feed_forward: usize,
    /// How scores are made of the router's logits, and experts chosen by them.
    pub router: Router,
    /// Whether the weights of a token's experts are divided by their sum.
    pub renormalise: bool,
    /// Factor of the weights of a token's experts.
    pub scale: f64,
    /// Layers that have a dense feed-forward instead, ascending.
    pub dense_layers: Vec<usize>,
}

/// How experts are scored and chosen. Among equals the lowest index is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Router {
    /// A softmax over all experts; the most probable are chosen.
    Softmax,
    /// A sigmoid each (DeepSeek-AI 2024, arXiv 2412.19437 §2.1.2). A correction bias is added for the choice, not for the
    /// weight.
    Sigmoid {
        /// Groups of consecutive experts; divides the count.
        groups: usize,
        /// Groups that a token may use: those with the largest sum of their two best.
        kept_groups: usize,
    },
}

/// Rotary frequencies that are stretched for long contexts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum RopeScaling {
    /// Llama 3.1's rule: long wavelengths are divided by `factor`, short ones kept, a smooth ramp between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_frequency_factor` are scaled.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context / high_frequency_factor` are kept.
        high_frequency_factor: f64,
        /// Context of the original training.
        original_context: usize,
    },
    /// Every frequency divided by the factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
}

/// Shape of a decoder: pre-norm residual blocks of grouped-query attention and a gated SiLU feed-forward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Which family's tensor names and details.
    pub family: Family,
    /// Tokens in the vocabulary (rows of the embedding).
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// How many values of a head, from its first, are rotated; even.
    pub rotary_width: usize,
    /// Width of the dense feed-forward.
    pub feed_forward: usize,
    /// What the other layers have instead.
    pub experts: Option<Experts>,
    /// Longest sequence the model was made for.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How rotary frequencies are stretched.
    pub rope_scaling: Option<RopeScaling>,
    /// ε of every RMS norm.
    pub norm_epsilon: f32,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether the projection behind the attention has a bias.
    pub output_bias: bool,
    /// Whether q and k are normalised per head before the rotation.
    pub qk_norm: bool,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// Whether the model predicts tokens. A reward model of Hugging Face's sequence classification does not; it is `tied`.
    pub language_head: bool,
    /// Whether there is a value head: `value_head.weight` and `.bias` read V(state) off the final norm.
    pub value_head: bool,
    /// Whether there is a reward head: `score.weight` reads a sequence's reward off the final norm at its last token.
    pub reward_head: bool,
    /// Start token, where the model has one.
    pub bos: Option<u32>,
    /// End tokens.
    pub eos: Vec<u32>,
}

/// A weight of a checkpoint under its Hugging Face name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// `model.layers.0.self_attn.q_proj.weight`, …
    pub name: String,
    /// `[out, in]` for matrices, `[n]` for norms and biases.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    fn new(name: String, shape: &[usize]) -> Self {
        Self { name, shape: shape.to_vec() }
    }

    /// Whether the tensor is only kept: the correction bias of a router has no gradient and is no parameter.
    pub fn is_buffer(&self) -> bool {
        self.name.ends_with("e_score_correction_bias")
    }

    /// Number of values.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

impl ModelConfig {
    /// The experts of a layer; `None` where its feed-forward is dense.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| !experts.dense_layers.contains(&layer))
    }

    /// Experts recorded per token: MoE layers × experts per token; 0 for a dense model.
    pub fn routing_stride(&self) -> usize {
        (0..self.layers).filter_map(|layer| self.experts_of(layer)).map(|experts| experts.per_token).sum()
    }

    /// Every weight of the model in the order of a forward pass; a tied head is not listed.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let h = self.hidden;
        let mut out = vec![TensorSpec::new("model.embed_tokens.weight".into(), &[self.vocabulary, h])];
        for layer in 0..self.layers {
            let mut add = |rest: &str, shape: &[usize]| {
                out.push(TensorSpec::new(format!("model.layers.{layer}.{rest}"), shape));
            };
            add("input_layernorm.weight", &[h]);
            self.attention_tensors(&mut add);
            add("post_attention_layernorm.weight", &[h]);
            match self.experts_of(layer) {
                None => feed_forward_tensors("mlp", h, self.feed_forward, &mut add),
                Some(experts) => experts.tensors(h, &mut add),
            }
        }
        out.push(TensorSpec::new("model.norm.weight".into(), &[h]));
        if !self.tied {
            out.push(TensorSpec::new("lm_head.weight".into(), &[self.vocabulary, h]));
        }
        if self.value_head {
            out.push(TensorSpec::new("value_head.weight".into(), &[1, h]));
            out.push(TensorSpec::new("value_head.bias".into(), &[1]));
        }
        if self.reward_head {
            out.push(TensorSpec::new("score.weight".into(), &[1, h]));
        }
        out
    }

    fn attention_tensors(&self, add: &mut impl FnMut(&str, &[usize])) {
        let (h, q, kv) = (self.hidden, self.heads * self.head_width, self.kv_heads * self.head_width);
        for (name, width) in [("q", q), ("k", kv), ("v", kv)] {
            add(&format!("self_attn.{name}_proj.weight"), &[width, h]);
            if self.qkv_bias {
                add(&format!("self_attn.{name}_proj.bias"), &[width]);
            }
        }
        if self.qk_norm {
            add("self_attn.q_norm.weight", &[self.head_width]);
            add("self_attn.k_norm.weight", &[self.head_width]);
        }
        add("self_attn.o_proj.weight", &[h, q]);
        if self.output_bias {
            add("self_attn.o_proj.bias", &[h]);
        }
    }

    /// Number of parameters; buffers are none.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().filter(|tensor| !tensor.is_buffer()).map(TensorSpec::size).sum()
    }

    /// Number of parameters that take part in computing one token: of the experts only those it uses.
    pub fn active_parameters(&self) -> usize {
        let unused = |experts: &Experts| (experts.count - experts.per_token) * 3 * self.hidden * experts.feed_forward;
        self.parameters() - (0..self.layers).filter_map(|layer| self.experts_of(layer)).map(unused).sum::<usize>()
    }
}

impl Experts {
    fn tensors(&self, hidden: usize, add: &mut impl FnMut(&str, &[usize])) {
        add("mlp.gate.weight", &[self.count, hidden]);
        if matches!(self.router, Router::Sigmoid { .. }) {
            add("mlp.gate.e_score_correction_bias", &[self.count]);
        }
        for expert in 0..self.count {
            feed_forward_tensors(&format!("mlp.experts.{expert}"), hidden, self.feed_forward, add);
        }
        if self.shared_feed_forward > 0 {
            feed_forward_tensors("mlp.shared_experts", hidden, self.shared_feed_forward, add);
        }
    }
}

fn feed_forward_tensors(at: &str, hidden: usize, width: usize, add: &mut impl FnMut(&str, &[usize])) {
    add(&format!("{at}.gate_proj.weight"), &[width, hidden]);
    add(&format!("{at}.up_proj.weight"), &[width, hidden]);
    add(&format!("{at}.down_proj.weight"), &[hidden, width]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GLM-4.5's shape, or Air's (spec A §6).
    fn glm(air: bool) -> ModelConfig {
        let pick = |large: usize, small: usize| if air { small } else { large };
        let dense = pick(3, 1);
        ModelConfig {
            family: Family::Glm4Moe,
            vocabulary: 151_552,
            hidden: pick(5120, 4096),
            layers: pick(92, 46),
            heads: 96,
            kv_heads: 8,
            head_width: 128,
            rotary_width: 64,
            feed_forward: pick(12_288, 10_944),
            experts: Some(Experts {
                count: pick(160, 128),
                per_token: 8,
                feed_forward: pick(1536, 1408),
                shared_feed_forward: pick(1536, 1408),
                router: Router::Sigmoid { groups: 1, kept_groups: 1 },
                renormalise: true,
                scale: if air { 1.0 } else { 2.5 },
                dense_layers: (0..dense).collect(),
            }),
            context: 131_072,
            rope_theta: 1e6,
            rope_scaling: None,
            norm_epsilon: 1e-5,
            qkv_bias: true,
            output_bias: false,
            qk_norm: !air,
            tied: false,
            language_head: true,
            value_head: false,
            reward_head: false,
            bos: None,
            eos: vec![],
        }
    }

    #[test]
    fn parameters_of_glm_45_are_those_of_the_paper() {
        // Spec A §6; the body is what is neither embedding nor head.
        for (air, body, active, outside) in
            [(false, 351_245_922_304, 32.08, 1.552), (true, 105_610_731_520, 12.18, 1.242)]
        {
            let config = glm(air);
            let embedding = 2 * config.vocabulary * config.hidden;
            assert_eq!(config.parameters() - embedding, body);
            assert!((embedding as f64 / 1e9 - outside).abs() < 5e-4);
            assert!(((config.active_parameters() - embedding) as f64 / 1e9 - active).abs() < 5e-3);
            assert_eq!(config.routing_stride(), (config.layers - if air { 1 } else { 3 }) * 8);
        }
    }
}
