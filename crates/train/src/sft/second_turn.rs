//! Demonstrations as second turns: the model's own answer comes first, and what it learns is to answer again as the demonstration
//! does. It is how a model that never met such a question is made ready for a second layer.

use lapidary_core::{Item, Key, Result, StopReason};
use lapidary_engine::{Choose, Record, SampleRequest};

use crate::bench::Bench;
use crate::recipe::{EvalTurn, SecondTurns};
use crate::rollouts::end_tokens;
use crate::watch::Phase;

/// Replaces the prompts of a share of the items by second questions, with answers that the model gives now. Item `i` is chosen by
/// `key.at(i)` and answered by `key.at_name("answer").at(i)`. One whose second question does not fit stays as it is.
pub(super) fn ask_again(bench: &Bench<'_, '_>, rule: &SecondTurns, items: &mut [Item], key: Key) -> Result<()> {
    let context = bench.engine.model().context;
    let (mut chosen, mut requests) = (Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate().filter(|(at, _)| key.at(*at as u64).uniform() < rule.share) {
        let prompt = bench.tokenizer.encode_prompt(&item.prompt)?;
        let room = context.saturating_sub(prompt.len());
        if room == 0 || prompt.is_empty() {
            continue;
        }
        chosen.push(at);
        requests.push(SampleRequest {
            prompt,
            samples: 1,
            max_new_tokens: rule.max_new_tokens.min(room),
            choose: Choose::Draw { temperature: rule.temperature, top_k: 0, top_p: 1.0 },
            stop_tokens: end_tokens(bench),
            key: key.at_name("answer").at(at as u64),
            record: Record::default(),
        });
    }
    let most: usize = requests.iter().map(|request| request.max_new_tokens).sum();
    let progress = bench.ear.progress(Phase::Sample, most as u64);
    let heard = |tokens: usize| progress.advance(tokens as u64);
    let answers = bench.stopwatch.time(Phase::Sample, || bench.engine.sample(&requests, &heard))?;
    let EvalTurn { turn, phrase } = &rule.asked;
    for (at, samples) in chosen.into_iter().zip(answers) {
        let item = &mut items[at];
        let Some(first) = samples.first() else { continue };
        // The demonstration must fit behind the question, with its end.
        let demonstration = bench.tokenizer.encode_continuation(item.completion.as_deref().unwrap_or_default()).len();
        let room = context.saturating_sub(demonstration + 1);
        let answer = bench.tokenizer.decode(&first.tokens);
        let truncated = first.stop == StopReason::Length;
        let question = (&item.prompt, phrase.as_str());
        if let Some(prompt) = turn.question(bench.tokenizer, question, (&answer, truncated), room)? {
            item.prompt = prompt;
        }
    }
    Ok(())
}
