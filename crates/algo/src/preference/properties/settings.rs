//! What a recipe may change, and what it may not.

use super::*;

fn change(name: &str, target: Learns, json: &str) -> Result<Preference, String> {
    let overrides: PreferenceOverrides = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let loss = preference_loss(name).unwrap();
    let resolved = if target == Learns::Reward { loss.reward(&overrides) } else { loss.policy(&overrides) };
    resolved.map_err(|invalid| invalid.to_string())
}

#[test]
fn a_preference_is_its_settings() {
    for (preference, target) in policies()
        .into_iter()
        .map(|preference| (preference, Learns::Policy))
        .chain(reward_models().into_iter().map(|preference| (preference, Learns::Reward)))
    {
        let json = serde_json::to_string(&preference.settings()).unwrap();
        let again = change(preference.method().name, target, &json);
        assert_eq!(again.as_ref(), Ok(&preference), "{json}");
    }
}

#[test]
fn every_number_has_a_source_and_fits_its_range() {
    for loss in preference_losses() {
        for target in [Learns::Policy, Learns::Reward].into_iter().filter(|target| loss.teaches(*target)) {
            for parameter in loss.parameters_for(target) {
                let what = format!("{}: {}", loss.name, parameter.number.key());
                assert!(!parameter.source.is_empty() && parameter.range.holds(parameter.default), "{what}");
            }
        }
        assert!(preference_losses().iter().filter(|other| other.name == loss.name).count() == 1, "{}", loss.name);
    }
    // Each number is read by some loss.
    for number in Number::ALL {
        let read = |loss: &PreferenceLoss| {
            [Learns::Policy, Learns::Reward]
                .into_iter()
                .any(|target| loss.parameters_for(target).iter().any(|parameter| parameter.number == *number))
        };
        assert!(preference_losses().iter().any(read), "{}", number.key());
    }
}

