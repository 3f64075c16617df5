//! Coupling: what some losses must know of the whole optimiser step before its first micro-batch.
//!
//! These losses are not sums over examples, so a micro-batch alone cannot say what its part is. The step's rows are scored
//! once with the weights as they are, [`Preference::prepare`] makes the statistics of them, and with those in hand the loss
//! and its gradient are sums again: at the same weights the gradient is exactly that of the whole-batch loss.

use serde::{Deserialize, Serialize};

use super::choices::{Rho, RhoOn, Shift};
use super::example::{Example, Label, Pair};
use super::formula::{Context, Formula};
use super::loss::answer_rewards;
use super::numbers::Number;
use super::numeric::{sigmoid, softplus};
use super::resolve::{Part, Preference};
use super::score::Answer;

/// What a loss must know of the whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// Nothing: a mean over examples.
    None,
    /// `−β′ ln mean exp(−ℓ/β′)`: the weight of each pair among all (Dr. DPO).
    SoftMin,
    /// The pair that has the same rank by the reference as this one by the policy (AOT, paired).
    Sorted,
    /// The answers that have the same rank on the other side (AOT, unpaired).
    SortedSides,
    /// Mean log-ratio of answers to other examples' prompts (KTO).
    MismatchedKl,
    /// Mean reward so far (BCO).
    MeanReward,
    /// Scale of the losses, and which of them are trimmed (M-estimator).
    Scale,
}

impl Coupling {
    /// Fewer examples in an optimiser step make the loss meaningless.
    pub fn min_examples(self) -> usize {
        match self {
            Coupling::None | Coupling::MeanReward => 1,
            Coupling::SoftMin => 2,
            Coupling::MismatchedKl | Coupling::Scale => 4,
            Coupling::Sorted | Coupling::SortedSides => 8,
        }
    }

    /// Why the whole batch is needed; `None` for a mean over examples.
    pub fn why(self) -> Option<&'static str> {
        Some(match self {
            Coupling::None => return None,
            Coupling::SoftMin => "a pair's weight is its share in a sum of exponentials over all pairs of the step",
            Coupling::Sorted | Coupling::SortedSides => "it compares distributions: answers meet by rank in the step",
            Coupling::MismatchedKl => "its zero is the mean log-ratio of answers to other prompts of the step",
            Coupling::MeanReward => "its zero is the mean reward, updated once per step",
            Coupling::Scale => "its scale is the spread of the losses of the step",
        })
    }
}

/// What a preference remembers from one step to the next; part of a run's checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceState {
    /// Mean of all rewards seen (BCO's δ).
    pub reward_mean: f64,
    /// How many those were.
    pub rewards: f64,
    /// Moving average of the losses' median absolute deviation (M-estimator); `None` before the first step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// How much of the moving average of the deviation survives a step: that of the last ten steps or so.
const DEVIATION_KEPT: f64 = 0.9;

/// What one loss of a mix shares between the micro-batches of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    /// Examples that the mean divides by.
    pub examples: f64,
    /// Prompts with synthetic pairs.
    pub prompts: f64,
    pub baseline: f64,
    pub scale: f64,
    pub plain: bool,
    pub each: Each,
    /// Mean relative influence of the pairs and the share below a tenth, where the loss bounds influence by a scale.
    pub influence: Option<[f64; 2]>,
}

/// What is different for each example of a step, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Each {
    Nothing,
    /// Factor on loss and gradient.
    Keep(Vec<f64>),
    /// Factor on the gradient; every example's part of the loss is the same.
    SoftMin {
        factors: Vec<f64>,
        loss: f64,
    },
    /// What the pair's margin is compared with.
    Margin(Vec<f64>),
    /// The reward that each side meets: `[that of a rejected answer for the chosen, of a chosen answer for the rejected]`.
    Sides(Vec<[f64; 2]>),
}

