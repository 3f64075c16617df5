//! The derivations of specification C §4.3, through the loss as it is implemented: one prompt, three answers, every sum exact.

use crate::preference::testing::{answers_of_margins, policy, reward, reward_step, step};
use crate::preference::{Auxiliary, Example, Label, Pair, Preference, Synthetic};
use crate::testing::close;

/// π_ref of the three answers, and P(row ≻ column): 1 ≻ 2 and 2 ≻ 3 are clear, 1 ≻ 3 hardly is, so no reward is right.
const REFERENCE: [f64; 3] = [0.5, 0.3, 0.2];
const TRUTH: [[f64; 3]; 3] = [[0.5, 0.8, 0.55], [0.2, 0.5, 0.8], [0.45, 0.2, 0.5]];
const HALF: [[f64; 3]; 3] = [[0.5; 3]; 3];
/// θ*: the best rewards of answers 1 and 2, where answer 3 has 0.
const BEST: [f64; 2] = [0.913265, 0.108990];

type Square = [[f64; 2]; 2];

fn logistic() -> Preference {
    reward("vrpo", r#"{"primary_loss":"dpo","guard":1e-9,"auxiliary_clip":0}"#)
}

fn bradley_terry(best: [f64; 2]) -> [[f64; 3]; 3] {
    let rewards = [best[0], best[1], 0.0];
    rewards.map(|a| rewards.map(|b: f64| 1.0 / (1.0 + (b - a).exp())))
}

/// Gradient by (r_1, r_2) of a single example's loss.
fn score(model: &Preference, best: [f64; 2], example: Example) -> [f64; 2] {
    let slopes = reward_step(model, &[best[0], best[1], 0.0], &[example]).by_reward;
    [slopes[0], slopes[1]]
}

fn labelled(first: usize, second: usize, label: f64, preference: Option<f64>) -> Example {
    let auxiliary = preference.map(|preference| Auxiliary { preference, synthetic: Vec::new() });
    Pair { label: Label::Prefer(label), auxiliary, ..Pair::new(first, second) }.into()
}

/// `(probability, first, second)` of every ordered pair of draws.
fn draws(from: [f64; 3]) -> impl Iterator<Item = (f64, usize, usize)> {
    (0..9).map(move |pair| (from[pair / 3] * from[pair % 3], pair / 3, pair % 3))
}

/// Mean and second moment of the score over the labelled pairs' draws and labels.
fn moments(scores: impl Iterator<Item = (f64, [f64; 2])>) -> ([f64; 2], Square) {
    let (mut mean, mut second) = ([0.0; 2], [[0.0; 2]; 2]);
    for (probability, score) in scores {
        for i in 0..2 {
            mean[i] += probability * score[i];
            for j in 0..2 {
                second[i][j] += probability * score[i] * score[j];
            }
        }
    }
    (mean, second)
}

fn labels(first: usize, second: usize) -> [(f64, f64); 2] {
    let won = TRUTH[first][second];
    [(won, 1.0), (1.0 - won, 0.0)]
}

fn of_labelled(from: [f64; 3], judge: Option<[[f64; 3]; 3]>, best: [f64; 2]) -> ([f64; 2], Square) {
    let model = if judge.is_some() { logistic() } else { reward("bradley_terry", "{}") };
    moments(draws(from).flat_map(|(probability, a, b)| {
        labels(a, b).map(|(chance, label)| {
            let preference = judge.map(|judge| judge[a][b]);
            (probability * chance, score(&model, best, labelled(a, b, label, preference)))
        })
    }))
}

fn of_synthetic(judge: [[f64; 3]; 3], best: [f64; 2]) -> ([f64; 2], Square) {
    moments(draws(REFERENCE).map(|(probability, first, second)| {
        let pair = Synthetic { first, second, preference: judge[first][second] };
        (probability, score(&logistic(), best, Example::Unlabelled(vec![pair])))
    }))
}

/// The minimiser of the population loss to full precision, by Newton's method from the specification's six digits.
fn best() -> [f64; 2] {
    let mut best = BEST;
    for _ in 0..5 {
        let inverse = inverse(hessian(best));
        let (mean, _) = of_labelled(REFERENCE, None, best);
        for i in 0..2 {
            best[i] -= inverse[i][0] * mean[0] + inverse[i][1] * mean[1];
        }
    }
    best
}

/// Hessian of the population loss, by differences of its gradient.
fn hessian(at: [f64; 2]) -> Square {
    let step = 1e-5;
    let mut hessian = [[0.0; 2]; 2];
    for j in 0..2 {
        let [up, down] = [step, -step].map(|step| {
            let mut moved = at;
            moved[j] += step;
            of_labelled(REFERENCE, None, moved).0
        });
        for i in 0..2 {
            hessian[i][j] = (up[i] - down[i]) / (2.0 * step);
        }
    }
    hessian
}

fn inverse(of: Square) -> Square {
    let determinant = of[0][0] * of[1][1] - of[0][1] * of[1][0];
    [[of[1][1] / determinant, -of[0][1] / determinant], [-of[1][0] / determinant, of[0][0] / determinant]]
}

/// Trace of `H⁻¹ Σ H⁻¹`.
fn trace(variance: Square, best: [f64; 2]) -> f64 {
    let inverse = inverse(hessian(best));
    let mut trace = 0.0;
    // The inverse is symmetric: row i stands for column i.
    for row in inverse {
        for (j, weights) in variance.iter().enumerate() {
            trace += row[j] * (weights[0] * row[0] + weights[1] * row[1]);
        }
    }
    trace
}

fn variance((mean, second): ([f64; 2], Square)) -> Square {
    [0, 1].map(|i| [0, 1].map(|j| second[i][j] - mean[i] * mean[j]))
}

/// n·Cov of VRPO's estimate with `m` synthetic pairs a prompt (∞ where 0).
fn spread(judge: [[f64; 3]; 3], m: usize) -> f64 {
    let best = best();
    let data = variance(of_labelled(REFERENCE, Some(judge), best));
    let drawn = variance(of_synthetic(judge, best));
    let share = if m == 0 { 0.0 } else { 1.0 / m as f64 };
    trace([0, 1].map(|i| [0, 1].map(|j| data[i][j] + share * drawn[i][j])), best)
}

/// The analytic check of specification C §4.3: the whole table.
#[test]
fn the_trace_table() {
    let best = best();
    close(best[0], BEST[0], 1e-6, "θ*₁");
    close(best[1], BEST[1], 1e-6, "θ*₂");
    let model = reward("bradley_terry", "{}");
    let loss: f64 = draws(REFERENCE)
        .flat_map(|(probability, a, b)| labels(a, b).map(|(chance, label)| (probability * chance, a, b, label)))
        .map(|(weight, a, b, label)| {
            weight * reward_step(&model, &[best[0], best[1], 0.0], &[labelled(a, b, label, None)]).loss
        })
        .sum();
    close(loss, 0.651679, 1e-6, "population loss");

    let mle = trace(variance(of_labelled(REFERENCE, None, best)), best);
    close(mle, 38.230731, 1e-5, "MLE");
    close(spread(TRUTH, 0), 31.791064, 1e-5, "true ĝ, m = ∞");
    close(spread(TRUTH, 8), 32.596022, 1e-5, "true ĝ, m = 8");
    close(spread(TRUTH, 1), 38.230731, 1e-5, "true ĝ, m = 1");
    close(spread(HALF, 0), 37.920727, 1e-5, "ĝ = ½, m = ∞");
    close(spread(HALF, 1), 41.290589, 1e-5, "ĝ = ½, m = 1");
    close(spread(bradley_terry(best), 0), 38.230731, 1e-5, "ĝ = Bradley-Terry fit, m = ∞");
    // With one pair a prompt and the perfect judge there is nothing to gain, exactly.
    close(spread(TRUTH, 1), mle, 1e-9, "no gain at m = 1");
}

/// `I₁ − I₂ = −(z − ĝ)·h` for the logistic loss: linear, unbounded below, its slope the same at every θ.
#[test]
fn the_labelled_term_is_linear() {
    let vrpo = policy("vrpo", r#"{"primary_loss":"dpo","guard":1e-9,"guard_margin":1e5,"auxiliary_clip":0}"#);
    for (label, judged) in [(1.0, 0.8), (0.0, 0.35), (0.6, 0.9)] {
        for margin in [-1e4, -3.0, 0.0, 0.4, 700.0] {
            let (answers, _) = answers_of_margins(&[margin], 0.1);
            let output = step(&vrpo, &answers, &[labelled(0, 1, label, Some(judged))]);
            close(output.loss, -(label - judged) * margin, 1e-8, "−(z − ĝ)·h");
            close(output.by_logp[0] / 0.1, -(label - judged), 1e-12, "slope");
        }
    }
    // The ramp is bounded, so the same term is too.
    let ramp = policy("vrpo", "{}");
    for margin in [-1e4, 1e4] {
        let (answers, _) = answers_of_margins(&[margin], 0.1);
        assert!(step(&ramp, &answers, &[labelled(0, 1, 1.0, Some(0.8))]).loss.abs() <= 1.5);
    }
}

/// The mean gradient at θ* is 0 if the judge is right or the labelled pairs come from the reference; if neither, it is not.
#[test]
fn either_is_enough() {
    let best = best();
    let elsewhere = [0.1, 0.2, 0.7];
    let mean = |from: [f64; 3], judge: [[f64; 3]; 3]| {
        let (data, drawn) = (of_labelled(from, Some(judge), best).0, of_synthetic(judge, best).0);
        (data[0] + drawn[0]).abs() + (data[1] + drawn[1]).abs()
    };
    close(mean(REFERENCE, HALF), 0.0, 1e-9, "wrong judge, pairs from the reference");
    close(mean(elsewhere, TRUTH), 0.0, 1e-9, "right judge, pairs from elsewhere");
    assert!(mean(elsewhere, HALF) > 0.01, "neither");
    // A wrong judge keeps the estimate right, but can make it worse than not asking.
    let liar = TRUTH.map(|row| row.map(|p| 1.0 - p));
    close(mean(REFERENCE, liar), 0.0, 1e-9, "a liar");
    assert!(spread(liar, 0) > 40.0, "{}", spread(liar, 0));
}
