//! How much memory learning takes, and how a limit is kept.
//!
//! Weights, gradient and moments are there in any case. What grows with a micro-batch are its activations: all of them, or only
//! the input of every layer with the rest computed again (Chen et al. 2016, arXiv 1604.06174, per layer), or those of a part of
//! the rows at a time. Each gives the same bits and costs at most one more forward pass.

use std::ops::Range;

use super::backward::{KEPT_LOGITS_BYTES, chunk_rows};
use super::layout::{FeedForward, Gated, LayerLayout, Layout, Widths};
use super::sample::DECODED_TOGETHER;
use super::tape::{Keep, head_rows};
use crate::ModelConfig;
use lapidary_core::{TokenBatch, TokenGrads, TokenStats};

/// Bytes of a number.
const F32: usize = 4;

/// What learning with a model takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The weights.
    pub weights: usize,
    /// The accumulated gradient.
    pub gradient: usize,
    /// Both moments of AdamW.
    pub moments: usize,
    /// Working memory that does not grow with the micro-batch.
    pub working: usize,
    /// Of each token of a micro-batch, every activation kept. A prompt that is shared counts once.
    pub per_token: usize,
    /// Of each token of a micro-batch, only the inputs of layers kept.
    pub per_token_recomputed: usize,
    /// Of each token of a micro-batch that is scored: its logits, up to [`Footprint::logits_limit`].
    pub per_target: usize,
    /// Logits beyond so many bytes are computed twice instead of kept.
    pub logits_limit: usize,
    /// Keys and values of a token of a sequence that is sampled.
    pub cache_per_token: usize,
    /// Sequences that are sampled at a time, at most.
    pub sampled_together: usize,
}

impl Footprint {
    /// For a model, computed by so many threads.
    pub fn of(config: &ModelConfig, threads: usize) -> Self {
        Self::with(config, &Layout::of(config, None), threads)
    }

    pub(crate) fn with(c: &ModelConfig, layout: &Layout, threads: usize) -> Self {
        let w = Widths::of(c);
        let layer = |l: usize| layer_values(c, &w, layout, l);
        let (layers, largest) = (0..c.layers).map(layer).fold((0, 0), |(sum, max), n| (sum + n, max.max(n)));
        let derivatives = 3 * w.hidden + w.q + w.qkv + expert_values(c, layout);
        let dense = layout.layers.iter().filter_map(|layer| match &layer.feed_forward {
            FeedForward::Dense(gated) => Some(gated.width()),
            FeedForward::Experts(_) => None,
        });
        let chunk = chunk_rows(threads) * (3 * dense.max().unwrap_or(0) + w.hidden + w.q);
        let head = head_rows(&w, threads) * (w.vocabulary + 4 * w.hidden);
        Self {
            weights: F32 * layout.len,
            gradient: F32 * layout.learned.len(),
            moments: 2 * F32 * layout.learned.len(),
            working: F32 * (layout.transposed_len + chunk + head),
            per_token: F32 * (layers + w.hidden + derivatives),
            per_token_recomputed: F32 * (c.layers * w.hidden + largest + w.hidden + derivatives),
            per_target: F32 * w.vocabulary,
            logits_limit: KEPT_LOGITS_BYTES,
            cache_per_token: F32 * c.layers * c.kv_heads * (c.head_width + w.head),
            sampled_together: DECODED_TOGETHER * threads,
        }
    }

    /// The same with weights held in bf16 beside the master weights.
    pub fn in_bf16(self) -> Self {
        Self { weights: self.weights + self.weights / 2, ..self }
    }

    /// At the peak of learning from a micro-batch of so many tokens, all of them scored.
    pub fn peak(&self, tokens: usize, recomputed: bool) -> usize {
        let per_token = if recomputed { self.per_token_recomputed } else { self.per_token };
        self.fixed() + tokens * per_token + (tokens * self.per_target).min(self.logits_limit)
    }

    /// What a micro-batch of so many tokens, all of them scored, adds to weights, gradient and moments.
    pub fn activations(&self, tokens: usize, recomputed: bool) -> usize {
        self.peak(tokens, recomputed) - self.weights - self.gradient - self.moments
    }

    fn fixed(&self) -> usize {
        self.weights + self.gradient + self.moments + self.working
    }

