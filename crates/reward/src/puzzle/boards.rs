//! Tasks whose answer is a grid: the reference itself, or whatever keeps to the rules of the puzzle.

use serde_json::Value;

use super::{Asked, Rule, Ruling, base, info};
use crate::registry::RewardInfo;

pub(crate) const BINARY_MATRIX: RewardInfo = info(
    "binary-matrix",
    "The completion's grid holds the distances.",
    "1 if grid(completion) = grid(reference) else 0",
    |options| Rule { name: "binary-matrix", numeric: false, judge: same_grid, credit: listed_grid }.build(options),
);
pub(crate) const ROTATE_MATRIX: RewardInfo = info(
    "rotate-matrix",
    "The completion's grid is the given one turned.",
    "1 if grid(completion) = grid(reference) else 0",
    |options| Rule { name: "rotate-matrix", numeric: false, judge: same_grid, credit: base }.build(options),
);
pub(crate) const MINI_SUDOKU: RewardInfo = info(
    "mini-sudoku",
    "The completion's board keeps the given cells, and its rows, columns and boxes hold 1 to 4.",
    "1 if board(completion) is a solution else 0",
    |options| Rule { name: "mini-sudoku", numeric: false, judge: sudoku, credit: sudoku_credit }.build(options),
);
pub(crate) const N_QUEENS: RewardInfo = info(
    "n-queens",
    "The completion's board keeps the given queens and holds n that do not attack each other.",
    "1 if board(completion) is a solution else 0",
    |options| Rule { name: "n-queens", numeric: false, judge: queens, credit: queens_credit }.build(options),
);

/// Rows in lines or between semicolons; brackets around a row, and around all of them, may stand.
fn rows(text: &str) -> Vec<&str> {
    let edge = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | ',' | '|');
    text.split(['\n', ';']).map(|row| row.trim_matches(edge)).filter(|row| !row.is_empty()).collect()
}

/// A grid of whole numbers: `1 2; 3 4`, the same in lines, or `[[1, 2], [3, 4]]`.
fn numbers(text: &str) -> Option<Vec<Vec<i64>>> {
    if text.starts_with("[[") {
        return serde_json::from_str(text).ok();
    }
    let cells = |row: &str| {
        let cells = row.split(|c: char| c.is_whitespace() || c == ',').filter(|cell| !cell.is_empty());
        cells.map(|cell| cell.parse().ok()).collect::<Option<Vec<i64>>>()
    };
    let grid: Option<Vec<Vec<i64>>> = rows(text).into_iter().map(cells).collect();
    grid.filter(|grid| !grid.is_empty())
}

fn same_grid(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(wanted) = numbers(asked.reference) else {
        return Ruling::Unknown("the row has no grid as its reference answer");
    };
    match numbers(answer) {
        None => Ruling::Wrong("is no grid of whole numbers".into()),
        Some(given) => {
            let differ = given.iter().flatten().zip(wanted.iter().flatten()).filter(|(a, b)| a != b).count();
            Ruling::of(given == wanted, || {
                format!("is another grid: {differ} cells differ, or rows are missing or too many")
            })
        }
    }
}

