//! Flipped labels: the toy benchmark of specification C §2, through the losses as they are.
//!
//! A linear reward of eight features, 2,000 pairs with a known truth, labels flipped by chance; 200 steps with the plain loss
//! and 1,300 with the robust one, all pairs a step; held-out accuracy and how well low margins find the flips.

use lapidary_core::{Key, Purpose};

use crate::preference::testing::reward;
use crate::preference::{Example, Pair, Preference, PreferenceMetrics, PreferenceState};

const FEATURES: usize = 8;
const PAIRS: usize = 2000;
const WARM: usize = 200;
const STEPS: usize = 1500;
const RATE: f64 = 0.5;

struct Data {
    /// Features of the chosen answer less those of the rejected, as labelled.
    rows: Vec<[f64; FEATURES]>,
    flipped: Vec<bool>,
    held_out: Vec<[f64; FEATURES]>,
}

fn dot(a: &[f64; FEATURES], b: &[f64; FEATURES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn data(seed: u64, flips: f64) -> Data {
    let key = Key::new(seed, Purpose::Bootstrap);
    let truth: [f64; FEATURES] = std::array::from_fn(|i| key.at(0).at(i as u64).normal());
    let row = |set: u64, index: usize| -> [f64; FEATURES] {
        let draw: [f64; FEATURES] = std::array::from_fn(|i| key.at(set).at(index as u64).at(i as u64).normal());
        if dot(&draw, &truth) > 0.0 { draw } else { draw.map(|x| -x) }
    };
    let flipped: Vec<bool> = (0..PAIRS).map(|index| key.at(3).at(index as u64).uniform() < flips).collect();
    let turn = |(index, flipped): (usize, &bool)| if *flipped { row(1, index).map(|x| -x) } else { row(1, index) };
    let rows = flipped.iter().enumerate().map(turn).collect();
    Data { rows, flipped, held_out: (0..PAIRS).map(|index| row(2, index)).collect() }
}

/// Weights after training: each pair's rewards are `w·x` for the chosen and 0 for the rejected.
fn fit(robust: &Preference, data: &Data) -> [f64; FEATURES] {
    let plain = reward("bradley_terry", "{}");
    let examples: Vec<Example> = (0..PAIRS).map(|index| Pair::new(index, PAIRS).into()).collect();
    let mut weights = [0.0; FEATURES];
    let mut state = PreferenceState::default();
    for step in 0..STEPS {
        let preference = if step < WARM { &plain } else { robust };
        let mut rewards: Vec<f64> = data.rows.iter().map(|row| dot(row, &weights)).collect();
        rewards.push(0.0);
        let prepared = preference.prepare_rewards(&rewards, &examples, &state, 1.0);
        state = prepared.next;
        let (part, shared) = (&preference.parts[0], &prepared.parts[0]);
        let mut metrics = PreferenceMetrics::default();
        let (_, slopes) = preference.part(part, shared, &rewards, &examples, 0, &prepared, &mut metrics);
        for (row, slope) in data.rows.iter().zip(slopes) {
            weights.iter_mut().zip(row).for_each(|(weight, x)| *weight -= RATE * slope * x);
        }
    }
    weights
}

fn accuracy(weights: &[f64; FEATURES], data: &Data) -> f64 {
    data.held_out.iter().filter(|row| dot(row, weights) > 0.0).count() as f64 / PAIRS as f64
}

/// Probability that a flipped pair has the lower margin.
fn detection(weights: &[f64; FEATURES], data: &Data) -> f64 {
    let mut margins: Vec<(f64, bool)> =
        data.rows.iter().zip(&data.flipped).map(|(row, flipped)| (dot(row, weights), *flipped)).collect();
    margins.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut ordered) = (0.0, 0.0);
    for (_, flipped) in &margins {
        if *flipped {
            below += 1.0;
        } else {
            ordered += below;
        }
    }
    ordered / (below * (PAIRS as f64 - below))
}

/// Bounded losses withstand flips that the logistic loss does not, and the article's Huber is no better than the logistic.
#[test]
fn bounded_losses_withstand_flipped_labels() {
    let seeds = [1, 2];
    for flips in [0.2, 0.4] {
        let all: Vec<Data> = seeds.iter().map(|seed| data(*seed, flips)).collect();
        let mean = |name: &str, json: &str| {
            all.iter().map(|data| accuracy(&fit(&reward(name, json), data), data)).sum::<f64>() / all.len() as f64
        };
        let plain = mean("dpo", "{}");
        for name in ["ramp", "ropo"] {
            let robust = mean(name, "{}");
            println!("{flips}: {name} {robust} against {plain}");
            assert!(robust > plain, "{name} at {flips}: {robust} against {plain}");
        }
        if flips == 0.2 {
            let huber = mean("m_estimator", r#"{"rho":"huber"}"#);
            assert!(huber <= plain + 0.002, "Huber {huber} against {plain}");
            for data in &all {
                let found = detection(&fit(&reward("ramp", "{}"), data), data);
                assert!(found >= 0.995, "AUROC of the flips {found}");
            }
        }
    }
}
