//! `shortest-path`: the way through a grid.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::grid::{dense, distances, lines, neighbours};
use crate::procedural::{Generator, Procedural, Question, STYLE, share, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`shortest_path`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "shortest-path",
    family: Family::Graphs,
    summary: "Write down a shortest way through a grid, or that there is none.",
    example: "* O; X # → right down",
    answer_reward: "shortest-path",
    options: &[
        whole("min_rows", (1, 40), "5", "fewest rows"),
        whole("max_rows", (1, 40), "8", "most rows"),
        whole("min_cols", (1, 40), "5", "fewest columns"),
        whole("max_cols", (1, 40), "8", "most columns"),
        share("p_blocked", "0.4", "probability that a cell is blocked"),
        STYLE,
    ],
    levels: &[
        &[("min_rows", "2"), ("max_rows", "2"), ("min_cols", "2"), ("max_cols", "3"), ("p_blocked", "0.2")],
        &[("min_rows", "3"), ("max_rows", "4"), ("min_cols", "3"), ("max_cols", "4"), ("p_blocked", "0.3")],
        &[("min_rows", "5"), ("max_rows", "6"), ("min_cols", "5"), ("max_cols", "6"), ("p_blocked", "0.3")],
        &[("min_rows", "7"), ("max_rows", "10"), ("min_cols", "7"), ("max_cols", "10"), ("p_blocked", "0.3")],
        &[("min_rows", "12"), ("max_rows", "18"), ("min_cols", "12"), ("max_cols", "18"), ("p_blocked", "0.3")],
    ],
    build: |options, seed| Procedural::build(ShortestPath::new(options)?, options, seed),
};

struct ShortestPath {
    rows: (i64, i64),
    columns: (i64, i64),
    blocked: f64,
}

impl ShortestPath {
    fn new(options: &Options) -> Result<Self> {
        let (rows, columns) = (options.range("min_rows", "max_rows")?, options.range("min_cols", "max_cols")?);
        if rows.0 == 1 && columns.0 == 1 {
            return Err(options.wrong("`min_rows` and `min_cols` are both 1").hint("start and goal need two cells"));
        }
        Ok(Self { rows, columns, blocked: options.number("p_blocked").unwrap_or_default() })
    }
}

impl Generator for ShortestPath {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// One way is written down, taken backwards from the goal; any other of its length is as good.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (rows, columns) = (dice.within(self.rows) as usize, dice.within(self.columns) as usize);
        let cells: Vec<(usize, usize)> = (0..rows * columns).map(|at| (at / columns, at % columns)).collect();
        let ends = dice.sample(&cells, 2);
        let (start, goal) = (ends[0], ends[1]);
        let mut free = |cell: (usize, usize)| cell == start || cell == goal || !dice.chance(self.blocked);
        let open: Vec<Vec<bool>> =
            (0..rows).map(|row| (0..columns).map(|column| free((row, column))).collect()).collect();
        let far = distances(&open, &[start]);
        let mut way = Vec::new();
        let mut at = goal;
        while let Some(steps) = far[at.0][at.1].filter(|steps| *steps > 0) {
            let before =
                neighbours(rows, columns, at).into_iter().find(|&(row, column)| far[row][column] == Some(steps - 1))?;
            way.push(match (at.0.cmp(&before.0), at.1.cmp(&before.1)) {
                (std::cmp::Ordering::Greater, _) => "down",
                (std::cmp::Ordering::Less, _) => "up",
                (_, std::cmp::Ordering::Greater) => "right",
                _ => "left",
            });
            at = before;
        }
        way.reverse();
        let answer = if way.is_empty() { "infeasible".to_string() } else { way.join(" ") };
        let sign = |row: usize, column: usize| match (row, column) {
            cell if cell == start => '*',
            cell if cell == goal => '#',
            _ if open[row][column] => 'O',
            _ => 'X',
        };
        let grid: Vec<Vec<char>> =
            (0..rows).map(|row| (0..columns).map(|column| sign(row, column)).collect()).collect();
        let plain = format!(
            "Find a shortest way from * to # in this grid, by steps up, down, left and right over open cells (O); X is blocked. If there is \
             none, the answer is infeasible.\n{}\n",
            lines(&grid)
        );
        let ending = "End with the steps after \"####\", like this: #### right down down";
        let question = Question::new(rows * columns, (plain, ending), format!("{}>", dense(&grid)), answer);
        let matrix: Vec<Vec<String>> = grid.iter().map(|row| row.iter().map(char::to_string).collect()).collect();
        Some(question.with("matrix", matrix))
    }
}