fn lines<T: ToString>(grid: &[Vec<T>]) -> String {
    let row = |row: &Vec<T>| row.iter().map(T::to_string).collect::<Vec<_>>().join(" ");
    grid.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// 1 for the reference; 0.1 for a Python list of its rows.
fn listed_grid(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    if asked.reference.is_empty() {
        return None;
    }
    if completion == asked.reference {
        return Some(1.0);
    }
    let listed: Option<Vec<Vec<i64>>> = serde_json::from_str(completion.trim()).ok();
    Some(if listed.is_some_and(|grid| lines(&grid) == asked.reference) { 0.1 } else { 0.0 })
}

/// A grid of one character a cell, spacing, commas and quotes left out.
fn characters(text: &str) -> Vec<Vec<char>> {
    let cell = |c: &char| !c.is_whitespace() && !matches!(c, ',' | '\'' | '"' | '|' | '[' | ']');
    text.replace("],", ";")
        .split(['\n', ';'])
        .map(|row| row.chars().filter(cell).collect::<Vec<char>>())
        .filter(|row| !row.is_empty())
        .collect()
}

/// Whether all of 1 to 4 occur.
fn complete(mut cells: Vec<char>) -> bool {
    cells.sort_unstable();
    cells == ['1', '2', '3', '4']
}

fn sudoku(answer: &str, asked: &Asked<'_>) -> Ruling {
    let known =
        asked.metadata.get("puzzle").and_then(|puzzle| serde_json::from_value::<Vec<Vec<u32>>>(puzzle.clone()).ok());
    let solved = || {
        let digit = |row: &Vec<char>| row.iter().map(|cell| cell.to_digit(10)).collect::<Option<Vec<u32>>>();
        characters(asked.reference).iter().map(digit).collect::<Option<Vec<Vec<u32>>>>()
    };
    let Some(puzzle) =
        known.or_else(solved).filter(|puzzle| puzzle.len() == 4 && puzzle.iter().all(|row| row.len() == 4))
    else {
        return Ruling::Unknown("the row has neither a `puzzle` nor a board as its reference answer");
    };
    let board = characters(answer);
    if board.len() != 4 || board.iter().any(|row| row.len() != 4) {
        return Ruling::Wrong("is no board of 4 × 4".into());
    }
    for at in 0..4 {
        let (top, left) = (at / 2 * 2, at % 2 * 2);
        let groups = [
            ("row", board[at].clone()),
            ("column", board.iter().map(|row| row[at]).collect()),
            ("quarter", (0..4).map(|cell| board[top + cell / 2][left + cell % 2]).collect()),
        ];
        if let Some((what, _)) = groups.into_iter().find(|(_, cells)| !complete(cells.clone())) {
            return Ruling::Wrong(format!("{what} {} does not hold 1 to 4", at + 1));
        }
    }
    let kept = |(given, cell): (&u32, &char)| *given == 0 || cell.to_digit(10) == Some(*given);
    let kept = puzzle.iter().flatten().zip(board.iter().flatten()).all(kept);
    Ruling::of(kept, || "changes a given cell".into())
}

/// 1 for the reference with nothing else; else 0.9 of the share of right cells in lines of four digits; all of it less the
/// longer the text is than the reference.
fn sudoku_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let solution = asked.metadata.get("solution")?;
    let solution: Vec<Vec<u32>> = serde_json::from_value(solution.clone()).ok()?;
    if completion.is_empty() {
        return Some(0.0);
    }
    let stripped = |text: &str| text.split('\n').map(str::trim_end).collect::<Vec<_>>().join("\n");
    let mut reward = 1.0;
    if stripped(completion) != stripped(asked.reference) {
        let digits =
            |line: &str| line.chars().filter_map(|c| c.to_digit(10)).filter(|digit| *digit > 0).collect::<Vec<u32>>();
        let size = solution.first().map_or(0, Vec::len);
        let given = completion.split('\n').map(digits).filter(|row| row.len() == size);
        let right: usize =
            given.zip(&solution).map(|(given, row)| given.iter().zip(row).filter(|(a, b)| a == b).count()).sum();
        reward = right as f64 / (size * size) as f64 * 0.9;
    }
    let (length, wanted) = (completion.chars().count() as f64, asked.reference.chars().count() as f64);
    Some(if length > wanted { reward * wanted / length } else { reward })
}

/// The given board; where the row has none, that of the reference, of which no queen is given.
fn given_queens(asked: &Asked<'_>) -> Option<Vec<Vec<char>>> {
    let puzzle = asked.metadata.get("puzzle").and_then(Value::as_array);
    let row =
        |row: &Value| row.as_array()?.iter().map(|cell| cell.as_str()?.chars().next()).collect::<Option<Vec<char>>>();
    let puzzle: Option<Vec<Vec<char>>> = puzzle.and_then(|puzzle| puzzle.iter().map(row).collect());
    let blank = || characters(asked.reference).iter().map(|row| vec!['_'; row.len()]).collect();
    let board: Vec<Vec<char>> = puzzle.unwrap_or_else(blank);
    (!board.is_empty() && board.iter().all(|row| row.len() == board.len())).then_some(board)
}

fn queens(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(puzzle) = given_queens(asked) else {
        return Ruling::Unknown("the row has neither a `puzzle` nor a board as its reference answer");
    };
    match placed(&characters(answer), &puzzle) {
        Ok(()) => Ruling::Right,
        Err(why) => Ruling::Wrong(why.into()),
    }
}

/// Whether a board completes the puzzle.
fn placed(board: &[Vec<char>], puzzle: &[Vec<char>]) -> Result<(), &'static str> {
    let size = puzzle.len();
    if board.len() != size || board.iter().any(|row| row.len() != size) {
        return Err("is no board of the size asked for");
    }
    if board.iter().flatten().any(|cell| !matches!(cell, 'Q' | '_')) {
        return Err("holds something else than Q and _");
    }
    let all = (0..size * size).map(|at| (at / size, at % size));
    let queens: Vec<(usize, usize)> = all.clone().filter(|&(row, column)| board[row][column] == 'Q').collect();
    if all.into_iter().any(|(row, column)| puzzle[row][column] == 'Q' && board[row][column] != 'Q') {
        return Err("moves a given queen");
    }
    if queens.len() != size {
        return Err("has not as many queens as rows");
    }
    let attack =
        |a: &(usize, usize), b: &(usize, usize)| a.0 == b.0 || a.1 == b.1 || a.0.abs_diff(b.0) == a.1.abs_diff(b.1);
    match queens.iter().enumerate().any(|(at, a)| queens[..at].iter().any(|b| attack(a, b))) {
        true => Err("has two queens that attack each other"),
        false => Ok(()),
    }
}

