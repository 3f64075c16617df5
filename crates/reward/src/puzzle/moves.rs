//! Tasks whose answer is a way: steps through a grid, moves of a tower. Any shortest way is right.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Asked, Rule, Ruling, info};
use crate::registry::RewardInfo;

pub(crate) const SHORTEST_PATH: RewardInfo = info(
    "shortest-path",
    "The completion's steps lead from start to goal over open cells, and no way is shorter.",
    "1 if way(completion) is valid and shortest else 0",
    |options| Rule { name: "shortest-path", numeric: false, judge: way, credit: way_credit }.build(options),
);
pub(crate) const TOWER_OF_HANOI: RewardInfo = info(
    "tower-of-hanoi",
    "The completion's moves are legal, end at the target, and are as few as can be.",
    "1 if moves(completion) are legal, complete and fewest else 0",
    |options| Rule { name: "tower-of-hanoi", numeric: false, judge: tower, credit: tower_credit }.build(options),
);

/// More steps than this are none that was asked for.
const MOST_MOVES: usize = 8192;

type Cell = (usize, usize);

/// A map of cells: `X` is blocked, `*` the start, `#` the goal.
struct Map {
    cells: Vec<Vec<char>>,
    start: Cell,
    goal: Cell,
}

impl Map {
    fn of(asked: &Asked<'_>) -> Option<Self> {
        let row = |row: &Value| {
            row.as_array()?.iter().map(|cell| cell.as_str()?.chars().next()).collect::<Option<Vec<char>>>()
        };
        let cells: Vec<Vec<char>> = asked.metadata.get("matrix")?.as_array()?.iter().map(row).collect::<Option<_>>()?;
        let find = |sign: char| {
            cells.iter().enumerate().find_map(|(row, cells)| Some((row, cells.iter().position(|cell| *cell == sign)?)))
        };
        let (start, goal) = (find('*')?, find('#')?);
        let even = cells.iter().all(|row| row.len() == cells[0].len());
        even.then_some(Self { cells, start, goal })
    }

    fn next(&self, at: Cell, step: &str) -> Option<Cell> {
        let (row, column) = match step {
            "up" => (at.0.checked_sub(1)?, at.1),
            "down" => (at.0 + 1, at.1),
            "left" => (at.0, at.1.checked_sub(1)?),
            "right" => (at.0, at.1 + 1),
            _ => return None,
        };
        let open = self.cells.get(row)?.get(column)? != &'X';
        open.then_some((row, column))
    }

    fn leads(&self, steps: &[&str]) -> bool {
        steps.iter().try_fold(self.start, |at, step| self.next(at, step)) == Some(self.goal)
    }

    /// Steps of a shortest way (breadth first); `None` where there is none.
    fn shortest(&self) -> Option<usize> {
        let mut seen = vec![vec![false; self.cells[0].len()]; self.cells.len()];
        let (mut front, mut steps) = (vec![self.start], 0);
        seen[self.start.0][self.start.1] = true;
        while !front.is_empty() {
            if front.contains(&self.goal) {
                return Some(steps);
            }
            let mut next = Vec::new();
            for cell in front {
                for step in ["up", "down", "left", "right"] {
                    if let Some(cell) = self.next(cell, step).filter(|cell| !seen[cell.0][cell.1]) {
                        seen[cell.0][cell.1] = true;
                        next.push(cell);
                    }
                }
            }
            front = next;
            steps += 1;
        }
        None
    }
}

fn way(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(map) = Map::of(asked) else { return Ruling::Unknown("the row has no `matrix` with start and goal") };
    let lower = answer.to_lowercase();
    let steps: Vec<&str> =
        lower.split(|c: char| c.is_whitespace() || c == ',').filter(|step| !step.is_empty()).collect();
    match map.shortest() {
        None => Ruling::of(steps == ["infeasible"], || "there is no way".into()),
        Some(_) if !map.leads(&steps) => Ruling::Wrong("does not lead to the goal".into()),
        Some(fewest) => Ruling::of(steps.len() == fewest, || format!("has {} steps, {fewest} suffice", steps.len())),
    }
}

