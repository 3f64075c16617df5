//! What must hold for every preference loss of the registry: derivatives, invariances, extremes, settings.

mod derivatives;
mod extremes;
mod invariance;
mod settings;
mod tokens;

use lapidary_core::{Key, Purpose};

use super::testing::*;
use super::*;
use crate::testing::close;

/// Random answers around their reference, as pairs `(2i, 2i + 1)`.
fn random_answers(pairs: usize, seed: u64) -> Vec<Answer> {
    (0..2 * pairs)
        .map(|row| {
            let key = Key::new(seed, Purpose::Bootstrap).at(row as u64);
            let tokens = 3 + key.at(0).below(9) as usize;
            // Far enough below 0 for every log-probability to stay there.
            let reference = -8.0 - (tokens as f64) * (0.5 + key.at(1).uniform());
            Answer::new(reference + 1.5 * key.at(2).normal(), reference, tokens)
        })
        .collect()
}

/// Pairs with every label, margin and weight that the loss takes.
fn random_examples(preference: &Preference, pairs: usize, seed: u64) -> Vec<Example> {
    let needs = preference.needs();
    let plain = matches!(preference.method().coupling, Coupling::Sorted | Coupling::SortedSides);
    (0..pairs)
        .map(|index| {
            let key = Key::new(seed, Purpose::Bootstrap).at(1000 + index as u64);
            let mut pair = Pair::new(2 * index, 2 * index + 1);
            if needs.margins {
                pair.margin = 0.5 * key.at(0).uniform();
            }
            if !plain {
                pair.label = Label::Prefer([1.0, 0.0, 0.3, 0.8][key.at(1).below(4) as usize]);
                pair.weight = 0.5 + key.at(2).uniform();
            }
            if needs.synthetic_pairs.is_some() {
                let synthetic =
                    vec![Synthetic { first: (2 * index + 2) % (2 * pairs), second: 2 * index, preference: 0.7 }];
                pair.auxiliary = Some(Auxiliary { preference: key.at(3).uniform(), synthetic });
            }
            pair.into()
        })
        .collect()
}

/// Every loss for a policy, plain and with settings that open its other branches.
fn policies() -> Vec<Preference> {
    let mut all: Vec<Preference> = preference_losses()
        .iter()
        .filter(|loss| loss.teaches(Learns::Policy))
        .map(|loss| policy(loss.name, "{}"))
        .collect();
    for divergence in ["forward_kl", "js_divergence", "alpha_divergence"] {
        all.push(policy("dpo", &format!("{{\"f_divergence\":\"{divergence}\"}}")));
        all.push(policy("aot_unpaired", &format!("{{\"f_divergence\":\"{divergence}\"}}")));
    }
    for rho in ["huber", "pseudo_huber", "cauchy", "tukey", "geman_mcclure", "trimmed", "gce", "ramp"] {
        for on in ["loss", "residual"] {
            all.push(policy("m_estimator", &format!("{{\"rho\":\"{rho}\",\"rho_on\":\"{on}\",\"rho_warmup\":0}}")));
        }
    }
    all.push(policy("m_estimator", r#"{"rho_mad":1.5}"#));
    all.push(policy("vrpo", r#"{"primary_loss":"dpo","guard":0.1,"guard_margin":0.1}"#));
    all.push(policy("aot", r#"{"label_smoothing":0.1}"#));
    all.push(policy("dpo", r#"{"mix":{"dpo":0.8,"nca":0.2,"sigmoid_norm":3},"nll_coefficient":1}"#));
    all.push(policy("holder", r#"{"holder_gamma":0.5,"nll_coefficient":0.3}"#));
    all
}

/// Every loss for a reward model.
fn reward_models() -> Vec<Preference> {
    let mut all: Vec<Preference> = preference_losses()
        .iter()
        .filter(|loss| loss.teaches(Learns::Reward))
        .map(|loss| reward(loss.name, r#"{"center_rewards":0.02}"#))
        .collect();
    all.push(reward("vrpo", r#"{"primary_loss":"dpo","guard":0.1}"#));
    all.push(reward("bradley_terry", r#"{"mix":{"bradley_terry":1,"reward_bce":0.1}}"#));
    all
}
