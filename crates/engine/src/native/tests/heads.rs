//! Value and reward heads: Hugging Face's numbers, finite differences, and the exactness of the trunk.

use super::*;

const HEADS: Want = Want { value: true, reward: true, ..Want::ENTROPY };

/// A loss of rewards that Hugging Face differentiated: `Σ w·r + r²/2`.
fn reward_loss(rewards: &[f32], weights: &[f64]) -> (f64, Vec<f32>) {
    let rewards = rewards.iter().map(|r| f64::from(*r));
    let loss = rewards.clone().zip(weights).map(|(r, w)| w * r + r * r / 2.0).sum();
    (loss, rewards.zip(weights).map(|(r, w)| (w + r) as f32).collect())
}

fn unscored(tokens: &Ragged<u32>) -> TokenBatch {
    let mut batch = TokenBatch::default();
    tokens.iter().for_each(|row| batch.push(row, &vec![false; row.len()], 1.0));
    batch
}

#[test]
fn rewards_and_their_gradients_are_hugging_faces() {
    for family in ["reward/llama", "reward/qwen3"] {
        let expected = Expected::of(family);
        let batch = unscored(&expected.batch().tokens);
        let weights = expected.get("weights");
        for isa in Isa::available() {
            let mut native = open(family, 2);
            native.use_isa(isa);
            assert!(native.model().reward_head && !native.model().language_head);
            let want = Want { reward: true, ..Want::default() };
            let scored = native.score(&batch, want).unwrap().reward.unwrap();
            close("rewards", &scored, &expected.get("rewards"), 1e-5);
            native
                .accumulate(&batch, want, &mut |stats| {
                    assert_eq!(stats.reward.as_deref(), Some(&scored[..]));
                    let (loss, reward) = reward_loss(&scored, &weights);
                    assert!((loss - expected.get("loss")[0]).abs() < 1e-4);
                    Ok(TokenGrads { logp: stats.logp.like(0.0), reward: Some(reward), ..Default::default() })
                })
                .unwrap();
            for spec in native.model().tensors() {
                let want = expected.get(&format!("grad.{}", spec.name));
                close(&format!("{family} {isa:?} {}", spec.name), &native.gradient(&spec.name), &want, 1e-5);
            }
        }
    }
}

/// A model with all three heads, none of which is near zero.
fn with_all_heads(tied: bool, threads: usize) -> Native {
    let mut native =
        Native::initialise(ModelConfig { tied, qkv_bias: false, qk_norm: false, ..tiny() }, 3, threads).unwrap();
    native.flat.iter_mut().for_each(|w| *w *= 4.0);
    native.add_value_head();
    native.add_reward_head(7);
    let weight: Vec<f32> = (0..24).map(|i| ((i * 7 % 11) as f32 - 5.0) / 8.0).collect();
    native.put("value_head.weight", &weight);
    native.put("value_head.bias", &[0.3]);
    native
}

fn some_batch() -> TokenBatch {
    let mut batch = TokenBatch::default();
    batch.push(&[1, 5, 9, 11, 3, 2], &[false, false, true, true, true, true], 0.8);
    batch.push(&[], &[], 1.0);
    batch.push(&[4, 4, 17], &[false, true, true], 1.3);
    // A prompt that two rows share, one of which ends with it.
    batch.push(&[7, 30, 31, 8, 9], &[false; 5], 1.0);
    batch.push(&[7, 30, 31, 8, 9, 5], &[false, false, false, false, false, true], 1.0);
    batch.push(&[7, 30, 31, 8, 9, 6], &[false, false, false, false, false, true], 1.0);
    batch
}

