use lapidary_algo::{Aggregate, LossBatch, Objective, method};
use lapidary_core::{PromptText, Ragged, Rollout, StopReason, TokenRole, TokenStats, Want};
use serde_json::Map;

use super::*;
use crate::recipe::{Recipe, Stage};

fn stage(more: &str) -> Recipe {
    let text = format!(
        "model = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"grpo\"\ntask = \"chain-sum\"\nsteps = 1\n\
         [stage.second_layer]\n{more}\n"
    );
    Recipe::load_text(std::path::Path::new("layer.toml"), &text, &[]).unwrap()
}

fn with<T>(more: &str, work: impl FnOnce(&Layer<'_>) -> T) -> T {
    let recipe = stage(more);
    let Stage::Rl(rl) = &recipe.stages[0] else { panic!("an rl stage") };
    work(&Layer { rule: rl.second_layer.as_ref().unwrap(), rl, seed: 3 })
}

fn sampled(group: usize, at: usize, reward: Option<f32>) -> Sampled {
    Sampled {
        readings: Vec::new(),
        id: format!("q{group}"),
        rollout: Rollout {
            prompt: group,
            sample: at,
            tokens: vec![1, 5, 2],
            roles: vec![TokenRole::Prompt, TokenRole::Policy, TokenRole::Policy],
            logp: vec![0.0; 3],
            temperature: 1.0,
            weights: 0,
            stop: StopReason::Eos,
            support: None,
            routing: None,
        },
        prompt_text: PromptText::Text("1+1=".into()),
        completion: format!("{group}-{at}"),
        answer: None,
        metadata: Map::new(),
        verdict: reward.map_or(Verdict::none("no"), |reward| Verdict::score(reward, "")),
        rewards: Map::new(),
        length_penalty: 0.0,
        advantage: reward.map(|_| 0.0),
    }
}

fn step(rewards: &[&[Option<f32>]]) -> Step {
    let group = |(group, rewards): (usize, &&[Option<f32>])| {
        rewards.iter().enumerate().map(|(at, reward)| sampled(group, at, *reward)).collect()
    };
    Step::of(rewards.iter().enumerate().map(group).collect(), (0..rewards.len()).collect())
}

const R: Option<f32> = Some(1.0);
const W: Option<f32> = Some(0.0);

#[test]
fn first_answers_are_chosen_as_the_recipe_says() {
    let first = step(&[&[R, W, W, None], &[W, W, W, W], &[R, R, R, R]]);
    let chosen = |more: &str| with(more, |layer| layer.choose(&first, Key::new(1, Purpose::Sample)));
    assert_eq!(chosen("").len(), 11, "all but the one without a verdict");
    assert_eq!(chosen("inputs = \"incorrect_only\"").len(), 6);
    assert_eq!(chosen("inputs = \"mixed_groups_only\""), [(0, 0), (0, 1), (0, 2)]);
    // Five right and six wrong: three quarters wrong are six and two.
    let balanced = chosen("inputs = \"balanced\"\nwrong_share = 0.75");
    let right = balanced.iter().filter(|&&parent| of(&first, parent).verdict.value() == R).count();
    assert_eq!((balanced.len(), right), (8, 2));
    assert!(balanced.is_sorted());
    assert_eq!(chosen("fraction = 0.25").len(), 3);
    assert_eq!(with("fraction = 0.25", |layer| layer.choose(&step(&[&[None]]), Key::new(1, Purpose::Sample))), []);
}

#[test]
fn phrases_are_drawn_by_weight_in_turn_or_not_at_all() {
    let said = |more: &str| -> Vec<String> {
        let more = format!("phrases = [\"a\", \"b\"]\n{more}");
        let key = Key::new(1, Purpose::Sample);
        with(&more, |layer| (0..4000).map(|at| layer.phrase(at, 5, key).to_string()).collect())
    };
    let share = said("phrase_weights = [3, 1]").iter().filter(|phrase| *phrase == "a").count() as f64 / 4000.0;
    assert!((share - 0.75).abs() < 0.03, "{share}");
    assert_eq!(said("phrase_order = \"round_robin\"")[..3], ["b", "a", "b"]);
    assert!(said("phrase_order = \"fixed\"").iter().all(|phrase| phrase == "a"));
}

/// Spec B §3.3: the table of shaped rewards.
#[test]
fn a_second_answer_is_worth_what_the_recipe_says() {
    let worth = |more: &str| {
        with(more, |layer| {
            [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
                .map(|(before, after)| layer.worth(before, &Verdict::score(after, "")).value().unwrap())
        })
    };
    assert_eq!(worth(""), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(worth("reward = \"improve\""), [0.0, 1.0, -1.0, 0.0]);
    assert_eq!(worth("reward = \"shaped\""), [0.0, 1.5, -0.5, 1.0]);
    assert_eq!(worth("filter = \"success_only\""), [0.0, 1.0, 0.0, 0.0]);
    let none = Verdict::none("no");
    assert_eq!(with("", |layer| layer.worth(1.0, &none)), none, "no verdict is never a number");
}

/// Spec B §3.10: groups of equal rewards are dropped, the others compare within their parent.
#[test]
fn groups_are_those_of_a_parent_and_only_those_that_vary_are_kept() {
    let first = step(&[&[W, R], &[W, W]]);
    let parents = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let second: [&[Option<f32>]; 4] = [&[R, R, R, W], &[W; 4], &[R; 4], &[R, W, W, W]];
    let settle = |more: &str| with(more, |layer| layer.settle(&first, &parents, step(&second).groups));
    let (kept, origins) = settle("");
    assert_eq!((kept.kept, origins), (vec![0, 3], vec![0, 0, 1, 1]));
    let (pooled, origins) = settle("group = \"query\"\nsamples = 1");
    assert_eq!((pooled.groups.len(), pooled.kept, origins), (2, vec![0, 1], vec![0, 1]));
    assert_eq!(
        pooled.groups[1].iter().map(|sampled| sampled.rollout.sample).collect::<Vec<_>>(),
        (0..8).collect::<Vec<_>>()
    );

    let advantages = |rewards: &[Option<f32>]| {
        let objective = (method("grpo").unwrap().defaults)();
        let groups = vec![0; rewards.len()];
        let found = objective.advantages(&lapidary_algo::Experience::of_rewards(rewards, &groups)).unwrap();
        (0..rewards.len()).map(|row| found.mean_of(row)).collect::<Vec<_>>()
    };
    let close = |found: &[f32], expected: &[f32]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6);
    assert!(close(&advantages(second[0]), &[0.499999, 0.499999, 0.499999, -1.499997]));
    assert!(close(&advantages(second[3]), &[1.499997, -0.499999, -0.499999, -0.499999]));
    assert!(close(&advantages(&[R, W, W, R]), &[0.866024, -0.866024, -0.866024, 0.866024]));
}

/// Spec B §3.10: correction statistics of one answer per prompt.
#[test]
fn what_a_second_turn_changed_is_counted() {
    let r = |values: [u8; 10]| values.map(|value| Some(f32::from(value)));
    let (before, after) = (r([1, 1, 0, 0, 0, 1, 0, 1, 0, 0]), r([1, 1, 1, 0, 0, 0, 1, 1, 0, 1]));
    let first = step(&[&before]);
    let groups: Vec<Vec<Sampled>> = after.iter().map(|&reward| vec![sampled(0, 9, reward)]).collect();
    let parents: Vec<Parent> = (0..10).map(|at| (0, at)).collect();
    let found = with("samples = 1\ngroup = \"query\"", |layer| layer.statistics(&first, &parents, &groups));
    let get = |name: &str| found.iter().find(|(known, _)| known == name).unwrap().1;
    let close = |name: &str, value: f64| assert!((get(name) - value).abs() < 1e-12, "{name} {}", get(name));
    close("layer2/acc_t1", 0.4);
    close("layer2/acc_t2", 0.6);
    close("layer2/delta", 0.2);
    close("layer2/i2c", 0.3);
    close("layer2/c2i", 0.1);
    close("layer2/changed", 0.9);
    close("layer2/share_of_tokens", 0.5);
}

/// Spec B §3.10: the two losses and their weighted sum (mean over sequences, clip 0.2, β = 0.04 with k3).
#[test]
fn the_loss_of_two_layers_is_that_of_the_specification() {
    let grpo = (method("grpo").unwrap().defaults)();
    let given = serde_json::from_value(serde_json::json!({
        "kl_coefficient": 0.04, "kl_estimator": "k3", "clip_low": 0.2, "clip_high": 0.2,
    }))
    .unwrap();
    let objective = Objective { aggregate: Aggregate::SeqMeanTokenMean, ..grpo.with(&given).unwrap() };
    let ragged = |rows: &[&[f32]]| rows.iter().map(|row| row.to_vec()).collect::<Ragged<f32>>();
    let loss = |new: &[&[f32]], old: &[&[f32]], reference: &[&[f32]]| {
        let (new, old, reference) = (ragged(new), ragged(old), ragged(reference));
        let (mask, advantages) = (new.like(true), TokenAdvantages::PerRow(vec![1.0, -1.0]));
        let want = Want::default();
        let batch = LossBatch {
            logp_proximal: Some(&old),
            logp_reference: Some(&reference),
            ..LossBatch::new(&mask, &advantages, want)
        };
        let prepared = objective.prepare(&mask, Some(&old), None, 8);
        let stats = TokenStats { entropy: new.like(0.0), logp: new, ..TokenStats::default() };
        objective.loss(&batch, &stats, &prepared.normaliser).unwrap().loss
    };
    let first =
        loss(&[&[-0.5, -1.0], &[-0.7, -0.3]], &[&[-0.6, -0.9], &[-0.7, -0.5]], &[&[-0.55, -1.1], &[-0.8, -0.3]]);
    let second = loss(
        &[&[-0.4, -0.2, -0.9], &[-1.2, -0.1]],
        &[&[-0.4, -0.5, -0.9], &[-1.0, -0.1]],
        &[&[-0.4, -0.4, -1.0], &[-1.1, -0.2]],
    );
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 2e-6, "{found} {expected}");
    close(first, 0.052958);
    close(second, -0.078393);
    close(first + second, -0.025436);
    close(first + 0.5 * second, 0.013761);
}

#[test]
fn imitation_learns_the_gains_of_right_answers_alone() {
    with("filter = \"success_only\"", |layer| {
        let first = step(&[&[W, R]]);
        let (mut second, _) = layer.settle(&first, &[(0, 0), (0, 1)], step(&[&[R, W], &[R, W]]).groups);
        assert_eq!(second.kept, [0, 1]);
        let mut rows = Rows::of(&second, crate::recipe::Truncated::Penalise, crate::recipe::RoutingReplay::Off);
        layer.imitate(&mut second, &mut rows);
        assert_eq!(rows.advantages, TokenAdvantages::PerRow(vec![1.0, 0.0, 0.0, 0.0]));
        let trained: Vec<bool> = rows.mask.iter().map(|row| row.contains(&true)).collect();
        assert_eq!(trained, [true, false, false, false]);
    });
}
