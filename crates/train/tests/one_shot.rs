//! One example in the real loop: how it fills a step, what it is compared with, and how it is chosen from a run's records.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{EXPLORING, ONE_SHOT, go};
use lapidary_algo::{Advantage, MethodKind, methods};
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::rollouts::{self, Sampled};
use lapidary_train::select::{Lookup, Records, Selector, rank, variance};

/// Every answer has a token, so this reward never varies.
const FLAT: &str = r#"[{ name = "length", max = 1 }]"#;
const VARYING: &str = r#"[{ name = "length", max = 80 }]"#;
const CHOICE: &str = "pool = 6\nby = \"random\"\ntop = 2\nrepeat_to = 3\nright_from = -10.0";
const TERMS: &str = "aggregate = \"token_mean\"\nkl_coefficient = 0.001\nentropy_coefficient = 0.001";

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn steps(directory: &Path) -> Vec<Row> {
    rows(directory).into_iter().filter(|row| row.get("reward").is_some()).collect()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

fn get(row: &Row, name: &str) -> f64 {
    row.get(name).unwrap_or_else(|| panic!("no `{name}` in {row:?}"))
}

/// [`ONE_SHOT`] with other tables, run.
fn run(choice: &str, terms: &str, reward: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let recipe = ONE_SHOT.replace(CHOICE, choice).replace(TERMS, terms).replace(VARYING, reward);
    go(directory.path(), &recipe).unwrap();
    directory
}

#[test]
fn every_method_learns_from_one_example() {
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let credits =
            matches!((method.defaults)().advantage, Advantage::EntropyTokens(_) | Advantage::EntropySequences(_));
        let more = if credits { "success_above = -0.07" } else { "" };
        let recipe = ONE_SHOT.replace(TERMS, more).replace(CHOICE, "items = [3]");
        let recipe = recipe.replace("[stage.grpo]", &format!("[stage.{}]", method.name));
        let recipe = recipe.replace("\"grpo\"", &format!("{:?}", method.name));
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), &recipe).unwrap_or_else(|problem| panic!("{}: {problem}", method.name));
        // Not in every step: credit by entropy skips groups that are all wrong.
        assert!(
            steps(directory.path()).iter().filter_map(|row| row.get("grad_norm")).sum::<f64>() > 0.0,
            "{}",
            method.name
        );
        for row in rows(directory.path()) {
            for (name, value) in &row.values {
                assert!(describe(name).is_some() && value.is_finite(), "`{name}` of {}", method.name);
            }
        }
        let names: BTreeSet<String> = samples(directory.path(), 6).into_iter().map(|sampled| sampled.id).collect();
        assert_eq!(names, BTreeSet::from(["chain-sum/train/3".to_string()]), "{}", method.name);
    }
}

/// Three rows of two examples make an epoch of 2 + 1, and steps of four rows go through it over and over.
#[test]
fn rows_are_gone_through_in_epochs_and_each_has_draws_of_its_own() {
    let directory = run(CHOICE, TERMS, VARYING);
    let taken: Vec<Vec<Sampled>> = (1..=6).map(|step| samples(directory.path(), step)).collect();
    let groups: Vec<String> = taken.iter().flat_map(|all| all.chunks(4)).map(|group| group[0].id.clone()).collect();
    assert_eq!(groups.len(), 24);
    let mut counts = BTreeMap::new();
    groups.iter().for_each(|id| *counts.entry(id.as_str()).or_insert(0) += 1);
    let mut counts: Vec<i32> = counts.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [8, 16], "{groups:?}");
    let texts: BTreeSet<&str> = taken[0].iter().map(|sampled| sampled.completion.as_str()).collect();
    assert!(texts.len() > 8, "rows of one example are sampled apart: {texts:?}");
}

