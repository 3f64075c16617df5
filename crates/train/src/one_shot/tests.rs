//! What is chosen, and how it fills a step.

use super::*;
use crate::select::Selector;
use lapidary_core::PromptText;
use serde_json::Map;

/// Twelve items, or no end of them.
struct Counted(Option<usize>);

impl Task for Counted {
    fn name(&self) -> &str {
        "counted"
    }
    fn len(&self, _: Split) -> Option<usize> {
        self.0
    }
    fn item(&self, split: Split, index: u64) -> Result<Item> {
        Ok(Item {
            id: format!("counted/{}/{index}", split.name()),
            prompt: PromptText::Text(format!("{index}?")),
            answer: Some(index.to_string()),
            completion: None,
            metadata: Map::new(),
        })
    }
    fn answer_reward(&self) -> &'static str {
        "answer"
    }
}

fn rule(choice: Choice) -> OneShot {
    let (group_scope, saturated) = Default::default();
    OneShot { choice, answers: Vec::new(), repeat_to: None, group_scope, saturated, right_from: 0.5 }
}

fn ids(choice: Choice, task: &dyn Task, seed: u64) -> Vec<String> {
    choose(&rule(choice), task, seed).unwrap().into_iter().map(|item| item.id).collect()
}

#[test]
fn rows_are_shared_equally_and_the_last_ones_are_short() {
    let counts = |items: usize, rows: usize| -> Vec<usize> {
        let shares = shares(items, rows);
        assert_eq!(shares.len(), rows);
        (0..items).map(|item| shares.iter().filter(|row| **row == item).count()).collect()
    };
    assert_eq!(counts(1, 128), [128]);
    assert_eq!(counts(2, 128), [64, 64], "π1 and π13");
    assert_eq!(counts(4, 128), [32; 4]);
    assert_eq!(counts(16, 128), [8; 16]);
    assert_eq!(counts(3, 128), [43, 43, 42]);
    assert_eq!(counts(5, 8), [2, 2, 2, 1, 1], "nobody is left out");
    assert_eq!(counts(7, 7), [1; 7]);
}

#[test]
fn items_are_chosen_by_name_place_pool_and_seed() {
    let task = Counted(Some(12));
    let names = vec![ItemName::Place(3), ItemName::Name("counted/train/7".into()), ItemName::Name("9".into())];
    let expected = ["counted/train/3", "counted/train/7", "counted/train/9"];
    assert_eq!(ids(Choice::Items(names.clone()), &task, 0), expected);
    assert_eq!(ids(Choice::Items(names), &Counted(None), 0), expected, "a task without an end knows its names too");
    assert_eq!(ids(Choice::First(Some(2)), &Counted(None), 0), ["counted/train/0", "counted/train/1"]);
    assert_eq!(ids(Choice::First(None), &task, 0).len(), 12);
    let random = |seed, pool, top| ids(Choice::Random { pool, top }, &task, seed);
    assert_eq!(random(5, None, 12).iter().collect::<std::collections::BTreeSet<_>>().len(), 12);
    assert_eq!(random(5, None, 3), random(5, None, 12)[..3], "more of them begin with the fewer");
    assert_ne!(random(5, None, 12), random(6, None, 12));
    let code = |choice| choose(&rule(choice), &task, 0).unwrap_err().code();
    assert_eq!(code(Choice::Items(vec![ItemName::Place(12)])), "D082");
    assert_eq!(code(Choice::Items(vec![ItemName::Name("counted/test/3".into())])), "D082", "held out");
    assert_eq!(code(Choice::Random { pool: None, top: 13 }), "R035");
    assert_eq!(choose(&rule(Choice::First(None)), &Counted(None), 0).unwrap_err().code(), "R022");
}

