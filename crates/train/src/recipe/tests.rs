use super::*;

const GOOD: &str = r#"
seed = 17
model = "tiny"

[[stage]]
kind = "sft"
task = "chain-sum"
steps = 200

[[stage]]
kind = "rl"
method = "gspo"
task = { name = "chain-sum", min_terms = 2, operators = ["+", "-"] }
reward = ["answer", { name = "length", weight = -0.25, max = 12 }]
steps = 30
temperature = 0.9
"#;

fn load(text: &str, set: &[&str]) -> Result<Recipe> {
    Recipe::load_text(Path::new("x.toml"), text, &set.iter().map(|s| s.to_string()).collect::<Vec<_>>())
}

/// The problem of a recipe, as `code line:column text-underlined`.
fn refusal(text: &str, set: &[&str]) -> (String, Problem) {
    let problem = load(text, set).unwrap_err();
    assert_eq!(problem.kind(), Kind::Usage);
    let place = problem.place().unwrap_or_else(|| panic!("no place: {problem:?}"));
    let under: String = place.text.chars().skip(place.column - 1).take(place.width).collect();
    (format!("{} {}:{} {under}", problem.code(), place.path.display(), place.line), problem)
}

fn rl(recipe: &Recipe) -> &Rl {
    match recipe.stages.last() {
        Some(Stage::Rl(rl)) => rl,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_filled_in_and_written_out() {
    let recipe = load(GOOD, &[]).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.seed), ("x", 17));
    assert_eq!(recipe.stages[0].training().learning_rate, 2e-5);
    assert_eq!(rl(&recipe).training.learning_rate, 1e-6);
    assert_eq!(rl(&recipe).rewards[1].weight, -0.25);
    assert_eq!(recipe.eval.task, rl(&recipe).task, "eval uses the task of the last rl stage");
    assert_eq!(recipe.eval.max_new_tokens, 256);
    let text = recipe.to_toml();
    assert!(text.contains("temperature = 0.9\n"), "{text}");
    assert_eq!(load(&text, &[]).unwrap(), recipe, "{text}");
    assert_eq!(load(&text, &[]).unwrap().to_toml(), text, "a fixed point");
}

#[test]
fn overrides_reach_every_place() {
    let set = [
        "stage.rl.steps=3",
        "stage.1.learning_rate = 1e-3",
        "model=some/dir",
        "eval.every=5",
        "stage.rl.task.min_terms=4",
        "stage.rl.reward.2.weight=2",
        "stage.rl.reward.1=\"format\"",
    ];
    let recipe = load(GOOD, &set).unwrap();
    assert_eq!(rl(&recipe).training.steps, 3);
    assert_eq!(recipe.stages[0].training().learning_rate, 1e-3);
    assert_eq!(recipe.model, "some/dir");
    assert_eq!(recipe.eval.every, 5);
    assert_eq!(rl(&recipe).task.options["min_terms"], 4);
    assert_eq!((rl(&recipe).rewards[0].name.as_str(), rl(&recipe).rewards[1].weight), ("format", 2.0));
}

#[test]
fn overrides_are_refused_where_they_stand() {
    let at = |set: &str| refusal(GOOD, &[set]).0;
    assert_eq!(at("steps"), "R005 --set:1 steps");
    assert_eq!(at("stage..steps=3"), "R005 --set:1 .");
    assert_eq!(at("stage.7.steps=3"), "R005 --set:1 7");
    assert_eq!(at("stage.0.steps=3"), "R005 --set:1 0", "stages count from 1, as the plan prints them");
    assert_eq!(at("stage.rk.steps=3"), "R005 --set:1 rk");
    assert_eq!(at("seed.x=3"), "R005 --set:1 x");
    assert_eq!(at("stage.rl.steps=0"), "R006 --set:1 0");
    assert_eq!(at("stage.rl.steps=many"), "R002 --set:1 many");
    assert_eq!(at("stage.rl.stepz=3"), "R003 --set:1 stepz");
    assert_eq!(at("stage.rl.reward=[\"answer\""), "R001 --set:1 ", "the caret is at the open end");
    assert_eq!(at("stage.rl.reward=[\"answer\", \"formt\"]"), "R012 --set:1 \"formt\"");
}

