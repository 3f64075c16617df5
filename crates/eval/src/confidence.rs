//! How sure a model is of answers that it gave: read what it says of their tokens, find the answer, take the statistic.

use std::ops::Range;

use lapidary_core::{Key, Purpose, Result, TokenBatch, TokenStats, Want};
use lapidary_engine::{Choose, Engine, Record, SampleRequest};
use lapidary_reward::confidence::{Measure, Readings, Span, tokens_of};
use lapidary_text::Tokenizer;

/// Tokens that are scored together: bounds memory, changes no bit.
const TOKENS_AT_ONCE: usize = 8192;

/// A completion whose confidence is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Ids of the prompt.
    pub prompt: &'a [u32],
    /// Ids of the completion, an end token included.
    pub completion: &'a [u32],
}

/// What was found of a completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Sureness {
    /// What the model says of each token of the completion.
    pub readings: Readings,
    /// Its words.
    pub text: String,
    /// What the model answered to the probe, where it was asked.
    pub probe: Option<String>,
    /// The tokens of the answer; `None` where none was found.
    pub span: Option<Range<usize>>,
    /// The words of the answer.
    pub answer: Option<String>,
    /// Δ over the answer's tokens; that of no answer where none was found.
    pub confidence: f64,
}

/// Measures confidences.
#[derive(Clone, Debug)]
pub struct Gauge {
    measure: Measure,
    finder: Span,
}

impl Gauge {
    /// A gauge.
    ///
    /// # Errors
    /// Why the measure makes no sense, in words.
    pub fn new(measure: &Measure) -> std::result::Result<Self, String> {
        Ok(Self { measure: measure.clone(), finder: measure.finder()? })
    }

    /// What it measures.
    pub fn measure(&self) -> &Measure {
        &self.measure
    }

    /// How sure `engine` is of each completion, in order. `progress` hears completions done.
    pub fn read(
        &self,
        engine: &dyn Engine,
        tokenizer: &Tokenizer,
        asked: &[Asked<'_>],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Sureness>> {
        let score = |tokens: &TokenBatch, want: Want| engine.score(tokens, want);
        let vocabulary = engine.model().vocabulary;
        let want = self.measure.statistic.want();
        let readings = readings(&score, (tokenizer, vocabulary), asked, (want, 1.0), progress)?;
        let texts: Vec<String> = asked.iter().map(|asked| tokenizer.decode(asked.completion)).collect();
        let probes = match self.finder.asks() {
            true => self.probe(engine, tokenizer, asked, &texts)?,
            false => vec![None; asked.len()],
        };
        let found = readings.into_iter().zip(texts).zip(probes);
        Ok(found.map(|((readings, text), probe)| self.judge(readings, text, probe)).collect())
    }

    fn judge(&self, readings: Readings, text: String, probe: Option<String>) -> Sureness {
        let Measure { statistic, disparity, .. } = self.measure;
        let bytes = self.finder.locate(&text, probe.as_deref());
        let span = bytes.as_ref().and_then(|bytes| tokens_of(&readings.places, bytes));
        let confidence = span.clone().and_then(|span| statistic.of_span(disparity, &readings, span));
        let answer = bytes.filter(|_| span.is_some()).map(|bytes| text[bytes].to_string());
        Sureness { confidence: confidence.unwrap_or(statistic.nothing()), readings, text, probe, span, answer }
    }

    /// Asks for each answer again, greedily; `None` where there is no room to ask.
    fn probe(
        &self,
        engine: &dyn Engine,
        tokenizer: &Tokenizer,
        asked: &[Asked<'_>],
        texts: &[String],
    ) -> Result<Vec<Option<String>>> {
        let context = engine.model().context;
        let ends = end_tokens(engine, tokenizer);
        let request = |asked: &Asked<'_>, text: &String| {
            let question = tokenizer.encode_continuation(&self.measure.probe_after(text));
            let prompt = [asked.prompt, &question].concat();
            let room = context.saturating_sub(prompt.len()).min(self.measure.probe_tokens);
            (room > 0 && !text.trim().is_empty()).then(|| SampleRequest {
                prompt,
                samples: 1,
                max_new_tokens: room,
                choose: Choose::Greedy,
                stop_tokens: ends.clone(),
                // Greedy: nothing is drawn.
                key: Key::new(0, Purpose::Evaluate),
                record: Record::default(),
            })
        };
        let requests: Vec<Option<SampleRequest>> =
            asked.iter().zip(texts).map(|(asked, text)| request(asked, text)).collect();
        let open: Vec<SampleRequest> = requests.iter().flatten().cloned().collect();
        let mut answers = engine.sample(&open, &|_| ())?.into_iter();
        let mut answer = || answers.next()?.pop().map(|sample| tokenizer.decode(&sample.tokens));
        Ok(requests.iter().map(|request| request.as_ref().and_then(|_| answer())).collect())
    }
}

/// The ids that end an answer, ascending.
pub fn end_tokens(engine: &dyn Engine, tokenizer: &Tokenizer) -> Vec<u32> {
    let mut ends: Vec<u32> = tokenizer.end_tokens().iter().chain(&engine.model().eos).copied().collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// What `score` says of the tokens of completions at a temperature: log-probabilities, and what `want` adds.
pub fn readings(
    score: &dyn Fn(&TokenBatch, Want) -> Result<TokenStats>,
    (tokenizer, vocabulary): (&Tokenizer, usize),
    asked: &[Asked<'_>],
    (want, temperature): (Want, f32),
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Readings>> {
    let mut all = Vec::with_capacity(asked.len());
    let batch = batch_of(asked, temperature);
    for range in batch.microbatches(TOKENS_AT_ONCE) {
        let stats = score(&batch.select(&range.clone().collect::<Vec<_>>()), want)?;
        for (row, asked) in asked[range.clone()].iter().enumerate() {
            let places = tokenizer.places(asked.completion);
            all.push(Readings { places, vocabulary, ..of_row(&stats, row, asked.prompt.len()) });
        }
        progress(range.len());
    }
    Ok(all)
}

fn batch_of(asked: &[Asked<'_>], temperature: f32) -> TokenBatch {
    let mut batch = TokenBatch::default();
    for Asked { prompt, completion } in asked {
        let tokens = [*prompt, completion].concat();
        let own: Vec<bool> = (0..tokens.len()).map(|t| t >= prompt.len()).collect();
        batch.push(&tokens, &own, temperature);
    }
    batch
}

fn of_row(stats: &TokenStats, row: usize, prompt: usize) -> Readings {
    let own = |values: &lapidary_core::Ragged<f32>| values.row(row)[prompt..].to_vec();
    let top = stats.top.as_ref().map_or_else(Default::default, |top| top.each_ref().map(own));
    Readings {
        logp: own(&stats.logp),
        top,
        entropy: own(&stats.entropy),
        mean_nll: stats.mean_nll.as_ref().map(own).unwrap_or_default(),
        ..Readings::default()
    }
}
