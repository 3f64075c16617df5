//! Rows of cells, as questions and answers write them.

use std::fmt::Display;

/// `1 2\n3 4`.
pub(crate) fn lines<T: Display>(grid: &[Vec<T>]) -> String {
    joined(grid, " ", "\n")
}

/// `1 2; 3 4`: a whole grid in one line.
pub(crate) fn one_line<T: Display>(grid: &[Vec<T>]) -> String {
    joined(grid, " ", "; ")
}

/// `12;34`, for cells of one character.
pub(crate) fn dense<T: Display>(grid: &[Vec<T>]) -> String {
    joined(grid, "", ";")
}

fn joined<T: Display>(grid: &[Vec<T>], between_cells: &str, between_rows: &str) -> String {
    let row = |row: &Vec<T>| row.iter().map(T::to_string).collect::<Vec<_>>().join(between_cells);
    grid.iter().map(row).collect::<Vec<_>>().join(between_rows)
}

/// The cells above, below and beside a cell.
pub(crate) fn neighbours(rows: usize, columns: usize, (row, column): (usize, usize)) -> Vec<(usize, usize)> {
    let mut all = Vec::with_capacity(4);
    if row > 0 {
        all.push((row - 1, column));
    }
    if row + 1 < rows {
        all.push((row + 1, column));
    }
    if column > 0 {
        all.push((row, column - 1));
    }
    if column + 1 < columns {
        all.push((row, column + 1));
    }
    all
}

/// Steps from `start` to every cell that can be reached over open cells; `None` where none leads.
pub(crate) fn distances(open: &[Vec<bool>], start: &[(usize, usize)]) -> Vec<Vec<Option<usize>>> {
    let (rows, columns) = (open.len(), open[0].len());
    let mut steps = vec![vec![None; columns]; rows];
    let mut queue = std::collections::VecDeque::new();
    for &cell in start {
        steps[cell.0][cell.1] = Some(0);
        queue.push_back((cell, 0));
    }
    while let Some((cell, far)) = queue.pop_front() {
        for next in neighbours(rows, columns, cell) {
            if open[next.0][next.1] && steps[next.0][next.1].is_none() {
                steps[next.0][next.1] = Some(far + 1);
                queue.push_back((next, far + 1));
            }
        }
    }
    steps
}