#[test]
fn every_refusal_points_at_its_key_or_value() {
    let change = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        refusal(&GOOD.replacen(from, to, 1), &[]).0
    };
    assert_eq!(change("seed = 17", "seed = = 17"), "R001 x.toml:2 =");
    assert_eq!(change("seed = 17", "sed = 17"), "R003 x.toml:2 sed");
    assert_eq!(change("seed = 17", "seed = \"a\""), "R002 x.toml:2 \"a\"");
    assert_eq!(change("seed = 17", "seed = -1"), "R002 x.toml:2 -1");
    assert_eq!(change("seed = 17", "seed = 2026-01-01"), "R002 x.toml:2 2026-01-01");
    assert_eq!(change("model = \"tiny\"", ""), "R004 x.toml:1 ");
    assert_eq!(change("\"tiny\"", "\"tinny\""), "R013 x.toml:3 \"tinny\"");
    assert_eq!(change("steps = 200", ""), "R004 x.toml:5 [[stage]]");
    assert_eq!(change("steps = 200", "steps = 0"), "R006 x.toml:8 0");
    assert_eq!(change("steps = 200", "steps = 2\nsamples_per_prompt = 4"), "R007 x.toml:9 samples_per_prompt");
    assert_eq!(change("\"sft\"", "\"stf\""), "R008 x.toml:6 \"stf\"");
    assert_eq!(change("\"chain-sum\"", "\"chain_sums\""), "R011 x.toml:7 \"chain_sums\"");
    assert_eq!(change("name = \"length\"", "name = \"lenght\""), "R012 x.toml:14 \"lenght\"");
    assert_eq!(change("\"answer\"", "\"length\""), "W003 x.toml:14 \"length\"", "it needs an option");
    assert_eq!(change("max = 12", "mxa = 12"), "W002 x.toml:14 mxa");
    assert_eq!(
        change("max = 12", "max = 12, label = \"answer\""),
        "R012 x.toml:14 { name = \"length\", weight = -0.25, max = 12, label = \"answer\" }"
    );
    assert_eq!(change("min_terms = 2", "min_term = 2"), "D021 x.toml:13 min_term");
    assert_eq!(change("min_terms = 2", "min_terms = 1"), "D022 x.toml:13 min_terms");
    assert_eq!(change("min_terms = 2", "min_terms = 9"), "D022 x.toml:13 min_terms");
    assert_eq!(change("temperature = 0.9", "temperature = 0"), "R006 x.toml:16 0");
    assert_eq!(change("temperature = 0.9", "top_p = 1.5"), "R006 x.toml:16 1.5");
    assert_eq!(change("temperature = 0.9", "updates_per_rollout = 9"), "R015 x.toml:16 9");
    assert_eq!(change("temperature = 0.9", "schedule = \"cosin\""), "R008 x.toml:16 \"cosin\"");
    assert_eq!(change("temperature = 0.9", "beta1 = 1"), "R006 x.toml:16 1");
    assert_eq!(change("temperature = 0.9", "[stage.health]\nmin_entropi = 1"), "R003 x.toml:17 min_entropi");
    assert_eq!(change("temperature = 0.9", "samples_per_prompt = 1"), "R014 x.toml:16 1");
    assert_eq!(change("\"gspo\"", "\"gpso\""), "R010 x.toml:12 \"gpso\"");
    assert_eq!(change("\"gspo\"", "\"sft\""), "R016 x.toml:12 \"sft\"");
    assert_eq!(change("\"gspo\"", "\"rloo\"\nupdates_per_rollout = 2"), "R020 x.toml:13 2");
    assert_eq!(change("temperature = 0.9", "[stage.gspo]\nclip_low = 2"), "R017 x.toml:17 2");
    assert_eq!(change("temperature = 0.9", "[stage.gspo]\nclip_lo = 0.1"), "R003 x.toml:17 clip_lo");
    assert_eq!(change("temperature = 0.9", "[stage.grpo]\nclip_low = 0.1"), "R018 x.toml:16 grpo");
    assert_eq!(change("temperature = 0.9", "[stage.gpso]\nclip_low = 0.1"), "R003 x.toml:16 gpso");
    assert_eq!(refusal("model = \"tiny\"\n", &[]).0, "R004 x.toml:1 m");
}

#[test]
fn a_misspelt_key_is_answered_with_the_right_one() {
    let label = |key: &str| {
        let (_, problem) = refusal(&GOOD.replace("temperature", key), &[]);
        problem.place().unwrap().label.clone()
    };
    assert_eq!(label("temprature"), "did you mean `temperature`?");
    assert_eq!(label("lr"), "did you mean `learning_rate`?");
    assert_eq!(label("group_size"), "did you mean `samples_per_prompt`?");
    assert_eq!(label("dr_grop"), "did you mean `dr_grpo`?");
    assert_eq!(label("zebra"), "not a key of this table");
}

#[test]
fn the_learning_rate_follows_its_schedule() {
    let mut training = rl(&load(GOOD, &[]).unwrap()).training.clone();
    training.learning_rate = 8.0;
    training.warmup_steps = 4;
    let at = |training: &Training, step| training.learning_rate_at(step, 12);
    assert_eq!([0, 1, 3, 4, 11].map(|step| at(&training, step)), [2.0, 4.0, 8.0, 8.0, 8.0]);
    assert_eq!(training.learning_rate_at(1, 2), 4.0, "a stage may end before its warm-up");
    training.schedule = Schedule::Linear;
    assert_eq!([3, 4, 8, 11].map(|step| at(&training, step)), [8.0, 8.0, 4.0, 1.0]);
    training.schedule = Schedule::Cosine;
    assert!((at(&training, 8) - 4.0).abs() < 1e-12 && at(&training, 4) == 8.0);
}

