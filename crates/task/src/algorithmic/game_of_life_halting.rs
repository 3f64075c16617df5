//! `game-of-life-halting`: whether a board of Conway's Game of Life dies out.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, lines};
use crate::procedural::{Generator, Procedural, Question, STYLE, integer, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options and defaults are reasoning-gym's (`game_of_life_halting`), but for its kinds of oscillator (`difficulty`); the answer is that of a simulation.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "game-of-life-halting",
    family: Family::Algorithmic,
    summary: "Say whether a board of the Game of Life is empty after some steps.",
    example: "one cell alone → True",
    answer_reward: "game-of-life-halting",
    options: &[
        whole("grid_size_x", (5, 40), "12", "columns"),
        whole("grid_size_y", (5, 40), "12", "rows"),
        whole("num_oscillators", (1, 40), "5", "patterns on the board, as far as they fit"),
        whole("max_simulation_steps", (1, 200), "20", "steps"),
        STYLE,
    ],
    levels: &[
        &[("grid_size_x", "5"), ("grid_size_y", "5"), ("num_oscillators", "1")],
        &[("grid_size_x", "8"), ("grid_size_y", "8"), ("num_oscillators", "2")],
        &[("grid_size_x", "10"), ("grid_size_y", "10"), ("num_oscillators", "3")],
        &[("num_oscillators", "6")],
        &[("grid_size_x", "20"), ("grid_size_y", "20"), ("num_oscillators", "12")],
    ],
    build: |options, seed| Procedural::build(GameOfLifeHalting::new(options)?, options, seed),
};

struct GameOfLifeHalting {
    columns: usize,
    rows: usize,
    patterns: i64,
    steps: i64,
}

impl GameOfLifeHalting {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            columns: integer(options, "grid_size_x") as usize,
            rows: integer(options, "grid_size_y") as usize,
            patterns: integer(options, "num_oscillators"),
            steps: integer(options, "max_simulation_steps"),
        })
    }
}

/// Patterns that live for ever, by their rows: blinker, block, beehive, toad, clock.
const LASTING: &[&[&str]] =
    &[&["111"], &["11", "11"], &["0110", "1001", "0110"], &["0111", "1110"], &["0010", "1010", "0101", "0100"]];
/// Patterns that die when left alone.
const DYING: &[&[&str]] = &[&["1"], &["11"], &["10", "01"], &["101"], &["1001", "0000"], &["100", "010", "001"]];

type Board = Vec<Vec<u8>>;

/// One step on a board whose edges meet: 3 neighbours give life, 2 keep it (Conway).
fn step(board: &Board) -> Board {
    let (rows, columns) = (board.len(), board[0].len());
    let alive = |row: usize, column: usize| {
        let around = (0..9).filter(|at| *at != 4).map(|at| {
            let (down, right) = (at / 3, at % 3);
            board[(row + rows + down - 1) % rows][(column + columns + right - 1) % columns]
        });
        match around.sum::<u8>() {
            3 => 1,
            2 => board[row][column],
            _ => 0,
        }
    };
    (0..rows).map(|row| (0..columns).map(|column| alive(row, column)).collect()).collect()
}

fn is_empty(board: &Board) -> bool {
    board.iter().flatten().all(|cell| *cell == 0)
}

/// Puts a pattern where no live cell is within two cells of it; false where that place is not free.
fn place(board: &mut Board, pattern: &[&str], (top, left): (usize, usize)) -> bool {
    let (rows, columns) = (board.len(), board[0].len());
    let (high, wide) = (pattern.len(), pattern[0].len());
    let near = |row: usize, column: usize| {
        (top..top + high + 4).contains(&(row + 2)) && (left..left + wide + 4).contains(&(column + 2))
    };
    let free = (0..rows).all(|row| (0..columns).all(|column| board[row][column] == 0 || !near(row, column)));
    if free {
        for (down, row) in pattern.iter().enumerate() {
            row.bytes().enumerate().for_each(|(right, cell)| board[top + down][left + right] = cell - b'0');
        }
    }
    free
}

impl Generator for GameOfLifeHalting {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Half the boards hold only patterns that die; the other half one at least that lasts. The answer is simulated.
    fn draw(&self, key: Key) -> Option<Question> {
        const TRIES: usize = 20;
        let dice = &mut Dice::new(key);
        let lasting = dice.coin();
        let mut board: Board = vec![vec![0; self.columns]; self.rows];
        for count in 0..self.patterns {
            let lasts = lasting && (count == 0 || dice.coin());
            let pattern = *dice.pick(if lasts { LASTING } else { DYING });
            for _ in 0..TRIES {
                // A margin of one cell keeps patterns from meeting around the edge.
                let top = 1 + dice.below(self.rows.checked_sub(pattern.len() + 1)?.max(1));
                let left = 1 + dice.below(self.columns.checked_sub(pattern[0].len() + 1)?.max(1));
                let fits = top + pattern.len() < self.rows && left + pattern[0].len() < self.columns;
                if fits && place(&mut board, pattern, (top, left)) {
                    break;
                }
            }
        }
        if is_empty(&board) {
            return None;
        }
        let end = (0..self.steps).fold(board.clone(), |board, _| step(&board));
        let answer = if is_empty(&end) { "True" } else { "False" };
        let plain = format!(
            "This board of Conway's Game of Life (1 is alive; its left edge meets its right one, its top edge its bottom) goes through \
             {} steps:\n{}\nIs every cell dead then, True or False?",
            self.steps,
            lines(&board)
        );
        let ending = "End with the word after \"####\", like this: #### True";
        let terse = format!("{}x{}>", dense(&board), self.steps);
        let question = Question::new(self.rows * self.columns, (plain, ending), terse, answer);
        Some(question.with("grid", board).with("simulation_steps", self.steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(pattern: &[&str]) -> Board {
        let mut board = vec![vec![0; 12]; 12];
        assert!(place(&mut board, pattern, (4, 4)));
        board
    }

    #[test]
    fn what_lasts_lasts_and_what_dies_dies() {
        for pattern in LASTING {
            assert!(!is_empty(&(0..60).fold(alone(pattern), |board, _| step(&board))), "{pattern:?}");
        }
        for pattern in DYING {
            assert!(is_empty(&(0..3).fold(alone(pattern), |board, _| step(&board))), "{pattern:?}");
        }
    }

    #[test]
    fn a_blinker_turns_and_a_glider_moves() {
        let blinker = alone(&["111"]);
        assert_ne!(step(&blinker), blinker);
        assert_eq!(step(&step(&blinker)), blinker);
        let glider = alone(&["010", "001", "111"]);
        let later = (0..4).fold(glider.clone(), |board, _| step(&board));
        let moved: Board =
            (0..12).map(|row| (0..12).map(|column| glider[(row + 11) % 12][(column + 11) % 12]).collect()).collect();
        assert_eq!(later, moved);
    }

    #[test]
    fn a_pattern_keeps_its_distance() {
        let mut board = alone(&["1"]);
        assert!(!place(&mut board, &["1"], (6, 6)));
        assert!(place(&mut board, &["1"], (7, 7)));
    }
}
