//! What a recipe may change, and what it may not.

use super::names::Written;
use super::*;
use crate::methods::{method, methods};
use crate::{
    AdaptiveKl, Advantage, Correction, GroupOverlong, Kl, Level, Objective, OffPolicy, Opsm, Overlong, Rejection,
    Surrogate,
};

fn change(name: &str, json: &str) -> Result<Objective, String> {
    let overrides: Overrides = serde_json::from_str(json).map_err(|error| error.to_string())?;
    (method(name).unwrap().defaults)().with(&overrides).map_err(|invalid| invalid.to_string())
}

#[test]
fn a_methods_own_settings_change_nothing() {
    for method in methods() {
        let objective = (method.defaults)();
        assert_eq!(objective.clone().with(&objective.settings()), Ok(objective.clone()), "{}", method.name);
        assert_eq!(objective.clone().with(&Overrides::default()), Ok(objective.clone()));
        let json = serde_json::to_string(&objective).unwrap();
        assert_eq!(serde_json::from_str::<Overrides>(&json).unwrap(), objective.settings());
    }
}

/// The text of the docs is the text of the recipe.
#[test]
fn entries_read_back_as_the_same_settings() {
    for method in methods() {
        let settings = (method.defaults)().settings();
        let lines: Vec<String> = settings.entries().iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let read: Overrides = serde_json::from_str(&format!("{{{}}}", lines.join(","))).unwrap();
        assert_eq!(read, settings, "{}", method.name);
    }
}

#[test]
fn every_setting_reaches_the_objective() {
    let all = r#"{"advantage":"group_zscore","std_ddof":0,"std_delta":1e-4,"ratio":"sequence_geometric",
        "surrogate":"clip","clip_low":0.1,"clip_high":0.3,"clip_dual":4,
        "aggregate":"token_sum_const","length_constant":512,
        "kl_coefficient":0.05,"kl_estimator":"k2","kl_in":"loss","kl_unbiased":true,"kl_target":0.1,"kl_horizon":500,"policy_coefficient":0.5,
        "entropy_coefficient":0.01,"entropy_aggregate":"seq_mean_token_mean","correction_level":"geometric","correction_mode":"clip","correction_low":0.25,
        "correction_high":3,"correction_normalise":true,"rejection_level":"token","rejection_low":0.3,
        "rejection_high":4,"rejection_veto":1e-4,"rejection_denominator":"remaining","bypass":false,"opsm_delta":0.5,
        "opsm_level":"token","dynamic_sampling":true,"overlong_share":0.5,"overlong_factor":2,"group_overlong":0.8}"#;
    let correction =
        Correction { level: Level::Geometric, mode: CorrectionMode::Clip, low: 0.25, high: 3.0, batch_normalise: true };
    let expected = Objective {
        advantage: Advantage::GroupZscore { ddof: 0, delta: 1e-4 },
        ratio: Ratio::SequenceGeometric,
        surrogate: Surrogate::Clip { low: 0.1, high: 0.3, dual: Some(4.0) },
        aggregate: Aggregate::TokenSumConst,
        length_constant: Some(512),
        kl: Kl {
            coefficient: 0.05,
            estimator: KlEstimator::K2,
            place: KlPlace::Loss,
            unbiased: true,
            adaptive: Some(AdaptiveKl { target: 0.1, horizon: 500.0 }),
        },
        policy_coefficient: 0.5,
        entropy_coefficient: 0.01,
        entropy_aggregate: Some(Aggregate::SeqMeanTokenMean),
        off_policy: OffPolicy {
            correction: Some(correction),
            rejection: Some(Rejection { level: Level::Token, low: 0.3, high: 4.0 }),
            veto: Some(1e-4),
            denominator: Denominator::Remaining,
            bypass: false,
            opsm: Some(Opsm { delta: 0.5, level: OpsmLevel::Token }),
        },
        critic: None,
        critic_only: false,
        dynamic_sampling: true,
        overlong: Some(Overlong { share: 0.5, factor: 2.0 }),
        group_overlong: Some(GroupOverlong { easy: 0.8 }),
    };
    for method in methods().iter().filter(|method| method.name != "sft") {
        assert_eq!(change(method.name, all), Ok(expected.clone()), "{}", method.name);
    }
    let off = change("dapo", r#"{"overlong_share":0,"dynamic_sampling":false,"clip_dual":0}"#).unwrap();
    assert_eq!((off.overlong, off.dynamic_sampling), (None, false));
}