/// What the micro-batches of an optimiser step share; see [`Preference::prepare`].
#[derive(Clone, Debug, PartialEq)]
pub struct PreferencePrepared {
    pub(crate) parts: Vec<Shared>,
    /// Pairs of the step.
    pub(crate) pairs: f64,
    /// How many examples the step has.
    pub(crate) examples: usize,
    /// KTO's z₀ in nats, where there is one.
    pub(crate) kl: Option<f64>,
    /// The state after this step.
    pub next: PreferenceState,
}

impl Preference {
    /// What the micro-batches of one optimiser step share: `answers` and `examples` are the whole step's. Where
    /// [`super::PreferenceNeeds::whole_batch`], the answers' log-probabilities are those of the weights before the step
    /// (elsewhere they are not read). `mismatched` are answers scored under other examples' prompts; `progress` is the
    /// share of the stage's steps that are done.
    pub fn prepare(
        &self,
        answers: &[Answer],
        examples: &[Example],
        mismatched: &[Answer],
        state: &PreferenceState,
        progress: f64,
    ) -> PreferencePrepared {
        let kl = self.needs().mismatched.then(|| mismatched_kl(mismatched));
        let rewards = |part: &Part| match part.loss.coupling {
            Coupling::None => Vec::new(),
            _ => answer_rewards(part, &self.choices, answers).into_iter().map(|reward| reward.value).collect(),
        };
        let reference = |part: &Part| {
            let beta = part.numbers.at(Number::Beta);
            answers.iter().map(|answer| beta * answer.reference).collect()
        };
        self.prepare_with(&rewards, &reference, examples, kl, state, progress)
    }

    /// The same for a reward model: `rewards` are the head's, one per row.
    pub fn prepare_rewards(
        &self,
        rewards: &[f64],
        examples: &[Example],
        state: &PreferenceState,
        progress: f64,
    ) -> PreferencePrepared {
        self.prepare_with(&|_| rewards.to_vec(), &|_| Vec::new(), examples, None, state, progress)
    }

    pub(crate) fn prepare_with(
        &self,
        rewards: &dyn Fn(&Part) -> Vec<f64>,
        reference: &dyn Fn(&Part) -> Vec<f64>,
        examples: &[Example],
        kl: Option<f64>,
        state: &PreferenceState,
        progress: f64,
    ) -> PreferencePrepared {
        let mut next = *state;
        let pairs = examples.iter().filter(|example| matches!(example, Example::Pair(_))).count() as f64;
        let singles = examples.iter().filter(|example| matches!(example, Example::Single(_))).count() as f64;
        let prompts = examples.iter().filter(|example| !example.synthetic().is_empty()).count() as f64;
        let parts = self
            .parts
            .iter()
            .map(|part| {
                let mut shared = Shared {
                    examples: pairs * part.shape.formula.examples_per_pair() + singles,
                    prompts,
                    baseline: 0.0,
                    scale: part.numbers.get(Number::RhoScale).unwrap_or(1.0),
                    plain: part.numbers.get(Number::RhoWarmup).is_some_and(|share| progress < share),
                    each: Each::Nothing,
                    influence: None,
                };
                let rewards = rewards(part);
                match part.loss.coupling {
                    Coupling::None => {}
                    Coupling::SoftMin => shared.each = self.soft_min(part, &shared, &rewards, examples),
                    Coupling::Sorted => shared.each = sorted(&rewards, &reference(part), examples),
                    Coupling::SortedSides => shared.each = sorted_sides(&rewards, examples),
                    Coupling::MismatchedKl => shared.baseline = part.numbers.at(Number::Beta) * kl.unwrap_or(0.0),
                    Coupling::MeanReward => shared.baseline = self.mean_reward(&rewards, examples, &mut next),
                    Coupling::Scale => self.scale(part, &mut shared, &rewards, examples, &mut next),
                }
                shared
            })
            .collect();
        PreferencePrepared { parts, pairs, examples: examples.len(), kl, next }
    }