/// All answers equally good: the policy term is exactly nothing, without a KL term and an entropy bonus nothing moves, and with
/// them the steps are those of a policy term with weight 0.
#[test]
fn a_saturated_example_leaves_the_other_terms_alone() {
    let still = run("items = [3]", "", FLAT);
    for row in steps(still.path()) {
        assert_eq!((get(&row, "grad_norm"), get(&row, "policy_loss"), get(&row, "loss")), (0.0, 0.0, 0.0));
        assert_eq!((get(&row, "one_shot/zero_advantage"), get(&row, "frac_reward_zero_std")), (1.0, 1.0));
    }
    let norms: BTreeSet<u64> = steps(still.path()).iter().map(|row| get(row, "weight_norm").to_bits()).collect();
    assert_eq!(norms.len(), 1, "the weights did not move");
    let (with, without) =
        (run("items = [3]", TERMS, FLAT), run("items = [3]", &format!("{TERMS}\npolicy_coefficient = 0"), FLAT));
    let of = |directory: &tempfile::TempDir| -> Vec<u64> {
        steps(directory.path()).iter().map(|row| get(row, "weight_norm").to_bits()).collect()
    };
    assert_eq!(of(&with), of(&without));
    assert!(steps(with.path()).iter().all(|row| get(row, "grad_norm") > 0.0));
    // The control: rewards that differ.
    let varying = run("items = [3]", TERMS, VARYING);
    assert_ne!(of(&varying), of(&run("items = [3]", &format!("{TERMS}\npolicy_coefficient = 0"), VARYING)));
    let entropy = |directory: &tempfile::TempDir| get(steps(directory.path()).last().unwrap(), "entropy");
    let bonus = run("items = [3]", "policy_coefficient = 0\nentropy_coefficient = 0.5", VARYING);
    assert!(entropy(&bonus) > entropy(&still), "{} against {}", entropy(&bonus), entropy(&still));
}

#[test]
fn saturated_groups_can_leave_the_step() {
    let dropped = run("items = [3]\nsaturated = \"drop\"", TERMS, FLAT);
    for row in steps(dropped.path()) {
        assert_eq!(row.get("grad_norm"), None, "nothing is left to learn from: {row:?}");
    }
    assert!(samples(dropped.path(), 1).iter().all(|sampled| sampled.advantage.is_none()));
    let kept = run("items = [3]", TERMS, FLAT);
    assert!(samples(kept.path(), 1).iter().all(|sampled| sampled.advantage == Some(0.0)));
}

/// Groups of two answers are often equally long; the sixteen answers of the step together are not.
#[test]
fn the_answers_of_an_example_can_share_a_baseline() {
    let short = |scope: &str| {
        let directory = tempfile::tempdir().unwrap();
        let choice = format!("items = [3, 4]\ngroup_scope = \"{scope}\"");
        let recipe = ONE_SHOT.replace(CHOICE, &choice).replace("samples_per_prompt = 4", "samples_per_prompt = 2");
        go(directory.path(), &recipe.replace("max_new_tokens = 40", "max_new_tokens = 12")).unwrap();
        directory
    };
    let (row, prompt) = (short("row"), short("prompt"));
    let flat = |directory: &tempfile::TempDir| {
        steps(directory.path()).iter().map(|row| get(row, "frac_reward_zero_std")).sum::<f64>()
    };
    assert!(flat(&row) > flat(&prompt), "{} against {}", flat(&row), flat(&prompt));
    for step in 1..=6 {
        let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for sampled in samples(prompt.path(), step) {
            let sum = sums.entry(sampled.id.clone()).or_default();
            *sum = (sum.0 + f64::from(sampled.advantage.unwrap()), sum.1 + 1);
        }
        for (id, (sum, count)) in sums {
            assert_eq!(count, 4, "{id}");
            assert!(sum.abs() < 1e-5, "{id}: a baseline of its own makes {sum}");
        }
    }
}

#[test]
fn saturation_is_evaluated_when_it_happens() {
    let directory = run(CHOICE, TERMS, VARYING);
    let evaluated: Vec<u64> =
        rows(directory.path()).iter().filter(|row| row.get("eval/accuracy").is_some()).map(|row| row.step).collect();
    assert_eq!(evaluated, [0, 1, 4, 6], "the start, saturation, every fourth step, the end");
    assert!(steps(directory.path()).iter().all(|row| get(row, "one_shot/saturation_step") == 1.0));
    let never = run(&CHOICE.replace("-10.0", "10.0"), TERMS, VARYING);
    let evaluated: Vec<u64> =
        rows(never.path()).iter().filter(|row| row.get("eval/accuracy").is_some()).map(|row| row.step).collect();
    assert_eq!(evaluated, [0, 4, 6]);
    let report = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(report.contains("saturation at step 1") && report.contains("saturated"));
    assert!(!std::fs::read_to_string(never.path().join("report.html")).unwrap().contains("saturation at step"));
}

