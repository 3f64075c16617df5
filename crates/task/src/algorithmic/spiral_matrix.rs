//! `spiral-matrix`: the cells of a grid from the outside in.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, lines};
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`spiral_matrix`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "spiral-matrix",
    family: Family::Algorithmic,
    summary: "Read a grid clockwise from the outside in.",
    example: "1 2; 3 4 → 1 2 4 3",
    answer_reward: "spiral-matrix",
    options: &[
        whole("min_n", (2, 30), "2", "fewest rows and columns"),
        whole("max_n", (2, 30), "10", "most rows and columns"),
        STYLE,
    ],
    levels: &[
        &[("max_n", "2")],
        &[("max_n", "3")],
        &[("min_n", "3"), ("max_n", "5")],
        &[("min_n", "5"), ("max_n", "8")],
        &[("min_n", "8"), ("max_n", "14")],
    ],
    build: |options, seed| Procedural::build(SpiralMatrix::new(options)?, options, seed),
};

struct SpiralMatrix {
    size: (i64, i64),
}

impl SpiralMatrix {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { size: options.range("min_n", "max_n")? })
    }
}

/// Row by row from the top; what remains is turned to the left.
fn spiral(mut rest: Vec<Vec<i64>>) -> Vec<i64> {
    let mut read = Vec::new();
    while !rest.is_empty() {
        read.extend(rest.remove(0));
        let columns = rest.first().map_or(0, Vec::len);
        rest = (0..columns).rev().map(|column| rest.iter().map(|row| row[column]).collect()).collect();
    }
    read
}

impl Generator for SpiralMatrix {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let n = dice.within(self.size) as usize;
        let matrix: Vec<Vec<i64>> = (0..n).map(|_| (0..n).map(|_| dice.between(0, 9)).collect()).collect();
        let read: Vec<String> = spiral(matrix.clone()).iter().map(i64::to_string).collect();
        let plain = format!(
            "Read this grid clockwise from the upper left corner, around the outside and then inwards:\n{}\n",
            lines(&matrix)
        );
        let ending = "End with the numbers after \"####\", with spaces between them, like this: #### 1 2 4 3";
        let question = Question::new(n * n, (plain, ending), format!("{}>", dense(&matrix)), read.join(" "));
        Some(question.with("matrix", matrix))
    }
}

#[cfg(test)]
mod tests {
    use super::spiral;

    #[test]
    fn a_spiral_goes_clockwise_and_inwards() {
        assert_eq!(spiral(vec![vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9]]), [1, 2, 3, 6, 9, 8, 7, 4, 5]);
        assert_eq!(spiral(vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8]]), [1, 2, 3, 4, 8, 7, 6, 5]);
        assert_eq!(spiral(vec![vec![1], vec![2]]), [1, 2]);
    }
}
