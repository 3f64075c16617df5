//! Loss: examples put through the losses of a mix, in `f64`.

use super::choices::Choices;
use super::coupling::{Each, PreferencePrepared, Shared, assert_won};
use super::example::{Example, Pair};
use super::formula::{PairTerm, Point};
use super::metrics::PreferenceMetrics;
use super::numbers::Number;
use super::resolve::{Part, Preference};
use super::row::Learns;
use super::score::{Answer, Score};

/// What a policy's micro-batch answers.
#[derive(Clone, Debug, PartialEq)]
pub struct PreferenceOutput {
    /// This micro-batch's part of the step's loss; parts add up to the loss of the step.
    pub loss: f64,
    /// Derivative of the step's loss by each row's [`Answer::logp`].
    pub by_logp: Vec<f64>,
    /// Derivative by each row's [`Answer::mean`]: the likelihood term, where there is one.
    pub by_mean: Vec<f64>,
    /// Sums for reporting.
    pub metrics: PreferenceMetrics,
}

/// `β·score` of each answer, and its derivative by the answer's log-probability.
pub(crate) fn answer_rewards(part: &Part, choices: &Choices, answers: &[Answer]) -> Vec<Point> {
    let beta = part.numbers.at(Number::Beta);
    let score = part.loss.score;
    answers.iter().map(|answer| score.of(answer, choices.divergence, &part.numbers).scaled(beta)).collect()
}

impl Preference {
    /// The part that a micro-batch has in the step's loss, and its derivatives: rows of `examples` are places in `answers`,
    /// and its first example is the step's number `from`.
    ///
    /// Panics on bugs of the caller: rows that are not there, a margin or a single answer where the loss takes none
    /// ([`super::PreferenceNeeds`]).
    pub fn loss(
        &self,
        answers: &[Answer],
        examples: &[Example],
        from: usize,
        prepared: &PreferencePrepared,
    ) -> PreferenceOutput {
        assert!(self.target == Learns::Policy, "`{}` was resolved for a reward model", self.method.name);
        assert!(answers.iter().all(|answer| answer.tokens > 0.0), "an answer without tokens has no place in a pair");
        let mut metrics = PreferenceMetrics::default();
        let mut by_logp = vec![0.0; answers.len()];
        let mut by_mean = vec![0.0; answers.len()];
        let mut loss = 0.0;
        for (index, (part, shared)) in self.parts.iter().zip(&prepared.parts).enumerate() {
            let scored = answer_rewards(part, &self.choices, answers);
            let rewards: Vec<f64> = scored.iter().map(|reward| reward.value).collect();
            let (of_part, by_reward) = self.part(part, shared, &rewards, examples, from, prepared, &mut metrics);
            loss += of_part;
            for ((slope, by_reward), reward) in by_logp.iter_mut().zip(by_reward).zip(&scored) {
                if by_reward != 0.0 {
                    *slope += by_reward * reward.slope;
                }
            }
            if index == 0 {
                self.see(part, &rewards, answers, examples, &mut metrics);
            }
        }
        loss += self.likelihood(answers, examples, prepared, &mut by_mean, &mut metrics);
        metrics.finish_loss(loss, prepared, examples.len());
        PreferenceOutput { loss, by_logp, by_mean, metrics }
    }

    /// One loss of the mix: its weighted part of the step's loss, and the derivative by each row's reward.
    #[expect(clippy::too_many_arguments, reason = "a micro-batch has this many sides")]
    pub(crate) fn part(
        &self,
        part: &Part,
        shared: &Shared,
        rewards: &[f64],
        examples: &[Example],
        from: usize,
        prepared: &PreferencePrepared,
        metrics: &mut PreferenceMetrics,
    ) -> (f64, Vec<f64>) {
        assert!(from + examples.len() <= prepared.examples, "examples beyond those of the step");
        let context = self.context(part, shared);
        let mut by_reward = vec![0.0; rewards.len()];
        let mut loss = 0.0;
        let weight = part.weight / shared.examples.max(1.0);
        for (index, example) in examples.iter().enumerate() {
            match example {
                Example::Pair(pair) => {
                    let term = match &part.control {
                        Some(control) => control.labelled(part, &context, rewards, pair, metrics).scaled(pair.weight),
                        None => self.pair(part, shared, rewards, pair, from + index),
                    };
                    let term = term.scaled(weight);
                    loss += term.loss;
                    by_reward[pair.chosen] += term.by_chosen;
                    by_reward[pair.rejected] += term.by_rejected;
                }
                Example::Single(single) => {
                    let point = part.shape.formula.single(rewards[single.row], single.label, &context);
                    let Some(point) = point.filter(|_| part.loss.unpaired) else {
                        panic!("`{}` learns from pairs only", part.loss.name)
                    };
                    loss += weight * single.weight * point.value;
                    by_reward[single.row] += weight * single.weight * point.slope;
                }
                Example::Unlabelled(_) => {
                    assert!(part.control.is_some(), "`{}` cannot use a prompt without labels", part.loss.name);
                }
            }
            if let Some(control) = &part.control {
                let weight = part.weight / shared.prompts.max(1.0);
                loss += control.synthetic(part, &context, rewards, example, weight, &mut by_reward, metrics);
            }
        }
        (loss, by_reward)
    }