/// 1 for a way as short as the reference, ½ for a longer one.
fn way_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let (given, wanted) = (completion.trim(), asked.reference.trim());
    let map = Map::of(asked).filter(|_| !wanted.is_empty())?;
    let steps: Vec<&str> = given.split_whitespace().collect();
    Some(match map.leads(&steps) {
        _ if given == wanted => 1.0,
        true if steps.len() == wanted.split_whitespace().count() => 1.0,
        true => 0.5,
        false => 0.0,
    })
}

/// A tower of Hanoi on its way.
struct Tower {
    /// The disks of each peg, the lowest first.
    pegs: Vec<Vec<u64>>,
    disks: u64,
    target: usize,
    /// Fewest moves.
    fewest: usize,
}

impl Tower {
    fn of(asked: &Asked<'_>) -> Option<Self> {
        const MOST: u64 = 64;
        let known = |name: &str| asked.metadata.get(name).and_then(Value::as_u64);
        let (disks, pegs) = (known("num_disks")?, known("num_pegs")?);
        let (start, target) = (known("start_peg")? as usize, known("target_peg")? as usize);
        let fine = disks <= MOST
            && pegs <= MOST
            && (1..=pegs as usize).contains(&start)
            && (1..=pegs as usize).contains(&target);
        let mut tower = Self {
            pegs: vec![Vec::new(); if fine { pegs as usize + 1 } else { return None }],
            disks,
            target,
            fewest: known("solution_length")? as usize,
        };
        tower.pegs[start] = (1..=disks).rev().collect();
        Some(tower)
    }

    /// Moves the topmost disk, which must be `disk` where that is said; false where it may not move.
    fn step(&mut self, from: usize, to: usize, disk: Option<u64>) -> bool {
        let Some(&top) = self.pegs.get(from).and_then(|peg| peg.last()) else { return false };
        let fits = to > 0 && self.pegs.get(to).is_some_and(|peg| peg.last().is_none_or(|other| *other >= top));
        if !fits || disk.is_some_and(|disk| disk != top) {
            return false;
        }
        self.pegs[from].pop();
        self.pegs[to].push(top);
        true
    }

    fn done(&self) -> bool {
        self.pegs[self.target].len() as u64 == self.disks
    }
}

/// Disk where it is said, and the two pegs of `Move disk 2 from Peg 1 to Peg 3`.
fn spoken(line: &str) -> Option<(u64, usize, usize)> {
    static MOVE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"Move disk ([0-9]{1,9}) from Peg ([0-9]{1,9}) to Peg ([0-9]{1,9})").ok());
    let found = MOVE.as_ref()?.captures(line)?;
    let part = |at: usize| found.get(at).map(|part| part.as_str());
    Some((part(1)?.parse().ok()?, part(2)?.parse().ok()?, part(3)?.parse().ok()?))
}

/// `1>2 1>3 2>3`, also with arrows or commas, or a line for each move in words.
fn tower(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(mut tower) = Tower::of(asked) else {
        return Ruling::Unknown("the row does not say how many disks are where");
    };
    let short = |word: &str| -> Option<(Option<u64>, usize, usize)> {
        let (from, to) = word.split_once('>')?;
        Some((None, from.parse().ok()?, to.parse().ok()?))
    };
    let moves: Option<Vec<(Option<u64>, usize, usize)>> = match answer.contains("isk") {
        true => answer
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| spoken(line).map(|(disk, from, to)| (Some(disk), from, to)))
            .collect(),
        false => {
            let plain = answer.replace("->", ">").replace('→', ">").replace(" > ", ">");
            plain.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).map(short).collect()
        }
    };
    let Some(moves) = moves.filter(|moves| moves.len() <= MOST_MOVES) else {
        return Ruling::Wrong("is no list of moves".into());
    };
    for (at, (disk, from, to)) in moves.iter().enumerate() {
        if !tower.step(*from, *to, *disk) {
            return Ruling::Wrong(format!("move {} is not legal", at + 1));
        }
    }
    if !tower.done() {
        return Ruling::Wrong("leaves disks that are not on the target".into());
    }
    Ruling::of(moves.len() <= tower.fewest, || format!("takes {} moves, {} suffice", moves.len(), tower.fewest))
}

