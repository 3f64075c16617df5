//! `largest-island`: the largest piece of land on a map.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, distances, lines, neighbours};
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`largest_island`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "largest-island",
    family: Family::Graphs,
    summary: "Find the size of the largest island of a map.",
    example: "1 1 0; 0 0 1 → 2",
    answer_reward: "largest-island",
    options: &[
        whole("min_rows", (1, 40), "5", "fewest rows"),
        whole("max_rows", (1, 40), "10", "most rows"),
        whole("min_cols", (1, 40), "5", "fewest columns"),
        whole("max_cols", (1, 40), "10", "most columns"),
        whole("min_num_islands", (0, 60), "0", "fewest walks that raise land"),
        whole("max_num_islands", (0, 60), "5", "most walks that raise land; walks may meet"),
        whole("min_island_size", (0, 200), "0", "fewest cells of a walk"),
        whole("max_island_size", (0, 200), "10", "most cells of a walk"),
        STYLE,
    ],
    levels: &[
        &[
            ("min_rows", "3"),
            ("max_rows", "3"),
            ("min_cols", "3"),
            ("max_cols", "3"),
            ("max_num_islands", "2"),
            ("max_island_size", "3"),
        ],
        &[
            ("min_rows", "4"),
            ("max_rows", "5"),
            ("min_cols", "4"),
            ("max_cols", "5"),
            ("max_num_islands", "3"),
            ("max_island_size", "5"),
        ],
        &[("min_rows", "6"), ("max_rows", "8"), ("min_cols", "6"), ("max_cols", "8")],
        &[
            ("min_rows", "9"),
            ("max_rows", "13"),
            ("min_cols", "9"),
            ("max_cols", "13"),
            ("min_num_islands", "3"),
            ("max_num_islands", "10"),
            ("max_island_size", "15"),
        ],
        &[
            ("min_rows", "14"),
            ("max_rows", "24"),
            ("min_cols", "14"),
            ("max_cols", "24"),
            ("min_num_islands", "8"),
            ("max_num_islands", "20"),
            ("max_island_size", "30"),
        ],
    ],
    build: |options, seed| Procedural::build(LargestIsland::new(options)?, options, seed),
};

struct LargestIsland {
    rows: (i64, i64),
    columns: (i64, i64),
    islands: (i64, i64),
    size: (i64, i64),
}

impl LargestIsland {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            rows: options.range("min_rows", "max_rows")?,
            columns: options.range("min_cols", "max_cols")?,
            islands: options.range("min_num_islands", "max_num_islands")?,
            size: options.range("min_island_size", "max_island_size")?,
        })
    }
}

/// Cells of the largest piece of land that hangs together.
fn largest(land: &[Vec<bool>]) -> usize {
    let mut seen = vec![vec![false; land[0].len()]; land.len()];
    let mut most = 0;
    for (row, cells) in land.iter().enumerate() {
        for column in (0..cells.len()).filter(|column| cells[*column]) {
            if !seen[row][column] {
                let reached = distances(land, &[(row, column)]);
                let mut count = 0;
                for (row, cells) in reached.iter().enumerate() {
                    for (column, _) in cells.iter().enumerate().filter(|(_, far)| far.is_some()) {
                        seen[row][column] = true;
                        count += 1;
                    }
                }
                most = most.max(count);
            }
        }
    }
    most
}

impl Generator for LargestIsland {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (rows, columns) = (dice.within(self.rows) as usize, dice.within(self.columns) as usize);
        let mut land = vec![vec![false; columns]; rows];
        for _ in 0..dice.within(self.islands) {
            let mut at = (dice.below(rows), dice.below(columns));
            for _ in 0..dice.within(self.size) {
                land[at.0][at.1] = true;
                let water: Vec<(usize, usize)> =
                    neighbours(rows, columns, at).into_iter().filter(|&(row, column)| !land[row][column]).collect();
                if !water.is_empty() {
                    at = *dice.pick(&water);
                }
            }
        }
        let grid: Vec<Vec<u8>> = land.iter().map(|row| row.iter().map(|cell| u8::from(*cell)).collect()).collect();
        let plain = format!(
            "On this map 1 is land and 0 is water. Land hangs together up, down, left and right. How many cells has the largest island (0 \
             without any land)?\n{}\n",
            lines(&grid)
        );
        let question =
            Question::new(rows * columns, (plain, NUMBER), format!("{}>", dense(&grid)), largest(&land).to_string());
        Some(question.with("grid", grid))
    }
}

#[cfg(test)]
mod tests {
    use lapidary_core::Purpose;

    use super::*;

    /// Union of neighbours until nothing changes: another way to the same number.
    fn merged(land: &[Vec<bool>]) -> usize {
        let (rows, columns) = (land.len(), land[0].len());
        let mut label: Vec<usize> = (0..rows * columns).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..rows * columns).filter(|at| land[at / columns][at % columns]) {
                for (row, column) in neighbours(rows, columns, (at / columns, at % columns)) {
                    let other = row * columns + column;
                    if land[row][column] && label[other] < label[at] {
                        label[at] = label[other];
                        changed = true;
                    }
                }
            }
        }
        let islands = (0..rows * columns).filter(|at| land[at / columns][at % columns]);
        let mut counts = vec![0; rows * columns];
        islands.for_each(|at| counts[label[at]] += 1);
        counts.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn islands_are_as_large_as_another_way_of_counting_says() {
        for seed in 0..300 {
            let dice = &mut Dice::new(Key::new(seed, Purpose::Task));
            let land: Vec<Vec<bool>> = (0..5).map(|_| (0..6).map(|_| dice.chance(0.5)).collect()).collect();
            assert_eq!(largest(&land), merged(&land), "{land:?}");
        }
        assert_eq!(largest(&[vec![false, false]]), 0);
    }
}
