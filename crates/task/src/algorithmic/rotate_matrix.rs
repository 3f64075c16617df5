//! `rotate-matrix`: a grid turned clockwise.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, lines, one_line};
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`rotate_matrix`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "rotate-matrix",
    family: Family::Algorithmic,
    summary: "Turn a grid clockwise by quarters.",
    example: "1 2; 3 4 by 90 degrees → 3 1; 4 2",
    answer_reward: "rotate-matrix",
    options: &[
        whole("min_n", (2, 30), "2", "fewest rows and columns"),
        whole("max_n", (2, 30), "10", "most rows and columns"),
        whole("min_rotations", (0, 100), "0", "fewest quarter turns"),
        whole("max_rotations", (0, 100), "10", "most quarter turns"),
        STYLE,
    ],
    levels: &[
        &[("max_n", "2"), ("min_rotations", "1"), ("max_rotations", "1")],
        &[("min_n", "2"), ("max_n", "3"), ("min_rotations", "1"), ("max_rotations", "2")],
        &[("min_n", "3"), ("max_n", "5"), ("max_rotations", "3")],
        &[("min_n", "5"), ("max_n", "8")],
        &[("min_n", "8"), ("max_n", "14"), ("max_rotations", "20")],
    ],
    build: |options, seed| Procedural::build(RotateMatrix::new(options)?, options, seed),
};

struct RotateMatrix {
    size: (i64, i64),
    turns: (i64, i64),
}

impl RotateMatrix {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { size: options.range("min_n", "max_n")?, turns: options.range("min_rotations", "max_rotations")? })
    }
}

/// A quarter turn clockwise: the first column, read upwards, becomes the first row.
fn turned(matrix: &[Vec<i64>]) -> Vec<Vec<i64>> {
    (0..matrix.len()).map(|column| matrix.iter().rev().map(|row| row[column]).collect()).collect()
}

impl Generator for RotateMatrix {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let n = dice.within(self.size) as usize;
        let matrix: Vec<Vec<i64>> = (0..n).map(|_| (0..n).map(|_| dice.between(0, 9)).collect()).collect();
        let turns = dice.within(self.turns);
        let result = (0..turns % 4).fold(matrix.clone(), |matrix, _| turned(&matrix));
        let plain = format!("Turn this grid clockwise by {} degrees:\n{}\n", turns * 90, lines(&matrix));
        let ending = "End with the rows in one line after \"####\", a semicolon between rows, like this: #### 1 0; 0 1";
        let terse = format!("{}@{}>", dense(&matrix), turns * 90);
        let question = Question::new(n * n, (plain, ending), terse, one_line(&result));
        Some(question.with("matrix", matrix).with("num_rotations", turns))
    }
}

#[cfg(test)]
mod tests {
    use super::turned;

    #[test]
    fn four_quarter_turns_are_none() {
        let matrix = vec![vec![1, 2], vec![3, 4]];
        assert_eq!(turned(&matrix), [[3, 1], [4, 2]]);
        assert_eq!((0..4).fold(matrix.clone(), |matrix, _| turned(&matrix)), matrix);
    }
}
