//! Examples: what people (or judges) said about answers, by row.

/// Who won a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Label {
    /// The first (`chosen`) with this probability, from 0 to 1.
    Prefer(f64),
    /// Neither.
    Tie,
}

impl Label {
    /// The chosen won: the usual label.
    pub const WON: Label = Label::Prefer(1.0);

    /// Probability that the chosen is better; ½ for a tie.
    pub fn probability(self) -> f64 {
        match self {
            Label::Prefer(probability) => probability,
            Label::Tie => 0.5,
        }
    }
}

/// Two answers to one prompt that were compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Row of the answer that won.
    pub chosen: usize,
    /// Row of the answer that lost.
    pub rejected: usize,
    /// How sure that is.
    pub label: Label,
    /// By how much, in rewards, the chosen is to win (Llama 2, arXiv 2307.09288, eq. 2); 0 asks for nothing.
    pub margin: f64,
    /// Weight in the mean.
    pub weight: f64,
    /// What an auxiliary model says, for `vrpo`.
    pub auxiliary: Option<Auxiliary>,
}

impl Pair {
    /// The usual pair: `chosen` won, weight 1.
    pub fn new(chosen: usize, rejected: usize) -> Self {
        Self { chosen, rejected, label: Label::WON, margin: 0.0, weight: 1.0, auxiliary: None }
    }
}

/// An answer that was judged alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Single {
    /// Its row.
    pub row: usize,
    /// Probability that it is desirable.
    pub label: f64,
    /// Weight in the mean.
    pub weight: f64,
}

/// What an auxiliary preference model says about a labelled pair and about pairs from the reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auxiliary {
    /// ĝ: probability that the chosen is better, symmetrised and cross-fitted.
    pub preference: f64,
    /// Pairs sampled from the reference for the same prompt.
    pub synthetic: Vec<Synthetic>,
}

/// Two answers to one prompt, both sampled from the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synthetic {
    /// Row of the first.
    pub first: usize,
    /// Row of the second.
    pub second: usize,
    /// ĝ: probability that the first is better.
    pub preference: f64,
}

/// One thing to learn from. Rows are those of the batch that the example comes with.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// A comparison.
    Pair(Pair),
    /// A judgement.
    Single(Single),
    /// A prompt without any label: pairs from the reference, for `vrpo`.
    Unlabelled(Vec<Synthetic>),
}

impl From<Pair> for Example {
    fn from(pair: Pair) -> Self {
        Example::Pair(pair)
    }
}

impl Example {
    /// The same with its weight times `by`.
    pub(crate) fn weighed(&self, by: f64) -> Self {
        match self {
            Example::Pair(pair) => Example::Pair(Pair { weight: pair.weight * by, ..pair.clone() }),
            Example::Single(single) => Example::Single(Single { weight: single.weight * by, ..*single }),
            Example::Unlabelled(pairs) => Example::Unlabelled(pairs.clone()),
        }
    }

    pub(crate) fn synthetic(&self) -> &[Synthetic] {
        match self {
            Example::Pair(pair) => pair.auxiliary.as_ref().map_or(&[], |auxiliary| &auxiliary.synthetic),
            Example::Single(_) => &[],
            Example::Unlabelled(pairs) => pairs,
        }
    }
}

/// Why a pair teaches nothing and must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// One of the answers has no tokens.
    Empty,
    /// Both are the same tokens (often after truncation): every margin is 0, whatever the weights.
    Same,
}

/// Whether a pair of answers, as the tokens that will be scored, teaches nothing.
pub fn useless(chosen: &[u32], rejected: &[u32]) -> Option<Useless> {
    if chosen.is_empty() || rejected.is_empty() {
        return Some(Useless::Empty);
    }
    (chosen == rejected).then_some(Useless::Same)
}
