//! Rows of unequal length, stored flat.

use serde::{Deserialize, Serialize};

/// Rows of unequal length in one allocation: row `i` is `data[offsets[i]..offsets[i + 1]]`.
///
/// This is how every `[rows, tokens]` quantity travels: no padding exists, so no padding can leak into a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ragged<T> {
    data: Vec<T>,
    offsets: Vec<usize>,
}

impl<T> Default for Ragged<T> {
    fn default() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }
}

impl<T> Ragged<T> {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes flat data and row lengths. Panics when they do not add up: that is a bug of the caller.
    pub fn from_flat(data: Vec<T>, lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut offsets = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            offsets.push(end);
        }
        assert_eq!(end, data.len(), "row lengths add up to {end} but there are {} values", data.len());
        Self { data, offsets }
    }

    /// Appends a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = T>) {
        self.data.extend(row);
        self.offsets.push(self.data.len());
    }

    /// Appends the rows of another.
    pub fn append(&mut self, other: Self) {
        let start = self.data.len();
        self.data.extend(other.data);
        self.offsets.extend(other.offsets.iter().skip(1).map(|offset| start + offset));
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// How many values all rows hold together.
    pub fn values(&self) -> usize {
        self.data.len()
    }

    /// Length of row `row`.
    pub fn len_of(&self, row: usize) -> usize {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// Where row `row` starts in the flat data.
    pub fn start_of(&self, row: usize) -> usize {
        self.offsets[row]
    }

    /// Row `row`.
    pub fn row(&self, row: usize) -> &[T] {
        &self.data[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Row `row`, to be written.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.data[self.offsets[row]..self.offsets[row + 1]]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> + Clone + '_ {
        (0..self.rows()).map(|row| self.row(row))
    }

    /// The values of all rows, one after another.
    pub fn flat(&self) -> &[T] {
        &self.data
    }

    /// The values of all rows, one after another, to be written.
    pub fn flat_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// `rows + 1` offsets into [`Ragged::flat`].
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Row lengths in order.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.offsets.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// The same shape with every value replaced by `value`.
    pub fn like<U: Clone>(&self, value: U) -> Ragged<U> {
        Ragged { data: vec![value; self.data.len()], offsets: self.offsets.clone() }
    }

    /// The same shape with every value mapped.
    pub fn map<U>(&self, map: impl FnMut(&T) -> U) -> Ragged<U> {
        Ragged { data: self.data.iter().map(map).collect(), offsets: self.offsets.clone() }
    }

    /// Whether two have the same row lengths.
    pub fn same_shape<U>(&self, other: &Ragged<U>) -> bool {
        self.offsets == other.offsets
    }
}

impl<T: Clone> Ragged<T> {
    /// The given rows, in the given order.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let mut out = Self::new();
        for row in rows {
            out.push(self.row(row).iter().cloned());
        }
        out
    }
}

impl<T, R: IntoIterator<Item = T>> FromIterator<R> for Ragged<T> {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Self {
        let mut out = Self::new();
        for row in rows {
            out.push(row);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows = [vec![1, 2, 3], vec![], vec![4]];
        let ragged: Ragged<i32> = rows.iter().cloned().collect();
        assert_eq!(ragged.rows(), 3);
        assert_eq!(ragged.iter().map(<[i32]>::to_vec).collect::<Vec<_>>(), rows);
        assert_eq!(ragged.select([2, 0]).row(1), [1, 2, 3]);
        assert_eq!(ragged, Ragged::from_flat(vec![1, 2, 3, 4], [3, 0, 1]));
        let mut longer = ragged.clone();
        longer.append(Ragged::from_flat(vec![5, 6], [0, 2]));
        assert_eq!(longer, Ragged::from_flat(vec![1, 2, 3, 4, 5, 6], [3, 0, 1, 0, 2]));
    }

    #[test]
    #[should_panic(expected = "row lengths add up to 2")]
    fn lengths_that_do_not_add_up_are_a_bug() {
        Ragged::from_flat(vec![0; 3], [2]);
    }
}
