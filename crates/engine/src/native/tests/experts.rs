//! Mixtures of experts: routing is recorded, reported and replayed, and derivatives go through the router.

use super::*;
use crate::{Experts, Router};
use lapidary_core::UNROUTED;

const MOE: [&str; 4] = ["qwen3_moe", "glm4_moe", "qwen3_moe_mixed", "glm4_moe_groups"];
const ROUTING: Want = Want { routing: true, ..Want::ENTROPY };

fn scored(native: &Native, batch: &TokenBatch) -> (Vec<u32>, Ragged<u16>) {
    let stats = native.score(batch, ROUTING).unwrap();
    (bits(stats.logp.flat()), stats.routing.unwrap())
}

fn routers(native: &Native) -> Vec<String> {
    let names = native.model().tensors().into_iter().map(|spec| spec.name);
    names.filter(|name| name.ends_with("mlp.gate.weight")).collect()
}

fn weights(native: &Native, name: &str) -> Vec<f32> {
    native.tensor(&native.flat, 0, name, native.sizes()[name])
}

/// Turns every router around, so that it prefers what it avoided.
fn turn_routers(native: &mut Native) {
    for name in routers(native) {
        let turned: Vec<f32> = weights(native, &name).iter().map(|w| -w).collect();
        native.put(&name, &turned);
    }
}

#[test]
fn routing_recorded_at_sampling_replays_without_changing_a_bit() {
    for family in MOE {
        let native = open(family, 2);
        let stride = native.model().routing_stride();
        let mut requests = requests(0.9);
        requests.iter_mut().for_each(|request| request.record.routing = true);
        let sampled = native.sample(&requests, &|_| ()).unwrap();
        let (mut batch, mut recorded, mut expected) = (TokenBatch::default(), Ragged::new(), Vec::new());
        for (request, group) in requests.iter().zip(&sampled) {
            for sample in group {
                let tokens: Vec<u32> = request.prompt.iter().chain(&sample.tokens).copied().collect();
                let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
                batch.push(&tokens, &scored, 0.9);
                let routing = sample.routing.clone().unwrap();
                assert_eq!(routing.len(), tokens.len() * stride, "{family}");
                let (ran, last) = routing.split_at(routing.len() - stride);
                assert!(ran.iter().all(|&expert| expert != UNROUTED), "{family}: every token that ran has its experts");
                assert!(last.iter().all(|&expert| expert == UNROUTED), "{family}: the last token never ran");
                recorded.push(routing);
                expected.extend(bits(&sample.logp));
            }
        }
        let mut plain = native.score(&batch, ROUTING).unwrap();
        let reported = plain.routing.take().unwrap();
        for (said, wrote) in reported.iter().zip(recorded.iter()) {
            let ran = wrote.len() - stride;
            assert_eq!(said[..ran], wrote[..ran], "{family}: the scorer routes as the sampler did");
        }
        batch.routing = Some(recorded);
        let (replayed, used) = scored(&native, &batch);
        assert_eq!((replayed, used), (bits(plain.logp.flat()), reported), "{family}");
        let completions = plain.logp.flat().iter().zip(batch.scored.flat()).filter(|(_, scored)| **scored);
        assert_eq!(completions.map(|(logp, _)| logp.to_bits()).collect::<Vec<_>>(), expected, "{family}");
    }
}

#[test]
fn a_replay_uses_the_old_experts_and_still_teaches_the_router() {
    for family in MOE {
        let mut native = open(family, 1);
        let mut batch = Expected::of(family).batch();
        let old = scored(&native, &batch).1;
        turn_routers(&mut native);
        let (free, new) = scored(&native, &batch);
        assert_ne!(new, old, "{family}: the choice flips");
        batch.routing = Some(old.clone());
        let (replayed, used) = scored(&native, &batch);
        assert_eq!(used, old, "{family}");
        assert_ne!(replayed, free, "{family}");
        native
            .accumulate(&batch, ROUTING, &mut |stats| {
                assert_eq!(
                    (bits(stats.logp.flat()), stats.routing.as_ref()),
                    (replayed.clone(), Some(&old)),
                    "{family}"
                );
                Ok(mean_nll(stats, &batch).1)
            })
            .unwrap();
        for name in routers(&native) {
            assert!(native.gradient(&name).iter().any(|g| *g != 0.0), "{family} {name}");
        }
    }
}

