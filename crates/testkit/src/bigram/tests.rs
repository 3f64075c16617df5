use super::*;
use lapidary_core::Purpose;

fn toy() -> Bigram {
    Bigram::new(5, 32, 2, Key::new(1, Purpose::Initialise))
}

#[test]
fn the_sampler_and_the_scorer_are_one_model() {
    let request = SampleRequest {
        prompt: vec![1],
        samples: 4,
        max_new_tokens: 9,
        choose: Choose::Draw { temperature: 0.7, top_k: 0, top_p: 1.0 },
        stop_tokens: vec![2],
        key: Key::new(1, Purpose::Sample),
        record: lapidary_engine::Record::default(),
    };
    for sample in &toy().sample(&[request], &|_| {}).unwrap()[0] {
        let mut batch = TokenBatch::all([[&[1], sample.tokens.as_slice()].concat()]);
        batch.temperature = vec![0.7];
        assert_eq!(toy().score(&batch, Want::default()).unwrap().logp.row(0)[1..], sample.logp);
        assert_eq!(sample.stop == StopReason::Eos, sample.tokens.last() == Some(&2));
    }
}

/// Samples of 40 prompts at a temperature under top-k and top-p, recorded, as a batch with their support.
fn recorded(top_k: usize, top_p: f32) -> (TokenBatch, Vec<Sample>) {
    let requests: Vec<SampleRequest> = (0..40)
        .map(|i| SampleRequest {
            prompt: vec![i % 5],
            samples: 1,
            max_new_tokens: 9,
            choose: Choose::Draw { temperature: 0.7, top_k, top_p },
            stop_tokens: vec![2],
            key: Key::new(1, Purpose::Sample).at(i.into()),
            record: lapidary_engine::Record { support: true, routing: false },
        })
        .collect();
    let samples: Vec<Sample> = toy().sample(&requests, &|_| {}).unwrap().into_iter().flatten().collect();
    let rows = requests.iter().zip(&samples);
    let mut batch = TokenBatch::all(rows.map(|(request, sample)| [&request.prompt[..], &sample.tokens].concat()));
    batch.temperature.fill(0.7);
    let supports = samples.iter().filter_map(|s| s.support.as_ref());
    batch.support = (top_k > 0 || top_p < 1.0)
        .then(|| supports.flat_map(|rows| std::iter::once(vec![]).chain(rows.iter().map(<[u32]>::to_vec))).collect());
    (batch, samples)
}

#[test]
fn a_cut_distribution_is_the_same_for_sampler_and_scorer() {
    for (top_k, top_p) in [(2, 1.0), (0, 0.6), (3, 0.7)] {
        let (batch, samples) = recorded(top_k, top_p);
        let stats = toy().score(&batch, Want { top: true, mean_nll: true, ..Want::ENTROPY }).unwrap();
        for (row, sample) in samples.iter().enumerate() {
            assert_eq!(stats.logp.row(row)[1..], sample.logp);
        }
        let support = batch.support.as_ref().unwrap();
        assert!(support.lengths().all(|n| top_k == 0 || n <= top_k) && support.values() > 0);
        let whole = toy().score(&TokenBatch { support: None, ..batch.clone() }, Want::ENTROPY).unwrap();
        assert_eq!(whole.entropy, stats.entropy, "entropy is that of the whole distribution");
        let ([first, second], mean) = (stats.top.unwrap(), stats.mean_nll.unwrap());
        for i in (0..mean.values()).filter(|&i| batch.scored.flat()[i]) {
            assert!(first.flat()[i] >= second.flat()[i] && second.flat()[i] > 0.0);
            assert!(mean.flat()[i] >= 5f32.ln() - 1e-6, "the mean is least, ln V, for the uniform distribution");
        }
    }
    assert!(recorded(0, 1.0).1.iter().all(|sample| sample.support.is_none()));
}

#[test]
fn the_gradient_of_a_cut_distribution_is_that_of_its_score() {
    let (batch, _) = recorded(3, 1.0);
    let sum = |model: &Bigram| {
        let stats = model.score(&batch, Want::default()).unwrap();
        stats.logp.flat().iter().map(|x| f64::from(*x)).sum::<f64>()
    };
    let mut model = toy();
    let ones = |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.like(1.0), ..Default::default() });
    model.accumulate(&batch, Want::default(), &mut { ones }).unwrap();
    for i in 0..25 {
        let moved = |by: f32| {
            let mut model = toy();
            model.weights[i] += by;
            sum(&model)
        };
        let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!(
            (numeric - model.gradient[i]).abs() < 2e-3 * (1.0 + numeric.abs()),
            "{i}: {numeric} {}",
            model.gradient[i]
        );
    }
}