    /// A pair's loss by everything but the mean, its weight included.
    fn pair(&self, part: &Part, shared: &Shared, rewards: &[f64], pair: &Pair, place: usize) -> PairTerm {
        let context = self.context(part, shared);
        let formula = part.shape.formula;
        assert!(pair.margin == 0.0 || formula.takes_margin(), "`{}` takes no margin", part.loss.name);
        let sides = [rewards[pair.chosen], rewards[pair.rejected]];
        let plain = |margin: f64| formula.pair(sides, pair.label, margin, &context).scaled(pair.weight);
        match &shared.each {
            Each::Nothing => plain(pair.margin),
            Each::Keep(factors) => plain(pair.margin).scaled(factors[place]),
            Each::SoftMin { factors, loss } => {
                // The pair's own weight is inside the factor already.
                let inner = formula.pair(sides, pair.label, pair.margin, &context).scaled(factors[place]);
                PairTerm { loss: *loss, ..inner }
            }
            Each::Margin(goals) => {
                assert_won(formula, pair.label);
                plain(goals[place])
            }
            Each::Sides(meets) => {
                assert_won(formula, pair.label);
                let [rejected, chosen] = meets[place];
                let own = formula.pair([sides[0], rejected], pair.label, 0.0, &context);
                let other = formula.pair([chosen, sides[1]], pair.label, 0.0, &context);
                PairTerm { loss: own.loss, by_chosen: own.by_chosen, by_rejected: other.by_rejected }
                    .scaled(pair.weight)
            }
        }
    }

    /// `c · mean_i −mean_t logp(chosen)`.
    fn likelihood(
        &self,
        answers: &[Answer],
        examples: &[Example],
        prepared: &PreferencePrepared,
        by_mean: &mut [f64],
        metrics: &mut PreferenceMetrics,
    ) -> f64 {
        let coefficient = self.common.get(Number::NllCoefficient).unwrap_or(0.0);
        if coefficient == 0.0 {
            return 0.0;
        }
        let mut loss = 0.0;
        for example in examples {
            if let Example::Pair(pair) = example {
                let weight = coefficient * pair.weight / prepared.pairs;
                loss -= weight * answers[pair.chosen].mean;
                by_mean[pair.chosen] -= weight;
                metrics.mean("nll_loss", -answers[pair.chosen].mean);
            }
        }
        loss
    }

    /// What is reported of the answers: implicit rewards are `β·(logp − logp_ref)` whatever the loss makes of them, so that
    /// losses can be compared; without a reference the loss's own scores.
    fn see(
        &self,
        part: &Part,
        rewards: &[f64],
        answers: &[Answer],
        examples: &[Example],
        metrics: &mut PreferenceMetrics,
    ) {
        let beta = part.numbers.at(Number::Beta);
        let implicit = |row: usize| match part.loss.score {
            Score::LogRatio | Score::MeanLogRatio => beta * (answers[row].logp - answers[row].reference),
            _ => rewards[row],
        };
        for example in examples {
            match example {
                Example::Pair(pair) => {
                    metrics.see_pair(implicit(pair.chosen), implicit(pair.rejected));
                    metrics.mean("logps/chosen", answers[pair.chosen].logp);
                    metrics.mean("logps/rejected", answers[pair.rejected].logp);
                }
                Example::Single(single) => {
                    let [reward, logp] = match single.label > 0.5 {
                        true => ["rewards/chosen", "logps/chosen"],
                        false => ["rewards/rejected", "logps/rejected"],
                    };
                    metrics.mean(reward, implicit(single.row));
                    metrics.mean(logp, answers[single.row].logp);
                }
                Example::Unlabelled(_) => {}
            }
        }
    }
}