/// Each estimator and its numbers, from any method.
#[test]
fn every_estimator_can_be_chosen() {
    let credit = |json: &str| match change("grpo", json).unwrap().advantage {
        Advantage::EntropyTokens(credit) | Advantage::EntropySequences(credit) => credit,
        other => panic!("{other:?}"),
    };
    let all = credit(
        r#"{"advantage":"entropy_token","outcome_weight":0.9,"entropy_weight":0.2,"entropy_normalise":"joint",
        "entropy_scope":"batch","entropy_mean":"geometric","entropy_floor":1e-3,"entropy_clamp_low":0.2,
        "entropy_clamp_high":0.28,"entropy_position":"trained","success_above":0,"skip_one_sided":false,"std_ddof":1,
        "std_delta":1e-6}"#,
    );
    let expected = crate::EntropyCredit {
        outcome_weight: 0.9,
        entropy_weight: 0.2,
        normalise: Normalise::Joint,
        scope: Scope::Batch,
        mean: EntropyMean::Geometric,
        floor: 1e-3,
        clamp: Some((0.2, 0.28)),
        position: EntropyPosition::Trained,
        success_above: 0.0,
        skip_one_sided: false,
        ddof: 1,
        delta: 1e-6,
    };
    assert_eq!(all, expected);
    assert_eq!(credit(r#"{"advantage":"entropy_sequence"}"#), crate::EntropyCredit::PAPER);
    let gae =
        change("grpo", r#"{"advantage":"gae","gamma":0.9,"gae_lambda":0.95,"whiten_rewards":true,"value_clip":0}"#)
            .unwrap();
    assert_eq!(gae.advantage, Advantage::Gae { gamma: 0.9, lambda: 0.95, whiten: true, whiten_rewards: true });
    assert_eq!(gae.critic, Some(crate::Critic { coefficient: 0.1, value_clip: None, warmup_steps: 0 }));
    assert_eq!(change("ppo", r#"{"advantage":"raw"}"#).unwrap().critic, None);
    for name in ["raw", "batch_mean", "group_mean", "batch_zscore", "leave_one_out", "whitened_return", "entropy_share"]
    {
        let chosen = change("grpo", &format!(r#"{{"advantage":"{name}"}}"#)).unwrap();
        assert_eq!(chosen.settings().entries()[0], ("advantage", format!("\"{name}\"")));
    }
}

/// What is left out is what the field uses.
#[test]
fn defaults_of_corrections_follow_their_level_and_mode() {
    let bounds = |json: &str| change("grpo", json).unwrap().off_policy.correction.map(|of| (of.low, of.high)).unwrap();
    assert_eq!(bounds(r#"{"correction_level":"token"}"#), (0.0, 2.0), "TIS");
    assert_eq!(bounds(r#"{"correction_level":"token","correction_mode":"clip"}"#), (0.5, 2.0), "CIS");
    assert_eq!(bounds(r#"{"correction_level":"token","correction_mode":"clip","correction_high":4}"#), (0.25, 4.0));
    assert_eq!(bounds(r#"{"correction_level":"token","correction_mode":"mask"}"#), (0.5, 2.0), "IcePop");
    assert_eq!(bounds(r#"{"correction_level":"sequence","correction_mode":"mask"}"#), (0.0, 3.0), "TRL");
    let geometric = change("gspo", r#"{"rejection_level":"geometric"}"#).unwrap().off_policy.rejection.unwrap();
    assert_eq!((geometric.low, geometric.high), (0.9999, 1.0001));
    let trl = change("cispo", r#"{"clip_absolute":true,"clip_high":5}"#).unwrap().surrogate;
    assert_eq!(trl, Surrogate::Cispo { low: 1.0, high: 5.0, absolute: true });
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let table = [
        ("grpo", r#"{"clip_low":-0.1}"#, "`clip_low`: expected a number in (0, 1], got -0.1"),
        ("grpo", r#"{"clip_low":1.5}"#, "`clip_low`: expected a number in (0, 1], got 1.5"),
        ("grpo", r#"{"clip_high":0}"#, "`clip_high`: expected a number > 0, got 0"),
        ("grpo", r#"{"clip_dual":0.5}"#, "`clip_dual`: expected 0 (off) or a number > 1, got 0.5"),
        ("grpo", r#"{"kl_coefficient":-1}"#, "`kl_coefficient`: expected a number ≥ 0, got -1"),
        ("sft", r#"{"entropy_coefficient":-1}"#, "`entropy_coefficient`: expected a number ≥ 0, got -1"),
        ("grpo", r#"{"std_ddof":2}"#, "`std_ddof`: expected 0 or 1, got 2"),
        ("grpo", r#"{"std_delta":-1}"#, "`std_delta`: expected a number ≥ 0, got -1"),
        ("dapo", r#"{"overlong_share":1.5}"#, "`overlong_share`: expected a number from 0 (off) to 1, got 1.5"),
        ("dapo", r#"{"overlong_factor":-1}"#, "`overlong_factor`: expected a number ≥ 0, got -1"),
        (
            "rloo",
            r#"{"clip_low":0.2}"#,
            "surrogate = \"clip\" or \"cispo\", got it together with surrogate = \"reinforce\"",
        ),
        (
            "rloo",
            r#"{"ratio":"token"}"#,
            "surrogate = \"clip\" or \"cispo\", got it together with surrogate = \"reinforce\"",
        ),
        ("dr_grpo", r#"{"std_ddof":1}"#, "got it together with advantage = \"group_mean\""),
        ("grpo", r#"{"length_constant":9}"#, "got it together with aggregate = \"seq_mean_token_mean\""),
        ("grpo", r#"{"overlong_factor":1}"#, "got it together with overlong_share = 0"),
        ("grpo", r#"{"surrogate":"nll"}"#, "(\"nll\" is the method `sft`), got \"nll\""),
        ("sft", r#"{"surrogate":"clip"}"#, "\"nll\" for the method `sft`, which has no rewards, got \"clip\""),
        ("sft", r#"{"advantage":"raw"}"#, "a method that learns from rewards, got it together with method \"sft\""),
        ("sft", r#"{"dynamic_sampling":true}"#, "a method that learns from rewards"),
        ("cispo", r#"{"clip_dual":3}"#, "surrogate = \"clip\", got it together with surrogate = \"cispo\""),
        ("grpo", r#"{"clip_absolute":true}"#, "surrogate = \"cispo\", got it together with surrogate = \"clip\""),
        ("cispo", r#"{"clip_absolute":true}"#, "`clip_high`: expected a number ≥ 1 where clip_absolute = true"),
        ("grpo", r#"{"gamma":0.9}"#, "`gamma`: expected no such key, as it only has a meaning with advantage"),
        ("ppo", r#"{"gamma":0}"#, "`gamma`: expected a number in (0, 1], got 0"),
        ("ppo", r#"{"gae_lambda":1.5}"#, "`gae_lambda`: expected a number from 0 to 1, got 1.5"),
        ("grpo", r#"{"gae_lambda":1}"#, "only has a meaning with advantage = \"gae\""),
        ("grpo", r#"{"critic_warmup_steps":9}"#, "only has a meaning with advantage = \"gae\""),
        ("ppo", r#"{"value_coefficient":0}"#, "`value_coefficient`: expected a number > 0, got 0"),
        ("ppo", r#"{"value_clip":-1}"#, "`value_clip`: expected a number ≥ 0, got -1"),
        ("ppo", r#"{"kl_unbiased":true}"#, "kl_in = \"loss\", got it together with kl_in = \"reward\""),
        ("ppo", r#"{"kl_target":0.1}"#, "kl_coefficient > 0, got it together with kl_coefficient = 0"),
        ("ppo", r#"{"kl_horizon":9}"#, "kl_target > 0, got it together with kl_target = 0"),
        ("ppo", r#"{"kl_coefficient":1,"kl_target":1,"kl_horizon":0}"#, "`kl_horizon`: expected a number > 0, got 0"),
        ("gtpo", r#"{"kl_in":"reward"}"#, "`kl_in`: expected \"loss\", as credit by entropy replaces the reward"),
        ("gtpo", r#"{"entropy_floor":0}"#, "`entropy_floor`: expected a number > 0, got 0"),
        ("gtpo", r#"{"outcome_weight":0}"#, "`outcome_weight`: expected a number > 0, got 0"),
        (
            "gtpo",
            r#"{"entropy_clamp_low":0.3,"entropy_clamp_high":0.2}"#,
            "a number > entropy_clamp_low = 0.3, got 0.2",
        ),
        ("grpo_s", r#"{"entropy_position":"trained"}"#, "only has a meaning with advantage = \"entropy_token\""),
        ("dapo", r#"{"entropy_weight":0.1}"#, "got it together with advantage = \"group_zscore\""),
        ("grpo", r#"{"correction_high":3}"#, "a `correction_level`, got it together with correction_level = \"off\""),
        ("grpo", r#"{"correction_level":"token","correction_high":0.5}"#, "`correction_high`: expected a number ≥ 1"),
        (
            "grpo",
            r#"{"correction_level":"token","correction_low":2}"#,
            "`correction_low`: expected a number from 0 to 1",
        ),
        ("grpo", r#"{"rejection_low":0.1}"#, "a `rejection_level`, got it together with rejection_level = \"off\""),
        ("grpo", r#"{"rejection_veto":1}"#, "`rejection_veto`: expected 0 (off) or a number < 1, got 1"),
        ("grpo", r#"{"rejection_denominator":"remaining"}"#, "got it together with nothing that rejects"),
        ("grpo", r#"{"bypass":true,"correction_level":"token"}"#, "`bypass`: expected false, as a correction compares"),
        ("grpo", r#"{"opsm_level":"token"}"#, "opsm_delta > 0, got it together with opsm_delta = 0"),
        ("gtpo", r#"{"group_overlong":0.3}"#, "`group_overlong`: expected 0 (off) or a number in (0.5, 1], got 0.3"),
        ("sft", r#"{"bypass":true}"#, "a method that learns from rewards, got it together with method \"sft\""),
        ("grpo", r#"{"clip_hihg":0.3}"#, "unknown field `clip_hihg`, expected one of"),
        (
            "grpo",
            r#"{"ratio":"sequence"}"#,
            "unknown variant `sequence`, expected one of `token`, `sequence_geometric`",
        ),
    ];
    for (name, json, message) in table {
        let got = change(name, json).unwrap_err();
        assert!(got.contains(message), "{json} for {name}: {got}");
    }
}

#[test]
fn names_are_written_as_they_are_read() {
    assert_eq!(AdvantageName::GroupZscore.written(), serde_json::to_string(&AdvantageName::GroupZscore).unwrap());
    assert_eq!(Aggregate::SeqMeanTokenSum.written(), serde_json::to_string(&Aggregate::SeqMeanTokenSum).unwrap());
    assert_eq!(KlEstimator::K3.written(), serde_json::to_string(&KlEstimator::K3).unwrap());
}

#[test]
fn the_schema_knows_every_key() {
    let schema = serde_json::to_value(schemars::schema_for!(Overrides)).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 55);
    assert_eq!(schema["additionalProperties"], false);
}
