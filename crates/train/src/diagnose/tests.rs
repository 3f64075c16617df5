//! Every rule of the table: a run that shows it, and one that is just not so.

use std::path::Path;

use super::*;
use crate::recipe::Recipe;

/// Steps of a made-up run.
const STEPS: usize = 60;

type Curves = Vec<(&'static str, Vec<f64>)>;

fn flat(value: f64) -> Vec<f64> {
    vec![value; STEPS]
}

/// Straight from one value to another.
fn line(from: f64, to: f64) -> Vec<f64> {
    (0..STEPS).map(|at| from + (to - from) * at as f64 / (STEPS - 1) as f64).collect()
}

/// One value, then another from the middle on.
fn jump(from: f64, to: f64) -> Vec<f64> {
    (0..STEPS).map(|at| if at < STEPS / 2 { from } else { to }).collect()
}

/// A value with so many spikes of another.
fn spiked(value: f64, spike: f64, count: usize) -> Vec<f64> {
    (0..STEPS).map(|at| if at >= 30 && at < 30 + 5 * count && at % 5 == 0 { spike } else { value }).collect()
}

/// Up, then down.
fn hill(from: f64, top: f64, to: f64) -> Vec<f64> {
    let half = STEPS / 2;
    let part = |a: f64, b: f64, at: usize| a + (b - a) * at as f64 / half as f64;
    (0..STEPS).map(|at| if at < half { part(from, top, at) } else { part(top, to, at - half) }).collect()
}

/// What a healthy run of 60 steps looks like.
fn healthy() -> Curves {
    vec![
        ("reward", line(0.2, 0.7)),
        ("reward_std", line(0.4, 0.3)),
        ("frac_reward_zero_std", line(0.1, 0.3)),
        ("frac_no_verdict", flat(0.0)),
        ("entropy", line(1.2, 0.6)),
        ("kl", line(0.0, 0.05)),
        ("approx_kl", flat(0.002)),
        ("ratio/max", flat(1.5)),
        ("clip_ratio/region_mean", flat(0.01)),
        ("grad_norm", line(1.0, 0.8)),
        ("weight_norm", line(100.0, 100.3)),
        ("learning_rate", line(1e-6, 5e-7)),
        ("sampling/logp_difference/max", flat(0.0)),
        ("sampling/logp_difference/mean", flat(0.003)),
        ("sampling/mismatch_k3", flat(2e-4)),
        ("completions/mean_length", line(100.0, 140.0)),
        ("completions/clipped_ratio", flat(0.02)),
        ("eval/accuracy", line(0.3, 0.6)),
        ("eval/clipped_ratio", flat(0.01)),
        ("rewards/answer/mean", line(0.2, 0.7)),
        ("rewards/format/mean", line(0.8, 0.95)),
        ("routing/changed", flat(0.02)),
        ("rollouts/commonest", flat(0.05)),
        ("rollouts/repetition", flat(0.02)),
        ("rollouts/reward_length_correlation", flat(0.1)),
    ]
}

fn series(name: &str, values: &[f64]) -> Series {
    let points = values.iter().enumerate().map(|(at, value)| (at as u64 + 1, *value)).collect();
    Series { name: name.into(), written_as: name.into(), points }
}

/// A healthy run with some curves in place of its own.
fn with(writer: Writer, changed: &Curves) -> History {
    let mut curves = healthy();
    for (name, values) in changed {
        curves.retain(|(known, _)| known != name);
        curves.push((name, values.clone()));
    }
    History::of("run", writer, curves.iter().map(|(name, values)| series(name, values)).collect())
}

fn recipe_of(method: &str) -> Recipe {
    let updates = if method == "reinforce" { 1 } else { 4 };
    let text = format!(
        "model = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"{method}\"\ntask = \"chain-sum\"\nsteps = {STEPS}\n\
         updates_per_rollout = {updates}\n"
    );
    Recipe::load_text(Path::new("x.toml"), &text, &[]).unwrap()
}

fn found(history: &History, rule: &str) -> Option<Sureness> {
    Diagnosis::of(history).findings.iter().find(|finding| finding.rule == rule).map(|finding| finding.sureness)
}

/// Rule, what shows it surely, what shows it less surely (or nothing), what does not show it.
fn cases() -> Vec<(&'static str, Curves, Curves, Curves)> {
    let one = |name, values| vec![(name, values)];
    let both = |a: (&'static str, Vec<f64>), b: (&'static str, Vec<f64>)| vec![a, b];
    let none = Vec::new;
    vec![
        ("reward_collapse", one("reward", hill(0.2, 0.8, 0.1)), none(), one("reward", hill(0.2, 0.8, 0.6))),
        (
            "entropy_collapse",
            one("entropy", jump(1.2, 0.001)),
            one("entropy", jump(1.2, 0.1)),
            one("entropy", jump(1.2, 0.2)),
        ),
        (
            "entropy_explosion",
            one("entropy", line(0.8, 4.0)),
            one("entropy", line(0.7, 1.7)),
            one("entropy", line(0.3, 0.9)),
        ),
        ("kl_blow_up", one("kl", line(0.01, 3.0)), one("kl", line(0.01, 0.5)), one("kl", line(0.01, 0.2))),
        (
            "ratio_tails",
            one("ratio/max", flat(40.0)),
            one("ratio/max", spiked(1.5, 40.0, 1)),
            one("ratio/max", flat(15.0)),
        ),
        ("large_steps", one("approx_kl", flat(0.8)), one("approx_kl", flat(0.2)), one("approx_kl", flat(0.05))),
        (
            "heavy_clipping",
            one("clip_ratio/region_mean", flat(0.7)),
            one("clip_ratio/region_mean", flat(0.4)),
            one("clip_ratio/region_mean", flat(0.2)),
        ),
        (
            "idle_clip",
            none(),
            both(("clip_ratio/region_mean", flat(0.0)), ("approx_kl", flat(0.01))),
            vec![("clip_ratio/region_mean", flat(0.0)), ("approx_kl", flat(0.0)), ("ratio/max", flat(1.0))],
        ),
        (
            "gradient_spikes",
            one("grad_norm", spiked(1.0, 30.0, 4)),
            one("grad_norm", spiked(1.0, 30.0, 1)),
            one("grad_norm", spiked(1.0, 8.0, 4)),
        ),
        (
            "gradient_growth",
            both(("grad_norm", line(0.5, 40.0)), ("reward", line(0.7, 0.5))),
            one("grad_norm", line(0.5, 40.0)),
            one("grad_norm", line(0.5, 3.0)),
        ),
        ("weight_growth", one("weight_norm", line(100.0, 150.0)), one("weight_norm", line(100.0, 108.0)), none()),
        (
            "peer_sampler_mismatch",
            one("sampling/mismatch_k3", line(1e-3, 0.5)),
            one("sampling/logp_difference/mean", flat(0.05)),
            one("sampling/mismatch_k3", line(1e-5, 5e-4)),
        ),
        (
            "routing_change",
            one("routing/changed", flat(0.5)),
            one("routing/changed", flat(0.15)),
            one("routing/changed", flat(0.08)),
        ),
        (
            "too_hard",
            both(("frac_reward_zero_std", flat(0.95)), ("reward", flat(0.05))),
            both(("frac_reward_zero_std", flat(0.6)), ("reward", flat(0.05))),
            both(("frac_reward_zero_std", flat(0.4)), ("reward", flat(0.05))),
        ),
        (
            "too_easy",
            both(("frac_reward_zero_std", line(0.2, 0.99)), ("reward", line(0.4, 1.0))),
            both(("frac_reward_zero_std", line(0.2, 0.7)), ("reward", line(0.4, 0.9))),
            both(("frac_reward_zero_std", line(0.2, 0.45)), ("reward", line(0.4, 0.9))),
        ),
        (
            "learns_nothing",
            one("grad_norm", flat(0.0)),
            none(),
            both(("grad_norm", flat(0.0)), ("frac_reward_zero_std", flat(1.0))),
        ),
        ("flat_reward", none(), one("reward", flat(0.4)), one("reward", line(0.4, 0.45))),
        (
            "reward_hacking",
            one("eval/accuracy", line(0.6, 0.3)),
            one("eval/accuracy", line(0.6, 0.54)),
            one("eval/accuracy", line(0.6, 0.59)),
        ),
        ("no_transfer", none(), one("eval/accuracy", flat(0.4)), one("eval/accuracy", line(0.4, 0.5))),
        (
            "reward_trade",
            both(("rewards/format/mean", line(0.2, 1.0)), ("rewards/answer/mean", line(0.6, 0.2))),
            both(("rewards/format/mean", line(0.7, 1.0)), ("rewards/answer/mean", line(0.6, 0.5))),
            both(("rewards/format/mean", line(0.2, 1.0)), ("rewards/answer/mean", line(0.60, 0.59))),
        ),
        (
            "length_pays",
            both(("completions/mean_length", line(100.0, 260.0)), ("rollouts/reward_length_correlation", flat(0.7))),
            both(("completions/mean_length", line(100.0, 260.0)), ("eval/accuracy", flat(0.4))),
            one("completions/mean_length", line(100.0, 260.0)),
        ),
        (
            "length_growth",
            both(("completions/mean_length", line(100.0, 500.0)), ("reward", flat(0.4))),
            one("completions/mean_length", line(100.0, 500.0)),
            one("completions/mean_length", line(100.0, 250.0)),
        ),
        (
            "length_collapse",
            both(("completions/mean_length", line(300.0, 20.0)), ("reward", flat(0.4))),
            one("completions/mean_length", line(300.0, 20.0)),
            one("completions/mean_length", line(300.0, 150.0)),
        ),
        (
            "truncation",
            one("completions/clipped_ratio", line(0.0, 0.8)),
            one("completions/clipped_ratio", flat(0.2)),
            one("completions/clipped_ratio", flat(0.08)),
        ),
        (
            "no_verdict",
            one("frac_no_verdict", flat(0.5)),
            one("frac_no_verdict", flat(0.05)),
            one("frac_no_verdict", flat(0.01)),
        ),
        (
            "repetition",
            one("rollouts/repetition", line(0.05, 0.9)),
            one("rollouts/repetition", line(0.05, 0.5)),
            one("rollouts/repetition", flat(0.5)),
        ),
        (
            "one_answer",
            one("rollouts/commonest", line(0.05, 1.0)),
            one("rollouts/commonest", line(0.05, 0.7)),
            one("rollouts/commonest", flat(0.7)),
        ),
        ("evaluation_cut", none(), one("eval/clipped_ratio", flat(0.2)), one("eval/clipped_ratio", flat(0.04))),
        ("tiny_entropy_start", none(), one("entropy", flat(0.05)), one("entropy", line(0.25, 0.05))),
    ]
}

/// Rules that curves alone do not show, tested below.
const OTHERWISE: [&str; 5] =
    ["not_finite", "failed", "sequence_ratio_tails", "heavy_sequence_clipping", "sampler_mismatch"];

#[test]
fn every_rule_is_tested() {
    let cases = cases();
    let tested: Vec<&str> = cases.iter().map(|case| case.0).chain(OTHERWISE).collect();
    for rule in rules() {
        assert!(tested.contains(&rule.name), "{} has no case", rule.name);
        assert_eq!(rules().filter(|other| other.name == rule.name).count(), 1, "{} twice", rule.name);
    }
    assert_eq!(tested.len(), rules().count());
}

#[test]
fn every_rule_speaks_when_it_should_and_is_silent_when_not() {
    let mut wrong = Vec::new();
    for (rule, sure, less_sure, control) in cases() {
        let of = |curves: &Curves| found(&with(Writer::Trl, curves), rule);
        if !sure.is_empty() && of(&sure) != Some(Sureness::Sure) {
            wrong.push(format!("{rule}: {:?}, should be sure", of(&sure)));
        }
        if !less_sure.is_empty() && of(&less_sure).is_none_or(|sureness| sureness == Sureness::Sure) {
            wrong.push(format!("{rule}: {:?}, should be less than sure", of(&less_sure)));
        }
        if let Some(sureness) = of(&control) {
            wrong.push(format!("{rule}: the control is {sureness:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_healthy_run_is_healthy_whoever_wrote_it() {
    for writer in [Writer::Lapidary, Writer::Trl, Writer::Verl] {
        let diagnosis = Diagnosis::of(&with(writer, &Vec::new()));
        assert_eq!(diagnosis.findings, [], "{writer:?}");
        assert_eq!(diagnosis.verdict, Verdict::Healthy);
        assert_eq!(
            diagnosis.headline,
            "The run looks healthy (reward 0.221 → 0.679, held-out accuracy 31.3 % → 58.7 %)."
        );
        assert!(remedy(&with(writer, &Vec::new()), &diagnosis).unwrap().is_none());
    }
}

#[test]
fn noise_is_no_trend() {
    // Reward between 0.3 and 0.7 without a trend; entropy between 0.5 and 0.7.
    let noise =
        |low: f64, high: f64| (0..STEPS).map(|at| low + (high - low) * ((at * 37 % 11) as f64 / 10.0)).collect();
    let history = with(Writer::Trl, &vec![("reward", noise(0.3, 0.7)), ("entropy", noise(0.5, 0.7))]);
    let names: Vec<&str> = Diagnosis::of(&history).findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(names, ["flat_reward"]);
}

#[test]
fn rules_that_need_more_than_curves() {
    let mut history = with(Writer::Trl, &Vec::new());
    assert_eq!((found(&history, "not_finite"), found(&history, "failed")), (None, None));
    history.not_finite.push(NotFinite { metric: "kl".into(), step: 41, count: 20 });
    history.failed = Some((41, "the loss is NaN".into()));
    assert_eq!(found(&history, "not_finite"), Some(Sureness::Sure));
    assert_eq!(found(&history, "failed"), Some(Sureness::Sure));
    assert_eq!(Diagnosis::of(&history).verdict, Verdict::Collapsing);

    let ours = |limit: f64| with(Writer::Lapidary, &vec![("sampling/logp_difference/max", flat(limit))]);
    assert_eq!(found(&ours(0.01), "sampler_mismatch"), Some(Sureness::Sure));
    assert_eq!(found(&ours(1e-5), "sampler_mismatch"), None);

    let by = |method: &str, curves: Curves| History {
        stage: Some((recipe_of(method), 0)),
        ..with(Writer::Lapidary, &curves)
    };
    let tails = || vec![("ratio/max", flat(3.0))];
    assert_eq!(found(&by("gspo", tails()), "sequence_ratio_tails"), Some(Sureness::Sure));
    assert_eq!(found(&by("grpo", tails()), "sequence_ratio_tails"), None);
    assert_eq!(found(&by("grpo", tails()), "ratio_tails"), None);
    let clipped = |share| vec![("clip_ratio/region_mean", flat(share))];
    assert_eq!(found(&by("gspo", clipped(0.7)), "heavy_sequence_clipping"), Some(Sureness::Likely));
    assert_eq!(found(&by("gspo", clipped(0.4)), "heavy_sequence_clipping"), None);
    assert_eq!(found(&by("gspo", clipped(0.4)), "heavy_clipping"), None);
    // Without a group, equal rewards are no loss.
    let equal = || vec![("frac_reward_zero_std", flat(1.0)), ("reward", flat(0.1))];
    assert!(found(&by("grpo", equal()), "too_hard").is_some());
    assert_eq!(found(&by("reinforce", equal()), "too_hard"), None);
}

#[test]
fn what_follows_from_what_is_said() {
    let mut all_equal = jump(0.2, 1.0);
    all_equal.rotate_right(5);
    let curves = vec![("entropy", jump(1.2, 1e-4)), ("frac_reward_zero_std", all_equal), ("reward", flat(0.3))];
    let diagnosis = Diagnosis::of(&with(Writer::Trl, &curves));
    let follows = |rule: &str| diagnosis.findings.iter().find(|it| it.rule == rule).unwrap().follows;
    assert_eq!(diagnosis.findings[0].rule, "entropy_collapse");
    assert_eq!(follows("entropy_collapse"), None);
    assert_eq!(follows("too_hard"), Some("entropy_collapse"));
    assert!(
        diagnosis.headline.starts_with("The run is collapsing: entropy collapse since step 3"),
        "{}",
        diagnosis.headline
    );
}

#[test]
fn missing_numbers_are_named() {
    let history = History::of("run", Writer::Unknown, vec![series("reward", &flat(0.5)), series("kl", &[0.1, 0.2])]);
    let diagnosis = Diagnosis::of(&history);
    let missing = |rule: &str| diagnosis.unasked.iter().find(|it| it.rule == rule).map(|it| it.missing.clone());
    assert_eq!(missing("entropy_collapse"), Some(vec!["entropy"]));
    assert_eq!(missing("gradient_spikes"), Some(vec!["grad_norm"]));
    assert_eq!(missing("reward_collapse"), None);
    let short = History::of("run", Writer::Unknown, vec![series("reward", &[0.5; 5])]);
    assert_eq!(Diagnosis::of(&short).verdict, Verdict::TooEarly);
}

#[test]
fn a_remedy_is_a_recipe_that_goes_there_gradually() {
    let mut history = with(Writer::Lapidary, &vec![("entropy", jump(1.2, 1e-3))]);
    history.stage = Some((recipe_of("grpo"), 0));
    history.checkpoints = vec![(10, "run/checkpoints/step-000010".into()), (50, "run/checkpoints/step-000050".into())];
    let remedy = remedy(&history, &Diagnosis::of(&history)).unwrap().unwrap();
    let recipe = Recipe::load_text(Path::new("m.toml"), &remedy.toml, &[]).unwrap();
    assert_eq!(recipe.model, "run/checkpoints/step-000010");
    let stages: Vec<_> = recipe
        .stages
        .iter()
        .map(|stage| match stage {
            crate::recipe::Stage::Rl(rl) => {
                let settings = rl.objective.settings();
                (rl.training.steps, rl.training.learning_rate, settings.clip_high, settings.entropy_coefficient)
            }
            _ => panic!("rl only"),
        })
        .collect();
    // 50 of 60 steps are left, a quarter of them on the way; √(0.2·0.28) = 0.237.
    assert_eq!(stages, [(13, 3e-7, Some(0.24), Some(5e-4)), (37, 3e-7, Some(0.28), Some(1e-3))]);
    assert!(remedy.toml.contains("#   grpo.clip_high = 0.2 → 0.24 → 0.28   Entropy collapse\n"), "{}", remedy.toml);
    assert_eq!(remedy.changes.len(), 3, "the temperature is 1 already");
}

#[test]
fn another_method_comes_in_the_second_stage() {
    let mut history = with(Writer::Lapidary, &vec![("routing/changed", line(0.05, 0.5))]);
    history.stage = Some((recipe_of("grpo"), 0));
    let remedy = remedy(&history, &Diagnosis::of(&history)).unwrap().unwrap();
    let recipe = Recipe::load_text(Path::new("m.toml"), &remedy.toml, &[]).unwrap();
    assert_eq!(recipe.stages.iter().map(|stage| stage.name()).collect::<Vec<_>>(), ["grpo", "gspo"]);
    assert_eq!(recipe.model, "tiny");
    assert!(remedy.toml.contains("No checkpoint is older than the first sign, so it starts over"), "{}", remedy.toml);
}

#[test]
fn a_peer_gets_a_recipe_with_what_its_log_says() {
    let history = with(Writer::Verl, &vec![("entropy", line(0.8, 4.0)), ("learning_rate", flat(4e-6))]);
    let diagnosis = Diagnosis::of(&history);
    let changes: Vec<String> =
        diagnosis.findings[0].changes.iter().map(|it| format!("{} {}", it.verl, it.to)).collect();
    assert!(changes.contains(&"actor_rollout_ref.actor.optim.lr 1.2e-6".to_string()), "{changes:?}");
    assert!(changes.contains(&"actor_rollout_ref.actor.clip_ratio_high × 0.7".to_string()), "{changes:?}");
    let remedy = remedy(&history, &diagnosis).unwrap().unwrap();
    let recipe = Recipe::load_text(Path::new("m.toml"), &remedy.toml, &[]).unwrap();
    assert_eq!(recipe.stages[1].training().learning_rate, 1.2e-6);
    assert!(remedy.toml.contains("put your model, task and rewards in"), "{}", remedy.toml);
}

#[test]
fn every_change_of_every_rule_makes_a_recipe() {
    for rule in rules() {
        for turn in rule.turns {
            let mut history = with(Writer::Lapidary, &Vec::new());
            history.stage = Some((recipe_of("grpo"), 0));
            let change = remedy::changes(std::slice::from_ref(turn), &history);
            for change in change {
                assert!(change.from.as_deref() != Some(change.to.as_str()), "{}: {change:?}", rule.name);
            }
            assert!(knobs::find(turn.key).is_some(), "{}: {}", rule.name, turn.key);
        }
    }
}

#[test]
fn health_rules_and_recipes_share_the_limits() {
    let recipe = recipe_of("grpo");
    let crate::recipe::Stage::Rl(rl) = &recipe.stages[0] else { panic!("rl") };
    let health = &rl.health;
    assert_eq!(health.max_zero_std, rules::ZERO_STD_LIMIT);
    assert_eq!(health.min_entropy, rules::ENTROPY_LIMIT);
    assert_eq!(health.max_length_drift, rules::LENGTH_LIMIT);
    assert_eq!(health.max_no_verdict, rules::NO_VERDICT_LIMIT);
}