/// 1 for a solution of the fewest moves, the share of needed moves for a longer one, 0.05 for legal moves that end
/// elsewhere, 0 for anything else.
fn tower_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let mut tower = Tower::of(asked)?;
    if completion.is_empty() {
        return Some(0.0);
    }
    let lines: Vec<&str> = completion.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((disk, from, to)) = spoken(line) else { return Some(0.0) };
        if words.len() != 9 || !tower.step(from, to, Some(disk)) {
            return Some(0.0);
        }
    }
    Some(match tower.done() {
        false => 0.05,
        true if lines.len() <= tower.fewest => 1.0,
        true => tower.fewest as f64 / lines.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Attempt, build};

    fn score(reward: &str, compat: bool, completion: &str, answer: &str, row: &Value) -> f32 {
        let options = if compat { json!({"compat": "reasoning_gym"}) } else { json!({}) };
        let attempt = Attempt::new("", completion, Some(answer), row.as_object().unwrap());
        build(reward, &options).unwrap().score(&[attempt]).remove(0).value().unwrap()
    }

    #[test]
    fn any_shortest_way_is_right_and_no_other() {
        let row = json!({"matrix": [["*", "O", "O"], ["O", "X", "O"], ["O", "O", "#"]]});
        for (completion, strict, credit) in [
            ("right right down down", 1.0, 1.0),
            ("down down right right", 1.0, 1.0),
            ("down, down, right, right", 1.0, 0.0),
            ("left right right down down", 0.0, 0.0),
            ("right left right right down down", 0.0, 0.5),
            ("right down down right", 0.0, 0.0),
            ("infeasible", 0.0, 0.0),
            ("", 0.0, 0.0),
        ] {
            assert_eq!(
                score("shortest-path", false, completion, "right right down down", &row),
                strict,
                "{completion}"
            );
            assert_eq!(score("shortest-path", true, completion, "right right down down", &row), credit, "{completion}");
        }
        let walled = json!({"matrix": [["*", "X", "#"]]});
        assert_eq!(score("shortest-path", false, "#### infeasible", "infeasible", &walled), 1.0);
        assert_eq!(score("shortest-path", false, "right right", "infeasible", &walled), 0.0);
    }

    #[test]
    fn towers_move_by_the_rules_in_the_fewest_moves() {
        let row = json!({"num_disks": 2, "num_pegs": 3, "start_peg": 1, "target_peg": 3, "solution_length": 3});
        let spoken =
            "Move disk 1 from Peg 1 to Peg 2\nMove disk 2 from Peg 1 to Peg 3\nMove disk 1 from Peg 2 to Peg 3";
        for (completion, strict, credit) in [
            ("#### 1>2 1>3 2>3", 1.0, 0.0),
            ("1->2, 1->3, 2->3", 1.0, 0.0),
            (spoken, 1.0, 1.0),
            ("1>3 1>3", 0.0, 0.0),
            ("1>2 1>3", 0.0, 0.0),
            ("1>3 3>2 1>3 2>3", 0.0, 0.0),
            ("1>2 1>0 2>3", 0.0, 0.0),
            ("1>2 1>3 2>99999999999999999999", 0.0, 0.0),
            ("Move disk 1 from Peg 1 to Peg 2", 0.0, 0.05),
            (" ", 0.0, 0.05),
            ("", 0.0, 0.0),
        ] {
            assert_eq!(score("tower-of-hanoi", false, completion, "", &row), strict, "{completion}");
            let given = score("tower-of-hanoi", true, completion, "", &row);
            assert!((given - credit).abs() < 1e-6, "{completion}: {given}");
        }
    }
}
