//! Every correction against the specification and by hand.

use super::*;
use crate::loss::Row;
use crate::testing::{check_golden, close, close_losses, fixtures};
use crate::{Overrides, method};

fn changed(name: &str, json: &str) -> Objective {
    let overrides: Overrides = serde_json::from_str(json).unwrap();
    (method(name).unwrap().defaults)().with(&overrides).unwrap()
}

/// Specification A, §12.5: losses and gradients of DAPO under each correction.
#[test]
fn golden_losses_and_gradients() {
    check_golden(&changed("dapo", r#"{"correction_level":"token"}"#), "tis_token", [0.341755, 0.006989]);
    let icepop = r#"{"correction_level":"token","correction_mode":"mask"}"#;
    check_golden(&changed("dapo", icepop), "icepop", [0.157762, 0.006989]);
    let remaining = r#"{"correction_level":"token","correction_mode":"mask","rejection_denominator":"remaining"}"#;
    check_golden(&changed("dapo", remaining), "icepop_remaining", [0.197202, 0.006989]);
    check_golden(&changed("dapo", r#"{"correction_level":"sequence"}"#), "tis_sequence", [0.695571, 0.052260]);
    check_golden(&changed("dapo", r#"{"bypass":true}"#), "bypass", [0.667586, 0.006989]);
}

/// §2.9: the weights multiply GSPO's loss too, after its clip.
#[test]
fn gspo_is_weighed_after_its_clip() {
    let (plain, weighed) = (changed("gspo", "{}"), changed("gspo", r#"{"correction_level":"sequence"}"#));
    for fixture in fixtures() {
        let ((rows, normaliser), (weighed_rows, _)) = (fixture.prepare(&plain), fixture.prepare(&weighed));
        for (row, weighed_row) in rows.iter().zip(&weighed_rows) {
            let (bare, with) = (plain.row(row, &normaliser), weighed.row(weighed_row, &normaliser));
            let weight = weighed_row.weights.as_ref().unwrap()[0];
            close(with.sums.loss, weight * bare.sums.loss, 1e-15, "loss");
            for (with, bare) in with.by_logp.iter().zip(&bare.by_logp) {
                close(*with, weight * bare, 1e-15, "gradient");
            }
        }
    }
}

#[test]
fn golden_ratios_of_trainer_and_sampler() {
    let printed: [(Level, [&[f64]; 2]); 2] = [
        (Level::Sequence, [&[0.472367, 1.105171, 5.206980, 0.904837], &[1.0, 0.904837, 1.221403]]),
        (Level::Geometric, [&[0.778801, 1.051271, 1.510590, 0.904837], &[1.0, 0.951229, 1.105171]]),
    ];
    for (level, printed) in printed {
        for (fixture, printed) in fixtures().iter().zip(printed) {
            for (row, expected) in fixture.rows.iter().zip(printed) {
                rho(level, &log_ratios(row)).iter().for_each(|rho| close(*rho, *expected, 1e-6, "ρ"));
            }
        }
    }
}

fn log_ratios(row: &Row) -> Vec<f64> {
    row.old.iter().flatten().zip(row.rollout.iter().flatten()).map(|(old, rollout)| old - rollout).collect()
}

fn fate(json: &str, rho: &[f64]) -> (Vec<f64>, usize, usize) {
    let logs: Vec<f64> = rho.iter().map(|rho| rho.ln()).collect();
    let Fate { weights, truncated, rejected } = changed("grpo", json).off_policy.fate(&logs);
    (weights.iter().map(|weight| (weight * 1e9).round() / 1e9).collect(), truncated, rejected)
}

#[test]
fn every_mode_by_hand() {
    let rho = [0.25, 1.0, 4.0];
    assert_eq!(fate(r#"{"correction_level":"token"}"#, &rho), (vec![0.25, 1.0, 2.0], 1, 0), "TIS");
    let cis = r#"{"correction_level":"token","correction_mode":"clip"}"#;
    assert_eq!(fate(cis, &rho), (vec![0.5, 1.0, 2.0], 2, 0), "CIS");
    let mask = r#"{"correction_level":"token","correction_mode":"mask"}"#;
    assert_eq!(fate(mask, &[0.25, 0.75, 4.0]), (vec![0.0, 0.75, 0.0], 0, 2), "IcePop");
    let trl = r#"{"correction_level":"sequence","correction_mode":"mask"}"#;
    assert_eq!(fate(trl, &[1.5, 1.5]), (vec![2.25; 2], 0, 0), "TRL's sequence mask at 3");
    assert_eq!(fate(trl, &[2.0, 2.0]), (vec![0.0; 2], 0, 2));
    let geometric = r#"{"rejection_level":"geometric"}"#;
    assert_eq!(fate(geometric, &[2.0, 0.5]), (vec![1.0; 2], 0, 0), "the mean log-ratio is 0");
    assert_eq!(fate(geometric, &[1.0004, 1.0]), (vec![0.0; 2], 0, 2), "1.0002 is outside");
    assert_eq!(fate(r#"{"rejection_veto":1e-4}"#, &[1.0, 9e-5]), (vec![0.0; 2], 0, 2), "veto");
    assert_eq!(fate(r#"{"rejection_veto":1e-4}"#, &[1.0, 2e-4]), (vec![1.0; 2], 0, 0));
    assert_eq!(fate("{}", &rho), (vec![1.0; 3], 1, 2), "off: what the usual bounds would do is counted");
}

/// slime's usual pair: token weights, geometric rejection, veto.
#[test]
fn weights_and_rejection_go_together() {
    let pair = r#"{"correction_level":"token","rejection_level":"geometric","rejection_low":0.9,
        "rejection_high":1.1,"rejection_veto":0.1}"#;
    assert_eq!(fate(pair, &[3.0, 0.34]), (vec![2.0, 0.34], 1, 0), "the mean is 1.01");
    assert_eq!(fate(pair, &[3.0, 0.5]), (vec![0.0; 2], 1, 2), "the mean is 1.22");
    assert_eq!(fate(pair, &[12.0, 0.09]), (vec![0.0; 2], 1, 2), "the mean is 1.04, but one token is vetoed");
}

/// §2.13 (m).
#[test]
fn where_sampler_and_trainer_agree_every_correction_is_the_identity() {
    let all = [
        "{}",
        r#"{"correction_level":"token","correction_normalise":true}"#,
        r#"{"correction_level":"sequence","correction_mode":"mask"}"#,
        r#"{"rejection_level":"geometric","rejection_veto":1e-4,"rejection_denominator":"remaining"}"#,
        r#"{"bypass":true}"#,
    ];
    for name in ["dapo", "gspo", "cispo"] {
        for fixture in fixtures() {
            let outputs = all.map(|json| {
                let objective = changed(name, json);
                let (mut rows, normaliser) = fixture.prepare(&changed(name, "{}"));
                let run = |row: &mut Row| {
                    row.rollout = row.old.clone();
                    row.weights =
                        objective.off_policy.weighs().then(|| objective.off_policy.fate(&log_ratios(row)).weights);
                    let output = objective.row(row, &normaliser);
                    (output.by_logp, output.sums.loss)
                };
                rows.iter_mut().map(run).collect::<Vec<_>>()
            });
            assert!(outputs.iter().all(|output| *output == outputs[0]), "{name}");
        }
    }
}

/// Specification A, §12.5: mean fall of each answer's log-probability, and who stays at δ = 1e-4.
#[test]
fn golden_off_policy_sequence_masking() {
    let kls = [[-0.133333, 0.05, 0.0, -0.3].as_slice(), &[0.1, 0.05, 0.2]];
    let keeps = [[true, false, true, true].as_slice(), &[true, true, false]];
    let slime = Opsm { delta: 1e-4, level: OpsmLevel::Sequence };
    for (at, fixture) in fixtures().iter().enumerate() {
        let (rows, _) = fixture.prepare(&changed("dapo", "{}"));
        for (index, row) in rows.iter().enumerate() {
            let moved: Vec<f64> = row.old.iter().flatten().zip(&row.logp).map(|(old, new)| old - new).collect();
            close(moved.iter().sum::<f64>() / moved.len() as f64, kls[at][index], 1e-6, "fall");
            assert_eq!(slime.keeps(&moved, &row.advantage), vec![keeps[at][index]; moved.len()]);
        }
    }
    // DAPO without F1's second and F2's third answer, still divided by all tokens (numpy).
    close_losses(&changed("dapo", r#"{"opsm_delta":1e-4}"#), [-0.027278, -0.366445], None);
}

#[test]
fn tokens_may_be_judged_by_themselves() {
    let token = Opsm { delta: 0.5, level: OpsmLevel::Token };
    assert_eq!(token.keeps(&[0.6, 0.4, 0.6], &[-1.0, -1.0, 1.0]), [false, true, true]);
    let sequence = Opsm { delta: 0.5, level: OpsmLevel::Sequence };
    assert_eq!(sequence.keeps(&[0.6, 0.3, 0.6], &[-1.0; 3]), [true; 3], "0.5 is not above 0.5");
}

#[test]
fn weights_of_a_step_are_normalised_over_what_is_kept() {
    let normalised = |level: &str| {
        let json = format!(r#"{{"correction_level":"{level}","correction_high":9,"correction_normalise":true}}"#);
        let mask: Ragged<bool> = [vec![false, true, true], vec![true], vec![]].into_iter().collect();
        let rollout = mask.like(-1.0_f32);
        let proximal: Ragged<f32> =
            [vec![f32::NAN, -1.0, 2.0_f32.ln() - 1.0], vec![4.0_f32.ln() - 1.0], vec![]].into_iter().collect();
        changed("grpo", &json).off_policy.weights(&mask, &proximal, &rollout)
    };
    for (got, expected) in normalised("token").flat().iter().zip([0.0, 3.0 / 7.0, 6.0 / 7.0, 12.0 / 7.0]) {
        close(f64::from(*got), expected, 1e-6, "over three tokens");
    }
    for (got, expected) in normalised("sequence").flat().iter().zip([0.0, 2.0 / 3.0, 2.0 / 3.0, 4.0 / 3.0]) {
        close(f64::from(*got), expected, 1e-6, "over two answers");
    }
}