/// Uses everything that the waist carries.
fn everything(stats: &TokenStats, scored: &Ragged<bool>) -> (f64, TokenGrads) {
    let (value, reward) = (stats.value.as_ref().unwrap(), stats.reward.as_ref().unwrap());
    let mut loss = 0.0;
    let (mut d_logp, mut d_entropy, mut d_value) =
        (stats.logp.like(0.0f32), stats.logp.like(0.0f32), stats.logp.like(0.0f32));
    for i in (0..scored.values()).filter(|&i| scored.flat()[i]) {
        let (v, weight) = (f64::from(value.flat()[i]), 0.2 + 0.1 * (i % 3) as f64);
        loss += weight * f64::from(stats.logp.flat()[i]) - 0.2 * f64::from(stats.entropy.flat()[i]);
        loss += (v - 1.0).powi(2);
        d_logp.flat_mut()[i] = weight as f32;
        d_entropy.flat_mut()[i] = -0.2;
        d_value.flat_mut()[i] = (2.0 * (v - 1.0)) as f32;
    }
    let (of_reward, d_reward) = reward_loss(reward, &[0.5, 9.0, -0.8, 0.3, 0.2, -0.4]);
    let grads = TokenGrads { logp: d_logp, entropy: Some(d_entropy), value: Some(d_value), reward: Some(d_reward) };
    (loss + of_reward, grads)
}

#[test]
fn derivatives_through_all_heads_agree_with_finite_differences() {
    for tied in [true, false] {
        let mut native = with_all_heads(tied, 1);
        let batch = some_batch();
        native.accumulate(&batch, HEADS, &mut |stats| Ok(everything(stats, &batch.scored).1)).unwrap();
        native.assert_finite_differences(&|native| everything(&native.score(&batch, HEADS).unwrap(), &batch.scored).0);
    }
}

#[test]
fn threads_and_micro_batches_change_no_bit_of_the_heads() {
    let learn = |threads: usize, splits: &[&[usize]]| {
        let mut native = with_all_heads(false, threads);
        for rows in splits {
            let batch = some_batch().select(rows);
            let grads = |stats: &TokenStats| {
                Ok(TokenGrads {
                    logp: stats.logp.map(|x| x * 0.1),
                    value: stats.value.as_ref().map(|value| value.map(|v| v * 0.3)),
                    reward: stats.reward.as_ref().map(|reward| reward.iter().map(|r| r * 0.7).collect()),
                    ..Default::default()
                })
            };
            native.accumulate(&batch, HEADS, &mut { grads }).unwrap();
        }
        let mut out: Vec<_> = native.model().tensors().iter().flat_map(|s| bits(&native.gradient(&s.name))).collect();
        native.step(&adamw()).unwrap();
        out.extend(bits(&native.flat));
        out
    };
    let whole = learn(1, &[&[0, 1, 2, 3, 4, 5]]);
    assert!(whole == learn(2, &[&[0, 1, 2, 3, 4, 5]]));
    assert!(whole == learn(3, &[&[0], &[1, 2], &[3, 4, 5]]));
    assert!(whole != learn(1, &[&[2, 1, 0, 3, 4, 5]]), "the comparison can fail");
}

#[test]
fn values_and_rewards_do_not_depend_on_the_rest_of_the_batch() {
    let native = with_all_heads(true, 2);
    let batch = some_batch();
    let together = native.score(&batch, HEADS).unwrap();
    for row in 0..batch.tokens.rows() {
        let alone = native.score(&batch.select(&[row]), HEADS).unwrap();
        let values = |stats: &TokenStats, row| bits(stats.value.as_ref().unwrap().row(row));
        assert_eq!(values(&alone, 0), values(&together, row));
        assert_eq!(alone.reward.unwrap()[0].to_bits(), together.reward.as_ref().unwrap()[row].to_bits());
    }
    let (value, reward) = (together.value.unwrap(), together.reward.unwrap());
    assert_eq!(reward[1], 0.0, "an empty row");
    assert_eq!((value.row(0)[1], value.row(3)), (0.0, &[0.0; 5][..]), "what is not scored has no value");
}

