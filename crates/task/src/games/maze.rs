//! `maze`: the length of the shortest way through a maze.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{distances, lines};
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`maze`); the signs are always #, ., S and G.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "maze",
    family: Family::Games,
    summary: "Count the steps of the shortest way through a maze.",
    example: "S . G → 2",
    answer_reward: "maze",
    options: &[
        whole("min_dist", (1, 400), "5", "fewest steps"),
        whole("max_dist", (1, 400), "10", "most steps"),
        whole("min_grid_size", (4, 40), "5", "fewest rows and columns, walls included"),
        whole("max_grid_size", (4, 40), "10", "most rows and columns, walls included"),
        STYLE,
    ],
    levels: &[
        &[("min_dist", "1"), ("max_dist", "2"), ("max_grid_size", "5")],
        &[("min_dist", "3"), ("max_dist", "4"), ("max_grid_size", "6")],
        &[("min_dist", "5"), ("max_dist", "8"), ("max_grid_size", "8")],
        &[("min_dist", "8"), ("max_dist", "14"), ("min_grid_size", "8"), ("max_grid_size", "12")],
        &[("min_dist", "14"), ("max_dist", "30"), ("min_grid_size", "12"), ("max_grid_size", "20")],
    ],
    build: |options, seed| Procedural::build(Maze::new(options)?, options, seed),
};

struct Maze {
    steps: (i64, i64),
    size: (i64, i64),
}

impl Maze {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            steps: options.range("min_dist", "max_dist")?,
            size: options.range("min_grid_size", "max_grid_size")?,
        })
    }
}

/// Share of the inner cells that are open, as in reasoning-gym.
const OPEN: f64 = 0.7;

impl Generator for Maze {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Walls all around; the goal is drawn among the cells at a distance in range.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let size = dice.within(self.size) as usize;
        let mut inner = |row: usize, column: usize| {
            let border = row == 0 || column == 0 || row + 1 == size || column + 1 == size;
            !border && dice.chance(OPEN)
        };
        let open: Vec<Vec<bool>> = (0..size).map(|row| (0..size).map(|column| inner(row, column)).collect()).collect();
        let cells: Vec<(usize, usize)> =
            (0..size * size).map(|at| (at / size, at % size)).filter(|&(row, column)| open[row][column]).collect();
        if cells.is_empty() {
            return None;
        }
        let start = *dice.pick(&cells);
        let far = distances(&open, &[start]);
        let in_range = |steps: usize| (self.steps.0..=self.steps.1).contains(&(steps as i64));
        let goals: Vec<(usize, usize)> =
            cells.into_iter().filter(|&(row, column)| far[row][column].is_some_and(in_range)).collect();
        if goals.is_empty() {
            return None;
        }
        let goal = *dice.pick(&goals);
        let steps = far[goal.0][goal.1]?;
        let sign = |row: usize, column: usize| match (row, column) {
            cell if cell == start => 'S',
            cell if cell == goal => 'G',
            _ if open[row][column] => '.',
            _ => '#',
        };
        let grid: Vec<Vec<char>> = (0..size).map(|row| (0..size).map(|column| sign(row, column)).collect()).collect();
        let rows: Vec<String> = grid.iter().map(|row| row.iter().collect()).collect();
        let plain = format!(
            "How many steps is the shortest way from S to G in this maze? A step goes up, down, left or right; # is a wall.\n{}\n",
            lines(&grid)
        );
        let question = Question::new(steps, (plain, NUMBER), format!("{}>", rows.join(";")), steps.to_string());
        Some(question.with("grid", rows).with("shortest_path_length", steps))
    }
}