#[test]
fn settings_of_a_method_are_put_over_its_defaults_and_written_in_full() {
    let recipe = load(GOOD, &["stage.rl.gspo.kl_coefficient=0.05"]).unwrap();
    let expected = Objective {
        kl: lapidary_algo::Kl { coefficient: 0.05, ..(lapidary_algo::method("gspo").unwrap().defaults)().kl },
        ..(lapidary_algo::method("gspo").unwrap().defaults)()
    };
    assert_eq!(rl(&recipe).objective, expected);
    let text = recipe.to_toml();
    assert!(
        text.contains("[stage.gspo]\n") && text.contains("clip_low = 3e-4\n") && text.contains("[stage.sft]\n"),
        "{text}"
    );
    assert_eq!(load(&text, &[]).unwrap(), recipe);
}

#[test]
fn a_limit_that_stops_a_run_is_kept_whether_it_was_chosen_or_not() {
    for (set, limit) in [("stage.rl.health.stop_no_verdict=0.25", 0.25), ("stage.rl.steps=3", 0.5)] {
        let recipe = load(GOOD, &[set]).unwrap();
        assert_eq!(rl(&load(&recipe.to_toml(), &[]).unwrap()).health.stop_no_verdict, limit);
        assert_eq!(recipe.to_toml().contains("stop_no_verdict"), limit != 0.5);
    }
}

#[test]
fn every_method_resolves_and_reads_back() {
    for method in lapidary_algo::methods().iter().filter(|method| method.name != "sft") {
        let recipe = load(&GOOD.replace("gspo", method.name), &[]).unwrap();
        assert_eq!(load(&recipe.to_toml(), &[]).unwrap(), recipe, "{}", method.name);
        // A switch that is off is written down, but what it would switch on is not, and does not matter.
        let off = ["0", "0.0", "false", "\"off\""];
        let keys: std::collections::HashSet<String> = write::leaves(&recipe)
            .into_iter()
            .filter(|(_, value)| !off.contains(&value.as_str()))
            .map(|(key, _)| {
                key.replace("stage.1.", "stage.2.")
                    .replace(".sft.", ".method.")
                    .replace(&format!(".{}.", method.name), ".method.")
            })
            .collect();
        assert!(keys.len() <= 60, "at most sixty keys may matter to a run; {} has {}", method.name, keys.len());
    }
}

#[test]
fn an_adapter_is_a_table_of_four_keys_on_a_model_that_has_learned_something() {
    let adapted = GOOD.replace("model = \"tiny\"", "model = \"./some/model\"\n[adapter]\nalpha = 8");
    let recipe = load(&adapted, &["adapter.rank=4"]).unwrap();
    let expected = LoraConfig { rank: 4, alpha: 8.0, rslora: false, targets: vec!["all-linear".into()] };
    assert_eq!(recipe.adapter, Some(expected));
    assert!(recipe.to_toml().contains("[adapter]\nrank = 4\nalpha = 8.0\n"), "{}", recipe.to_toml());
    assert_eq!(load(&recipe.to_toml(), &[]).unwrap(), recipe);
    assert_eq!(load(GOOD, &[]).unwrap().adapter, None);
    let preset = GOOD.replace("[[stage]]\nkind = \"sft\"", "[adapter]\n\n[[stage]]\nkind = \"sft\"");
    assert!(refusal(&preset, &[]).0.starts_with("R030 x.toml:"), "{:?}", refusal(&preset, &[]));
    let (seen, _) = refusal(&adapted.replace("alpha = 8", "alpha = 0"), &[]);
    assert_eq!(seen, "R006 x.toml:5 0");
    let (seen, _) = refusal(&adapted.replace("alpha = 8", "r = 8"), &[]);
    assert_eq!(seen, "R003 x.toml:5 r");
}

#[test]
fn origins_name_the_line_the_override_or_the_default() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), GOOD).unwrap();
    let (_, origins) = Recipe::load_with_origins(file.path(), &["stage.rl.steps=3".into()]).unwrap();
    let origin = |key: &str| origins.iter().find(|origin| origin.key == key).unwrap().origin.clone();
    assert_eq!(origin("seed"), format!("{}:2", file.path().display()));
    assert_eq!(origin("stage.2.steps"), "--set stage.rl.steps=3");
    assert_eq!(origin("eval.prompts"), "default");
}