#[test]
fn new_heads_change_nothing_that_was_there_and_start_as_they_say() {
    let mut native = open("qwen3", 1);
    let batch = Expected::of("qwen3").batch();
    let before = native.score(&batch, ENTROPY).unwrap();
    native.add_value_head();
    native.add_reward_head(11);
    let after = native.score(&batch, HEADS).unwrap();
    assert_eq!((bits(before.logp.flat()), bits(before.entropy.flat())), {
        (bits(after.logp.flat()), bits(after.entropy.flat()))
    });
    assert!(after.value.as_ref().unwrap().flat().iter().all(|v| *v == 0.0));
    let score = native.tensor(&native.flat, 0, "score.weight", native.model().hidden);
    let variance = score.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / score.len() as f64;
    let expected = 1.0 / (score.len() + 1) as f64;
    assert!((variance / expected - 1.0).abs() < 4.0 * (2.0 / score.len() as f64).sqrt(), "{variance} {expected}");
    // The zero head learns: three steps towards a value of 1.
    let error = |native: &Native| {
        let value = native.score(&batch, HEADS).unwrap().value.unwrap();
        value.flat().iter().zip(batch.scored.flat()).filter(|(_, s)| **s).map(|(v, _)| (v - 1.0).powi(2)).sum::<f32>()
    };
    let first = error(&native);
    for _ in 0..3 {
        native
            .accumulate(&batch, HEADS, &mut |stats| {
                let value = stats.value.as_ref().unwrap().map(|v| v - 1.0);
                Ok(TokenGrads { logp: stats.logp.like(0.0), value: Some(value), ..Default::default() })
            })
            .unwrap();
        native.step(&adamw()).unwrap();
    }
    assert!(error(&native) < first);
}

#[test]
fn models_with_heads_come_back_from_their_files_and_go_on() {
    let batch = some_batch();
    let learn = |native: &mut Native| {
        native.accumulate(&batch, HEADS, &mut |stats| Ok(everything(stats, &batch.scored).1)).unwrap();
        native.step(&adamw()).unwrap()
    };
    let mut native = with_all_heads(false, 1);
    learn(&mut native);
    let directory = tempfile::tempdir().unwrap();
    native.save_model(directory.path()).unwrap();
    native.save_optimizer(directory.path()).unwrap();
    let mut again = Native::open(directory.path(), 2).unwrap();
    assert_eq!(again.model(), native.model());
    again.restore(directory.path(), directory.path()).unwrap();
    assert_eq!(learn(&mut native), learn(&mut again));
    assert_eq!(bits(&native.flat), bits(&again.flat));
}

#[test]
fn a_reward_model_is_saved_without_a_language_head() {
    for tied in [true, false] {
        let mut native = with_all_heads(tied, 1);
        let batch = unscored(&some_batch().tokens);
        let want = Want { reward: true, ..Want::default() };
        let rewards = native.score(&batch, want).unwrap().reward;
        native.drop_language_head();
        assert_eq!(native.score(&batch, want).unwrap().reward, rewards);
        let directory = tempfile::tempdir().unwrap();
        native.save_model(directory.path()).unwrap();
        let json = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["architectures"], serde_json::json!(["LlamaForSequenceClassification"]));
        assert_eq!(json["id2label"], serde_json::json!({"0": "LABEL_0"}));
        let again = Native::open(directory.path(), 1).unwrap();
        assert_eq!(again.score(&batch, want).unwrap().reward, rewards);
        assert!(!again.model().tensors().iter().any(|spec| spec.name == "lm_head.weight"));
    }
}

#[test]
fn a_head_that_is_not_there_is_refused() {
    let policy = open("llama", 1);
    let batch = TokenBatch::all([vec![1, 7, 9]]);
    for want in [Want { value: true, ..Want::default() }, Want { reward: true, ..Want::default() }] {
        let problem = policy.score(&batch, want).unwrap_err();
        assert_eq!((problem.kind(), problem.code()), (Kind::Model, "N007"), "{problem:?}");
    }
    let reward = open("reward/llama", 1);
    assert_eq!(reward.score(&batch, Want::default()).unwrap_err().code(), "N008");
    assert_eq!(reward.sample(&[request(vec![1], 1, 4, Choose::Greedy)], &|_| ()).unwrap_err().code(), "N008");
}
