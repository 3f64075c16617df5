//! `lapidary generate`: continuations of prompts.

use std::path::PathBuf;

use clap::Args;
use lapidary_core::{Key, PromptText, Purpose, StopReason};
use lapidary_engine::{Choose, Sample, SampleRequest};
use serde::Serialize;

use crate::input::{self, Sequence};
use crate::model::{Asked, ModelFlags};
use crate::output::Output;
use crate::stop::Outcome;

/// Sequences sampled at once.
const SEQUENCES_AT_ONCE: usize = 64;

/// Continue prompts
///
/// With --prompt the answer is printed. With --input a line is {"ids": […]}, {"prompt": "…"} or {"messages": […]}. With
/// --json a line of output is {"ids": […], "logp": […]} of the new tokens, an end token included; lines that were given
/// in words have their answer as "text" and why it ended as "stop" too.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary generate --model DIR --prompt \"What is 12 + 7?\" --greedy")]
pub struct Generate {
    #[command(flatten)]
    model: ModelFlags,
    /// JSON lines; - is stdin
    #[arg(short, long, value_name = "FILE", required_unless_present = "prompt", conflicts_with = "prompt")]
    input: Option<PathBuf>,
    /// A prompt in words, put into the model's chat template where it has one
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A system message before --prompt
    #[arg(long, value_name = "TEXT", requires = "prompt", conflicts_with = "raw")]
    system: Option<String>,
    /// Take --prompt as it is, without a chat template
    #[arg(long, requires = "prompt")]
    raw: bool,
    /// Always take the likeliest token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p"])]
    greedy: bool,
    /// Divisor of the logits
    #[arg(long, default_value_t = 1.0, value_parser = super::positive, value_name = "T")]
    temperature: f32,
    /// Only the likeliest K tokens; 0 is all
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Only the likeliest tokens that together reach this probability
    #[arg(long, default_value_t = 1.0, value_parser = super::probability, value_name = "P")]
    top_p: f32,
    /// At most so many new tokens; fewer where the context ends
    #[arg(short = 'n', long, default_value_t = 256, value_name = "N", value_parser = super::count)]
    max_new_tokens: usize,
    /// Continuations per prompt
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = super::count)]
    samples: usize,
    /// Do not stop at an end token
    #[arg(long)]
    ignore_eos: bool,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// One line of output. Numbers are written as the shortest decimals that give the same `f32` back.
#[derive(Serialize)]
struct Generated<'a> {
    ids: &'a [u32],
    logp: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<StopReason>,
}

/// A prompt that waits for its turn.
struct Waiting {
    ids: Vec<u32>,
    in_words: bool,
    key: Key,
}

impl Generate {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let model = self.model.open(self.seed)?;
        let root = Key::new(self.seed, Purpose::Generate);
        if let Some(text) = &self.prompt {
            let prompt = match self.raw {
                true => PromptText::Text(text.clone()),
                false => input::conversation(self.system.as_deref(), text),
            };
            let ids = model.prompt_ids(&prompt)?;
            model.check_length(ids.len(), 1, "the prompt")?;
            return self.answer(&model, vec![Waiting { ids, in_words: true, key: root.at(0) }], output);
        }
        let path = self.input.clone().unwrap_or_else(|| "-".into());
        let vocabulary = model.engine.model().vocabulary;
        let mut waiting = Vec::new();
        for (number, line) in input::lines(&path, output)?.enumerate() {
            let line = line?;
            let sequence = input::sequence(&line, vocabulary)?;
            let in_words = matches!(sequence, Sequence::Prompt(_));
            let place = line.place(0, 1, "this line");
            let what = format!("line {}", line.number);
            let ids = model.ids(sequence).map_err(|problem| problem.at(place.clone()))?;
            model.check_length(ids.len(), 1, &what).map_err(|problem| problem.at(place.clone()))?;
            if ids.is_empty() {
                return Err(super::no_tokens(&what).at(place).into());
            }
            waiting.push(Waiting { ids, in_words, key: root.at(number as u64) });
            if waiting.len() * self.samples >= SEQUENCES_AT_ONCE {
                self.answer(&model, std::mem::take(&mut waiting), output)?;
            }
        }
        self.answer(&model, waiting, output)
    }

    fn answer(&self, model: &Asked, prompts: Vec<Waiting>, output: &mut Output) -> Outcome {
        let choose = match self.greedy {
            true => Choose::Greedy,
            false => Choose::Draw { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p },
        };
        let context = model.engine.model().context;
        let stop_tokens = if self.ignore_eos { Vec::new() } else { model.end_tokens() };
        let request = |waiting: &Waiting| SampleRequest {
            prompt: waiting.ids.clone(),
            samples: self.samples,
            max_new_tokens: self.max_new_tokens.min(context - waiting.ids.len()),
            choose,
            stop_tokens: stop_tokens.clone(),
            key: waiting.key,
            record: lapidary_engine::Record::default(),
        };
        let requests: Vec<SampleRequest> = prompts.iter().map(request).collect();
        let answers = model.engine.sample(&requests, &|_| {})?;
        for (prompt, samples) in prompts.iter().zip(&answers) {
            for (number, sample) in samples.iter().enumerate() {
                self.print(model, prompt, (number, sample), output)?;
            }
        }
        output.flush()
    }

    fn print(
        &self,
        model: &Asked,
        prompt: &Waiting,
        (number, sample): (usize, &Sample),
        output: &mut Output,
    ) -> Outcome {
        if output.json {
            let text = prompt.in_words.then(|| model.words(&sample.tokens)).flatten();
            let stop = prompt.in_words.then_some(sample.stop);
            return output.json(&Generated { ids: &sample.tokens, logp: &sample.logp, text, stop });
        }
        if self.samples > 1 {
            output.line(format!("--- {}", number + 1))?;
        }
        match model.words(&sample.tokens) {
            Some(text) => output.line(text),
            None => output.line(sample.tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        }
    }
}
