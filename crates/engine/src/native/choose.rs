//! Choosing a token from a row of logits.

use super::attention::grow;
use super::logits;
use super::net::{Distribution, Net};
use super::support::Cut;
use crate::Choose;
use lapidary_core::{Key, Kind, Problem, Result, Want};

/// Values whose weights are summed before the search goes on one by one.
const CHUNK: usize = 256;

/// Likeliest tokens that are sorted before more of them are looked at: a nucleus is rarely larger.
const PROBE: usize = 256;

/// A drawn token.
pub(crate) struct Chosen {
    pub token: u32,
    /// Its log-probability in the distribution that was asked for.
    pub logp: f32,
    /// The ids it was drawn from, ascending, where they were asked for and something was cut; else empty.
    pub support: Vec<u32>,
}

/// Draws a token. With `record_support` its log-probability is that of the distribution cut by top-k and top-p, else that of
/// the whole distribution.
pub(crate) fn choose(
    net: &Net<'_>,
    how: Choose,
    record_support: bool,
    logits: &[f32],
    key: Key,
    weights: &mut Vec<f32>,
) -> Result<Chosen> {
    let temperature = match how {
        Choose::Greedy => 1.0,
        Choose::Draw { temperature, .. } => temperature,
    };
    let d = net.distribution(logits, temperature, Want::default());
    if !d.sum.is_finite() || !d.max.is_finite() {
        return Err(Problem::new(Kind::Diverged, "N001", "a logit is not a finite number while sampling").hint(
            "the weights have diverged: go back to an earlier checkpoint, lower `learning_rate` or `max_grad_norm`",
        ));
    }
    let mut support = Vec::new();
    let token = match how {
        Choose::Greedy => greedy(&logits[..net.c.vocabulary]),
        Choose::Draw { top_k, top_p, .. } => {
            let w = grow(weights, net.w.vocabulary);
            // SAFETY: both rows hold the padded vocabulary.
            unsafe {
                let (n, v) = (net.w.vocabulary, net.c.vocabulary);
                logits::weights(net.isa, n, v, logits.as_ptr(), d.inverse, d.max, w.as_mut_ptr());
            }
            let w = &w[..net.c.vocabulary];
            if how.cuts() {
                let kept = likeliest(w, &d, top_k, top_p);
                let of_kept: Vec<f32> = kept.iter().map(|&i| w[i]).collect();
                if record_support && kept.len() < w.len() {
                    support = kept.iter().map(|&i| i as u32).collect();
                    support.sort_unstable();
                }
                kept[draw(&of_kept, key.uniform())]
            } else {
                draw(w, key.uniform())
            }
        }
    };
    let id = token as u32;
    let logp = if support.is_empty() { d.logp(logits[token]) } else { Cut::of(logits, d.inverse, &support).logp(id) };
    Ok(Chosen { token: id, logp, support })
}

/// The largest value; the lowest index among equals.
fn greedy(logits: &[f32]) -> usize {
    logits.iter().enumerate().fold(0, |best, (i, z)| if *z > logits[best] { i } else { best })
}

/// Inverse of the cumulative distribution at `uniform`, in the order of ids. Chunks of 256 weights are summed first.
fn draw(weights: &[f32], uniform: f64) -> usize {
    let sums: Vec<f64> = weights.chunks(CHUNK).map(|c| c.iter().map(|w| f64::from(*w)).sum()).collect();
    let mut left = uniform * sums.iter().sum::<f64>();
    let mut chunk = 0;
    while chunk + 1 < sums.len() && left >= sums[chunk] {
        left -= sums[chunk];
        chunk += 1;
    }
    let first = chunk * CHUNK;
    let mut last = None;
    for (i, w) in weights[first..].iter().take(CHUNK).enumerate() {
        if *w > 0.0 {
            last = Some(first + i);
            left -= f64::from(*w);
            if left < 0.0 {
                return first + i;
            }
        }
    }
    // Rounding left nothing in this chunk: its last possible token, or the likeliest of all.
    last.unwrap_or_else(|| greedy(weights))
}

