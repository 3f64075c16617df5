//! Rows that begin alike are computed once and must not show it.

use super::*;
use lapidary_core::PromptGroup;

/// Rows in groups: `(shared tokens, lengths of the rows)`, with the groups that say so.
fn batch_of(groups: &[(usize, &[usize])]) -> (TokenBatch, Vec<PromptGroup>) {
    let (mut batch, mut out) = (TokenBatch::default(), Vec::new());
    for (g, (shared, lengths)) in groups.iter().enumerate() {
        let start = batch.tokens.rows();
        for (r, length) in lengths.iter().enumerate() {
            let token = |t: usize| if t < *shared { g * 31 + t * 7 + 3 } else { g * 17 + r * 29 + t * 11 + 5 };
            let tokens: Vec<u32> = (0..*length).map(|t| token(t) as u32 % 128).collect();
            // Some rows are scored within the prefix too, from another place each.
            let first = if g % 2 == 0 { shared.saturating_sub(r) } else { *shared };
            let scored: Vec<bool> = (0..*length).map(|t| t >= first && t % 5 != 4).collect();
            batch.push(&tokens, &scored, [1.0, 0.7, 1.3][r % 3]);
        }
        out.push(PromptGroup { rows: start..batch.tokens.rows(), shared: *shared });
    }
    (batch, out)
}

/// Prefixes around the sizes of panels and blocks; equal whole rows; a prefix that is all of a row but its last token.
fn case() -> (TokenBatch, Vec<PromptGroup>) {
    batch_of(&[
        (1, &[9, 2, 30]),
        (15, &[40, 16, 15]),
        (16, &[17, 90]),
        (17, &[33, 18, 20, 17]),
        (48, &[49, 60, 97]),
        (49, &[50, 50, 130]),
        (20, &[20, 20, 20]),
        (0, &[13]),
    ])
}

fn alone(batch: &TokenBatch) -> Vec<PromptGroup> {
    (0..batch.tokens.rows()).map(|row| PromptGroup { rows: row..row + 1, shared: 0 }).collect()
}

/// Log-probabilities and entropies, and the gradient of an objective of both.
fn pass(native: &Native, batch: &TokenBatch, groups: &[PromptGroup]) -> (TokenStats, Vec<f32>) {
    let mut learning = Learning::default();
    let mut kept = TokenStats::default();
    let objective = &mut |stats: &TokenStats| {
        kept = stats.clone();
        Ok(TokenGrads {
            logp: stats.logp.map(|x| x * 0.1),
            entropy: Some(batch.scored.map(|x| if *x { 0.03 } else { 0.0 })),
            ..Default::default()
        })
    };
    let rows = Rows::sharing(batch, groups, false);
    native.accumulate_into(batch, &rows, Keep::All, ENTROPY, objective, &mut learning).unwrap();
    learning.gradient.merge(&native.layout);
    (kept, learning.gradient.flat)
}

#[test]
fn shared_prefixes_change_no_bit_of_the_statistics_and_hardly_the_gradient() {
    let (batch, groups) = case();
    for family in FAMILIES {
        for isa in Isa::available() {
            let mut native = open(family, 1);
            native.use_isa(isa);
            let (one_by_one, expected) = pass(&native, &batch, &alone(&batch));
            let (shared, gradient) = pass(&native, &batch, &groups);
            assert_eq!(bits(one_by_one.logp.flat()), bits(shared.logp.flat()), "{family} {isa:?}");
            assert_eq!(bits(one_by_one.entropy.flat()), bits(shared.entropy.flat()), "{family} {isa:?}");
            assert_ne!(bits(&expected), bits(&gradient), "the prefix is summed in another order");
            for slot in native.layout.slots() {
                let Some(at) = native.layout.learned_at(&slot.range()) else { continue };
                let (a, b) = (&expected[at.clone()], &gradient[at]);
                let square = |x: f64| x * x;
                let norm: f64 = a.iter().map(|x| square(f64::from(*x))).sum();
                let difference: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
                let error = (difference / norm.max(1e-30)).sqrt();
                assert!(error < 1e-6, "{family} {isa:?} {}: {error:.1e}", slot.parts()[0].name);
            }
        }
    }
}

#[test]
fn tokens_that_predict_nothing_are_left_out_without_a_trace() {
    let mut batch = TokenBatch::default();
    batch.push(&[1, 5, 9, 11, 3], &[false, true, true, false, false], 1.0);
    batch.push(&[4, 4, 17], &[false; 3], 1.0);
    assert_eq!(Rows::of(&batch, false).tokens, [1, 5], "what predicts the tokens at 1 and 2");
    assert_eq!(Rows::of(&batch, true).len(), 8);
    for family in FAMILIES {
        let native = open(family, 1);
        let [few, all] = [false, true].map(|whole| {
            let mut learning = Learning::default();
            let rows = Rows::of(&batch, whole);
            let objective = &mut |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.clone(), ..Default::default() });
            native.accumulate_into(&batch, &rows, Keep::All, ENTROPY, objective, &mut learning).unwrap();
            learning.gradient.merge(&native.layout);
            learning.gradient.flat
        });
        assert!(few == all, "{family}: the same values, zeros of either sign");
    }
}

