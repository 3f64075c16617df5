//! Waist 1: what crosses between algorithms and engines.

use std::ops::Range;

use crate::Ragged;

/// Token sequences to be scored or learned from. One row per sequence; rows are independent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenBatch {
    /// `[rows, tokens]` token ids, prompt and completion together.
    pub tokens: Ragged<u32>,
    /// Same shape: whether statistics of the token at this index are wanted. Index 0 of a row is never scored.
    pub scored: Ragged<bool>,
    /// `[rows]` divisor of the logits before the softmax; 1 leaves the model's own distribution.
    pub temperature: Vec<f32>,
    /// The ids that each token was drawn from under top-k or top-p, ascending: one row per token of the flat batch. An
    /// empty row is the whole vocabulary. Log-probabilities are those of the distribution cut to these ids.
    pub support: Option<Ragged<u32>>,
    /// Experts to be used instead of the router's choice: `[rows, tokens · stride]`, `stride` = MoE layers × experts per
    /// token, layers outermost. [`UNROUTED`] leaves the choice to the router. Gate weights are always computed anew.
    pub routing: Option<Ragged<u16>>,
}

/// In [`TokenBatch::routing`]: the router chooses for itself.
pub const UNROUTED: u16 = u16::MAX;

impl TokenBatch {
    /// A batch that scores every token but the first of each row, at temperature 1.
    pub fn all(rows: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let tokens: Ragged<u32> = rows.into_iter().collect();
        let scored = tokens.iter().map(|row| (0..row.len()).map(|t| t > 0).collect::<Vec<_>>()).collect();
        let temperature = vec![1.0; tokens.rows()];
        Self { tokens, scored, temperature, ..Self::default() }
    }

    /// Appends a row: `scored[t]` asks for the statistics of `tokens[t]`.
    pub fn push(&mut self, tokens: &[u32], scored: &[bool], temperature: f32) {
        assert_eq!(tokens.len(), scored.len(), "one mask value per token");
        assert!(temperature > 0.0, "temperature must be positive, got {temperature}");
        assert!(self.support.is_none() && self.routing.is_none(), "set support and routing after the last row");
        self.tokens.push(tokens.iter().copied());
        self.scored.push(scored.iter().enumerate().map(|(t, &wanted)| wanted && t > 0));
        self.temperature.push(temperature);
    }

    /// The rows cut into groups: consecutive rows that begin with the same prompt, as the samples of one prompt do. A row's
    /// prompt is what comes before its first scored token.
    ///
    /// An engine computes a group's prompt once, so a group is the smallest unit that a batch may be split into without
    /// computing something twice. Which rows form a group depends on these rows alone: split between groups, the parts have
    /// the same groups as the whole.
    pub fn groups(&self) -> Vec<PromptGroup> {
        let mut groups: Vec<PromptGroup> = Vec::new();
        let mut tokens = 0;
        for row in 0..self.tokens.rows() {
            let (length, prompt) = (self.tokens.len_of(row), self.prompt_of(row));
            match groups.last_mut() {
                Some(group)
                    if prompt >= MIN_SHARED
                        && (group.rows.len() == 1 || group.shared == prompt)
                        && tokens + length - prompt <= MAX_GROUP_TOKENS
                        && self.begin_alike(group.rows.start, row, prompt) =>
                {
                    group.rows.end = row + 1;
                    group.shared = prompt;
                    tokens += length - prompt;
                }
                _ => {
                    groups.push(PromptGroup { rows: row..row + 1, shared: 0 });
                    tokens = length;
                }
            }
        }
        groups
    }

    /// Whole groups of rows in order, as many as fit `budget` tokens with a shared prompt counted once; a group larger than that
    /// goes alone. Cut between groups, the gradient of a step is the same bits for any budget.
    pub fn microbatches(&self, budget: usize) -> Vec<Range<usize>> {
        let mut out: Vec<Range<usize>> = Vec::new();
        let mut sum = 0;
        for group in self.groups() {
            let size = self.tokens_of(&group);
            match out.last_mut() {
                Some(last) if sum + size <= budget => {
                    last.end = group.rows.end;
                    sum += size;
                }
                _ => {
                    out.push(group.rows);
                    sum = size;
                }
            }
        }
        out
    }

    /// How many tokens a group takes to compute.
    pub fn tokens_of(&self, group: &PromptGroup) -> usize {
        let own: usize = group.rows.clone().map(|row| self.tokens.len_of(row) - group.shared).sum();
        group.shared + own
    }

    /// Tokens before the first scored one.
    fn prompt_of(&self, row: usize) -> usize {
        let scored = self.scored.row(row);
        scored.iter().position(|scored| *scored).unwrap_or(scored.len())
    }

