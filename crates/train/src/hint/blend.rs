//! What an update of a stage with hints minimises: the policy's loss, that of the hint, and what holds the policy in place.
//!
//! ```text
//! paper         L_policy + β·mean_i Σ_t KL_it − β·mean_i Σ_t log π(hint_it)           arXiv 2505.16984, eq. 3.3
//! code_parity   L_policy(with its KL and entropy) + c_sft · mean over hint tokens of −log π
//! article       α·L_SFT + (1 − α)·L_policy + β·L_reg
//! ```
//! Means are over the whole optimiser step; `micro_mean` averages means of micro-batches instead, as the authors' code does.

use lapidary_algo::{Aggregate, Kl, KlEstimator, LossMetrics, Objective};
use lapidary_core::Ragged;

use crate::learn::{Part, Term};
use crate::recipe::{Hint, HintObjective, HintVariant, Regulariser, SftTarget};
use crate::rows::Rows;

/// What a term is, for its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Policy,
    Hint,
    Regulariser,
    Demonstrations,
}

/// An objective, its weight in the sum, and what it is.
#[derive(Clone, Debug)]
struct Ingredient {
    name: Name,
    objective: Objective,
    weight: f64,
}

/// What the terms of a step are made of, before its rows are known.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    ingredients: Vec<Ingredient>,
    /// Prompts whose rows share divisors; 0 is all.
    micro_mean: usize,
}

/// What an update minimises, with the rows that it minimises it on.
pub(crate) struct Blend {
    rows: Vec<Rows>,
    demonstrations: Option<Rows>,
    ingredients: Vec<Ingredient>,
}

impl Mixture {
    /// The policy's loss alone, weighed.
    pub(crate) fn plain(objective: &Objective, weight: f64) -> Self {
        let objective = objective.clone();
        Self { ingredients: vec![Ingredient { name: Name::Policy, objective, weight }], micro_mean: 0 }
    }

    /// The loss of a stage with hints, at `alpha` where it is the article's. What weighs nothing is left out, so that limits are
    /// exact: α = 0 is the policy's loss, bit for bit.
    pub(crate) fn of(rule: &Hint, objective: &Objective, alpha: f64) -> Self {
        let teaches = if rule.variant.teaches() { 1.0 } else { 0.0 };
        let policy = if rule.variant == HintVariant::Sft { 0.0 } else { 1.0 };
        let mut micro_mean = 0;
        let mut ingredients = match &rule.objective {
            HintObjective::Paper { coefficient } => vec![
                Ingredient { name: Name::Policy, objective: objective.clone(), weight: policy },
                regulariser(objective, Regulariser::KlK3, policy * coefficient).summed(),
                Ingredient { name: Name::Hint, objective: likelihood(), weight: teaches * coefficient }.summed(),
            ],
            HintObjective::CodeParity { coefficient, micro_mean: prompts } => {
                micro_mean = *prompts;
                vec![
                    Ingredient { name: Name::Policy, objective: objective.clone(), weight: policy },
                    Ingredient { name: Name::Hint, objective: likelihood(), weight: teaches * coefficient },
                ]
            }
            HintObjective::Article(article) => {
                let name = if article.target == SftTarget::Hint { Name::Hint } else { Name::Demonstrations };
                vec![
                    Ingredient { name: Name::Policy, objective: objective.clone(), weight: 1.0 - alpha },
                    Ingredient { name, objective: likelihood(), weight: alpha },
                    regulariser(objective, article.regulariser, article.coefficient),
                ]
            }
        };
        if rule.variant == HintVariant::Sft {
            ingredients.push(Ingredient { name: Name::Demonstrations, objective: likelihood(), weight: 1.0 });
        }
        ingredients.retain(|ingredient| ingredient.weight != 0.0);
        Self { ingredients, micro_mean }
    }

    /// Puts the rows of an update in: `prompts` says which prompt each is of.
    pub(crate) fn with(&self, rows: Rows, prompts: &[usize], demonstrations: Option<Rows>) -> Blend {
        let rows = match self.micro_mean {
            0 => vec![rows],
            count => by_prompts(prompts, count).into_iter().map(|share| rows.select(&share)).collect(),
        };
        Blend { rows, demonstrations, ingredients: self.ingredients.clone() }
    }
}

/// Indices of rows, `count` prompts at a time.
fn by_prompts(prompts: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut shares: Vec<Vec<usize>> = Vec::new();
    let mut seen = 0;
    for (row, prompt) in prompts.iter().enumerate() {
        if row == 0 || prompts[row - 1] != *prompt {
            if seen % count == 0 {
                shares.push(Vec::new());
            }
            seen += 1;
        }
        if let Some(share) = shares.last_mut() {
            share.push(row);
        }
    }
    shares
}

/// Maximum likelihood: the mean over tokens of −log π.
pub(super) fn likelihood() -> Objective {
    match lapidary_algo::method("sft") {
        Some(method) => (method.defaults)(),
        None => unreachable!("`sft` is registered"),
    }
}