#[test]
fn experts_that_are_not_replayed_take_no_part() {
    for family in MOE {
        let mut native = open(family, 1);
        let mut batch = Expected::of(family).batch();
        let (k, stride) = (native.model().experts.as_ref().unwrap().per_token, native.model().routing_stride());
        let slots = (0..batch.tokens.values() * stride).map(|slot| (slot % k) as u16).collect();
        let first = Ragged::from_flat(slots, batch.tokens.lengths().map(|n| n * stride));
        // The second row and the first token of the first are left to the router.
        let free = scored(&native, &batch).1;
        let mut partly = first.clone();
        partly.row_mut(1).fill(UNROUTED);
        partly.row_mut(0)[..stride].fill(UNROUTED);
        batch.routing = Some(first.clone());
        let (before, _) = scored(&native, &batch);
        batch.routing = Some(partly);
        let used = scored(&native, &batch).1;
        assert_eq!(used.row(0)[..stride], free.row(0)[..stride], "{family}");
        assert_eq!(used.row(0)[stride..], first.row(0)[stride..], "{family}");
        assert_eq!(used.row(1), free.row(1), "{family}");
        assert_ne!(used.row(1), first.row(1), "{family}: the comparison can fail");
        let unused = |name: &str| {
            let (_, rest) = name.split_once(".experts.")?;
            rest.split_once('.')?.0.parse::<usize>().ok().filter(|expert| *expert >= k)
        };
        for spec in native.model().tensors() {
            if unused(&spec.name).is_some() {
                native.put(&spec.name, &vec![3.0; spec.size()]);
            }
        }
        batch.routing = Some(first);
        assert_eq!(scored(&native, &batch).0, before, "{family}");
        native.accumulate(&batch, ENTROPY, &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        for spec in native.model().tensors() {
            let gradient = native.gradient(&spec.name);
            assert_eq!(
                gradient.iter().any(|g| *g != 0.0),
                unused(&spec.name).is_none() && !spec.is_buffer(),
                "{}",
                spec.name
            );
        }
        batch.routing = None;
        assert_ne!(scored(&native, &batch).0, before, "{family}: the comparison can fail");
    }
}

#[test]
fn a_routing_that_does_not_fit_is_refused() {
    let native = open("qwen3_moe", 1);
    let mut batch = TokenBatch::all([vec![5, 6, 7], vec![8]]);
    let good = scored(&native, &batch).1;
    assert_eq!(native.model().routing_stride(), 6);
    let mut says = |routing: Ragged<u16>, words: &str| {
        batch.routing = Some(routing);
        let problem = native.score(&batch, Want::default()).unwrap_err();
        assert_eq!((problem.kind(), problem.code()), (Kind::Data, "N006"));
        assert!(problem.message().contains(words), "{problem:?}");
    };
    says(good.select([0]), "a routing of 1 rows for a batch of 2");
    says(good.select([0, 0]), "row 1 is routed by 18 experts, expected 1 tokens × 6");
    for slots in [[0, 1, 8], [2, 1, 2]] {
        let mut bad = good.clone();
        bad.row_mut(0)[9..12].copy_from_slice(&slots);
        says(bad, &format!("token 1 of row 0 is routed to {slots:?} of 8 experts"));
    }
}

#[test]
fn a_dense_model_records_no_experts() {
    let native = open("qwen3", 1);
    let mut one = request(vec![5, 6], 1, 3, Choose::Greedy);
    one.record.routing = true;
    assert_eq!(native.sample(&[one], &|_| ()).unwrap()[0][0].routing, Some(vec![]));
    let mut batch = TokenBatch::all([vec![5, 6, 7]]);
    let (logp, routing) = scored(&native, &batch);
    assert_eq!(routing, Ragged::from_flat(vec![], [0]));
    batch.routing = Some(routing);
    assert_eq!(scored(&native, &batch).0, logp);
}

#[test]
fn the_correction_bias_is_kept_and_never_learned() {
    let batch = Expected::of("glm4_moe").batch();
    let mut native = open("glm4_moe", 2);
    let name = "model.layers.1.mlp.gate.e_score_correction_bias";
    let before = weights(&native, name);
    assert!(before.iter().any(|b| *b != 0.0));
    for _ in 0..3 {
        native.accumulate(&batch, Want::default(), &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        assert!(native.gradient(name).iter().all(|g| *g == 0.0));
        native.step(&adamw()).unwrap();
    }
    assert_eq!(weights(&native, name), before);
    let directory = tempfile::tempdir().unwrap();
    native.save_model(directory.path()).unwrap();
    native.save_optimizer(directory.path()).unwrap();
    let state = std::fs::read(directory.path().join("optimizer.safetensors")).unwrap();
    let state = SafeTensors::deserialize(&state).unwrap();
    assert!(state.names().iter().any(|name| name.ends_with("mlp.gate.weight")));
    assert!(!state.names().iter().any(|name| name.contains("e_score_correction_bias")));
    let mut again = Native::initialise(native.config.clone(), 1, 1).unwrap();
    assert_eq!(weights(&again, name), vec![0.0; before.len()]);
    again.restore(directory.path(), directory.path()).unwrap();
    assert_eq!(bits(&again.flat), bits(&native.flat));
}

#[test]
fn derivatives_through_routers_agree_with_finite_differences() {
    let sigmoid = Router::Sigmoid { groups: 2, kept_groups: 1 };
    for (router, renormalise, shared) in
        [(Router::Softmax, true, 0), (Router::Softmax, false, 0), (sigmoid, true, 5), (sigmoid, false, 5)]
    {
        let experts = Experts {
            count: 6,
            per_token: 2,
            feed_forward: 7,
            shared_feed_forward: shared,
            router,
            renormalise,
            scale: 1.5,
            dense_layers: vec![0],
        };
        let config = ModelConfig { experts: Some(experts), rotary_width: 4, output_bias: true, ..tiny() };
        let mut native = Native::initialise(config, 3, 1).unwrap();
        native.flat.iter_mut().for_each(|w| *w *= 3.0);
        let mut batch = TokenBatch::default();
        batch.push(&[1, 5, 9, 11, 3, 2], &[false, false, true, true, true, true], 0.8);
        batch.push(&[4, 4, 17], &[false, true, true], 1.3);
        // The choice has no derivative, so it is held where it is.
        batch.routing = native.score(&batch, ROUTING).unwrap().routing;
        let objective = |stats: &TokenStats| -> (f64, TokenGrads) {
            let weight = |t: usize| 0.3 + 0.2 * ((t * 7) % 5) as f64;
            let loss = stats.logp.flat().iter().enumerate().map(|(t, logp)| weight(t) * f64::from(*logp)).sum();
            let slopes = batch.scored.flat().iter().enumerate().map(|(t, s)| if *s { weight(t) as f32 } else { 0.0 });
            let logp = Ragged::from_flat(slopes.collect(), batch.tokens.lengths());
            (loss, TokenGrads { logp, ..Default::default() })
        };
        native.accumulate(&batch, ENTROPY, &mut |stats| Ok(objective(stats).1)).unwrap();
        let slope = |name: &String| native.gradient(name).iter().fold(0.0f32, |most, g| most.max(g.abs()));
        let steepest = routers(&native).iter().map(slope).fold(0.0, f32::max);
        assert!(steepest > 0.1, "{router:?} {renormalise}: a slope of {steepest} would hide in the tolerance");
        native.assert_finite_differences(&|native| objective(&native.score(&batch, ENTROPY).unwrap()).0);
    }
}
