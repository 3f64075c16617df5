use lapidary_algo::{Experience, TokenAdvantages};
use lapidary_core::{TokenBatch, TokenGrads, TokenStats, Want};

use super::*;
use crate::hint::testing::rule;
use crate::learn::{prepare, term_loss};

/// Spec C §3.4: a group of two, each of one prompt token and two of the hint, then three and two of the answer. Numbers of the
/// prompt are absurd, so that whoever reads them is found out.
const PROMPT: f32 = -77.0;

fn row(hint: [f32; 2], answer: &[f32]) -> Vec<f32> {
    [&[PROMPT], &hint[..], answer].concat()
}

fn ragged(hint: [f32; 2], answers: [&[f32]; 2]) -> Ragged<f32> {
    answers.into_iter().map(|answer| row(hint, answer)).collect()
}

const ANSWERS: [&[f32]; 2] = [&[-0.4, -1.1, -0.2], &[-0.6, -0.9]];

fn rows() -> Rows {
    let mask = |role: usize| -> Ragged<bool> {
        let one = |answer: &[f32]| -> Vec<bool> {
            let roles = [0, 1, 1].into_iter().chain(answer.iter().map(|_| 2));
            roles.map(|it| it == role).collect()
        };
        ANSWERS.into_iter().map(one).collect()
    };
    let mut tokens = TokenBatch::default();
    for answer in ANSWERS {
        let length = 3 + answer.len();
        tokens.push(&vec![7; length], &(0..length).map(|t| t > 0).collect::<Vec<_>>(), 1.0);
    }
    let none = [0.0, 0.0];
    Rows {
        tokens,
        mask: mask(2),
        hint: Some(mask(1)),
        logp_proximal: Some(ragged(none, [&[-0.5, -1.0, -0.2], &[-0.7, -0.3]])),
        logp_reference: Some(ragged(none, [&[-0.6, -0.9, -0.3], &[-0.7, -0.2]])),
        names: vec!["A".into(), "B".into()],
        ..Rows::default()
    }
}

fn stats() -> TokenStats {
    let entropy = ragged([9.0, 9.0], [&[0.9, 1.1, 0.5], &[0.8, 0.7]]);
    TokenStats { logp: ragged([-1.2, -0.4], ANSWERS), entropy, ..TokenStats::default() }
}

/// GRPO with a mean over tokens, clipped at 0.2; KL and entropy at the given coefficients.
fn objective(kl: f64, entropy: f64) -> Objective {
    let grpo = (lapidary_algo::method("grpo").unwrap().defaults)();
    let kl = Kl { coefficient: kl, ..Kl::OFF };
    Objective { aggregate: Aggregate::TokenMean, kl, entropy_coefficient: entropy, ..grpo }
}

/// The loss of a mixture on the rows above, the sum of its gradients by log-probability, and its metrics.
fn of(mixture: &Mixture) -> (f64, Vec<f32>, Vec<(&'static str, f64)>) {
    let rewards = [Some(1.0), Some(0.1)];
    let advantages = objective(0.0, 0.0).advantages(&Experience::of_rewards(&rewards, &[0, 0])).unwrap();
    let rows = Rows { advantages: advantages.values, ..rows() };
    evaluate(&mixture.with(rows, &[0, 0], None), &stats())
}

fn evaluate(blend: &Blend, stats: &TokenStats) -> (f64, Vec<f32>, Vec<(&'static str, f64)>) {
    let want = Want { entropy: true, ..Want::default() };
    let (mut loss, mut losses) = (0.0, Vec::new());
    let mut gradient = vec![0.0; stats.logp.values()];
    for part in blend.parts() {
        for term in &part.terms {
            let prepared = prepare(term, part.rows, 8);
            let range = 0..part.rows.mask.rows();
            let output = term_loss(term, (part.rows, range, want), &prepared, stats).unwrap();
            loss += term.weight * output.loss;
            let TokenGrads { logp, .. } = output.grads;
            gradient.iter_mut().zip(logp.flat()).for_each(|(sum, by)| *sum += term.weight as f32 * by);
            losses.push(output.metrics);
        }
    }
    (loss, gradient, blend.metrics(&losses))
}

fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-6, "{got} against {want}");
}

