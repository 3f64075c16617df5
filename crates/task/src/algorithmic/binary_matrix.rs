//! `binary-matrix`: how far each cell of a grid is from a zero.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, distances, lines, one_line};
use crate::procedural::{Generator, Procedural, Question, STYLE, share, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`binary_matrix`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "binary-matrix",
    family: Family::Algorithmic,
    summary: "For every cell of a grid, count the steps to the nearest 0.",
    example: "1 1; 0 1 → 1 2; 0 1",
    answer_reward: "binary-matrix",
    options: &[
        whole("min_n", (1, 30), "3", "fewest rows and columns"),
        whole("max_n", (1, 30), "10", "most rows and columns"),
        share("p_zero", "0.25", "probability of a zero"),
        STYLE,
    ],
    levels: &[
        &[("min_n", "2"), ("max_n", "2"), ("p_zero", "0.5")],
        &[("min_n", "3"), ("max_n", "3"), ("p_zero", "0.4")],
        &[("min_n", "4"), ("max_n", "5")],
        &[("min_n", "6"), ("max_n", "8"), ("p_zero", "0.15")],
        &[("min_n", "9"), ("max_n", "12"), ("p_zero", "0.1")],
    ],
    build: |options, seed| Procedural::build(BinaryMatrix::new(options)?, options, seed),
};

struct BinaryMatrix {
    size: (i64, i64),
    zero: f64,
}

impl BinaryMatrix {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { size: options.range("min_n", "max_n")?, zero: options.number("p_zero").unwrap_or_default() })
    }
}

impl Generator for BinaryMatrix {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// One cell is a zero for certain.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let n = dice.within(self.size) as usize;
        let certain = dice.below(n * n);
        let mut cell = |at: usize| u8::from(at != certain && !dice.chance(self.zero));
        let matrix: Vec<Vec<u8>> = (0..n).map(|row| (0..n).map(|column| cell(row * n + column)).collect()).collect();
        let all = || (0..n).flat_map(|row| (0..n).map(move |column| (row, column)));
        let zeros: Vec<(usize, usize)> = all().filter(|&(row, column)| matrix[row][column] == 0).collect();
        let steps = distances(&vec![vec![true; n]; n], &zeros);
        let steps: Vec<Vec<usize>> = steps.iter().map(|row| row.iter().map(|far| far.unwrap_or(0)).collect()).collect();
        let plain = format!(
            "Replace every cell of this grid by the fewest steps (up, down, left or right) to a cell that holds 0:\n{}\n",
            lines(&matrix)
        );
        let ending = "End with the rows in one line after \"####\", a semicolon between rows, like this: #### 1 0; 0 1";
        let question = Question::new(n * n, (plain, ending), format!("{}>", dense(&matrix)), one_line(&steps));
        Some(question.with("matrix", matrix))
    }
}
