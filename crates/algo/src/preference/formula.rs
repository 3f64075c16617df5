//! Formula: the shape of a loss, in rewards `β·score`.

use super::choices::Choices;
use super::example::Label;
use super::numbers::{Number, Numbers};

/// A value and its derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// The derivative.
    pub slope: f64,
}

impl Point {
    pub(crate) fn scaled(self, by: f64) -> Point {
        Point { value: by * self.value, slope: by * self.slope }
    }
}

/// A pair's loss and its derivatives by both rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairTerm {
    /// The loss.
    pub loss: f64,
    /// dLoss/d(reward of the chosen).
    pub by_chosen: f64,
    /// dLoss/d(reward of the rejected).
    pub by_rejected: f64,
}

impl PairTerm {
    pub(crate) fn plus(self, other: PairTerm) -> PairTerm {
        PairTerm {
            loss: self.loss + other.loss,
            by_chosen: self.by_chosen + other.by_chosen,
            by_rejected: self.by_rejected + other.by_rejected,
        }
    }

    pub(crate) fn scaled(self, by: f64) -> PairTerm {
        PairTerm { loss: by * self.loss, by_chosen: by * self.by_chosen, by_rejected: by * self.by_rejected }
    }

    /// The same pair with its sides exchanged.
    pub(crate) fn swapped(self) -> PairTerm {
        PairTerm { loss: self.loss, by_chosen: self.by_rejected, by_rejected: self.by_chosen }
    }

    pub(crate) fn of_margin(point: Point) -> PairTerm {
        PairTerm { loss: point.value, by_chosen: point.slope, by_rejected: -point.slope }
    }
}

/// What a formula may read beside rewards.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The loss's numbers.
    pub(crate) numbers: &'a Numbers,
    /// The choices.
    pub(crate) choices: Choices,
    /// What the whole batch was asked for: z₀ of KTO, δ of BCO, in rewards.
    pub(crate) baseline: f64,
    /// The M-estimator's scale c.
    pub(crate) scale: f64,
    /// Whether the M-estimator is still warming up with the plain loss.
    pub(crate) plain: bool,
}

impl Context<'_> {
    pub(crate) fn at(&self, number: Number) -> f64 {
        self.numbers.at(number)
    }
}

/// A margin together with how it was labelled.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Reward of the chosen less that of the rejected.
    pub(crate) difference: f64,
    /// By how much the chosen is to win.
    pub(crate) margin: f64,
    /// Who won.
    pub(crate) label: Label,
}

/// A loss and its slope as functions of a margin.
pub type MarginFormula = fn(f64, &Context<'_>) -> Point;
/// A loss and its slope as functions of one answer's reward and whether that answer is desirable.
pub type SideFormula = fn(f64, bool, &Context<'_>) -> Point;

/// The shape of a loss.
#[derive(Clone, Copy, Debug)]
pub enum Formula {
    /// Of the margin `r_w − r_l − m` alone. A soft label mixes it with that of the swapped pair.
    Margin(MarginFormula),
    /// Of the margin and the label, where a mixture would be something else.
    Labelled(fn(Compared, &Context<'_>) -> Point),
    /// Of both rewards.
    Scores(fn(f64, f64, &Context<'_>) -> PairTerm),
    /// A sum over the two answers of a pair.
    Sides(SideFormula),
    /// Of single answers; a pair is two of them.
    Each(SideFormula),
}

impl Formula {
    /// Loss of a pair with rewards `chosen` and `rejected`.
    pub(crate) fn pair(
        self,
        [chosen, rejected]: [f64; 2],
        label: Label,
        margin: f64,
        context: &Context<'_>,
    ) -> PairTerm {
        if let Formula::Labelled(of) = self {
            return PairTerm::of_margin(of(Compared { difference: chosen - rejected, margin, label }, context));
        }
        let probability = label.probability();
        let mut sum = PairTerm::default();
        // A side without weight is not computed: 0 · ∞ would be no number.
        if probability > 0.0 {
            sum = sum.plus(self.won([chosen, rejected], margin, context).scaled(probability));
        }
        if probability < 1.0 {
            let swapped = self.won([rejected, chosen], margin, context).swapped();
            sum = sum.plus(swapped.scaled(1.0 - probability));
        }
        sum
    }

    fn won(self, [winner, loser]: [f64; 2], margin: f64, context: &Context<'_>) -> PairTerm {
        match self {
            Formula::Margin(of) => PairTerm::of_margin(of(winner - loser - margin, context)),
            Formula::Scores(of) => of(winner, loser, context),
            Formula::Sides(of) | Formula::Each(of) => {
                let (good, bad) = (of(winner, true, context), of(loser, false, context));
                PairTerm { loss: good.value + bad.value, by_chosen: good.slope, by_rejected: bad.slope }
            }
            Formula::Labelled(of) => {
                PairTerm::of_margin(of(Compared { difference: winner - loser, margin, label: Label::WON }, context))
            }
        }
    }

    /// Loss of a single answer that is desirable with probability `label`; `None` where the formula needs two.
    pub(crate) fn single(self, reward: f64, label: f64, context: &Context<'_>) -> Option<Point> {
        let (Formula::Sides(of) | Formula::Each(of)) = self else { return None };
        let mut sum = Point::default();
        for (desirable, weight) in [(true, label), (false, 1.0 - label)] {
            if weight > 0.0 {
                let part = of(reward, desirable, context).scaled(weight);
                sum = Point { value: sum.value + part.value, slope: sum.slope + part.slope };
            }
        }
        Some(sum)
    }

    /// How many examples a pair counts as.
    pub(crate) fn examples_per_pair(self) -> f64 {
        if matches!(self, Formula::Each(_)) { 2.0 } else { 1.0 }
    }

    /// Whether a margin that is asked for has a meaning.
    pub fn takes_margin(self) -> bool {
        matches!(self, Formula::Margin(_) | Formula::Labelled(_))
    }
}