#[test]
fn threads_do_not_change_a_bit_of_a_shared_gradient() {
    let (batch, groups) = case();
    for family in FAMILIES {
        let [one, two, four] = [1, 2, 4].map(|threads| bits(&pass(&open(family, threads), &batch, &groups).1));
        assert!(one == two && one == four, "{family}");
    }
}

/// Samples of a few prompts as a batch to learn from, with what the sampler said.
pub(super) fn rollouts(native: &Native, temperature: f32) -> (TokenBatch, Vec<Vec<u32>>) {
    let prompts = [1, 3, 15, 16, 17, 48, 49, 70];
    let request = |(i, n): (usize, &usize)| SampleRequest {
        prompt: (0..*n).map(|t| (t * 7 + i * 13 + 3) as u32 % 128).collect(),
        samples: 1 + i % 4,
        max_new_tokens: 4 + 9 * (i % 5),
        choose: Choose::Draw { temperature, top_k: 0, top_p: 1.0 },
        stop_tokens: vec![2],
        key: Key::new(9, Purpose::Sample).at(i as u64),
        record: crate::Record::default(),
    };
    let requests: Vec<_> = prompts.iter().enumerate().map(request).collect();
    let (mut batch, mut said) = (TokenBatch::default(), Vec::new());
    for (request, samples) in requests.iter().zip(native.sample(&requests, &|_| ()).unwrap()) {
        for sample in samples {
            let tokens: Vec<u32> = request.prompt.iter().chain(&sample.tokens).copied().collect();
            let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
            batch.push(&tokens, &scored, temperature);
            said.push(bits(&sample.logp));
        }
    }
    (batch, said)
}

#[test]
fn what_the_sampler_said_is_what_scoring_and_training_on_shared_prompts_say() {
    for family in FAMILIES {
        for temperature in [1.0, 0.7] {
            let mut native = open(family, 2);
            let (batch, said) = rollouts(&native, temperature);
            assert!(batch.groups().iter().any(|group| group.shared > 16 && group.rows.len() > 1));
            let check = |stats: &TokenStats| {
                for (row, said) in said.iter().enumerate() {
                    let all = stats.logp.row(row);
                    assert_eq!(&bits(&all[all.len() - said.len()..]), said, "{family} row {row}");
                }
            };
            check(&native.score(&batch, ENTROPY).unwrap());
            let zero = |stats: &TokenStats| TokenGrads { logp: stats.logp.like(0.0), ..Default::default() };
            let objective = &mut |stats: &TokenStats| {
                check(stats);
                Ok(zero(stats))
            };
            native.accumulate(&batch, ENTROPY, objective).unwrap();
        }
    }
}

#[test]
fn micro_batches_that_end_with_a_group_give_the_same_bits() {
    for family in FAMILIES {
        let learn = |parts: usize| {
            let mut native = open(family, 2);
            let (batch, _) = rollouts(&native, 1.0);
            let groups = batch.groups();
            for part in groups.chunks(groups.len().div_ceil(parts)) {
                let rows: Vec<usize> = part.iter().flat_map(|group| group.rows.clone()).collect();
                let objective = &mut |stats: &TokenStats| {
                    Ok(TokenGrads { logp: stats.logp.map(|x| x * 0.1), ..Default::default() })
                };
                native.accumulate(&batch.select(&rows), Want::default(), objective).unwrap();
            }
            native.step(&adamw()).unwrap();
            bits(&native.flat)
        };
        let whole = learn(1);
        assert_eq!(whole, learn(2), "{family}");
        assert_eq!(whole, learn(100), "{family}: every group alone");
    }
}

/// The weights after a step from samples of a few prompts, learned from within a limit of memory.
fn learned_within(family: &str, limit: Option<usize>) -> Vec<u32> {
    let mut native = open(family, 2);
    let (batch, _) = rollouts(&native, 1.0);
    native.limit_memory(limit);
    let objective = &mut |stats: &TokenStats| {
        let entropy = Some(stats.entropy.map(|x| if *x > 0.0 { 0.03 } else { 0.0 }));
        Ok(TokenGrads { logp: stats.logp.map(|x| x * 0.1), entropy, ..Default::default() })
    };
    native.accumulate(&batch, ENTROPY, objective).unwrap();
    native.step(&adamw()).unwrap();
    bits(&native.flat)
}

#[test]
fn a_limit_of_memory_changes_no_bit() {
    for family in FAMILIES {
        let native = open(family, 2);
        let footprint = Footprint::of(native.model(), 2);
        let (batch, _) = rollouts(&native, 1.0);
        let tokens = batch.groups().iter().map(|group| batch.tokens_of(group)).sum();
        let largest = batch.groups().iter().map(|group| batch.tokens_of(group)).max().unwrap();
        let whole = learned_within(family, None);
        for (limit, keep, several) in [
            (footprint.peak(tokens, false), Keep::All, false),
            (footprint.peak(tokens, false) - 1, Keep::Inputs, false),
            (footprint.peak(tokens, true) - 1, Keep::All, true),
            (footprint.peak(largest, false) - 1, Keep::Inputs, true),
            (0, Keep::Inputs, true),
        ] {
            let (chosen, parts) = footprint.choose(Some(limit), &batch);
            if limit > 0 && footprint.peak(largest, false) < footprint.peak(tokens, true) {
                assert_eq!((chosen, parts.len() > 1), (keep, several), "{family} {limit}");
            }
            assert_eq!(whole, learned_within(family, Some(limit)), "{family} {limit}");
        }
    }
}
