//! Rankings by hand, the published one, and what a run's own records say.

use super::*;
use proptest::prelude::*;

fn histories(lists: &[&[f64]]) -> Vec<History> {
    let history = |(at, list): (usize, &&[f64])| History { id: at.to_string(), accuracies: list.to_vec() };
    lists.iter().enumerate().map(history).collect()
}

fn order(ranking: &[Ranked]) -> Vec<usize> {
    ranking.iter().map(|ranked| ranked.index).collect()
}

#[test]
fn golden_variances_and_their_ranking() {
    let a = [0.0, 0.25, 0.125, 0.0, 0.5, 1.0];
    assert!((variance(&a) - 0.123698).abs() < 1e-6 && (variance(&a).sqrt() - 0.351707).abs() < 1e-6);
    assert!((variance(&a) * 6.0 / 5.0 - 0.148438).abs() < 1e-6, "the sample variance is another number");
    let c = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    assert_eq!(variance(&c), 0.25);
    let (b, d) = ([0.5; 6], [1.0; 6]);
    assert_eq!((variance(&b), variance(&d), variance(&[])), (0.0, 0.0, 0.0));
    let ranking = rank(&histories(&[&a, &b, &c, &d]), Selector::Variance, 0);
    assert_eq!(order(&ranking), [2, 0, 1, 3], "c, a, and then the constant ones as they came");
    let other = rank(&histories(&[&d, &b, &a, &c]), Selector::Variance, 0);
    assert_eq!(order(&other), [3, 2, 0, 1]);
}

/// 1023 of 1024 right is 0.9990234375; a count that is floored to eighths says 0.875 (a quirk of the published code).
#[test]
fn means_are_exact() {
    let rewards: Vec<f64> = (0..1024).map(|answer| f64::from(u8::from(answer != 7))).collect();
    assert_eq!(mean(&rewards), 1023.0 / 1024.0);
}

/// Two items at two times: means 0.5 and 0.75, room 0.25 + 0.0625 = 0.3125; the first is 0.25 + 0.0625 away, the second too,
/// and a third that is the mean is at 1.
#[test]
fn alignment_by_hand() {
    let all = histories(&[&[0.0, 0.5], &[1.0, 1.0, 0.0], &[0.5, 0.75]]);
    let scores: Vec<f64> = alignments(&all);
    assert_eq!(scores, [0.0, 0.0, 1.0], "the third time of the second item is not looked at");
    assert_eq!(order(&rank(&all, Selector::Lim, 0)), [2, 0, 1]);
    assert_eq!(alignments(&histories(&[&[1.0], &[1.0]])), [1.0, 1.0], "always right together: no division by 0");
    assert!(alignments(&[]).is_empty());
    let never = histories(&[&[], &[0.0, 0.5], &[1.0, 1.0]]);
    for by in [Selector::Variance, Selector::Lim, Selector::Random] {
        let mut ranked = order(&rank(&never, by, 0));
        ranked.sort_unstable();
        assert_eq!(ranked, [1, 2], "what was never sampled has no place");
    }
}

#[test]
fn a_random_ranking_is_the_seeds() {
    let all = histories(&[&[0.0][..]; 50]);
    let of = |seed| order(&rank(&all, Selector::Random, seed));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let mut sorted = of(1);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

proptest! {
    /// The order of time changes nothing, to the last bit; a shift changes next to nothing; and it is at most a quarter.
    #[test]
    fn variance_knows_no_order(eighths in prop::collection::vec(0u32..=8, 1..60), seed in any::<u64>()) {
        let values: Vec<f64> = eighths.iter().map(|&eighth| f64::from(eighth) / 8.0).collect();
        let shuffled: Vec<f64> =
            Key::new(seed, Purpose::Shuffle).permutation(values.len()).into_iter().map(|at| values[at]).collect();
        prop_assert_eq!(variance(&values).to_bits(), variance(&shuffled).to_bits());
        let moved: Vec<f64> = values.iter().map(|value| value + 3.0).collect();
        prop_assert!((variance(&values) - variance(&moved)).abs() < 1e-12);
        prop_assert!((0.0..=0.25).contains(&variance(&values)));
    }
}

/// The published ranking of 1,209 examples, recomputed from the published records.
#[test]
fn the_published_ranking() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else {
        eprintln!("skipped: LAPIDARY_DATA is not set");
        return;
    };
    let path = std::path::Path::new(&data).join("math/dsr_sub_acc_step_500.json.gz");
    let records = Records::open(&path, &Lookup::default()).unwrap();
    assert_eq!(records.histories.len(), 1209);
    let lengths = || records.histories.iter().map(|history| history.accuracies.len());
    assert_eq!((lengths().min(), lengths().max()), (Some(44), Some(57)));
    let ranking = rank(&records.histories, Selector::Variance, 0);
    let at = |place: usize| (records.histories[ranking[place - 1].index].id.as_str(), ranking[place - 1].score);
    for (place, id, score) in [(1, "124", 0.165450), (2, "267", 0.156875), (13, "682", 0.074315)] {
        assert_eq!(at(place).0, id);
        assert!((at(place).1 - score).abs() < 5e-7, "{place}: {}", at(place).1);
    }
    let first = &records.histories[ranking[0].index].accuracies;
    assert!(first.len() == 53 && (mean(first) - 0.441038).abs() < 5e-7);
    assert_eq!(at(1209).1, 0.0);
}
