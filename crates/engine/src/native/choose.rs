//! Choosing a token from a row of logits.

use super::attention::grow;
use super::net::{Distribution, Net};
use super::row;
use crate::Choose;
use lapidary_core::{Key, Kind, Problem, Result};

/// Values whose weights are summed before the search goes on one by one.
const CHUNK: usize = 256;

/// The token and its log-probability in the whole distribution.
pub(crate) fn choose(
    net: &Net<'_>,
    how: Choose,
    logits: &[f32],
    key: Key,
    weights: &mut Vec<f32>,
) -> Result<(u32, f32)> {
    let temperature = match how {
        Choose::Greedy => 1.0,
        Choose::Draw { temperature, .. } => temperature,
    };
    let d = net.distribution(logits, temperature, false);
    if !d.sum.is_finite() || !d.max.is_finite() {
        return Err(Problem::new(Kind::Diverged, "N001", "a logit is not a finite number while sampling").hint(
            "the weights have diverged: go back to an earlier checkpoint, lower `learning_rate` or `max_grad_norm`",
        ));
    }
    let token = match how {
        Choose::Greedy => greedy(&logits[..net.c.vocabulary]),
        Choose::Draw { top_k, top_p, .. } => {
            let w = grow(weights, net.w.vocabulary);
            // SAFETY: both rows hold the padded vocabulary.
            unsafe {
                let (n, v) = (net.w.vocabulary, net.c.vocabulary);
                row::weights(net.isa, n, v, logits.as_ptr(), d.inverse, d.max, w.as_mut_ptr());
            }
            let w = &w[..net.c.vocabulary];
            if top_k == 0 && top_p >= 1.0 { draw(w, key.uniform()) } else { draw_from_top(w, &d, top_k, top_p, key) }
        }
    };
    Ok((token as u32, d.logp(logits[token])))
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

/// Draws among the likeliest `top_k` tokens, and of those the smallest set that reaches `top_p`.
fn draw_from_top(weights: &[f32], d: &Distribution, top_k: usize, top_p: f32, key: Key) -> usize {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let by_weight = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b));
    let keep = if top_k == 0 { weights.len() } else { top_k.min(weights.len()) };
    if keep < order.len() {
        order.select_nth_unstable_by(keep - 1, by_weight);
        order.truncate(keep);
    }
    order.sort_unstable_by(by_weight);
    let (mut reached, mut count) = (0.0, 0);
    while count < order.len() && (count == 0 || reached < f64::from(top_p) * d.sum) {
        reached += f64::from(weights[order[count]]);
        count += 1;
    }
    let kept: Vec<f32> = order[..count].iter().map(|&i| weights[i]).collect();
    order[draw(&kept, key.uniform())]
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
        for i in 0..2000 {
            let key = Key::new(1, Purpose::Sample).at(i);
            assert!([1, 2].contains(&draw_from_top(&weights, &d, 2, 1.0, key)));
            assert_eq!(draw_from_top(&weights, &d, 0, 0.5, key), 1);
            assert!([1, 2].contains(&draw_from_top(&weights, &d, 0, 0.7, key)));
        }
    }

    #[test]
    fn equal_logits_choose_the_lowest_id() {
        assert_eq!(greedy(&[1.0, 4.0, 4.0]), 1);
    }
}