/// What holds the policy, and nothing of its loss: per token that it wrote.
fn regulariser(objective: &Objective, what: Regulariser, weight: f64) -> Ingredient {
    let kl = |estimator| Kl { coefficient: 1.0, estimator, ..Kl::OFF };
    let (kl, entropy_coefficient, factor) = match what {
        Regulariser::KlK1 => (kl(KlEstimator::K1), 0.0, 1.0),
        Regulariser::KlK2 => (kl(KlEstimator::K2), 0.0, 1.0),
        Regulariser::KlK3 => (kl(KlEstimator::K3), 0.0, 1.0),
        Regulariser::NegEntropy => (Kl::OFF, 1.0, 1.0),
        // k2 is half of the square.
        Regulariser::L2ToRef => (kl(KlEstimator::K2), 0.0, 2.0),
    };
    let objective = Objective {
        policy_coefficient: 0.0,
        aggregate: Aggregate::TokenMean,
        kl,
        entropy_coefficient,
        critic: None,
        ..objective.clone()
    };
    Ingredient { name: Name::Regulariser, objective, weight: weight * factor }
}

impl Ingredient {
    /// Summed over the tokens of an answer, averaged over all answers of the step, those without such a token among them.
    fn summed(mut self) -> Self {
        self.objective.aggregate = Aggregate::TokenSumConst;
        self.objective.length_constant = Some(1);
        self
    }

    /// The tokens of rows that it is about; nothing where no row has one.
    fn mask<'a>(&self, rows: &'a Rows) -> Option<&'a Ragged<bool>> {
        match self.name {
            Name::Hint => rows.hint.as_ref(),
            _ => Some(&rows.mask),
        }
    }
}

impl Blend {
    /// Terms in the order of [`Blend::metrics`].
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let share = 1.0 / self.rows.len().max(1) as f64;
        let mut parts = Vec::new();
        for rows in &self.rows {
            let terms: Vec<Term<'_>> = self.of_answers(rows).map(|(it, mask)| term(it, mask, share)).collect();
            if !terms.is_empty() {
                parts.push(Part { rows, terms });
            }
        }
        for (ingredient, rows) in self.of_demonstrations() {
            parts.push(Part { rows, terms: vec![term(ingredient, &rows.mask, 1.0)] });
        }
        parts
    }

    /// Tokens that go through the model.
    pub(crate) fn tokens(&self) -> u64 {
        self.rows.iter().chain(&self.demonstrations).map(|rows| rows.mask.values() as u64).sum()
    }

    /// How many terms there are.
    pub(crate) fn terms(&self) -> usize {
        self.parts().iter().map(|part| part.terms.len()).sum()
    }

    fn of_answers<'a>(&'a self, rows: &'a Rows) -> impl Iterator<Item = (&'a Ingredient, &'a Ragged<bool>)> {
        let about = self.ingredients.iter().filter(|it| it.name != Name::Demonstrations);
        about.filter_map(|ingredient| Some((ingredient, ingredient.mask(rows)?)))
    }

    fn of_demonstrations(&self) -> impl Iterator<Item = (&Ingredient, &Rows)> {
        let about = self.ingredients.iter().filter(|it| it.name == Name::Demonstrations);
        about.filter_map(|ingredient| Some((ingredient, self.demonstrations.as_ref()?)))
    }

    /// What the terms say of themselves, given in the order of [`Blend::parts`]: those of the policy, with the whole sum as `loss`,
    /// and the losses per token of hints and demonstrations.
    pub(crate) fn metrics(&self, losses: &[LossMetrics]) -> Vec<(&'static str, f64)> {
        if let ([Ingredient { name: Name::Policy, .. }], [_], [only]) = (&self.ingredients[..], &self.rows[..], losses)
        {
            return only.finish();
        }
        let share = 1.0 / self.rows.len().max(1) as f64;
        let answers =
            self.rows.iter().flat_map(|rows| self.of_answers(rows).map(|(it, _)| (it, share, rows.mask.rows())));
        let demonstrations = self.of_demonstrations().map(|(it, rows)| (it, 1.0, rows.mask.rows()));
        let (mut loss, mut policy) = (0.0, LossMetrics::default());
        let mut nll =
            [(Name::Hint, "hint/loss", 0.0, 0.0), (Name::Demonstrations, "hint/demonstration_loss", 0.0, 0.0)];
        for ((ingredient, share, rows), told) in answers.chain(demonstrations).zip(losses) {
            loss += share * ingredient.weight * told.loss();
            if ingredient.name == Name::Policy {
                policy.merge(told.clone());
            }
            for (_, _, sum, tokens) in nll.iter_mut().filter(|(name, ..)| *name == ingredient.name) {
                let divisor = match ingredient.objective.aggregate {
                    Aggregate::TokenSumConst => rows as f64,
                    _ => told.tokens(),
                };
                *sum += divisor * told.loss();
                *tokens += told.tokens();
            }
        }
        let mut out = vec![("loss", loss)];
        if policy.tokens() > 0.0 {
            out.extend(policy.finish().into_iter().filter(|(name, _)| *name != "loss"));
        }
        out.extend(nll.iter().filter(|(.., tokens)| *tokens > 0.0).map(|(_, name, sum, tokens)| (*name, sum / tokens)));
        out
    }
}

fn term<'a>(ingredient: &'a Ingredient, mask: &'a Ragged<bool>, share: f64) -> Term<'a> {
    Term { objective: &ingredient.objective, weight: share * ingredient.weight, mask }
}

#[cfg(test)]
mod tests;