    /// How a micro-batch is to be learned from within a limit: what to keep, and in which parts.
    pub(crate) fn choose(&self, limit: Option<usize>, batch: &TokenBatch) -> (Keep, Vec<Range<usize>>) {
        let groups = batch.groups();
        let sizes: Vec<usize> = groups.iter().map(|group| batch.tokens_of(group)).collect();
        let (tokens, largest) = (sizes.iter().sum::<usize>(), sizes.iter().copied().max().unwrap_or(0));
        let whole = |keep| (keep, std::iter::once(0..batch.tokens.rows()).collect());
        let fits = |tokens: usize, recomputed: bool| limit.is_none_or(|limit| self.peak(tokens, recomputed) <= limit);
        if fits(tokens, false) {
            return whole(Keep::All);
        }
        if fits(tokens, true) {
            return whole(Keep::Inputs);
        }
        // A part's second pass is the one more that recomputation would take, so parts keep everything where they can.
        let (keep, per_token) = match fits(largest, false) {
            true => (Keep::All, self.per_token),
            false => (Keep::Inputs, self.per_token_recomputed),
        };
        let room = limit.unwrap_or(usize::MAX).saturating_sub(self.fixed()) / (per_token + self.per_target).max(1);
        (keep, batch.microbatches(room))
    }
}

/// Values of a token that a layer keeps.
fn layer_values(c: &ModelConfig, w: &Widths, layout: &Layout, l: usize) -> usize {
    let heads = if c.qk_norm { w.q + w.kv + c.heads + c.kv_heads } else { 0 };
    let feed_forward = match &layout.layers[l].feed_forward {
        FeedForward::Dense(gated) => 2 * gated.width(),
        FeedForward::Experts(e) => {
            let shared = e.shared.as_ref().map_or(0, |gated| 2 * gated.width());
            let per_token = c.experts.as_ref().map_or(0, |experts| experts.per_token);
            per_token * (2 * e.experts[0].width() + 4) + shared + 2 * e.router.outputs
        }
    };
    2 * w.hidden + w.qkv + w.q + 2 * c.heads + 2 + heads + feed_forward
}

/// Values of a token while it goes backward through a layer of experts.
fn expert_values(c: &ModelConfig, layout: &Layout) -> usize {
    let hidden = Widths::of(c).hidden;
    let of_layer = |layer: &LayerLayout| match &layer.feed_forward {
        FeedForward::Dense(_) => 0,
        FeedForward::Experts(e) => {
            let (width, shared) = (e.experts[0].width(), e.shared.as_ref().map_or(0, Gated::width));
            let per_token = c.experts.as_ref().map_or(0, |experts| experts.per_token);
            per_token * (4 * hidden + 3 * width) + 3 * hidden + e.router.outputs + 3 * shared
        }
    };
    layout.layers.iter().map(of_layer).max().unwrap_or(0)
}

/// The statistics of parts of a batch as those of the whole.
pub(crate) fn join(parts: Vec<TokenStats>) -> TokenStats {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        whole.logp.append(part.logp);
        whole.entropy.append(part.entropy);
        if let (Some(whole), Some(part)) = (&mut whole.top, part.top) {
            whole.iter_mut().zip(part).for_each(|(whole, part)| whole.append(part));
        }
        for (whole, part) in [(&mut whole.mean_nll, part.mean_nll), (&mut whole.value, part.value)] {
            if let (Some(whole), Some(part)) = (whole, part) {
                whole.append(part);
            }
        }
        if let (Some(whole), Some(part)) = (&mut whole.reward, part.reward) {
            whole.extend(part);
        }
        if let (Some(whole), Some(part)) = (&mut whole.routing, part.routing) {
            whole.append(part);
        }
    }
    whole
}

/// What the objective answered about some rows.
pub(crate) fn part_of(grads: &TokenGrads, rows: Range<usize>) -> TokenGrads {
    TokenGrads {
        logp: grads.logp.select(rows.clone()),
        entropy: grads.entropy.as_ref().map(|grads| grads.select(rows.clone())),
        value: grads.value.as_ref().map(|grads| grads.select(rows.clone())),
        reward: grads.reward.as_ref().map(|grads| grads[rows].to_vec()),
    }
}
