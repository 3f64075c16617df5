//! Far margins give numbers, not NaN, and engines get finite `f32` slopes.

use super::*;

#[test]
fn margins_of_ten_thousand() {
    for preference in policies() {
        let beta = preference.number(Number::Beta).unwrap_or(0.1);
        let margins = [1e4, -1e4, 0.0, 300.0, -300.0, 40.0, -40.0, 1.0];
        let (answers, pairs) = answers_of_margins(&margins, beta);
        for soft in [false, true] {
            let mut examples = random_examples(&preference, margins.len(), 1);
            if !soft {
                examples.iter_mut().zip(&pairs).for_each(|(example, plain)| {
                    if let (Example::Pair(pair), Example::Pair(plain)) = (example, plain) {
                        (pair.label, pair.margin, pair.weight) = (plain.label, plain.margin, plain.weight);
                    }
                });
            }
            let output = step(&preference, &answers, &examples);
            assert!(output.loss.is_finite(), "{}: {}", preference.method().name, output.loss);
            let slopes = output.by_logp.iter().chain(&output.by_mean);
            assert!(slopes.into_iter().all(|slope| (*slope as f32).is_finite()), "{}", preference.method().name);
            assert!(output.metrics.finish().iter().all(|(_, value)| value.is_finite()));
        }
    }
}

#[test]
fn rewards_of_ten_thousand() {
    for preference in reward_models() {
        let rewards: Vec<f64> = [1e4, -1e4, -1e4, 1e4, 0.0, 0.0, 300.0, -300.0].to_vec();
        let output = reward_step(&preference, &rewards, &random_examples(&preference, 4, 2));
        assert!(output.loss.is_finite() && output.by_reward.iter().all(|slope| (*slope as f32).is_finite()));
    }
}

/// The specification's list: these fall as the margin grows, all the way.
#[test]
fn which_never_rise() {
    for name in ["dpo", "hinge", "ramp", "ropo", "gce", "rdpo"] {
        let preference = policy(name, "{}");
        let loss = |margin: f64| {
            let (answers, examples) = answers_of_margins(&[margin], 0.1);
            step(&preference, &answers, &examples).loss
        };
        let values: Vec<f64> = (-80..80).map(|tenth| loss(f64::from(tenth) / 10.0)).collect();
        assert!(values.windows(2).all(|pair| pair[1] <= pair[0]), "{name}");
    }
    // Those that stop have a pull of the other sign beyond their goal.
    for (name, goal) in [("cdpo", 9f64.ln()), ("ipo_sum", 0.5), ("exo", 999f64.ln())] {
        assert!(pull(&policy(name, "{}"), goal + 1.0) < 0.0, "{name}");
    }
}

/// Only these let go of strongly contradicted pairs: their pull at −8 is under a tenth of that at 0.
#[test]
fn which_let_go() {
    let lets_go = |preference: &Preference| pull(preference, -8.0).abs() < 0.1 * pull(preference, 0.0).abs();
    for name in ["ramp", "exo", "holder", "gce", "apo_zero"] {
        assert!(lets_go(&policy(name, "{}")), "{name}");
    }
    for name in ["dpo", "cdpo", "rdpo", "hinge", "ipo_sum", "ropo", "nca", "sppo", "cpo"] {
        assert!(!lets_go(&policy(name, "{}")), "{name}");
    }
}
