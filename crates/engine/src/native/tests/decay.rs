//! Which weights decay.

use super::*;

/// With a gradient of zero an AdamW step is its decay alone: `1 − η·λ` of every matrix and of the embedding, all of every norm and
/// bias. The control: `decay_all` takes those too.
#[test]
fn matrices_decay_and_vectors_do_not() {
    for family in FAMILIES {
        let batch = Expected::of(family).batch();
        for decay_all in [false, true] {
            let mut native = open(family, 1);
            let specs = native.learned_tensors();
            let read = |native: &Native| -> Vec<Vec<f32>> {
                specs.iter().map(|spec| native.tensor(&native.flat, 0, &spec.name, spec.size())).collect()
            };
            let before = read(&native);
            let none = |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.like(0.0), ..TokenGrads::default() });
            native.accumulate(&batch, Want::default(), &mut |stats| none(stats)).unwrap();
            native.step(&Update { learning_rate: 0.5, weight_decay: 0.1, decay_all, ..adamw() }).unwrap();
            let mut vectors = 0;
            for ((spec, before), after) in specs.iter().zip(before).zip(read(&native)) {
                let vector = spec.shape.len() == 1;
                vectors += usize::from(vector);
                let kept = if vector && !decay_all { 1.0 } else { 0.95 };
                for (before, after) in before.iter().zip(&after) {
                    assert!((after - kept * before).abs() <= 1e-6 * before.abs(), "{family} {}", spec.name);
                }
            }
            assert!(vectors > 0, "{family} has norms");
        }
    }
}
