//! The shape of a dense decoder.

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
    /// Width of a head; even.
    pub head_width: usize,
    /// Width of the feed-forward.
    pub feed_forward: usize,
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
    /// Whether q and k are normalised per head before the rotation.
    pub qk_norm: bool,
    /// Whether the output head is the embedding.
    pub tied: bool,
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

impl ModelConfig {
    /// Every weight of the model in the order of a forward pass; a tied head is not listed.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut out = Vec::new();
        let mut add = |name: String, shape: &[usize]| out.push(TensorSpec { name, shape: shape.to_vec() });
        let (h, q, kv) = (self.hidden, self.heads * self.head_width, self.kv_heads * self.head_width);
        add("model.embed_tokens.weight".into(), &[self.vocabulary, h]);
        for layer in 0..self.layers {
            let at = |rest: &str| format!("model.layers.{layer}.{rest}");
            add(at("input_layernorm.weight"), &[h]);
            for (name, width) in [("q", q), ("k", kv), ("v", kv)] {
                add(at(&format!("self_attn.{name}_proj.weight")), &[width, h]);
                if self.qkv_bias {
                    add(at(&format!("self_attn.{name}_proj.bias")), &[width]);
                }
            }
            if self.qk_norm {
                add(at("self_attn.q_norm.weight"), &[self.head_width]);
                add(at("self_attn.k_norm.weight"), &[self.head_width]);
            }
            add(at("self_attn.o_proj.weight"), &[h, q]);
            add(at("post_attention_layernorm.weight"), &[h]);
            add(at("mlp.gate_proj.weight"), &[self.feed_forward, h]);
            add(at("mlp.up_proj.weight"), &[self.feed_forward, h]);
            add(at("mlp.down_proj.weight"), &[h, self.feed_forward]);
        }
        add("model.norm.weight".into(), &[h]);
        if !self.tied {
            add("lm_head.weight".into(), &[self.vocabulary, h]);
        }
        out
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}
