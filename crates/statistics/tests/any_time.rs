//! Error rates by simulation (specification C §9.7): looking again and again breaks a fixed test and not an always-valid one.
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use lapidary_core::{Key, Purpose};
use lapidary_statistics::{Mixture, Moments, means, proportions, uniformity, z_test};

const RUNS: u64 = 2000;
const UNITS: u64 = 20_000;
const EVERY: u64 = 100;

/// Successes of both arms at each look of a run; a unit of the treatment succeeds with `rate`.
fn run(seed: u64, rate: f64) -> Vec<((u64, u64), (u64, u64))> {
    let key = Key::new(seed, Purpose::Task);
    let (mut c, mut t) = (0, 0);
    let mut looks = Vec::new();
    for unit in 0..UNITS {
        c += u64::from(key.at(unit).at(0).uniform() < 0.05);
        t += u64::from(key.at(unit).at(1).uniform() < rate);
        if (unit + 1).is_multiple_of(EVERY) {
            looks.push(((c, unit + 1), (t, unit + 1)));
        }
    }
    looks
}

fn always_valid(control: (u64, u64), treatment: (u64, u64)) -> bool {
    let effect = proportions(control, treatment).unwrap();
    effect.variance > 0.0 && Mixture::new(0.01).p(effect.difference, effect.variance) < 0.05
}

fn fixed(control: (u64, u64), treatment: (u64, u64)) -> bool {
    z_test(control, treatment).is_some_and(|(_, p)| p < 0.05)
}

/// Both arms at 5 %, a look every 100 units up to 20,000, τ² = 1e-4: 0.0230 here, 0.443 for a z-test at each look (0.409 from the third
/// look on), 0.0465 for a z-test at the last look alone. The specification measured 0.0155 and 0.395 with draws of its own and without
/// saying where it began to look.
#[test]
fn the_always_valid_rate_holds_under_peeking_and_the_fixed_one_does_not() {
    let (mut valid, mut peeking, mut once) = (0, 0, 0);
    for seed in 0..RUNS {
        let looks = run(seed, 0.05);
        valid += u64::from(looks.iter().any(|(c, t)| always_valid(*c, *t)));
        peeking += u64::from(looks.iter().any(|(c, t)| fixed(*c, *t)));
        once += u64::from(looks.last().is_some_and(|(c, t)| fixed(*c, *t)));
    }
    let rate = |count: u64| count as f64 / RUNS as f64;
    println!("always valid {}, a z-test at each look {}, a z-test once {}", rate(valid), rate(peeking), rate(once));
    assert!((0.008..0.035).contains(&rate(valid)), "{}", rate(valid));
    assert!(rate(peeking) > 0.35, "{}", rate(peeking));
    assert!((rate(once) - 0.05).abs() < 0.015, "{}", rate(once));
}

/// The test can find what is there: a rise of one point is found by the last look in most runs.
#[test]
fn a_real_effect_is_found() {
    let found = (0..100).filter(|seed| run(*seed, 0.06).iter().any(|(c, t)| always_valid(*c, *t))).count();
    assert!(found > 85, "{found}");
}

/// The confidence sequence holds the truth at all looks together.
#[test]
fn the_sequence_covers_a_real_effect_at_all_looks() {
    let covers = |((c, n), t): &((u64, u64), (u64, u64))| {
        let effect = proportions((*c, *n), *t).unwrap();
        effect.variance == 0.0
            || (effect.difference - 0.01).abs() <= Mixture::new(0.01).half_width(effect.variance, 0.05)
    };
    let missed = (0..300).filter(|seed| !run(*seed, 0.06).iter().skip(9).all(covers)).count();
    assert!(missed <= 15, "{missed} of 300");
}

/// p-values of A/A tests of skewed outcomes are uniform, and 5 % ± 3 % of 500 are below 0.05 (§5.7).
#[test]
fn an_a_a_test_has_its_rate() {
    let p_values: Vec<f64> = (0..500u64)
        .map(|run| {
            let key = Key::new(run, Purpose::Task);
            let arm = |arm: u64| Moments::of((0..400).map(|unit| key.at(arm).at(unit).normal().exp()));
            means(&arm(0), &arm(1)).unwrap().test(0.05).unwrap().p
        })
        .collect();
    let rate = p_values.iter().filter(|p| **p < 0.05).count() as f64 / 500.0;
    assert!((rate - 0.05).abs() < 0.03, "{rate}");
    assert!(uniformity(&p_values).unwrap().1 > 0.01);
    // The control: a real difference is not uniform.
    let wrong: Vec<f64> = p_values.iter().map(|p| p * 0.7).collect();
    assert!(uniformity(&wrong).unwrap().1 < 1e-6);
}
