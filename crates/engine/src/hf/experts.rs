//! The keys of `config.json` that are about experts.

use lapidary_core::{Result, UNROUTED};
use serde_json::{Map, Value, json};

use super::config::{ConfigSource, MAX_WIDTH};
use crate::{Experts, Family, ModelConfig, Router};

/// Most experts a layer may have: their numbers are recorded as u16.
const MAX_EXPERTS: u64 = UNROUTED as u64 - 1;

/// What a mixture of experts says about its experts, with its family's defaults; `None` for a dense family.
pub(super) fn parse(source: &ConfigSource, family: Family, layers: usize) -> Result<Option<Experts>> {
    let experts = match family {
        Family::Llama | Family::Qwen2 | Family::Qwen3 => return Ok(None),
        Family::Qwen3Moe => qwen3_moe(source, layers)?,
        Family::Glm4Moe => glm4_moe(source, layers)?,
    };
    if experts.per_token > experts.count {
        let message = format!("a token cannot use {} of {} experts", experts.per_token, experts.count);
        return Err(source.problem("M005", "num_experts_per_tok", message));
    }
    Ok(Some(experts))
}

/// A width that has a default.
fn width(source: &ConfigSource, key: &str, default: usize) -> Result<usize> {
    Ok(source.integer(key, MAX_WIDTH)?.unwrap_or(default))
}

/// How many experts there are, under the family's own name or transformers' common one.
fn count(source: &ConfigSource, key: &str, default: usize) -> Result<usize> {
    let (own, common) = (source.integer(key, MAX_EXPERTS)?, source.integer("num_local_experts", MAX_EXPERTS)?);
    match (own, common) {
        (Some(own), Some(common)) if own != common => {
            let message = format!("`{key}` is {own}, but `num_local_experts` is {common}");
            Err(source.problem("M005", key, message))
        }
        _ => Ok(own.or(common).unwrap_or(default)),
    }
}

fn qwen3_moe(source: &ConfigSource, layers: usize) -> Result<Experts> {
    let step = width(source, "decoder_sparse_step", 1)?;
    let only = dense_list(source)?;
    Ok(Experts {
        count: count(source, "num_experts", 128)?,
        per_token: width(source, "num_experts_per_tok", 8)?,
        feed_forward: width(source, "moe_intermediate_size", 768)?,
        shared_feed_forward: 0,
        router: Router::Softmax,
        renormalise: source.flag("norm_topk_prob", false)?,
        scale: 1.0,
        dense_layers: (0..layers).filter(|layer| only.contains(layer) || (layer + 1) % step != 0).collect(),
    })
}

/// `mlp_only_layers`: blocks without experts whatever `decoder_sparse_step` says.
fn dense_list(source: &ConfigSource) -> Result<Vec<usize>> {
    let key = "mlp_only_layers";
    let Some(value) = source.get(key) else { return Ok(Vec::new()) };
    let layers: Option<Vec<usize>> =
        value.as_array().and_then(|list| list.iter().map(|layer| Some(layer.as_u64()? as usize)).collect());
    layers.ok_or_else(|| source.problem("M005", key, format!("`{key}` must be a list of layers, got {value}")))
}

fn glm4_moe(source: &ConfigSource, layers: usize) -> Result<Experts> {
    let feed_forward = width(source, "moe_intermediate_size", 1408)?;
    // The first layers may all be sparse: 0 is a value of its own.
    let dense = match source.get("first_k_dense_replace").and_then(Value::as_u64) {
        Some(0) => 0,
        _ => width(source, "first_k_dense_replace", 1)?,
    };
    let experts = Experts {
        count: count(source, "n_routed_experts", 128)?,
        per_token: width(source, "num_experts_per_tok", 8)?,
        feed_forward,
        shared_feed_forward: feed_forward * width(source, "n_shared_experts", 1)?,
        router: Router::Sigmoid { groups: width(source, "n_group", 1)?, kept_groups: width(source, "topk_group", 1)? },
        renormalise: source.flag("norm_topk_prob", true)?,
        scale: source.number_in(source.json, "routed_scaling_factor")?.unwrap_or(1.0),
        dense_layers: (0..dense.min(layers)).collect(),
    };
    check_groups(source, &experts)?;
    Ok(experts)
}

/// A group is as good as its two best experts, so it needs two.
fn check_groups(source: &ConfigSource, experts: &Experts) -> Result<()> {
    let Router::Sigmoid { groups, kept_groups } = experts.router else { return Ok(()) };
    let count = experts.count;
    if !count.is_multiple_of(groups) || count / groups < 2 {
        let message = format!("{count} experts cannot form {groups} groups of at least two");
        return Err(source.problem("M005", "n_group", message));
    }
    if kept_groups > groups || kept_groups * (count / groups) < experts.per_token {
        let message = format!(
            "{} experts per token cannot come from {kept_groups} of {groups} groups of {}",
            experts.per_token,
            count / groups
        );
        return Err(source.problem("M005", "topk_group", message));
    }
    Ok(())
}

/// Writes the keys that [`parse`] reads.
pub(super) fn write(experts: &Experts, config: &ModelConfig, out: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_string(), value);
    };
    put("moe_intermediate_size", json!(experts.feed_forward));
    put("num_experts_per_tok", json!(experts.per_token));
    put("norm_topk_prob", json!(experts.renormalise));
    match experts.router {
        Router::Softmax => {
            put("num_experts", json!(experts.count));
            put("decoder_sparse_step", json!(1));
            put("mlp_only_layers", json!(experts.dense_layers));
        }
        Router::Sigmoid { groups, kept_groups } => {
            put("n_routed_experts", json!(experts.count));
            put("n_shared_experts", json!(experts.shared_feed_forward / experts.feed_forward));
            put("routed_scaling_factor", json!(experts.scale));
            put("n_group", json!(groups));
            put("topk_group", json!(kept_groups));
            put("first_k_dense_replace", json!(experts.dense_layers.len().min(config.layers)));
            put("num_nextn_predict_layers", json!(0));
        }
    }
}
