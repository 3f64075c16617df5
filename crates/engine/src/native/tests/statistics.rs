//! Statistics beside log-probability and entropy, and distributions cut by top-k and top-p.

use super::*;
use crate::{Record, Sample};

const ALL: Want = Want { top: true, mean_nll: true, ..Want::ENTROPY };

#[test]
fn top_probabilities_and_mean_nll_are_those_of_hugging_faces_logits() {
    for family in FAMILIES {
        let expected = Expected::of(family);
        let batch = expected.batch();
        let logits = expected.get("logits");
        let width = expected.get("input_ids").len() / batch.tokens.rows();
        for isa in Isa::available() {
            let mut native = open(family, 2);
            native.use_isa(isa);
            let vocabulary = native.model().vocabulary;
            let stats = native.score(&batch, ALL).unwrap();
            let ([first, second], mean_nll) = (stats.top.as_ref().unwrap(), stats.mean_nll.as_ref().unwrap());
            for row in 0..batch.tokens.rows() {
                assert_eq!([first.row(row)[0], second.row(row)[0], mean_nll.row(row)[0]], [0.0; 3], "never scored");
                for t in 1..batch.tokens.len_of(row) {
                    let mut z = logits[(row * width + t - 1) * vocabulary..][..vocabulary].to_vec();
                    z.sort_by(|a, b| b.total_cmp(a));
                    let log_sum = z.iter().map(|x| x.exp()).sum::<f64>().ln();
                    let want = [
                        (z[0] - log_sum).exp(),
                        (z[1] - log_sum).exp(),
                        log_sum - z.iter().sum::<f64>() / vocabulary as f64,
                    ];
                    let got = [first.row(row)[t], second.row(row)[t], mean_nll.row(row)[t]].map(f64::from);
                    for (got, want) in got.into_iter().zip(want) {
                        assert!((got - want).abs() < 1e-5, "{family} {isa:?} {row},{t}: {got} {want}");
                    }
                }
            }
            let plain = native.score(&batch, Want::ENTROPY).unwrap();
            assert_eq!((bits(plain.logp.flat()), bits(plain.entropy.flat())), {
                (bits(stats.logp.flat()), bits(stats.entropy.flat()))
            });
            assert_eq!((plain.top, plain.mean_nll), (None, None));
        }
    }
}

/// Prompts with their samples as one batch that carries the samples' supports, and the samples' log-probabilities.
fn recorded(requests: &[SampleRequest], sampled: &[Vec<Sample>], temperature: f32) -> (TokenBatch, Vec<Vec<u32>>) {
    let (mut batch, mut support, mut logp) = (TokenBatch::default(), Ragged::new(), Vec::new());
    for (request, group) in requests.iter().zip(sampled) {
        for sample in group {
            let tokens: Vec<u32> = request.prompt.iter().chain(&sample.tokens).copied().collect();
            let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
            batch.push(&tokens, &scored, temperature);
            request.prompt.iter().for_each(|_| support.push([]));
            let rows = sample.support.as_ref().unwrap();
            assert_eq!(rows.rows(), sample.tokens.len());
            rows.iter().for_each(|ids| support.push(ids.iter().copied()));
            logp.push(bits(&sample.logp));
        }
    }
    batch.support = Some(support);
    (batch, logp)
}

fn cut_requests(temperature: f32, top_k: usize, top_p: f32) -> Vec<SampleRequest> {
    let record = Record { support: true, routing: false };
    let choose = Choose::Draw { temperature, top_k, top_p };
    requests(temperature).into_iter().map(|r| SampleRequest { choose, record, ..r }).collect()
}

#[test]
fn a_token_of_a_cut_distribution_has_the_same_bits_in_sampling_scoring_and_training() {
    for (family, isa) in FAMILIES.into_iter().flat_map(|f| Isa::available().into_iter().map(move |isa| (f, isa))) {
        for (temperature, top_k, top_p) in [(1.0, 0, 0.9), (0.7, 0, 0.9), (1.0, 5, 1.0), (0.7, 5, 1.0), (0.7, 20, 0.8)]
        {
            let mut native = open(family, 2);
            native.use_isa(isa);
            let requests = cut_requests(temperature, top_k, top_p);
            let sampled = native.sample(&requests, &|_| ()).unwrap();
            let (batch, expected) = recorded(&requests, &sampled, temperature);
            let check = |stats: &TokenStats, rows: &[usize], what: &str| {
                for (i, &row) in rows.iter().enumerate() {
                    let all = stats.logp.row(i);
                    let got = bits(&all[all.len() - expected[row].len()..]);
                    assert_eq!(got, expected[row], "{family} {isa:?} {temperature} {top_k} {top_p} {what} {row}");
                }
            };
            let all: Vec<usize> = (0..batch.tokens.rows()).collect();
            let together = native.score(&batch, ALL).unwrap();
            check(&together, &all, "scored together");
            for row in all.iter().step_by(5) {
                check(&native.score(&batch.select(&[*row]), Want::default()).unwrap(), &[*row], "scored alone");
            }
            let reversed: Vec<usize> = all.iter().rev().copied().collect();
            native
                .accumulate(&batch.select(&reversed), ENTROPY, &mut |stats| {
                    check(stats, &reversed, "trained");
                    Ok(TokenGrads { logp: stats.logp.like(0.0), ..Default::default() })
                })
                .unwrap();
            // Everything but the log-probability is that of the whole distribution.
            let whole = native.score(&TokenBatch { support: None, ..batch.clone() }, ALL).unwrap();
            assert_eq!((&whole.entropy, &whole.top, &whole.mean_nll), {
                (&together.entropy, &together.top, &together.mean_nll)
            });
            let gained = together.logp.flat().iter().zip(whole.logp.flat()).all(|(cut, whole)| cut >= whole);
            assert!(gained && together.logp != whole.logp, "a cut distribution gives its tokens more");
            let support = batch.support.as_ref().unwrap();
            assert!(top_k == 0 || support.lengths().all(|n| n <= top_k));
        }
    }
}