    /// Whether two rows have prompts of length `prompt` with the same tokens, sent to the same experts.
    fn begin_alike(&self, a: usize, b: usize, prompt: usize) -> bool {
        let experts = |row: usize| {
            let routing = self.routing.as_ref()?;
            let per_token = routing.len_of(row).checked_div(self.tokens.len_of(row))?;
            Some(&routing.row(row)[..prompt * per_token])
        };
        self.prompt_of(a) == prompt
            && self.tokens.row(a)[..prompt] == self.tokens.row(b)[..prompt]
            && experts(a) == experts(b)
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let of_row = |row: usize| self.tokens.start_of(row)..self.tokens.start_of(row) + self.tokens.len_of(row);
        Self {
            tokens: self.tokens.select(rows.iter().copied()),
            scored: self.scored.select(rows.iter().copied()),
            temperature: rows.iter().map(|&row| self.temperature[row]).collect(),
            support: self.support.as_ref().map(|support| support.select(rows.iter().flat_map(|&row| of_row(row)))),
            routing: self.routing.as_ref().map(|routing| routing.select(rows.iter().copied())),
        }
    }
}

/// A prompt shorter than this is not worth sharing.
const MIN_SHARED: usize = 4;
/// A group is cut where its tokens, the prompt counted once, exceed this: what has to be in memory together is bounded, and a
/// prompt of 256 tokens that is computed again costs a sixteenth.
const MAX_GROUP_TOKENS: usize = 4096;

/// Consecutive rows of a [`TokenBatch`] that begin with the same tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptGroup {
    /// The rows.
    pub rows: Range<usize>,
    /// How many tokens at their start are the same; 0 for a row that shares nothing.
    pub shared: usize,
}

/// Which statistics a forward pass is to compute beside the log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Entropy over the whole vocabulary, in nats.
    pub entropy: bool,
    /// The largest and the second largest probability.
    pub top: bool,
    /// Mean over the vocabulary of the negative log-probability.
    pub mean_nll: bool,
    /// What the value head says; the model must have one.
    pub value: bool,
    /// What the reward head says of each row; the model must have one.
    pub reward: bool,
    /// Which experts were used.
    pub routing: bool,
}

impl Want {
    /// Log-probabilities and entropies.
    pub const ENTROPY: Self =
        Self { entropy: true, top: false, mean_nll: false, value: false, reward: false, routing: false };
}

/// What a forward pass says about given tokens, shaped as [`TokenBatch::tokens`]; unscored positions hold 0.
///
/// Index `t` of a row is about token `t` given tokens `< t` of that row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenStats {
    /// Log-probability of the token, in nats, at the row's temperature and within its support.
    pub logp: Ragged<f32>,
    /// Entropy of the whole distribution at the row's temperature, in nats; all 0 unless [`Want::entropy`].
    pub entropy: Ragged<f32>,
    /// `[max_v p, second largest p]` of the whole distribution at the row's temperature, where [`Want::top`].
    pub top: Option<[Ragged<f32>; 2]>,
    /// `−(1/V) Σ_v ln p_v` at the row's temperature, where [`Want::mean_nll`] (Kang et al. 2025, arXiv 2502.18581:
    /// self-certainty is this less `ln V`).
    pub mean_nll: Option<Ragged<f32>>,
    /// The value of the state before the token, where [`Want::value`].
    pub value: Option<Ragged<f32>>,
    /// `[rows]` the reward head at each row's last token, where [`Want::reward`]; 0 for an empty row.
    pub reward: Option<Vec<f32>>,
    /// Experts that were used, shaped as [`TokenBatch::routing`], where [`Want::routing`].
    pub routing: Option<Ragged<u16>>,
}

