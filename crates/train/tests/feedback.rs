//! Self-feedback: traces, confidences and pairs of a frozen model; killed anywhere, the same bytes.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, go, go_watched, model, recipe_of, result_of};
use lapidary_core::{PromptText, StopReason, TokenBatch, Want};
use lapidary_train::StopFlag;
use lapidary_train::feedback::{self, Pair, QuestionRecord};
use lapidary_train::metrics::read_rows;

/// Two stages: pairs, then a little learning, so that a cut may fall before, in and after the first. The toy is not sure of
/// anything, so any confidence will do.
const FEEDBACK: &str = r#"
seed = 5
name = "feedback"
model = "tiny"

[[stage]]
kind = "self-feedback"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 4
prompts_per_step = 3
samples_per_prompt = 6
max_new_tokens = 24
temperature = 1.0

[stage.confidence]
statistic = "predictive_probability"
span = "last_number"

[stage.ranking]
min_confidence = 0.0

[[stage]]
kind = "sft"
task = "chain-sum"
steps = 2
prompts_per_step = 2
learning_rate = 0.05

[eval]
prompts = 0

[checkpoint]
every = 2
keep = 2
"#;

fn traces(directory: &Path, step: u64) -> Vec<QuestionRecord> {
    feedback::read(&feedback::trace_path(&directory.join("traces"), step)).unwrap()
}

fn pairs(directory: &Path) -> Vec<Pair> {
    let text = std::fs::read_to_string(directory.join("pairs/stage-01.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_trace_is_kept_with_the_numbers_that_the_model_gives_it() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), FEEDBACK).unwrap();
    let engine = model().engine;
    let mut all = Vec::new();
    for step in 1..=4 {
        let questions = traces(directory.path(), step);
        assert_eq!(questions.len(), 3);
        for question in &questions {
            assert_eq!(question.traces.len(), 6, "no trace is dropped");
            let PromptText::Text(prompt) = &question.prompt else { panic!("text") };
            let prompt = model().tokenizer.encode_prompt(&PromptText::Text(prompt.clone())).unwrap();
            let mut firsts = Vec::new();
            for trace in &question.traces {
                let mut batch = TokenBatch::default();
                let row = [prompt.as_slice(), &trace.tokens].concat();
                batch.push(&row, &(0..row.len()).map(|t| t >= prompt.len()).collect::<Vec<_>>(), 1.0);
                let stats = engine.score(&batch, Want::default()).unwrap();
                assert_eq!(&stats.logp.row(0)[prompt.len()..], trace.logp, "the first token's numbers included");
                firsts.push((trace.tokens[0], trace.logp[0]));
                if let Some([from, to]) = trace.span {
                    let mean =
                        trace.logp[from..to].iter().map(|l| f64::from(*l).exp()).sum::<f64>() / (to - from) as f64;
                    assert_eq!(mean, trace.confidence);
                    assert!(trace.answer.is_some());
                } else {
                    assert_eq!((trace.confidence, trace.answer.as_deref()), (0.0, None), "kept, and not sure at all");
                }
            }
            let mut distinct: Vec<u32> = firsts.iter().map(|(id, _)| *id).collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), 6, "another first token each");
            assert!(firsts.windows(2).all(|two| two[0].1 >= two[1].1), "by falling probability");
        }
        all.extend(questions);
    }
    let written = pairs(directory.path());
    let expected: usize = all.iter().map(|question| question.pairs.len()).sum();
    assert_eq!(written.len(), expected);
    let first = all.iter().find(|question| !question.pairs.is_empty()).unwrap();
    let pair = &first.pairs[0];
    let (better, worse) = (&first.traces[pair.better], &first.traces[pair.worse]);
    assert_eq!((&written[0].chosen, &written[0].rejected), (&better.text, &worse.text));
    assert_eq!(written[0].id, format!("{}#{}>{}", first.id, pair.better, pair.worse));
    assert_eq!(written[0].margin, Some((better.confidence - worse.confidence).exp()));
}

#[test]
fn the_first_trace_is_the_greedy_answer_and_an_end_token_ends_one() {
    let directory = tempfile::tempdir().unwrap();
    let greedy =
        FEEDBACK.replace("temperature = 1.0", "").replace("samples_per_prompt = 6", "samples_per_prompt = 1000");
    go(directory.path(), &greedy).unwrap();
    let (engine, tokenizer) = (model().engine, model().tokenizer);
    let question = &traces(directory.path(), 1)[0];
    assert_eq!(question.traces.len(), tokenizer.vocabulary(), "more branches than tokens: one of each");
    let prompt = tokenizer.encode_prompt(&question.prompt).unwrap();
    let eos = tokenizer.eos().unwrap();
    let request = lapidary_engine::SampleRequest {
        prompt,
        samples: 1,
        max_new_tokens: 24,
        choose: lapidary_engine::Choose::Greedy,
        stop_tokens: vec![eos],
        key: lapidary_core::Key::new(0, lapidary_core::Purpose::Sample),
        record: Default::default(),
    };
    let sampled = engine.sample(&[request], &|_| ()).unwrap();
    assert_eq!(question.traces[0].tokens, sampled[0][0].tokens);
    assert_eq!(question.traces[0].logp, sampled[0][0].logp, "sampled and scored are the same bits");
    let ended = question.traces.iter().find(|trace| trace.tokens[0] == eos).unwrap();
    assert_eq!((ended.tokens.len(), ended.stop, ended.text.as_str()), (1, StopReason::Eos, ""));
}

