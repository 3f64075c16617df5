//! Tasks of the family `games`.

pub(crate) mod countdown;
pub(crate) mod maze;
pub(crate) mod mini_sudoku;
pub(crate) mod n_queens;
pub(crate) mod puzzle24;
pub(crate) mod tower_of_hanoi;