    /// `w_i e^(−ℓ_i/β′) / Σ_j w_j e^(−ℓ_j/β′)` times the number of pairs, and `−β′ ln (Σ w e^(−ℓ/β′) / Σ w)`.
    fn soft_min(&self, part: &Part, shared: &Shared, rewards: &[f64], examples: &[Example]) -> Each {
        let temperature = part.numbers.at(Number::DrDpoBeta);
        let context = self.context(part, shared);
        let scaled: Vec<f64> = pairs(examples)
            .map(|pair| {
                let sides = [rewards[pair.chosen], rewards[pair.rejected]];
                -part.shape.formula.pair(sides, pair.label, pair.margin, &context).loss / temperature
            })
            .collect();
        let weights: Vec<f64> = pairs(examples).map(|pair| pair.weight).collect();
        let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let terms: Vec<f64> = scaled.iter().zip(&weights).map(|(x, weight)| weight * (x - most).exp()).collect();
        let (sum, weight): (f64, f64) = (terms.iter().sum(), weights.iter().sum());
        if sum == 0.0 {
            return Each::SoftMin { factors: vec![0.0; terms.len()], loss: 0.0 };
        }
        let factors = terms.iter().map(|term| term / sum * terms.len() as f64).collect();
        Each::SoftMin { factors, loss: -temperature * (most + (sum / weight).ln()) }
    }

    /// BCO's δ: the running mean, this step's rewards among it.
    fn mean_reward(&self, rewards: &[f64], examples: &[Example], next: &mut PreferenceState) -> f64 {
        if self.choices.shift == Shift::Off {
            return 0.0;
        }
        let rows = examples.iter().flat_map(|example| match example {
            Example::Pair(pair) => vec![pair.chosen, pair.rejected],
            Example::Single(single) => vec![single.row],
            Example::Unlabelled(_) => Vec::new(),
        });
        for row in rows {
            next.rewards += 1.0;
            next.reward_mean += (rewards[row] - next.reward_mean) / next.rewards;
        }
        next.reward_mean
    }

    /// The M-estimator's scale, which pairs are trimmed, and how much influence the pairs have.
    fn scale(
        &self,
        part: &Part,
        shared: &mut Shared,
        rewards: &[f64],
        examples: &[Example],
        next: &mut PreferenceState,
    ) {
        let on = self.choices.rho_on;
        let inputs: Vec<f64> = pairs(examples).map(|pair| input(on, rewards, pair)).collect();
        if inputs.is_empty() {
            return;
        }
        if let Some(times) = part.numbers.get(Number::RhoMad).filter(|times| *times > 0.0) {
            let now = median_deviation(&inputs);
            let kept = next.deviation.map_or(now, |before| DEVIATION_KEPT * before + (1.0 - DEVIATION_KEPT) * now);
            next.deviation = Some(kept);
            // All inputs alike: any scale is as good as another, but 0 would divide.
            shared.scale = if kept > 0.0 { times * kept } else { times };
        }
        if shared.plain {
            return;
        }
        if self.choices.rho == Rho::Trimmed {
            let keep = part.numbers.at(Number::RhoKeep);
            shared.each = Each::Keep(trimmed(&inputs, keep));
        }
        let factors = match &shared.each {
            Each::Keep(factors) => factors.clone(),
            _ => vec![1.0; inputs.len()],
        };
        let slopes = inputs.iter().zip(&factors);
        let influence: Vec<f64> = slopes.map(|(x, f)| f * self.choices.rho.at(*x, shared.scale).slope.abs()).collect();
        let most = influence.iter().copied().fold(0.0, f64::max);
        if most > 0.0 {
            let count = influence.len() as f64;
            let small = influence.iter().filter(|w| **w < 0.1 * most).count() as f64;
            shared.influence = Some([influence.iter().sum::<f64>() / most / count, small / count]);
        }
    }

    pub(crate) fn context<'a>(&self, part: &'a Part, shared: &Shared) -> Context<'a> {
        Context {
            numbers: &part.numbers,
            choices: self.choices,
            baseline: shared.baseline,
            scale: shared.scale,
            plain: shared.plain,
        }
    }
}