/// 1 for a solution in lines, ½ for one as a Python list.
fn queens_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let puzzle = given_queens(asked)?;
    let board = characters(completion);
    if placed(&board, &puzzle).is_err() {
        return Some(0.0);
    }
    let listed: Option<Vec<Vec<String>>> = serde_json::from_str(&completion.replace('\'', "\"")).ok();
    Some(match listed {
        _ if completion == lines(&board) => 1.0,
        Some(_) => 0.5,
        None => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Attempt, build};

    fn score(reward: &str, compat: bool, completion: &str, answer: &str, metadata: &Value) -> f32 {
        let options = if compat { json!({"compat": "reasoning_gym"}) } else { json!({}) };
        let attempt = Attempt::new("", completion, Some(answer), metadata.as_object().unwrap());
        build(reward, &options).unwrap().score(&[attempt]).remove(0).value().unwrap()
    }

    #[test]
    fn grids_are_compared_cell_by_cell() {
        for (completion, wanted) in [
            ("1 2; 0 1", 1.0),
            ("1 2\n0 1", 1.0),
            ("[[1, 2], [0, 1]]", 1.0),
            ("#### 1 2; 0 1", 1.0),
            ("1 2 0 1", 0.0),
            ("1 2; 0 1; 0 0", 0.0),
            ("1 2; 0 2", 0.0),
            ("[[1, 2], [0, 1]] + []", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(score("binary-matrix", false, completion, "1 2\n0 1", &json!({})), wanted, "{completion}");
        }
        assert_eq!(score("binary-matrix", true, "[[1, 2], [0, 1]]", "1 2\n0 1", &json!({})), 0.1, "control");
    }

    /// B §5.7.4: reasoning-gym runs `eval` on these answers. The text below would be a right board if it were run; parsed
    /// it is none.
    #[test]
    fn nothing_that_is_written_is_run() {
        for (reward, completion, answer) in [
            ("binary-matrix", "[[1, 2] for _ in range(2)]", "1 2\n1 2"),
            ("binary-matrix", "__import__('json').loads('[[1, 2], [1, 2]]')", "1 2\n1 2"),
            ("spiral-matrix", "list(range(1, 5))", "1 2 3 4"),
            ("string-insertion", "'AB' + 'C'", "ABC"),
        ] {
            for compat in [false, true] {
                assert_eq!(score(reward, compat, completion, answer, &json!({})), 0.0, "{reward}: {completion}");
            }
        }
    }

    #[test]
    fn a_sudoku_is_judged_by_its_rules() {
        let row = json!({
            "puzzle": [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]],
            "solution": [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]],
        });
        let answer = "1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1";
        for (completion, wanted) in [
            (answer, 1.0),
            ("1234;3412;2143;4321", 1.0),
            ("```\n1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1\n```", 1.0),
            ("1234;3412;2143;4322", 0.0),
            ("2134;4312;1243;3421", 0.0),
            ("1234;3412;2143", 0.0),
        ] {
            assert_eq!(score("mini-sudoku", false, completion, answer, &row), wanted, "{completion}");
        }
        assert!(score("mini-sudoku", true, "2134;4312;1243;3421", answer, &row) < 0.1);
        assert!(score("mini-sudoku", true, "1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 2", answer, &row) > 0.8, "control");
    }

    #[test]
    fn every_peaceful_board_that_keeps_the_given_queens_is_right() {
        let row =
            json!({"puzzle": [["_", "Q", "_", "_"], ["_", "_", "_", "_"], ["_", "_", "_", "_"], ["_", "_", "_", "_"]]});
        let free =
            json!({"puzzle": [["_", "_", "_", "_"], ["_", "_", "_", "_"], ["_", "_", "_", "_"], ["_", "_", "_", "_"]]});
        let (one, other) = ("_Q__;___Q;Q___;__Q_", "__Q_;Q___;___Q;_Q__");
        assert_eq!(score("n-queens", false, one, "", &row), 1.0);
        assert_eq!(score("n-queens", false, other, "", &row), 0.0, "the given queen is moved");
        assert_eq!(score("n-queens", false, other, "", &free), 1.0);
        for wrong in ["Q___;_Q__;__Q_;___Q", "_Q__;___Q;Q___;____", "_Q__;___Q;Q___", "_Q__;___Q;Q___;__QQ", ""] {
            assert_eq!(score("n-queens", false, wrong, "", &free), 0.0, "{wrong}");
        }
        let listed = "[['_','Q','_','_'],['_','_','_','Q'],['Q','_','_','_'],['_','_','Q','_']]";
        assert_eq!(score("n-queens", false, listed, "", &row), 1.0);
        assert_eq!(score("n-queens", true, listed, "", &row), 0.5, "control");
    }
}