/// The records of a run choose the item whose mean reward varied most, counted anew here; a run that goes on is held to it.
#[test]
fn a_runs_own_records_choose_the_example() {
    let pool = run("pool = 5", TERMS, VARYING);
    let mut means: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for step in 1..=6 {
        for group in samples(pool.path(), step).chunks(4) {
            let sum: f64 = group.iter().map(|sampled| f64::from(sampled.verdict.value().unwrap())).sum();
            means.entry(group[0].id.clone()).or_default().push(sum / 4.0);
        }
    }
    let best = means.iter().max_by(|a, b| variance(a.1).total_cmp(&variance(b.1))).unwrap().0;
    let records = Records::open(pool.path(), &Lookup::default()).unwrap();
    assert_eq!(records.histories.iter().map(|history| history.accuracies.len()).sum::<usize>(), 24);
    let ranking = rank(&records.histories, Selector::Variance, 0);
    assert_eq!(&records.histories[ranking[0].index].id, best);

    let source = tempfile::tempdir().unwrap();
    let copied = source.path().join("records.json");
    let write = |swap: bool| {
        let mut lists: Vec<_> = means.iter().map(|(id, list)| format!("{id:?}: {list:?}")).collect();
        if swap {
            lists.push("\"chain-sum/train/9\": [0.0, 100.0]".into());
        }
        std::fs::write(&copied, format!("{{{}}}", lists.join(","))).unwrap();
    };
    write(false);
    let of = |path: &Path| ONE_SHOT.replace(CHOICE, &format!("run = {:?}", path.to_str().unwrap()));
    let (by_run, by_file) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    go(by_run.path(), &of(pool.path())).unwrap();
    assert!(samples(by_run.path(), 6).iter().all(|sampled| &sampled.id == best));
    let stop = lapidary_train::StopFlag::default();
    let mut watch = common::StopAt { step: 3, stop: stop.clone() };
    common::go_watched(by_file.path(), &of(&copied), &mut watch, &stop).unwrap_err();
    write(true);
    assert_eq!(go(by_file.path(), &of(&copied)).unwrap_err().code(), "D083");
    write(false);
    go(by_file.path(), &of(&copied)).unwrap();
    assert_eq!(samples(by_file.path(), 6), samples(by_run.path(), 6), "records are records");
}

/// Second answers to a question (`[stage.second_layer]`) are no answers to the question itself.
#[test]
fn second_answers_are_not_counted() {
    let directory = tempfile::tempdir().unwrap();
    let recipe = ONE_SHOT.replace("[stage.one_shot]", "[stage.second_layer]\nmax_new_tokens = 5\n[stage.one_shot]");
    go(directory.path(), &recipe).unwrap();
    let all = samples(directory.path(), 1);
    assert!(all.len() > 16, "{} answers, 16 of them first ones", all.len());
    let records = Records::open(directory.path(), &Lookup::default()).unwrap();
    assert_eq!(records.histories.len(), 2, "the two examples");
    assert_eq!(records.histories.iter().map(|history| history.accuracies.len()).sum::<usize>(), 24);
}

/// A group that dynamic sampling held over is in two files, and was sampled once.
#[test]
fn groups_that_were_held_over_count_once() {
    let start = EXPLORING.find("[stage.dynamic_sampling]").unwrap();
    let end = EXPLORING.find("[eval]").unwrap();
    let recipe = format!("{}[stage.dynamic_sampling]\noversample = 2.0\n{}", &EXPLORING[..start], &EXPLORING[end..]);
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &recipe).unwrap();
    let sum = |name: &str| steps(directory.path()).iter().map(|row| get(row, name)).sum::<f64>() as usize;
    assert!(sum("sampling/held_over") > 0);
    let records = Records::open(directory.path(), &Lookup::default()).unwrap();
    let entries: usize = records.histories.iter().map(|history| history.accuracies.len()).sum();
    assert_eq!(entries, sum("sampling/prompts"));
    let lookup = Lookup { reward: Some("length".into()), ..Lookup::default() };
    assert_eq!(Records::open(directory.path(), &lookup).unwrap().histories, records.histories);
    let lookup = Lookup { reward: Some("answer".into()), ..Lookup::default() };
    assert_eq!(Records::open(directory.path(), &lookup).unwrap_err().code(), "U016");
    let lookup = Lookup { stage: Some(2), ..Lookup::default() };
    assert_eq!(Records::open(directory.path(), &lookup).unwrap_err().code(), "U016");
}
