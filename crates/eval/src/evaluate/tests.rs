//! A model that knows its answers by heart, so that every number is known beforehand.

use std::path::Path;

use lapidary_core::{PromptText, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::{Family, ModelConfig, Update, UpdateStats};

use super::*;

/// Writes the prompt's last digit, with the key's help another one now and then; never ends after a 7.
struct Parrot {
    model: ModelConfig,
    tokenizer: Tokenizer,
}

impl Parrot {
    fn new(context: usize) -> Self {
        let tokenizer = Tokenizer::characters();
        let model = ModelConfig {
            family: Family::Llama,
            vocabulary: tokenizer.vocabulary(),
            hidden: 8,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_width: 8,
            rotary_width: 8,
            feed_forward: 8,
            experts: None,
            context,
            rope_theta: 1e4,
            rope_scaling: None,
            norm_epsilon: 1e-6,
            qkv_bias: false,
            output_bias: false,
            qk_norm: false,
            tied: true,
            language_head: true,
            value_head: false,
            reward_head: false,
            bos: tokenizer.bos(),
            eos: tokenizer.eos().into_iter().collect(),
        };
        Self { model, tokenizer }
    }
}

impl Engine for Parrot {
    fn model(&self) -> &ModelConfig {
        &self.model
    }
    fn version(&self) -> u64 {
        12
    }
    fn sample(&self, requests: &[SampleRequest], _: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        let answer = |request: &SampleRequest, sample: u64| {
            assert!(request.prompt.len() + request.max_new_tokens <= self.model.context);
            let said = self.tokenizer.decode(&request.prompt).trim().chars().last().unwrap_or('0');
            let drawn = matches!(request.choose, Choose::Draw { .. }) && request.key.at(sample).uniform() < 0.5;
            let text = if drawn { "x".to_string() } else { said.to_string() };
            let mut tokens = self.tokenizer.encode(&text);
            let stop = if text == "7" { StopReason::Length } else { StopReason::Eos };
            if stop == StopReason::Eos {
                tokens.push(request.stop_tokens[0]);
            } else {
                tokens = vec![tokens[0]; request.max_new_tokens];
            }
            Sample { logp: vec![0.0; tokens.len()], tokens, stop, support: None, routing: None }
        };
        Ok(requests.iter().map(|r| (0..r.samples as u64).map(|s| answer(r, s)).collect()).collect())
    }
    fn score(&self, _: &TokenBatch, _: Want) -> Result<TokenStats> {
        unreachable!()
    }
    fn accumulate(
        &mut self,
        _: &TokenBatch,
        _: Want,
        _: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        unreachable!()
    }
    fn step(&mut self, _: &Update) -> Result<UpdateStats> {
        unreachable!()
    }
    fn clear_gradient(&mut self) {}
    fn save_model(&self, _: &Path) -> Result<()> {
        unreachable!()
    }
    fn save_optimizer(&self, _: &Path) -> Result<()> {
        unreachable!()
    }
    fn restore(&mut self, _: &Path, _: &Path) -> Result<()> {
        unreachable!()
    }
    fn reset_optimizer(&mut self) {}
}

/// Ten digits to be repeated; the reference is the digit, but for 3, where it is wrong.
struct Digits(Option<usize>);

impl Task for Digits {
    fn name(&self) -> &str {
        "digits"
    }
    fn len(&self, split: Split) -> Option<usize> {
        if split == Split::Test { self.0 } else { Some(0) }
    }
    fn item(&self, split: Split, index: u64) -> Result<Item> {
        assert_eq!(split, Split::Test, "an evaluation never looks at training prompts");
        let digit = index % 10;
        Ok(Item {
            id: format!("digits/test/{index}"),
            prompt: PromptText::Text(format!("say {digit}")),
            answer: Some(if digit == 3 { "4".into() } else { digit.to_string() }),
            completion: None,
            metadata: serde_json::Map::new(),
        })
    }
    fn answer_reward(&self) -> &'static str {
        "same"
    }
}

/// Right where the completion is the reference; no verdict where the prompt asks for 9.
struct Same;

impl Reward for Same {
    fn name(&self) -> &str {
        "same"
    }
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = |attempt: &Attempt<'_>| {
            if attempt.prompt.ends_with('9') {
                return Verdict::none("nines are beyond me");
            }
            let right = attempt.answer == Some(attempt.completion);
            Verdict::score(f32::from(u8::from(right)), if attempt.truncated { "cut" } else { "" })
        };
        attempts.iter().map(judge).collect()
    }
}

fn run(engine: &Parrot, task: &Digits, settings: Settings) -> Result<Evaluation> {
    evaluate(engine, &engine.tokenizer, task, &Same, &settings, &|_, _| ())
}