#[test]
fn mixes_are_weighted_sums() {
    let (answers, examples) = answers_of_margins(&[0.7, -0.4, 2.0], 0.1);
    let loss = |name: &str, json: &str| step(&policy(name, json), &answers, &examples);
    let mix = loss("dpo", r#"{"mix":{"dpo":0.8,"bco":0.2},"bco_shift":"off","nll_coefficient":1}"#);
    let (dpo, bco) = (loss("dpo", r#"{"nll_coefficient":1}"#), loss("bco", r#"{"bco_shift":"off"}"#));
    let nll = -answers.iter().step_by(2).map(|answer| answer.mean).sum::<f64>() / 3.0;
    close(mix.loss, 0.8 * (dpo.loss - nll) + 0.2 * bco.loss + nll, 1e-12, "MPO");
    for (row, slope) in mix.by_logp.iter().enumerate() {
        close(*slope, 0.8 * dpo.by_logp[row] + 0.2 * bco.by_logp[row], 1e-12, "slope");
    }
    // Each loss of a mix keeps its own vetted numbers, unless one is given for all.
    let own = loss("simpo", r#"{"mix":{"dpo":1,"simpo":1}}"#);
    close(own.loss, loss("dpo", "{}").loss + loss("simpo", "{}").loss, 1e-12, "own");
    let both = loss("simpo", r#"{"mix":{"dpo":1,"simpo":1},"beta":0.3}"#);
    let alone = loss("dpo", r#"{"beta":0.3}"#).loss + loss("simpo", r#"{"beta":0.3}"#).loss;
    close(both.loss, alone, 1e-12, "one β for all");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    use Learns::{Policy, Reward};
    let table = [
        ("dpo", Policy, r#"{"beta":0}"#, "`beta`: expected a number > 0, got 0"),
        ("dpo", Policy, r#"{"ld_alpha":1.5}"#, "`ld_alpha`: expected a number from 0 to 1, got 1.5"),
        ("cdpo", Policy, r#"{"label_smoothing":0.5}"#, "`label_smoothing`: expected a number in [0, 0.5), got 0.5"),
        ("exo", Policy, r#"{"label_smoothing":0}"#, "`label_smoothing`: expected a number in (0, 0.5), got 0"),
        ("ropo", Policy, r#"{"ropo_alpha":2}"#, "`ropo_alpha`: expected a number > 2, got 2"),
        ("gce", Policy, r#"{"gce_q":1.1}"#, "`gce_q`: expected a number in (0, 1], got 1.1"),
        ("alphapo", Policy, r#"{"alphapo_alpha":0}"#, "expected a number other than 0"),
        ("vrpo", Policy, r#"{"synthetic_pairs":1.5}"#, "expected a whole number ≥ 0, got 1.5"),
        ("dpo", Policy, r#"{"label_smoothing":0.1}"#, "only has a meaning with `cdpo`, `rdpo`, `exo`, `aot`"),
        ("dpo", Policy, r#"{"gce_q":0.7}"#, "only has a meaning with `gce`, got it together with method \"dpo\""),
        ("dpo", Policy, r#"{"center_rewards":0.1}"#, "`center_rewards`: expected no such key"),
        ("dpo", Reward, r#"{"beta":0.1}"#, "`beta`: expected no such key, as it only has a meaning with a policy"),
        ("simpo", Policy, r#"{"ld_alpha":0.5}"#, "`ld_alpha`: expected no such key"),
        ("simpo", Policy, r#"{"f_divergence":"forward_kl"}"#, "a loss of the difference of two log-ratios"),
        ("kto", Policy, r#"{"f_divergence":"forward_kl"}"#, "a loss of the difference of two log-ratios"),
        ("dpo", Policy, r#"{"f_alpha":0.3}"#, "only has a meaning with f_divergence = \"alpha_divergence\""),
        ("dpo", Policy, r#"{"rho":"huber"}"#, "only has a meaning with `m_estimator`"),
        ("m_estimator", Policy, r#"{"rho_keep":0.5}"#, "only has a meaning with rho = \"trimmed\""),
        ("m_estimator", Policy, r#"{"rho_mad":1,"rho_scale":2}"#, "a `rho` that has a scale, and `rho_mad = 0`"),
        ("bradley_terry", Reward, r#"{"tie_width":0.5}"#, "ties = \"rao_kupper\" or \"davidson\""),
        ("bradley_terry", Policy, "{}", "`method`: expected a loss that teaches a policy, got \"bradley_terry\""),
        ("simpo", Reward, "{}", "`method`: expected a loss that teaches a reward model, got \"simpo\""),
        ("dpo", Policy, r#"{"mix":{"dop":1}}"#, "`mix`: expected names of preference losses, got \"dop\""),
        ("dpo", Policy, r#"{"mix":{"dpo":0}}"#, "`mix`: expected weights > 0, got 0"),
        ("dpo", Policy, r#"{"mix":{}}"#, "`mix`: expected at least one loss with its weight"),
        ("dpo", Policy, r#"{"primary_loss":"ramp"}"#, "`primary_loss`: expected no such key"),
        ("dr_dpo", Policy, r#"{"weighting":"wpo_greedy"}"#, "`weighting`: expected off"),
        ("dpo", Reward, r#"{"weighting":"wpo_greedy"}"#, "`weighting`: expected no such key"),
        ("dpo", Policy, r#"{"betta":1}"#, "unknown field `betta`"),
    ];
    for (name, target, json, message) in table {
        let got = change(name, target, json).unwrap_err();
        assert!(got.contains(message), "{json} for {name}: {got}");
    }
}

#[test]
fn the_schema_knows_every_key() {
    let schema = serde_json::to_value(schemars::schema_for!(PreferenceOverrides)).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), Number::ALL.len() + 8);
    assert_eq!(schema["additionalProperties"], false);
}

/// The state is small, and reads back as it was written.
#[test]
fn the_state_reads_back() {
    let state = PreferenceState { reward_mean: 0.1, rewards: 7.0, deviation: Some(0.3) };
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PreferenceState>(&json).unwrap(), state);
    assert_eq!(serde_json::from_str::<PreferenceState>("{}").unwrap(), PreferenceState::default());
}

/// Every metric that a step reports is in the catalogue, and every one there is reported by something.
#[test]
fn every_metric_is_explained_and_reported() {
    let mut seen = std::collections::BTreeSet::new();
    let answers = random_answers(9, 1);
    for preference in policies() {
        seen.extend(step(&preference, &answers, &random_examples(&preference, 9, 1)).metrics.names());
    }
    for preference in reward_models() {
        let rewards: Vec<f64> = answers.iter().map(|answer| answer.mean).collect();
        seen.extend(reward_step(&preference, &rewards, &random_examples(&preference, 9, 1)).metrics.names());
    }
    seen.insert("wpo/weight");
    let named: std::collections::BTreeSet<&str> = preference_metrics().iter().map(|metric| metric.name).collect();
    assert_eq!(seen, named);
}