#[test]
fn nothing_is_recorded_where_nothing_is_cut_or_asked_for() {
    let native = open("llama", 1);
    let sample = |requests: Vec<SampleRequest>| native.sample(&requests, &|_| ()).unwrap();
    let plain = sample(requests(0.9));
    assert_eq!(sample(cut_requests(0.9, 0, 1.0)), plain);
    let recorded = sample(cut_requests(0.9, 9, 0.8));
    let silent: Vec<SampleRequest> =
        cut_requests(0.9, 9, 0.8).into_iter().map(|r| SampleRequest { record: Record::default(), ..r }).collect();
    let silent = sample(silent);
    let tokens =
        |samples: &[Vec<Sample>]| -> Vec<Vec<u32>> { samples.iter().flatten().map(|s| s.tokens.clone()).collect() };
    assert_eq!(tokens(&silent), tokens(&recorded), "recording changes no token");
    assert!(silent.iter().flatten().all(|s| s.support.is_none()));
    assert!(
        silent[0][0].logp[0] < recorded[0][0].logp[0],
        "unrecorded log-probabilities are those of the whole distribution"
    );
    let whole = sample(cut_requests(0.9, 128, 1.0));
    assert_eq!(tokens(&whole).len(), tokens(&plain).len());
    let nothing_left_out = whole.iter().flatten().all(|s| s.support.as_ref().unwrap().values() == 0);
    assert!(nothing_left_out, "a support of the whole vocabulary is an empty row");
}

/// Two rows with a support for some of their tokens; a weighted sum of log-probabilities and entropies is the objective.
fn cut_batch() -> TokenBatch {
    let mut batch = TokenBatch::default();
    batch.push(&[1, 5, 9, 11, 3, 2], &[false, false, true, true, true, true], 0.8);
    batch.push(&[4, 4, 17], &[false, true, true], 1.3);
    let rows: [&[u32]; 9] = [&[], &[], &[2, 9, 30], &[11], &[0, 1, 2, 3, 39], &[], &[], &[4, 38], &[]];
    batch.support = Some(rows.into_iter().map(<[u32]>::to_vec).collect());
    batch
}

fn cut_objective(stats: &TokenStats, scored: &Ragged<bool>) -> (f64, TokenGrads) {
    let weight = |i: usize| 0.3 + 0.2 * ((i * 7) % 5) as f64;
    let (mut loss, mut logp, mut entropy) = (0.0, stats.logp.like(0.0f32), stats.logp.like(0.0f32));
    for i in (0..scored.values()).filter(|&i| scored.flat()[i]) {
        loss += weight(i) * f64::from(stats.logp.flat()[i]) - 0.5 * f64::from(stats.entropy.flat()[i]);
        logp.flat_mut()[i] = weight(i) as f32;
        entropy.flat_mut()[i] = if i % 2 == 0 { -0.5 } else { 0.0 };
        loss += if i % 2 == 0 { 0.0 } else { 0.5 * f64::from(stats.entropy.flat()[i]) };
    }
    (loss, TokenGrads { logp, entropy: Some(entropy), ..Default::default() })
}

#[test]
fn derivatives_under_a_support_agree_with_finite_differences() {
    let mut native = Native::initialise(tiny(), 3, 1).unwrap();
    native.flat.iter_mut().for_each(|w| *w *= 4.0);
    let batch = cut_batch();
    native.accumulate(&batch, ENTROPY, &mut |stats| Ok(cut_objective(stats, &batch.scored).1)).unwrap();
    native.assert_finite_differences(&|native| cut_objective(&native.score(&batch, ENTROPY).unwrap(), &batch.scored).0);
}

#[test]
fn micro_batches_and_threads_change_no_bit_under_a_support() {
    let gradient = |threads: usize, splits: &[&[usize]]| {
        let mut native = Native::initialise(tiny(), 3, threads).unwrap();
        for rows in splits {
            let batch = cut_batch().select(rows);
            let grads = |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.map(|x| x * 0.1), ..Default::default() });
            native.accumulate(&batch, Want::default(), &mut { grads }).unwrap();
        }
        native.model().tensors().iter().flat_map(|s| bits(&native.gradient(&s.name))).collect::<Vec<_>>()
    };
    let whole = gradient(1, &[&[0, 1]]);
    assert_eq!(whole, gradient(2, &[&[0], &[1]]));
    assert_ne!(whole, gradient(1, &[&[1, 0]]), "the comparison can fail");
}

#[test]
fn a_support_without_its_token_is_refused() {
    let native = open("llama", 1);
    let mut batch = TokenBatch::all([vec![1, 7, 9]]);
    let mut refusal = |rows: [&[u32]; 3]| {
        batch.support = Some(rows.into_iter().map(<[u32]>::to_vec).collect());
        native.score(&batch, Want::default()).map(|_| ()).map_err(|problem| problem.code())
    };
    assert_eq!(refusal([&[], &[7, 8], &[8, 10]]), Err("N006"));
    assert_eq!(refusal([&[], &[7, 500], &[]]), Err("N005"));
    assert_eq!(refusal([&[3], &[7, 8], &[8, 9, 10]]), Ok(()), "a token that is not scored may have any");
}
