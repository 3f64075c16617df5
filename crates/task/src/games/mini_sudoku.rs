//! `mini-sudoku`: a 4×4 grid to be filled.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, lines, one_line};
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`mini_sudoku`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "mini-sudoku",
    family: Family::Games,
    summary: "Fill a 4×4 grid so that rows, columns and 2×2 boxes hold 1 to 4.",
    example: "1 2 3 4; 3 4 1 2; 2 1 4 3; 4 3 2 _ → 1 in the corner",
    answer_reward: "mini-sudoku",
    options: &[
        whole("min_empty", (0, 12), "8", "fewest empty cells"),
        whole("max_empty", (0, 12), "12", "most empty cells; fewer where the solution would not be unique"),
        STYLE,
    ],
    levels: &[
        &[("min_empty", "1"), ("max_empty", "2")],
        &[("min_empty", "3"), ("max_empty", "4")],
        &[("min_empty", "5"), ("max_empty", "7")],
        &[("min_empty", "8"), ("max_empty", "9")],
        &[("min_empty", "10"), ("max_empty", "12")],
    ],
    build: |options, seed| Procedural::build(MiniSudoku::new(options)?, options, seed),
};

struct MiniSudoku {
    empty: (i64, i64),
}

impl MiniSudoku {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { empty: options.range("min_empty", "max_empty")? })
    }
}

const SIZE: usize = 4;
const BOX: usize = 2;

/// Cells that hold 1 to 4, or 0 where they are empty.
type Board = Vec<Vec<u8>>;

fn may_hold(board: &Board, (row, column): (usize, usize), number: u8) -> bool {
    let (top, left) = (row - row % BOX, column - column % BOX);
    (0..SIZE).all(|at| {
        board[row][at] != number && board[at][column] != number && board[top + at / BOX][left + at % BOX] != number
    })
}

/// The ways to fill the empty cells, at most `most`; numbers are tried in the given order.
fn fillings(board: &mut Board, order: &[u8], most: usize) -> Vec<Board> {
    let empty = (0..SIZE * SIZE).map(|at| (at / SIZE, at % SIZE)).find(|&(row, column)| board[row][column] == 0);
    let Some((row, column)) = empty else { return vec![board.clone()] };
    let mut found = Vec::new();
    for &number in order {
        if may_hold(board, (row, column), number) {
            board[row][column] = number;
            found.extend(fillings(board, order, most - found.len()));
            board[row][column] = 0;
        }
        if found.len() == most {
            break;
        }
    }
    found
}

impl Generator for MiniSudoku {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Cells of a full board are emptied in a drawn order, as long as one solution alone is left.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let mut board: Board = vec![vec![0; SIZE]; SIZE];
        board[0] = dice.shuffled(&[1, 2, 3, 4]);
        let order = dice.shuffled(&[1, 2, 3, 4]);
        let full = dice.pick(&fillings(&mut board, &order, usize::MAX)).clone();
        let wanted = dice.within(self.empty) as usize;
        let mut puzzle = full.clone();
        let mut empty = 0;
        for at in dice.shuffled(&(0..SIZE * SIZE).collect::<Vec<_>>()) {
            if empty == wanted {
                break;
            }
            let (row, column) = (at / SIZE, at % SIZE);
            let number = std::mem::take(&mut puzzle[row][column]);
            match fillings(&mut puzzle, &order, 2).len() {
                1 => empty += 1,
                _ => puzzle[row][column] = number,
            }
        }
        let shown: Vec<Vec<String>> = puzzle
            .iter()
            .map(|row| row.iter().map(|cell| if *cell == 0 { "_".into() } else { cell.to_string() }).collect())
            .collect();
        let plain = format!(
            "Fill the empty cells (_) of this grid, so that every row, every column and every quarter holds each of 1 to 4:\n{}\n",
            lines(&shown)
        );
        let ending = "End with the rows in one line after \"####\", a semicolon between rows, like this: #### 1 2 3 4; 3 4 1 2; 2 1 4 3; 4 3 2 1";
        let question = Question::new(empty, (plain, ending), format!("{}>", dense(&shown)), one_line(&full));
        let question = question.terse_answer(dense(&full));
        Some(question.with("puzzle", puzzle).with("solution", full).with("num_empty", empty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_288_full_boards() {
        let mut board = vec![vec![0; SIZE]; SIZE];
        assert_eq!(fillings(&mut board, &[1, 2, 3, 4], usize::MAX).len(), 288);
        assert!(board.iter().flatten().all(|cell| *cell == 0), "the board is left as it was");
    }
}
