//! Unfit examples: what a loss has no use for, found before it is asked.

use super::coupling::Coupling;
use super::example::{Example, Label};
use super::resolve::Preference;

/// Why a loss cannot learn from an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A judgement of a single answer, and the loss compares two.
    Single,
    /// A margin, and the loss has no place for it.
    Margin,
    /// A soft label or a tie, and answers meet by rank.
    Label,
    /// No auxiliary preference, and the loss debiases with it.
    Auxiliary,
}

impl Unfit {
    /// The reason, for people.
    pub fn why(self) -> &'static str {
        match self {
            Unfit::Single => "it is a judgement of one answer, and the loss compares two",
            Unfit::Margin => "it has a margin, which has no meaning in this loss",
            Unfit::Label => "its label is not certain, and this loss lets winners and losers meet by rank",
            Unfit::Auxiliary => "no auxiliary preference is known for it, which this loss debiases with",
        }
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Unfit::Single => {
                "use `kto`, `bco` (policy) or `reward_bce` (reward model), or data with `chosen` and `rejected`"
            }
            Unfit::Margin => {
                "set `margin_scale = 0` in `[stage.pairs]`, or use a loss of the margin alone such as `dpo`"
            }
            Unfit::Label => "set `near_ties = \"drop\"` in `[stage.pairs]`, or use another loss",
            Unfit::Auxiliary => {
                "give the row `chosen_preference`, and pairs from the reference `a_1`, `a_2` with `a_1_preference`"
            }
        }
    }
}

impl Preference {
    /// Why an example must not be given to [`Preference::loss`] or [`Preference::reward_loss`]; `None` where it may.
    pub fn unfit(&self, example: &Example) -> Option<Unfit> {
        let needs = self.needs();
        let by_rank =
            |part: &super::resolve::Part| matches!(part.loss.coupling, Coupling::Sorted | Coupling::SortedSides);
        match example {
            Example::Single(_) if !needs.unpaired => Some(Unfit::Single),
            Example::Pair(pair) if pair.margin != 0.0 && !needs.margins => Some(Unfit::Margin),
            Example::Pair(pair) if pair.label != Label::WON && self.parts.iter().any(by_rank) => Some(Unfit::Label),
            Example::Pair(pair) if needs.synthetic_pairs.is_some() && pair.auxiliary.is_none() => {
                Some(Unfit::Auxiliary)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preference::testing::{policy, reward};
    use crate::preference::{Pair, Single};

    #[test]
    fn what_does_not_fit_is_named_and_what_fits_is_not() {
        let single = Example::Single(Single { row: 0, label: 1.0, weight: 1.0 });
        let plain: Example = Pair::new(0, 1).into();
        let wide: Example = Pair { margin: 0.5, ..Pair::new(0, 1) }.into();
        let tie: Example = Pair { label: Label::Tie, ..Pair::new(0, 1) }.into();
        for (preference, unfit) in [
            (policy("dpo", "{}"), [Some(Unfit::Single), None, None, None]),
            (policy("kto", "{}"), [None, None, Some(Unfit::Margin), None]),
            (policy("aot", "{}"), [Some(Unfit::Single), None, Some(Unfit::Margin), Some(Unfit::Label)]),
            (
                policy("vrpo", "{}"),
                [Some(Unfit::Single), Some(Unfit::Auxiliary), Some(Unfit::Auxiliary), Some(Unfit::Auxiliary)],
            ),
            (reward("bradley_terry", "{}"), [Some(Unfit::Single), None, None, None]),
            (reward("reward_bce", "{}"), [None, None, Some(Unfit::Margin), None]),
        ] {
            let found = [&single, &plain, &wide, &tie].map(|example| preference.unfit(example));
            assert_eq!(found, unfit, "{}", preference.method().name);
        }
    }
}