/// What an objective answers: the derivative of the loss with respect to each statistic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenGrads {
    /// dLoss/dlogp, shaped as [`TokenStats::logp`]; positions that were not scored must hold 0.
    pub logp: Ragged<f32>,
    /// dLoss/dentropy where the objective uses entropy.
    pub entropy: Option<Ragged<f32>>,
    /// dLoss/dvalue where the objective uses the value head.
    pub value: Option<Ragged<f32>>,
    /// `[rows]` dLoss/dreward where the objective uses the reward head.
    pub reward: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(rows: &[(&[u32], usize)]) -> TokenBatch {
        let mut batch = TokenBatch::default();
        for (tokens, prompt) in rows {
            let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= *prompt).collect();
            batch.push(tokens, &scored, 1.0);
        }
        batch
    }

    fn shapes(batch: &TokenBatch) -> Vec<(Range<usize>, usize)> {
        batch.groups().into_iter().map(|g| (g.rows, g.shared)).collect()
    }

    #[test]
    fn rows_with_the_same_prompt_are_a_group() {
        let whole = batch(&[
            (&[1, 2, 3, 4, 9], 4),
            (&[1, 2, 3, 4], 4),
            (&[1, 2, 3, 4, 5, 6], 4),
            // Another prompt, the same tokens with a longer prompt, one that is too short to share.
            (&[1, 2, 3, 5, 6], 4),
            (&[1, 2, 3, 5, 6], 5),
            (&[7, 8], 1),
            (&[7, 8], 1),
            (&[], 0),
        ]);
        let expected = vec![(0..3, 4), (3..4, 0), (4..5, 0), (5..6, 0), (6..7, 0), (7..8, 0)];
        assert_eq!(shapes(&whole), expected);
        assert_eq!(whole.tokens_of(&whole.groups()[0]), 4 + 1 + 2);
        // Cut between groups, the groups stay.
        assert_eq!(shapes(&whole.select(&[0, 1, 2])), expected[..1]);
        assert_eq!(shapes(&whole.select(&[3, 4])), vec![(0..1, 0), (1..2, 0)]);
    }

    #[test]
    fn rows_that_were_sent_to_other_experts_are_not_shared() {
        let mut batch = batch(&[(&[1, 2, 3, 4, 9], 4), (&[1, 2, 3, 4, 8], 4), (&[1, 2, 3, 4, 7], 4)]);
        let mut routing = vec![3u16; 5 * 2 * 3];
        // The last token of a row may differ, a token of the prompt may not.
        routing[9] = 1;
        routing[2 * 10 + 7] = 1;
        batch.routing = Some(Ragged::from_flat(routing, [10; 3]));
        assert_eq!(shapes(&batch), vec![(0..2, 4), (2..3, 0)]);
    }

    #[test]
    fn a_group_is_bounded() {
        let row = vec![5u32; 1000];
        let batch = batch(&vec![(&row[..], 400); 12]);
        let groups = batch.groups();
        assert_eq!(groups.iter().map(|g| g.rows.len()).collect::<Vec<_>>(), [6, 6]);
        assert!(groups.iter().all(|g| batch.tokens_of(g) <= MAX_GROUP_TOKENS));
    }

    /// Rows of the given prompts and lengths; a prompt is 4 tokens.
    fn rows(shapes: impl IntoIterator<Item = (u32, usize)>) -> TokenBatch {
        let mut batch = TokenBatch::default();
        for (prompt, length) in shapes {
            let tokens: Vec<u32> = (0..length as u32).map(|t| if t < 4 { prompt } else { t }).collect();
            batch.push(&tokens, &(0..length).map(|t| t >= 4).collect::<Vec<_>>(), 1.0);
        }
        batch
    }

    #[test]
    fn a_row_above_the_budget_goes_alone() {
        let lengths = [5, 5, 5, 19, 6, 7];
        let batch = rows((1..).zip(lengths));
        assert_eq!(batch.microbatches(13), [0..2, 2..3, 3..4, 4..6]);
        assert!(rows([]).microbatches(6).is_empty());
    }

    #[test]
    fn a_group_is_not_cut_and_its_prompt_counts_once() {
        let batch = rows([(1, 6), (1, 6), (1, 6), (2, 6), (2, 6), (3, 6)]);
        // 4 + 3·2 = 10 tokens, 4 + 2·2 = 8, and 6.
        assert_eq!(batch.microbatches(9), [0..3, 3..5, 5..6]);
        assert_eq!(batch.microbatches(18), [0..5, 5..6]);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_microbatch_in_order(
            shapes in prop::collection::vec((0u32..4, 5usize..20), 0..40),
            budget in 1usize..50,
        ) {
            let batch = rows(shapes);
            let packed = batch.microbatches(budget);
            let all: Vec<usize> = packed.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..batch.tokens.rows()).collect::<Vec<_>>());
            let groups = batch.groups();
            let tokens = |range: &Range<usize>| -> (usize, usize) {
                let inside = groups.iter().filter(|g| range.start <= g.rows.start && g.rows.end <= range.end);
                (inside.clone().count(), inside.map(|g| batch.tokens_of(g)).sum())
            };
            for (at, range) in packed.iter().enumerate() {
                let (count, sum) = tokens(range);
                prop_assert!(sum <= budget || count == 1);
                // None could have taken the next group too.
                if let Some(next) = packed.get(at + 1) {
                    let first = groups.iter().find(|g| g.rows.start == next.start).unwrap();
                    prop_assert!(sum + batch.tokens_of(first) > budget);
                }
            }
        }
    }
}