fn get(metrics: &[(&'static str, f64)], name: &str) -> f64 {
    metrics.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} in {metrics:?}")).1
}

#[test]
fn golden_parts() {
    let (pg, _, metrics) = of(&Mixture::plain(&objective(0.0, 0.0), 1.0));
    close(pg, -0.156247);
    close(get(&metrics, "kl"), 0.072712);
    close(get(&metrics, "entropy"), 0.8);
    close(get(&metrics, "clip_ratio/region_mean"), 0.2);
}

#[test]
fn golden_code_parity() {
    let mixture = Mixture::of(&rule("objective = \"code_parity\""), &objective(1e-3, 1e-3), 0.0);
    let (loss, _, metrics) = of(&mixture);
    close(loss, -0.156175);
    close(get(&metrics, "loss"), -0.156175);
    close(get(&metrics, "policy_loss"), -0.156247);
    close(get(&metrics, "hint/loss"), 0.8);
}

#[test]
fn golden_paper() {
    let (loss, _, metrics) = of(&Mixture::of(&rule(""), &objective(0.0, 0.0), 0.0));
    close(loss, -0.154466);
    close(get(&metrics, "loss"), -0.154466);
    close(get(&metrics, "hint/loss"), 0.8);
    // Twice the coefficient: KL 0.181781 and NLL 1.6 per answer.
    let (twice, ..) = of(&Mixture::of(&rule("coefficient = 0.002"), &objective(0.0, 0.0), 0.0));
    close(twice - loss, 1e-3 * (0.181781 + 1.6));
}

/// The divisor of the paper's sums is the number of all answers, those without a hint among them.
#[test]
fn an_answer_without_a_hint_counts_in_the_papers_mean() {
    let mut rows = rows();
    rows.hint.as_mut().unwrap().row_mut(1).fill(false);
    rows.advantages = TokenAdvantages::PerRow(vec![0.0; 2]);
    let blend = Mixture::of(&rule("coefficient = 1.0"), &objective(0.0, 0.0), 0.0).with(rows, &[0, 0], None);
    let (loss, ..) = evaluate(&blend, &stats());
    close(loss, 0.181781 + 0.8);
}

#[test]
fn golden_article() {
    let settings = "objective = \"article\"\nsft_target = \"hint\"\ncoefficient = 0.01\nregulariser = \"kl_k3\"";
    for (alpha, golden) in [(0.3, 0.131354), (0.8, 0.609478)] {
        let (loss, _, metrics) = of(&Mixture::of(&rule(settings), &objective(0.0, 0.0), alpha));
        close(loss, golden);
        close(get(&metrics, "loss"), golden);
    }
    let other = |regulariser: &str, reg: f64| {
        let settings = settings.replace("kl_k3", regulariser);
        let (loss, ..) = of(&Mixture::of(&rule(&settings), &objective(0.0, 0.0), 0.3));
        close(loss, 0.3 * 0.8 - 0.7 * 0.156247 + 0.01 * reg);
    };
    // d = log π − log π_ref: 0.2, −0.2, 0.1 and 0.1, −0.7.
    other("kl_k1", -0.1);
    other("kl_k2", 0.059);
    other("l2_to_ref", 0.118);
    other("neg_entropy", -0.8);
}

/// α = 1 is the gradient of the SFT loss, α = 0 that of the policy's, bit for bit; each with the regulariser.
#[test]
fn limits_of_the_article_are_exact() {
    let article = rule("objective = \"article\"\nsft_target = \"hint\"\ncoefficient = 0");
    let policy = of(&Mixture::plain(&objective(0.0, 0.0), 1.0));
    let (loss, gradient, _) = of(&Mixture::of(&article, &objective(0.0, 0.0), 0.0));
    assert_eq!((loss, &gradient), (policy.0, &policy.1));
    let (loss, gradient, _) = of(&Mixture::of(&article, &objective(0.0, 0.0), 1.0));
    close(loss, 0.8);
    let quarter = [0.0, -0.25, -0.25];
    assert_eq!(gradient, [&quarter[..], &[0.0; 3], &quarter[..], &[0.0; 2]].concat());
}

/// The hint's term moves hint tokens alone, and the policy's none of them.
#[test]
fn each_term_moves_its_own_tokens() {
    let (_, unified, _) = of(&Mixture::of(&rule("objective = \"code_parity\""), &objective(0.0, 0.0), 0.0));
    let (_, policy, _) = of(&Mixture::plain(&objective(0.0, 0.0), 1.0));
    let hint = rows().hint.unwrap();
    for (at, on) in hint.flat().iter().enumerate() {
        assert_eq!(policy[at] == unified[at], !on, "token {at}");
        assert!(!on || (policy[at] == 0.0 && (unified[at] + 1e-3 / 4.0).abs() < 1e-9), "token {at}");
    }
}

/// R3, reinforcement fine-tuning and the ablation learn no hint; a coefficient of 0 is the same.
#[test]
fn variants_that_do_not_teach_are_the_policys_loss() {
    let policy = of(&Mixture::plain(&objective(1e-3, 0.0), 1.0));
    for settings in ["variant = \"r3\"", "variant = \"rft\"", "variant = \"rft_cosine\"", "coefficient = 0"] {
        let rule = rule(&format!("objective = \"code_parity\"\n{settings}"));
        let (loss, gradient, _) = of(&Mixture::of(&rule, &objective(1e-3, 0.0), 0.0));
        assert_eq!((loss, &gradient), (policy.0, &policy.1), "{settings}");
    }
}

/// Two prompts with answers of different lengths: means of each, averaged, against the mean over all tokens.
#[test]
fn micro_means_are_those_of_the_authors_code() {
    let of = |micro: usize| {
        let mut rows = rows();
        rows.advantages = TokenAdvantages::PerRow(vec![1.0, 3.0]);
        rows.logp_proximal = Some(stats().logp);
        let rule = rule(&format!("objective = \"code_parity\"\nmicro_mean = {micro}"));
        Mixture::of(&rule, &objective(0.0, 0.0), 0.0).with(rows, &[4, 9], None)
    };
    // Ratios are 1, so the policy's loss of a token is minus its advantage: 3 of −1 and 2 of −3.
    let (whole, ..) = evaluate(&of(0), &stats());
    close(whole, -9.0 / 5.0 + 1e-3 * 0.8);
    let blend = of(1);
    assert_eq!(blend.rows.len(), 2);
    let mut sum = 0.0;
    for (row, part) in blend.parts().iter().enumerate() {
        let own = TokenStats {
            logp: stats().logp.select([row]),
            entropy: stats().entropy.select([row]),
            ..TokenStats::default()
        };
        for term in &part.terms {
            let prepared = prepare(term, part.rows, 8);
            sum += term.weight * term_loss(term, (part.rows, 0..1, Want::ENTROPY), &prepared, &own).unwrap().loss;
        }
    }
    close(sum, -(1.0 + 3.0) / 2.0 + 1e-3 * 0.8);
}

#[test]
fn prompts_are_counted_where_they_change() {
    assert_eq!(by_prompts(&[3, 3, 5, 5, 5, 9], 1), [vec![0, 1], vec![2, 3, 4], vec![5]]);
    assert_eq!(by_prompts(&[3, 3, 5, 5, 5, 9], 2), [vec![0, 1, 2, 3, 4], vec![5]]);
    assert_eq!(by_prompts(&[], 2), Vec::<Vec<usize>>::new());
}