#[test]
fn items_are_chosen_by_records() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.json");
    std::fs::write(&file, r#"{"4": [0.5, 0.5], "2": [0, 1], "11": [0, 0.5], "5": []}"#).unwrap();
    let records = |top, by| Choice::Records { run: file.clone(), by, top };
    let task = Counted(Some(12));
    assert_eq!(ids(records(2, Selector::Variance), &task, 0), ["counted/train/2", "counted/train/11"]);
    // Means 1/6 and 2/3: item 4 is 5/36 away from them, 2 is 5/36, and 11 is 2/36.
    assert_eq!(ids(records(1, Selector::Lim), &task, 0), ["counted/train/11"]);
    let error = choose(&rule(records(4, Selector::Variance)), &task, 0).unwrap_err();
    assert!(error.message().contains("3 items to choose from, not 4"), "{error}");
    for (text, code) in [("[1]", "D080"), ("{}", "D080"), (r#"{"a": [1, "x"]}"#, "D080"), (r#"{"a": 1}"#, "D080")] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(choose(&rule(records(1, Selector::Variance)), &task, 0).unwrap_err().code(), code, "{text}");
    }
    let absent = Choice::Records { run: directory.path().join("absent"), by: Selector::Variance, top: 1 };
    assert_eq!(choose(&rule(absent), &task, 0).unwrap_err().code(), "D001");
    let empty = Choice::Records { run: directory.path().to_path_buf(), by: Selector::Variance, top: 1 };
    assert_eq!(choose(&rule(empty), &task, 0).unwrap_err().code(), "D081");
}

#[test]
fn labels_can_be_wrong_on_purpose() {
    let mut wrong = rule(Choice::Items(vec![ItemName::Place(1)]));
    wrong.answers = vec!["9292725".into()];
    let items = choose(&wrong, &Counted(Some(12)), 0).unwrap();
    assert_eq!(items[0].answer.as_deref(), Some("9292725"));
    assert_ne!(
        fingerprint(&items, 8),
        fingerprint(&choose(&rule(wrong.choice.clone()), &Counted(Some(12)), 0).unwrap(), 8)
    );
    wrong.choice = Choice::First(None);
    assert_eq!(choose(&wrong, &Counted(Some(12)), 0).unwrap_err().code(), "R035");
}

#[test]
fn saturated_groups_stay_unless_they_are_to_go() {
    let rewards = [Some(1.0), Some(1.0), Some(0.0), Some(1.0), None, Some(0.0)];
    let groups = [0, 0, 1, 1, 2, 2];
    let mut rule = rule(Choice::First(None));
    assert_eq!(dropped(Some(&rule), &groups, &rewards), [false; 6]);
    rule.saturated = Saturated::Drop;
    assert_eq!(dropped(Some(&rule), &groups, &rewards), [true, true, false, false, true, true]);
    assert_eq!(dropped(None, &groups, &rewards), [false; 6]);
}

#[test]
fn a_step_holds_each_example_as_often_as_the_other() {
    let mut tasks = Tasks::default();
    let recipe = crate::Recipe::load_text(
        std::path::Path::new("x.toml"),
        "model = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"grpo\"\ntask = \"chain-sum\"\nsteps = 1\nprompts_per_step = 6\n\
         [stage.one_shot]\nitems = [4, 2]\n",
        &[],
    )
    .unwrap();
    let crate::recipe::Stage::Rl(rl) = &recipe.stages[0] else { panic!("an rl stage") };
    let rule = rl.one_shot.as_ref().unwrap();
    let (mut rows, name) = prompts(rule, rl, &mut tasks, 3).unwrap();
    let mut cursors = Default::default();
    let taken: Vec<String> = (0..6).map(|_| rows.take(&mut cursors).unwrap().id).collect();
    let count = |id: &str| taken.iter().filter(|taken| *taken == id).count();
    assert_eq!((count("chain-sum/train/4"), count("chain-sum/train/2")), (3, 3), "{taken:?}");
    assert!(cursors.keys().next().unwrap().ends_with(&name), "{cursors:?}");
}