/// Central differences of `2·logp + 3·H` summed over a row.
#[test]
fn the_gradient_is_that_of_the_score() {
    let batch = TokenBatch::all([vec![1, 3, 4, 3, 0, 2]]);
    let want = Want::ENTROPY;
    let value = |model: &Bigram| {
        let tokens = batch.tokens.row(0);
        (1..tokens.len())
            .map(|t| {
                let logp = model.log_softmax(tokens[t - 1], 1.0);
                2.0 * logp[tokens[t] as usize] + 3.0 * entropy(&logp)
            })
            .sum::<f64>()
    };
    let mut model = toy();
    model
        .accumulate(&batch, want, &mut |stats| {
            Ok(TokenGrads { logp: stats.logp.like(2.0), entropy: Some(stats.logp.like(3.0)), ..Default::default() })
        })
        .unwrap();
    for i in 0..25 {
        let moved = |by: f32| {
            let mut model = toy();
            model.weights[i] += by;
            (value(&model), f64::from(model.weights[i]))
        };
        let ((high, above), (low, below)) = (moved(1e-2), moved(-1e-2));
        let numeric = (high - low) / (above - below);
        assert!(
            (numeric - model.gradient[i]).abs() < 1e-3 * (1.0 + numeric.abs()),
            "{i}: {numeric} {}",
            model.gradient[i]
        );
    }
}

#[test]
fn what_is_saved_goes_on_bit_for_bit() {
    let update = Update {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        decay_all: false,
        max_grad_norm: Some(1.0),
        optimizer: 0,
    };
    let step = |model: &mut Bigram| {
        let batch = TokenBatch::all([vec![1, 3, 4, 2]]);
        let grads =
            |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.like(-1.0), entropy: None, ..Default::default() });
        model.accumulate(&batch, Want::default(), &mut { grads }).unwrap();
        model.step(&update).unwrap();
    };
    let mut model = toy();
    (0..3).for_each(|_| step(&mut model));
    let directory = tempfile::tempdir().unwrap();
    model.save_model(directory.path()).unwrap();
    model.save_optimizer(directory.path()).unwrap();
    let mut other = toy();
    other.restore(directory.path(), directory.path()).unwrap();
    (0..3).for_each(|_| step(&mut model));
    (0..3).for_each(|_| step(&mut other));
    assert_eq!(model.weights, other.weights);
    assert_eq!(model.version(), other.version());
}

#[test]
fn a_value_head_learns_one_number_per_previous_token_and_is_saved() {
    let batch = TokenBatch::all([vec![1, 3, 4, 3, 0, 2]]);
    let want = Want { value: true, ..Want::default() };
    assert_eq!(toy().score(&batch, want).unwrap_err().code(), "N007");
    let mut model = toy().with_value_head();
    assert_eq!(model.score(&batch, want).unwrap().logp, toy().score(&batch, Want::default()).unwrap().logp);
    model
        .accumulate(&batch, want, &mut |stats| {
            let value = stats.value.as_ref().unwrap().map(|v| v - 1.0);
            Ok(TokenGrads { logp: stats.logp.like(0.0), value: Some(value), ..Default::default() })
        })
        .unwrap();
    // Token 3 is seen twice, 2 never.
    assert_eq!(model.gradient[25..], [-1.0, -1.0, 0.0, -2.0, -1.0]);
    model
        .step(&Update {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay_all: false,
            max_grad_norm: None,
            optimizer: 0,
        })
        .unwrap();
    assert!((model.values()[3] - 0.1).abs() < 1e-6 && model.values()[2] == 0.0);
    let directory = tempfile::tempdir().unwrap();
    model.save_model(directory.path()).unwrap();
    model.save_optimizer(directory.path()).unwrap();
    let mut other = toy().with_value_head();
    other.restore(directory.path(), directory.path()).unwrap();
    assert_eq!(other.score(&batch, want).unwrap(), model.score(&batch, want).unwrap());
}