#[test]
fn a_probe_is_asked_and_leaves_no_mark_on_the_trace() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &FEEDBACK.replace("span = \"last_number\"", "span = \"probe\"")).unwrap();
    let questions = traces(directory.path(), 1);
    let asked = questions.iter().flat_map(|question| &question.traces);
    assert!(asked.clone().filter(|trace| !trace.text.trim().is_empty()).all(|trace| trace.probe.is_some()));
    assert!(asked.clone().all(|trace| !trace.text.contains("So the answer is")));
    assert!(pairs(directory.path()).iter().all(|pair| !pair.chosen.contains("So the answer is")));
}

/// Pairs do not depend on the reference answers: only what is logged does.
#[test]
fn gold_is_for_the_log_only() {
    let rows = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), text).unwrap();
        let pairs = std::fs::read_to_string(directory.path().join("pairs/stage-01.jsonl")).unwrap();
        (pairs, read_rows(&directory.path().join("metrics.jsonl")).unwrap())
    };
    let data = tempfile::tempdir().unwrap();
    let path = |name: &str| data.path().join(name).to_string_lossy().into_owned();
    let line = |answer: &str| format!("{{\"prompt\": \"1+1=\"{answer}}}\n");
    std::fs::write(path("with.jsonl"), line(", \"answer\": \"2\"").repeat(9)).unwrap();
    std::fs::write(path("without.jsonl"), line("").repeat(9)).unwrap();
    let recipe = |name: &str| {
        let task = "{ name = \"chain-sum\", style = \"terse\", max_terms = 2, max_digits = 1 }";
        let one = FEEDBACK.split("[[stage]]\nkind = \"sft\"").next().unwrap();
        let rest = "\n[eval]\nprompts = 0\n";
        format!("{}{rest}", one.replace(task, &format!("{:?}", path(name))))
    };
    let ((pairs, with), (same, without)) = (rows(&recipe("with.jsonl")), rows(&recipe("without.jsonl")));
    let unnamed = |text: String| text.replace("with.jsonl", "").replace("without.jsonl", "").replace("out", "");
    assert_eq!(unnamed(pairs), unnamed(same));
    assert!(with[0].get("rlsf/ece").is_some() && without[0].get("rlsf/ece").is_none());
    assert_eq!(with[0].get("rlsf/conf_mean"), without[0].get("rlsf/conf_mean"));
    assert!(
        with.iter().all(|row| row.values.iter().all(|(name, _)| lapidary_train::metrics::describe(name).is_some()))
    );
}

#[test]
fn killed_anywhere_it_ends_in_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), FEEDBACK).unwrap();
    for step in 1..6 {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go_watched(directory.path(), FEEDBACK, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        if step < 4 {
            // What a killed run wrote beyond its checkpoint is made again.
            std::fs::write(feedback::trace_path(&directory.path().join("traces"), 4), "torn").unwrap();
        }
        go(directory.path(), FEEDBACK).unwrap();
        let (whole, resumed) = (result_of(whole.path()), result_of(directory.path()));
        assert!(whole.contains_key("pairs/stage-01.jsonl") && whole.keys().any(|name| name.starts_with("traces/")));
        assert_eq!(differences(&whole, &resumed), Vec::<String>::new(), "{step}");
    }
}

#[test]
fn nobody_sure_enough_is_said_and_the_file_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &FEEDBACK.replace("min_confidence = 0.0", "")).unwrap();
    assert!(pairs(directory.path()).is_empty());
    let events = std::fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    assert!(events.contains("no_pairs") && events.contains("now 0.9"), "{events}");
}

#[test]
fn the_stage_is_checked_and_written_out() {
    let recipe = recipe_of(FEEDBACK);
    assert_eq!(recipe_of(&recipe.to_toml()), recipe);
    let refusal = |from: &str, to: &str| {
        let text = FEEDBACK.replacen(from, to, 1);
        assert_ne!(text, FEEDBACK);
        let problem = lapidary_train::Recipe::load_text(Path::new("x.toml"), &text, &[]).unwrap_err();
        format!("{} {}", problem.code(), problem.message())
    };
    assert_eq!(
        refusal("temperature = 1.0", "learning_rate = 1.0"),
        "R007 `learning_rate` does not apply to a stage of kind `self-feedback`"
    );
    assert!(refusal("samples_per_prompt = 6", "samples_per_prompt = 1").starts_with("R006"));
    assert!(refusal("span = \"last_number\"", "span = \"regex\"").contains("needs a `pattern`"));
    assert!(refusal("span = \"last_number\"", "span = \"regex\"\npattern = \"(\"").contains("no regular expression"));
    assert!(refusal("min_confidence = 0.0", "min_confidence = 2.0").starts_with("R006"));
    assert!(refusal("\"predictive_probability\"", "\"perplexity\"").starts_with("R006"), "0 is above every perplexity");
    assert!(refusal("\"predictive_probability\"", "\"certainty\"").starts_with("R008"));
    assert!(refusal("learning_rate = 0.05", "[stage.ranking]").starts_with("R007"));
}
