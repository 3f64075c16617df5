//! The tokens of a batch in the order in which they are computed: what the rows of a group share is there once.

use std::ops::Range;

use lapidary_core::{PromptGroup, TokenBatch};

/// A batch laid out for computing: of every group the shared prefix, then what each of its rows adds.
///
/// A token depends on those before it in its row only, and the rows of a group begin alike: computing their prefix once gives
/// every later token the bits that it has in a row of its own.
pub(crate) struct Rows {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Position of each token in its row.
    pub positions: Vec<usize>,
    pub groups: Vec<Group>,
    /// Experts to be used, as [`TokenBatch::routing`].
    pub routing: Option<Vec<u16>>,
    /// Of each row of the batch: its prefix and its own tokens.
    places: Vec<Place>,
}

/// Where a row lies in [`Rows`]: first the prefix, then its own tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub prefix: Range<usize>,
    pub own: Range<usize>,
}

impl Place {
    pub fn len(&self) -> usize {
        self.prefix.len() + self.own.len()
    }

    /// Index of token `t` of the row.
    pub fn at(&self, t: usize) -> usize {
        if t < self.prefix.len() { self.prefix.start + t } else { self.own.start + t - self.prefix.len() }
    }
}

/// A shared prefix and the rows that go on from it.
pub(crate) struct Group {
    /// Empty for a row that shares nothing.
    pub prefix: Range<usize>,
    pub rows: Range<usize>,
}

impl Rows {
    /// With every prompt that consecutive rows share computed once. Unless rows are to be `whole`, tokens that predict nothing
    /// that is scored are left out: at least the last one of each row.
    pub fn of(batch: &TokenBatch, whole: bool) -> Self {
        Self::sharing(batch, &batch.groups(), whole)
    }

    /// With the given groups, which must cover the rows in order and share what they say.
    pub fn sharing(batch: &TokenBatch, groups: &[PromptGroup], whole: bool) -> Self {
        let needed = |row: usize| match whole {
            true => batch.tokens.len_of(row),
            false => batch.scored.row(row).iter().rposition(|scored| *scored).unwrap_or(0),
        };
        let mut out = Rows { tokens: vec![], positions: vec![], groups: vec![], routing: None, places: vec![] };
        out.routing = batch.routing.as_ref().map(|_| Vec::new());
        for PromptGroup { rows, shared } in groups {
            let prefix = out.take(batch, rows.start, 0..*shared);
            for row in rows.clone() {
                let own = out.take(batch, row, *shared..needed(row).max(*shared));
                out.places.push(Place { prefix: prefix.clone(), own });
            }
            out.groups.push(Group { prefix, rows: rows.clone() });
        }
        assert_eq!(out.places.len(), batch.tokens.rows(), "groups cover the rows");
        out
    }

    /// Appends tokens of a row; says where they lie.
    fn take(&mut self, batch: &TokenBatch, row: usize, which: Range<usize>) -> Range<usize> {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(&batch.tokens.row(row)[which.clone()]);
        if let (Some(all), Some(given)) = (&mut self.routing, &batch.routing) {
            let per_token = given.len_of(row).checked_div(batch.tokens.len_of(row)).unwrap_or(0);
            all.extend_from_slice(&given.row(row)[which.start * per_token..which.end * per_token]);
        }
        self.positions.extend(which);
        start..self.tokens.len()
    }

    /// How many tokens are computed.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Where a row of the batch lies.
    pub fn place(&self, row: usize) -> &Place {
        &self.places[row]
    }

    /// Where each row's last token lies, of whole rows; `None` for an empty row.
    pub fn lasts(&self) -> Vec<Option<usize>> {
        self.places.iter().map(|place| place.len().checked_sub(1).map(|last| place.at(last))).collect()
    }

    /// The sequences of a group in the order in which they are attended: the prefix alone, then every row after it.
    pub fn sequences(&self, group: usize) -> impl Iterator<Item = Place> {
        let Group { prefix, rows } = &self.groups[group];
        let first = Place { prefix: 0..0, own: prefix.clone() };
        std::iter::once(first).chain(self.places[rows.clone()].iter().cloned()).filter(|place| !place.own.is_empty())
    }

    /// Length of the longest row of a group.
    pub fn longest(&self, group: usize) -> usize {
        self.places[self.groups[group].rows.clone()].iter().map(Place::len).max().unwrap_or(0)
    }
}
