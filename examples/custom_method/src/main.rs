//! A method of your own in a page: expert iteration (Anthony et al. 2017) on single-digit sums.
//!
//! ```text
//! cargo run --release -p custom_method
//! ```
//! The engine asks a closure for dLoss/dlogp of every sampled token, and that is all a method is. Here: maximise the mean
//! log-probability of right answers, loss = −1/N Σ_right Σ_t logp. Wrong answers are ignored.
#![allow(clippy::print_stdout)]

use lapidary_core::{Item, Key, Purpose, Result, TokenBatch, TokenGrads, Want};
use lapidary_engine::native::Native;
use lapidary_engine::{Choose, Engine, Family, ModelConfig, Record, SampleRequest, Update};
use lapidary_reward::{Attempt, Reward};
use lapidary_task::{Split, Task, TaskSpec};
use lapidary_text::Tokenizer;

const SEED: u64 = 17;
const PROMPTS: u64 = 32;

fn main() -> Result<()> {
    let options = [("name", "chain-sum"), ("style", "terse")].map(|(k, v)| (k.to_string(), v.into()));
    let mut options: serde_json::Map<String, serde_json::Value> = options.into_iter().collect();
    options.extend([("min_terms", 2), ("max_terms", 2), ("max_digits", 1)].map(|(k, v)| (k.to_string(), v.into())));
    let task = lapidary_task::build(&TaskSpec::Table(options), SEED)?;
    let reward = lapidary_reward::build(task.answer_reward(), &Default::default())?;
    let tokenizer = Tokenizer::characters();
    let mut model = Native::initialise(shape(tokenizer.vocabulary()), SEED, 0)?;

    for step in 0..250 {
        warm_up(&mut model, &tokenizer, &*task, step)?;
    }
    for step in 0..60 {
        let share = expert_iteration(&mut model, &tokenizer, &*task, &*reward, step)?;
        if step % 10 == 0 || step == 59 {
            println!("step {step:3}  right answers {:4.1} %", 100.0 * share);
        }
    }
    Ok(())
}

/// Samples four answers a prompt and learns from the right ones; returns their share.
fn expert_iteration(
    model: &mut Native,
    text: &Tokenizer,
    task: &dyn Task,
    reward: &dyn Reward,
    step: u64,
) -> Result<f64> {
    let items: Vec<Item> = (0..PROMPTS).map(|i| task.item(Split::Train, step * PROMPTS + i)).collect::<Result<_>>()?;
    let key = Key::new(SEED, Purpose::Sample).at(step);
    let requests = (0..).zip(&items).map(|(i, item)| {
        let choose = Choose::Draw { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let (prompt, stop_tokens) = (text.encode_prompt(&item.prompt)?, text.end_tokens().to_vec());
        Ok(SampleRequest {
            prompt,
            samples: 4,
            max_new_tokens: 6,
            choose,
            stop_tokens,
            key: key.at(i),
            record: Record::default(),
        })
    });
    let requests: Vec<SampleRequest> = requests.collect::<Result<_>>()?;
    let groups = model.sample(&requests, &|_| ())?;

    let mut right = TokenBatch::default();
    for ((item, request), group) in items.iter().zip(&requests).zip(&groups) {
        for sample in group {
            let (question, answer) = (item.prompt.plain(), text.decode(&sample.tokens));
            let attempt = Attempt::new(&question, &answer, item.answer.as_deref(), &item.metadata);
            if reward.score(&[attempt])[0].value() == Some(1.0) {
                let tokens = [request.prompt.as_slice(), &sample.tokens].concat();
                let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
                right.push(&tokens, &scored, 1.0);
            }
        }
    }
    let count = right.tokens.rows();
    if count > 0 {
        learn(model, &right, count as f32, 3e-5)?;
    }
    Ok(count as f64 / (4 * PROMPTS) as f64)
}

/// One step of plain SFT, so that there is something to iterate on.
fn warm_up(model: &mut Native, text: &Tokenizer, task: &dyn Task, step: u64) -> Result<()> {
    let mut batch = TokenBatch::default();
    for i in 0..PROMPTS {
        let item = task.item(Split::Train, step * PROMPTS + i)?;
        let example = text.encode_example(&item.prompt, item.completion.as_deref().unwrap_or_default())?;
        batch.push(&example.tokens, &example.mask, 1.0);
    }
    learn(model, &batch, PROMPTS as f32, 1e-3)
}

/// The whole method: dLoss/dlogp = −1/N at every scored token.
fn learn(model: &mut Native, batch: &TokenBatch, n: f32, learning_rate: f64) -> Result<()> {
    model.accumulate(batch, Want::default(), &mut |_stats| {
        let logp = batch.scored.map(|&scored| if scored { -1.0 / n } else { 0.0 });
        Ok(TokenGrads { logp, ..TokenGrads::default() })
    })?;
    model.step(&Update {
        learning_rate,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_all: false,
        max_grad_norm: Some(1.0),
        optimizer: 0,
    })?;
    Ok(())
}

fn shape(vocabulary: usize) -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocabulary,
        hidden: 128,
        layers: 3,
        heads: 4,
        kv_heads: 2,
        head_width: 32,
        rotary_width: 32,
        feed_forward: 352,
        experts: None,
        context: 64,
        rope_theta: 1e4,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: Some(1),
        eos: vec![2],
    }
}
