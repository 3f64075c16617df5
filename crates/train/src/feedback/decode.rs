//! CoT-decoding: branch on the K likeliest first tokens, then go on greedily (Wang & Zhou 2024, arXiv 2402.10200, §2.2).
//!
//! ```text
//! first = top-K of p(· | prompt)          trace_k = [first_k] ++ greedy(prompt ++ first_k)
//! ```

use lapidary_core::{Key, Result, StopReason, TokenBatch, Want};
use lapidary_engine::{Choose, Record, Sample, SampleRequest};
use lapidary_eval::end_tokens;

use crate::bench::Bench;
use crate::recipe::SelfFeedback;
use crate::watch::Phase;

/// A trace: its first token and what followed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    /// All of its ids, an end token included.
    pub(super) tokens: Vec<u32>,
    /// Why it ended.
    pub(super) stop: StopReason,
}

/// K traces of each prompt, by falling probability of the first token: the first is the greedy answer.
pub(super) fn traces(
    bench: &Bench<'_, '_>,
    feedback: &SelfFeedback,
    prompts: &[&[u32]],
    key: Key,
) -> Result<Vec<Vec<Branch>>> {
    let ends = end_tokens(&*bench.engine, bench.tokenizer);
    let firsts = first_tokens(bench, prompts, feedback.samples_per_prompt, key)?;
    let mut requests = Vec::new();
    for (at, (prompt, firsts)) in prompts.iter().zip(&firsts).enumerate() {
        for (branch, first) in firsts.iter().enumerate() {
            let room = feedback.max_new_tokens.min(bench.engine.model().context - prompt.len()) - 1;
            let goes_on = room > 0 && !ends.contains(first);
            requests.push(goes_on.then(|| SampleRequest {
                prompt: [*prompt, &[*first]].concat(),
                samples: 1,
                max_new_tokens: room,
                choose: match feedback.temperature {
                    0.0 => Choose::Greedy,
                    temperature => Choose::Draw { temperature, top_k: 0, top_p: 1.0 },
                },
                stop_tokens: ends.clone(),
                key: key.at_name("rest").at(at as u64).at(branch as u64),
                record: Record::default(),
            }));
        }
    }
    let open: Vec<SampleRequest> = requests.iter().flatten().cloned().collect();
    let most: usize = open.iter().map(|request| request.max_new_tokens).sum();
    let progress = bench.ear.progress(Phase::Sample, most as u64);
    let rests = bench.engine.sample(&open, &|tokens| progress.advance(tokens as u64))?;
    let mut rests = rests.into_iter().map(|mut samples| samples.pop());
    let mut requests = requests.into_iter();
    let branch = |first: u32| {
        let rest = requests.next().flatten().and_then(|_| rests.next().flatten());
        grown(first, rest, ends.contains(&first))
    };
    let mut branch = branch;
    Ok(firsts.into_iter().map(|firsts| firsts.into_iter().map(&mut branch).collect()).collect())
}

fn grown(first: u32, rest: Option<Sample>, ended: bool) -> Branch {
    match rest {
        Some(rest) => Branch { tokens: [vec![first], rest.tokens].concat(), stop: rest.stop },
        None => Branch { tokens: vec![first], stop: if ended { StopReason::Eos } else { StopReason::Length } },
    }
}

/// The K likeliest first tokens of each prompt, by falling probability and then by id; fewer where the vocabulary is smaller.
///
/// The engine says which tokens a draw among the K likeliest is made from; their order comes from their log-probabilities.
fn first_tokens(bench: &Bench<'_, '_>, prompts: &[&[u32]], count: usize, key: Key) -> Result<Vec<Vec<u32>>> {
    let request = |(at, prompt): (usize, &&[u32])| SampleRequest {
        prompt: prompt.to_vec(),
        samples: 1,
        max_new_tokens: 1,
        choose: Choose::Draw { temperature: 1.0, top_k: count, top_p: 1.0 },
        stop_tokens: Vec::new(),
        key: key.at_name("first").at(at as u64),
        record: Record { support: true, routing: false },
    };
    let requests: Vec<SampleRequest> = prompts.iter().enumerate().map(request).collect();
    let drawn = bench.engine.sample(&requests, &|_| ())?;
    let vocabulary = bench.engine.model().vocabulary as u32;
    let mut firsts = Vec::with_capacity(prompts.len());
    for (prompt, samples) in prompts.iter().zip(drawn) {
        let support = samples.first().and_then(|sample| sample.support.as_ref());
        let ids: Vec<u32> = match support.map(|support| support.row(0)) {
            Some(ids) if !ids.is_empty() => ids.to_vec(),
            // Nothing was cut: K is the whole vocabulary, or more.
            _ => (0..vocabulary).collect(),
        };
        let mut batch = TokenBatch::default();
        for id in &ids {
            let row = [*prompt, &[*id]].concat();
            let own: Vec<bool> = (0..row.len()).map(|t| t == prompt.len()).collect();
            batch.push(&row, &own, 1.0);
        }
        let logp = bench.engine.score(&batch, Want::default())?.logp;
        let mut ranked: Vec<(f32, u32)> =
            ids.iter().enumerate().map(|(row, id)| (logp.row(row)[prompt.len()], *id)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.truncate(count);
        firsts.push(ranked.into_iter().map(|(_, id)| id).collect());
    }
    Ok(firsts)
}