#[test]
fn greedy_answers_are_counted_as_they_are() {
    let settings = Settings { prompts: 10, max_new_tokens: 5, ..Settings::default() };
    let found = run(&Parrot::new(64), &Digits(Some(10)), settings).unwrap();
    let summary = &found.summary;
    // Of ten: 9 has no verdict, 3 is wrong, 7 repeats itself until the limit and is wrong.
    assert_eq!((summary.prompts, summary.attempts, summary.no_verdict), (10, 10, 1));
    let accuracy = summary.accuracy.unwrap();
    assert!((accuracy.estimate - 7.0 / 9.0).abs() < 1e-12 && accuracy.units == 9);
    assert_eq!(summary.truncated_share, 0.1);
    assert!((summary.mean_length - (9.0 * 2.0 + 5.0) / 10.0).abs() < 1e-12);
    assert_eq!((found.weights, found.task.as_str(), found.reward.as_str()), (12, "digits", "same"));
    assert_eq!(found.prompts[7].attempts[0].completion, "77777");
    assert_eq!(found.prompts[7].attempts[0].verdict.reason(), "cut");
    assert_eq!(found.prompts[9].attempts[0].verdict, Verdict::none("nines are beyond me"));
}

#[test]
fn an_answer_does_not_depend_on_how_many_others_there_are() {
    let settings = Settings { prompts: 300, samples: 4, temperature: 1.0, max_new_tokens: 5, ..Settings::default() };
    let engine = Parrot::new(64);
    let many = run(&engine, &Digits(None), settings).unwrap();
    let few = run(&engine, &Digits(None), Settings { prompts: 7, ..settings }).unwrap();
    assert_eq!(many.prompts[..7], few.prompts[..]);
    assert_eq!(many, run(&engine, &Digits(None), settings).unwrap());
    assert_ne!(many.prompts, run(&engine, &Digits(None), Settings { seed: 1, ..settings }).unwrap().prompts);
    assert_eq!(many.summary.pass.iter().map(|rate| rate.k).collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn prompts_are_spread_over_a_large_split_and_progress_is_told() {
    let engine = Parrot::new(64);
    let settings = Settings { prompts: 4, ..Settings::default() };
    let heard = std::cell::RefCell::new(Vec::new());
    let found = evaluate(&engine, &engine.tokenizer, &Digits(Some(10)), &Same, &settings, &|done, all| {
        heard.borrow_mut().push((done, all));
    });
    let ids: Vec<_> = found.unwrap().prompts.into_iter().map(|prompt| prompt.id).collect();
    assert_eq!(ids, ["digits/test/0", "digits/test/2", "digits/test/5", "digits/test/7"]);
    assert_eq!(*heard.borrow(), [(4, 4)]);
}

#[test]
fn what_cannot_be_asked_is_no_verdict_and_what_makes_no_sense_is_refused() {
    let settings = Settings { prompts: 3, ..Settings::default() };
    // `<bos>say 0` has 6 tokens.
    let found = run(&Parrot::new(6), &Digits(Some(3)), settings).unwrap();
    assert_eq!((found.summary.no_verdict, found.summary.accuracy), (3, None));
    assert!(found.prompts[0].attempts[0].verdict.reason().contains("6 tokens"));
    let found = run(&Parrot::new(8), &Digits(Some(3)), settings).unwrap();
    assert_eq!(found.summary.accuracy.unwrap().estimate, 1.0, "the limit follows the room that is left");

    let engine = Parrot::new(64);
    assert_eq!(run(&engine, &Digits(Some(0)), settings).unwrap_err().code(), "D052");
    assert_eq!(run(&engine, &Digits(None), Settings { samples: 2, ..settings }).unwrap_err().code(), "R090");
    assert_eq!(run(&engine, &Digits(None), Settings { prompts: 0, ..settings }).unwrap_err().code(), "R090");
}

#[test]
fn the_second_turn_sees_the_first_answer_and_keeps_its_place() {
    let (engine, task) = (Parrot::new(64), Digits(Some(10)));
    let settings = Settings { prompts: 10, samples: 2, temperature: 1.0, max_new_tokens: 5, ..Settings::default() };
    let first = run(&engine, &task, settings).unwrap();
    // The parrot repeats the last thing that it reads: the end of its own answer.
    let turn = SecondTurn { template: "{question} {phrase} {answer}".into(), ..SecondTurn::default() };
    let again = |phrase: &str| {
        evaluate_again(&engine, &engine.tokenizer, &task, &Same, (&first, &turn, phrase), &|_, _| ()).unwrap()
    };
    let second = again("sure?");
    assert_eq!(second, again("sure?"));
    let ids = |evaluation: &Evaluation| evaluation.prompts.iter().map(|prompt| prompt.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second));
    for (before, after) in first.prompts.iter().zip(&second.prompts) {
        assert_eq!((before.attempts.len(), after.attempts.len()), (2, 2));
        for (before, after) in before.attempts.iter().zip(&after.attempts) {
            let last = if before.truncated { ')' } else { before.completion.chars().last().unwrap() };
            assert!(after.completion.starts_with(['x', last]), "{before:?} {after:?}");
        }
    }
    // Two samples of a prompt do not share their draws.
    let drawn = |record: &PromptRecord| record.attempts[0].completion != record.attempts[1].completion;
    assert!(second.prompts.iter().any(drawn));
    // No room for a second question: no verdict, not a wrong answer.
    let small = Parrot::new(11);
    let first = run(&small, &task, Settings { prompts: 2, max_new_tokens: 5, ..Settings::default() }).unwrap();
    let none = evaluate_again(&small, &small.tokenizer, &task, &Same, (&first, &turn, "sure?"), &|_, _| ()).unwrap();
    assert_eq!((first.summary.no_verdict, none.summary.no_verdict), (0, 2));
}
