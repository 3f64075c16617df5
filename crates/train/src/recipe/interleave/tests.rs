use std::path::Path;

use lapidary_algo::{LossBatch, TokenAdvantages};
use lapidary_core::{Ragged, TokenStats, Want};

use super::*;
use crate::recipe::Recipe;
use crate::switch::{Delta, Input};

const GOOD: &str = r#"
model = "tiny"
[[stage]]
kind = "rl"
method = "relift"
task = "chain-sum"
steps = 3
prompts_per_step = 32
learning_rate = 1e-4
weight_decay = 0.01
max_new_tokens = 9
[stage.interleave]
[eval]
every = 10
"#;

const DETECTORS: &str = r#"
policy = "weighted"
threshold = 1.5
full_buffer = true
[stage.interleave.plateau]
delta = "auto"
weight = 0.5
[stage.interleave.gap]
key = "level"
[stage.interleave.shift]
input = "category"
max_k3 = 0.1
"#;

fn with(lines: &str) -> String {
    GOOD.replace("[stage.interleave]\n", &format!("[stage.interleave]\n{lines}\n"))
}

fn load(text: &str) -> Result<Recipe> {
    Recipe::load_text(Path::new("x.toml"), text, &[])
}

fn interleave(text: &str) -> Interleave {
    match load(text).unwrap().stages.remove(0) {
        Stage::Rl(rl) => rl.interleave.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_paper_is_the_default_and_the_stage_fills_in() {
    let paper = interleave(GOOD);
    assert_eq!((paper.demonstrations, paper.minibatch, paper.epochs, paper.max_updates), (32, 32, 1, None));
    assert_eq!((paper.learning_rate, paper.weight_decay, paper.max_grad_norm), (1e-4, 0.01, Some(1.0)));
    assert_eq!((paper.entropy_coefficient, paper.max_demonstration_tokens, paper.cap), (1e-3, 9, Some(512)));
    let machine = &paper.machine;
    assert_eq!((machine.policy, machine.cooldown, machine.min_buffer), (SwitchPolicy::Buffer, 0, 32));
    assert_eq!(paper.update().optimizer, 1);
    assert_eq!((paper.updates_of_a_phase(None), paper.taken_by(u64::MAX)), (u64::MAX, 32));
}

#[test]
fn detectors_have_the_defaults_of_their_definitions() {
    let text = with(
        "policy = \"any\"\nminibatch = 8\n[stage.interleave.plateau]\n[stage.interleave.gap]\n[stage.interleave.shift]",
    );
    let article = interleave(&text);
    assert_eq!((article.machine.cooldown, article.machine.min_buffer, article.max_updates), (10, 8, Some(1)));
    assert_eq!(
        (article.updates_of_a_phase(Some(0)), article.taken_by(1)),
        (0, 8),
        "no more than an update uses is taken"
    );
    let plateau = article.plateau.unwrap();
    assert_eq!((plateau.patience, plateau.delta, plateau.ema, plateau.min_looks), (3, Delta::Absolute(0.01), 0.0, 2));
    let gap = article.gap.unwrap();
    assert_eq!((gap.window, gap.threshold, gap.confidence, gap.min_answers), (256, 0.1, 0.8, 8));
    assert_eq!((gap.new_steps, gap.drop, gap.traffic), (200, 0.1, 0.1));
    let shift = article.shift.unwrap();
    assert_eq!((shift.max_gap, shift.gap_ema, shift.gap_evaluations), (Some(0.05), 0.7, 2));
    assert_eq!((shift.max_psi, shift.max_nll_rise, shift.max_k3), (Some(0.2), Some(0.15), None));
}

#[test]
fn what_is_written_out_is_read_the_same() {
    for text in [
        GOOD.to_string(),
        with(DETECTORS),
        with(DETECTORS).replace("delta = \"auto\"", "delta = 0.1\nmode = \"relative\""),
    ] {
        let recipe = load(&text).unwrap();
        assert_eq!(load(&recipe.to_toml()).unwrap(), recipe, "{}", recipe.to_toml());
    }
    let rule = interleave(&with(DETECTORS));
    assert_eq!(rule.plateau.as_ref().map(|plateau| (plateau.delta, plateau.weight)), Some((Delta::Noise, 0.5)));
    assert_eq!(rule.shift.map(|shift| shift.input), Some(Input::Category("category".into())));
}

#[test]
fn every_refusal_points_at_its_key() {
    let refused = |lines: &str| {
        let problem = load(&with(lines)).unwrap_err();
        let place = problem.place().unwrap_or_else(|| panic!("no place: {problem:?}"));
        let under: String = place.text.chars().skip(place.column - 1).take(place.width).collect();
        format!("{} {under}", problem.code())
    };
    assert_eq!(refused("demonstrations = 0"), "R006 0");
    assert_eq!(refused("minibatch = 33"), "R006 33");
    assert_eq!(refused("cap = 31"), "R006 31");
    assert_eq!(refused("policy = \"some\""), "R008 \"some\"");
    assert_eq!(refused("policy = \"any\""), "R045 \"any\"");
    assert_eq!(refused("threshold = 2.0"), "R006 2.0");
    assert_eq!(refused("full_buffer = true"), "R006 true");
    assert_eq!(refused("max_demonstration_tokens = 1"), "R006 1");
    assert_eq!(refused("demonstration = 1"), "R003 demonstration");
    assert_eq!(refused("[stage.interleave.plateau]"), "R045 [stage.interleave.plateau]");
    let any = |lines: &str| refused(&format!("policy = \"any\"\n{lines}"));
    assert_eq!(any("[stage.interleave.plateau]\nmetric = \"eval/acuracy\""), "R006 \"eval/acuracy\"");
    assert_eq!(any("[stage.interleave.plateau]\nmetric = \"reward\"\ndelta = \"auto\""), "R006 \"auto\"");
    assert_eq!(any("[stage.interleave.plateau]\ndelta = \"noise\""), "R008 \"noise\"");
    assert_eq!(any("[stage.interleave.plateau]\nweight = 2"), "R006 2");
    assert_eq!(any("[stage.interleave.shift]\nkey = \"level\""), "R006 \"level\"");
    assert_eq!(
        any("[stage.interleave.shift]\nmax_gap = 0\nmax_psi = 0\nmax_nll_rise = 0"),
        "R045 [stage.interleave.shift]"
    );
    let blind = with("policy = \"any\"\n[stage.interleave.plateau]").replace("every = 10", "every = 0");
    assert_eq!(load(&blind).unwrap_err().code(), "R046");
    let by_step =
        with("policy = \"any\"\n[stage.interleave.plateau]\nmetric = \"reward\"").replace("every = 10", "every = 0");
    assert!(load(&by_step).is_ok(), "a metric of the steps needs no evaluation");
    let sft = "model = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = \"chain-sum\"\nsteps = 1\n[stage.interleave]\n";
    assert_eq!(load(sft).unwrap_err().code(), "R007");
}

/// Spec B §2.11 on the logits of §1.13: −log p and entropy of three demonstration tokens; those of the prompt are not looked at.
#[test]
fn golden_loss_of_demonstrations() {
    let logits = [[2.0, 1.0, 0.0, -1.0], [0.5, 0.5, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]];
    let mut stats = TokenStats::default();
    let (mut logp, mut entropy) = (vec![0.0f32], vec![0.0f32]);
    for (label, z) in logits.iter().enumerate() {
        let log_sum = z.iter().map(|z: &f64| z.exp()).sum::<f64>().ln();
        logp.push((z[label] - log_sum) as f32);
        entropy.push(z.iter().map(|z| (z - log_sum).exp() * (log_sum - z)).sum::<f64>() as f32);
    }
    for (got, expected) in logp[1..].iter().zip([-0.440190, -1.167224, -3.139206]) {
        assert!((got - expected).abs() < 1e-6);
    }
    // The prompt's token has numbers that must not matter: the bonus is on what is demonstrated, as the paper means it.
    (logp[0], entropy[0]) = (-7.0, 99.0);
    stats.logp = [logp].into_iter().collect();
    stats.entropy = [entropy].into_iter().collect();
    let mask: Ragged<bool> = [vec![false, true, true, true]].into_iter().collect();
    let loss = |coefficient: f64| {
        let objective = interleave(&with(&format!("entropy_coefficient = {coefficient}"))).objective();
        let none = TokenAdvantages::default();
        let batch = LossBatch::new(&mask, &none, Want::ENTROPY);
        objective.loss(&batch, &stats, &objective.prepare(&mask, None, None, 4).normaliser).unwrap().loss
    };
    for (coefficient, expected) in [(0.0, 1.582207), (1e-3, 1.581263), (1e-2, 1.572765)] {
        assert!((loss(coefficient) - expected).abs() < 1e-6, "{coefficient}: {}", loss(coefficient));
    }
}