/// z₀ = max(0, mean log-ratio); 0 where nothing was scored.
fn mismatched_kl(answers: &[Answer]) -> f64 {
    let sum: f64 = answers.iter().map(|answer| answer.logp - answer.reference).sum();
    if answers.is_empty() { 0.0 } else { (sum / answers.len() as f64).max(0.0) }
}

/// The pairs, in order. Losses that couple by pair take nothing else.
fn pairs(examples: &[Example]) -> impl Iterator<Item = &Pair> {
    examples.iter().map(|example| match example {
        Example::Pair(pair) => pair,
        other => panic!("this loss couples pairs, got {other:?}"),
    })
}

/// Each pair's counterpart of the same rank: `β(sort Δref)` at the rank of its `β·Δπ`.
fn sorted(rewards: &[f64], reference: &[f64], examples: &[Example]) -> Each {
    let difference = |of: &[f64], pair: &Pair| of[pair.chosen] - of[pair.rejected];
    let policy: Vec<f64> = pairs(examples).map(|pair| difference(rewards, pair)).collect();
    let mut goal: Vec<f64> = pairs(examples).map(|pair| difference(reference, pair)).collect();
    goal.sort_by(f64::total_cmp);
    Each::Margin(by_rank(&policy, &goal))
}

/// Chosen answers meet rejected ones of the same rank.
fn sorted_sides(rewards: &[f64], examples: &[Example]) -> Each {
    let chosen: Vec<f64> = pairs(examples).map(|pair| rewards[pair.chosen]).collect();
    let rejected: Vec<f64> = pairs(examples).map(|pair| rewards[pair.rejected]).collect();
    let ascending = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let meets = by_rank(&chosen, &ascending(&rejected)).into_iter().zip(by_rank(&rejected, &ascending(&chosen)));
    Each::Sides(meets.map(|(rejected, chosen)| [rejected, chosen]).collect())
}

/// For each value the entry of `sorted` at its rank; equal values keep their order.
fn by_rank(values: &[f64], sorted: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut out = vec![0.0; values.len()];
    for (rank, index) in order.into_iter().enumerate() {
        out[index] = sorted[rank];
    }
    out
}

/// What ρ is put on: the logistic loss under the label, or `σ(margin) − label`.
fn input(on: RhoOn, rewards: &[f64], pair: &Pair) -> f64 {
    let margin = rewards[pair.chosen] - rewards[pair.rejected] - pair.margin;
    let label = pair.label.probability();
    match on {
        RhoOn::Loss => label * softplus(-margin) + (1.0 - label) * softplus(margin),
        RhoOn::Residual => sigmoid(margin) - label,
    }
}

/// `n/kept` for the ⌊keep·n⌋ (at least one) inputs nearest to 0, else 0; equal inputs keep their order.
fn trimmed(inputs: &[f64], keep: f64) -> Vec<f64> {
    // A share written in decimals must not lose a pair to its binary form.
    let kept = ((keep * inputs.len() as f64 + 1e-9).floor() as usize).clamp(1, inputs.len());
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by(|&a, &b| inputs[a].abs().total_cmp(&inputs[b].abs()));
    let mut factors = vec![0.0; inputs.len()];
    for &index in &order[..kept] {
        factors[index] = inputs.len() as f64 / kept as f64;
    }
    factors
}

/// Median of |x − median(x)|.
fn median_deviation(values: &[f64]) -> f64 {
    let middle = median(values.to_vec());
    median(values.iter().map(|value| (value - middle).abs()).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { 0.5 * (values[half - 1] + values[half]) }
}

/// Labels other than a plain win have no meaning where pairs meet by rank.
pub(crate) fn assert_won(formula: Formula, label: Label) {
    assert!(label == Label::WON, "{formula:?} by rank needs pairs that were won, got {label:?}");
}