/// The likeliest `top_k` tokens, and of those the smallest set that reaches `top_p`, likeliest first; the lower id first among
/// equals.
fn likeliest(weights: &[f32], d: &Distribution, top_k: usize, top_p: f32) -> Vec<usize> {
    let by_weight = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b));
    let most = if top_k == 0 { weights.len() } else { top_k.min(weights.len()) };
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let (mut sorted, mut reached, mut count) = (0, 0.0, 0);
    while count < most && (count == 0 || top_p >= 1.0 || reached < f64::from(top_p) * d.sum) {
        if count == sorted {
            // The order is total, so sorting it piece by piece gives what sorting it at once would.
            let more = (3 * sorted).max(PROBE).min(order.len() - sorted);
            let rest = &mut order[sorted..];
            if more < rest.len() {
                rest.select_nth_unstable_by(more - 1, by_weight);
            }
            rest[..more].sort_unstable_by(by_weight);
            sorted += more;
        }
        reached += f64::from(weights[order[count]]);
        count += 1;
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::Purpose;

    #[test]
    fn frequencies_are_the_weights() {
        let weights: Vec<f32> = (0..600).map(|i| if i % 7 == 3 { (i % 11) as f32 } else { 0.0 }).collect();
        let total: f32 = weights.iter().sum();
        let mut counts = vec![0usize; weights.len()];
        let n = 200_000;
        for i in 0..n {
            counts[draw(&weights, Key::new(3, Purpose::Sample).at(i).uniform())] += 1;
        }
        let chi2: f64 = counts
            .iter()
            .zip(&weights)
            .filter(|(_, w)| **w > 0.0)
            .map(|(c, w)| {
                let expected = f64::from(*w / total) * n as f64;
                (*c as f64 - expected).powi(2) / expected
            })
            .sum();
        assert!(counts.iter().zip(&weights).all(|(c, w)| *c == 0 || *w > 0.0));
        let cells = weights.iter().filter(|w| **w > 0.0).count() as f64 - 1.0;
        assert!(chi2 < cells + 4.0 * (2.0 * cells).sqrt(), "χ² = {chi2} with {cells} degrees of freedom");
    }

    #[test]
    fn the_ends_of_the_interval_stay_inside() {
        let weights = [0.0, 1.0, 2.0, 0.0];
        assert_eq!(draw(&weights, 0.0), 1);
        assert_eq!(draw(&weights, 1.0 - f64::EPSILON), 2);
        assert_eq!(draw(&weights, 1.0), 2);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let weights = [1.0, 5.0, 3.0, 1.0];
        let d = Distribution { sum: 10.0, ..Distribution::default() };
        assert_eq!(likeliest(&weights, &d, 2, 1.0), [1, 2]);
        assert_eq!(likeliest(&weights, &d, 0, 0.5), [1]);
        assert_eq!(likeliest(&weights, &d, 0, 0.7), [1, 2]);
        assert_eq!(likeliest(&weights, &d, 3, 0.99), [1, 2, 0], "the lower id among equals");
        assert_eq!(likeliest(&weights, &d, 1, 0.7), [1]);
    }

    #[test]
    fn a_long_row_sorted_piece_by_piece_keeps_what_a_whole_sort_keeps() {
        let key = Key::new(2, Purpose::Sample);
        let weights: Vec<f32> = (0..3000).map(|i| (key.at(i).uniform() * 50.0).floor() as f32).collect();
        let sum = weights.iter().map(|w| f64::from(*w)).sum();
        let d = Distribution { sum, ..Distribution::default() };
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        for top_p in [0.001, 0.3, 0.9, 0.9999] {
            let mut reached = 0.0;
            let count = order.iter().take_while(|&&i| {
                let more = reached < f64::from(top_p) * sum;
                reached += f64::from(weights[i]);
                more
            });
            let expected: Vec<usize> = count.copied().collect();
            assert_eq!(likeliest(&weights, &d, 0, top_p), expected, "{top_p}");
        }
        assert_eq!(likeliest(&weights, &d, 700, 1.0), order[..700]);
    }

    #[test]
    fn equal_logits_choose_the_lowest_id() {
        assert_eq!(greedy(&[1.0, 4.0, 4.0]), 1);
    }
}
