//! `n-queens`: queens that do not attack each other.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, lines, one_line};
use crate::procedural::{Generator, Procedural, Question, STYLE, integer, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`n_queens`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "n-queens",
    family: Family::Games,
    summary: "Complete a board with queens so that none attacks another.",
    example: "_ Q _ _; _ _ _ _; Q _ _ _; _ _ Q _ → Q in the last column of the second row",
    answer_reward: "n-queens",
    options: &[
        whole("n", (4, 12), "8", "rows, columns and queens"),
        whole("min_remove", (1, 12), "1", "fewest queens that are missing"),
        whole("max_remove", (1, 12), "7", "most queens that are missing; at most n"),
        STYLE,
    ],
    levels: &[
        &[("n", "4"), ("max_remove", "1")],
        &[("n", "5"), ("max_remove", "2")],
        &[("n", "6"), ("min_remove", "2"), ("max_remove", "4")],
        &[("min_remove", "4"), ("max_remove", "7")],
        &[("n", "10"), ("min_remove", "6"), ("max_remove", "10")],
    ],
    build: |options, seed| Procedural::build(NQueens::new(options)?, options, seed),
};

struct NQueens {
    n: usize,
    removed: (i64, i64),
}

impl NQueens {
    fn new(options: &Options) -> Result<Self> {
        let (n, removed) = (integer(options, "n"), options.range("min_remove", "max_remove")?);
        if removed.1 > n {
            return Err(options
                .wrong(format!("`max_remove` = {} is above `n` = {n}", removed.1))
                .hint("there are only n queens"));
        }
        Ok(Self { n: n as usize, removed })
    }
}

/// A column for every row, such that no two queens attack each other; columns are tried in the given order.
fn placed(queens: &mut Vec<usize>, order: &[usize]) -> bool {
    let row = queens.len();
    if row == order.len() {
        return true;
    }
    for &column in order {
        let free =
            queens.iter().enumerate().all(|(above, &other)| other != column && other.abs_diff(column) != row - above);
        if free {
            queens.push(column);
            if placed(queens, order) {
                return true;
            }
            queens.pop();
        }
    }
    false
}

impl Generator for NQueens {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Columns are tried in a drawn order, and queens of the first solution taken away.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let columns: Vec<usize> = (0..self.n).collect();
        let order = dice.shuffled(&columns);
        let mut queens = vec![dice.below(self.n)];
        if !placed(&mut queens, &order) {
            return None;
        }
        let gone = dice.within(self.removed) as usize;
        let gone = dice.sample(&columns, gone);
        let board = |keep: &dyn Fn(usize) -> bool| -> Vec<Vec<char>> {
            let cell = |row: usize, column: usize| if queens[row] == column && keep(row) { 'Q' } else { '_' };
            (0..self.n).map(|row| (0..self.n).map(|column| cell(row, column)).collect()).collect()
        };
        let (puzzle, full) = (board(&|row| !gone.contains(&row)), board(&|_| true));
        let plain = format!(
            "Put {} more queens (Q) on empty cells (_) of this {n} × {n} board, so that no two queens are in one row, column or diagonal:\n{}\n",
            gone.len(),
            lines(&puzzle),
            n = self.n
        );
        let ending = "End with the rows in one line after \"####\", a semicolon between rows, like this: #### _ Q _ _; _ _ _ Q; Q _ _ _; _ _ Q _";
        let question =
            Question::new(self.n * gone.len(), (plain, ending), format!("{}>", dense(&puzzle)), one_line(&full));
        let puzzle: Vec<Vec<String>> = puzzle.iter().map(|row| row.iter().map(char::to_string).collect()).collect();
        Some(question.terse_answer(dense(&full)).with("puzzle", puzzle).with("num_removed", gone.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::placed;

    #[test]
    fn queens_are_found_where_there_is_room_and_only_there() {
        for (first, found) in [(0, false), (1, true), (2, true), (3, false)] {
            assert_eq!(placed(&mut vec![first], &[0, 1, 2, 3]), found, "4 × 4 with the first queen in column {first}");
        }
        let mut queens = Vec::new();
        assert!(placed(&mut queens, &(0..8).collect::<Vec<_>>()));
        for (row, a) in queens.iter().enumerate() {
            assert!(queens[..row].iter().enumerate().all(|(other, b)| a != b && a.abs_diff(*b) != row - other));
        }
    }
}
