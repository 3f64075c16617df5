//! `tower-of-hanoi`: a tower to be moved disk by disk.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`tower_of_hanoi`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "tower-of-hanoi",
    family: Family::Games,
    summary: "Move a tower of disks from peg to peg in the fewest moves.",
    example: "2 disks from 1 to 3 → 1>2 1>3 2>3",
    answer_reward: "tower-of-hanoi",
    options: &[
        whole("min_disks", (1, 12), "3", "fewest disks"),
        whole("max_disks", (1, 12), "7", "most disks"),
        whole("min_pegs", (3, 6), "3", "fewest pegs"),
        whole("max_pegs", (3, 6), "4", "most pegs"),
        STYLE,
    ],
    levels: &[
        &[("min_disks", "1"), ("max_disks", "2"), ("max_pegs", "3")],
        &[("min_disks", "2"), ("max_disks", "3")],
        &[("min_disks", "3"), ("max_disks", "4")],
        &[("min_disks", "5"), ("max_disks", "6")],
        &[("min_disks", "7"), ("max_disks", "9")],
    ],
    build: |options, seed| Procedural::build(TowerOfHanoi::new(options)?, options, seed),
};

struct TowerOfHanoi {
    disks: (i64, i64),
    pegs: (i64, i64),
}

impl TowerOfHanoi {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { disks: options.range("min_disks", "max_disks")?, pegs: options.range("min_pegs", "max_pegs")? })
    }
}

/// The fewest moves for so many disks on so many pegs, and how many disks are set aside first (Frame and Stewart; with
/// three and four pegs proven to be fewest, beyond that the best known).
fn fewest(disks: usize, pegs: usize) -> (u64, usize) {
    match (disks, pegs) {
        (0, _) => (0, 0),
        (1, _) => (1, 0),
        (_, 3) => ((1 << disks) - 1, disks - 1),
        _ => {
            let with = |aside: usize| 2 * fewest(aside, pegs).0 + fewest(disks - aside, pegs - 1).0;
            let best = (1..disks).min_by_key(|aside| with(*aside)).unwrap_or(1);
            (with(best), best)
        }
    }
}

/// The moves of the topmost `disks` from one peg to another, with the spare pegs.
fn solve(moves: &mut Vec<(i64, i64)>, disks: usize, (from, to): (i64, i64), spare: &[i64]) {
    if disks == 0 {
        return;
    }
    let Some((&aside, rest)) = spare.split_first().filter(|_| disks > 1) else {
        moves.push((from, to));
        return;
    };
    let put_aside = fewest(disks, spare.len() + 2).1;
    let with = |peg: i64| rest.iter().copied().chain([peg]).collect::<Vec<_>>();
    solve(moves, put_aside, (from, aside), &with(to));
    solve(moves, disks - put_aside, (from, to), rest);
    solve(moves, put_aside, (aside, to), &with(from));
}

impl Generator for TowerOfHanoi {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Start and target are drawn.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (disks, pegs) = (dice.within(self.disks) as usize, dice.within(self.pegs));
        let order = dice.shuffled(&(1..=pegs).collect::<Vec<_>>());
        let (start, target) = (order[0], order[1]);
        let mut moves = Vec::new();
        solve(&mut moves, disks, (start, target), &order[2..]);
        let answer = moves.iter().map(|(from, to)| format!("{from}>{to}")).collect::<Vec<_>>().join(" ");
        let plain = format!(
            "There are {pegs} pegs, 1 to {pegs}. On peg {start} lie {disks} disks, each smaller than the one below. Move all of them to peg \
             {target} in the fewest moves: one disk at a time, the topmost of its peg, never onto a smaller one."
        );
        let ending = "End with the moves in one line after \"####\", each as from>to, like this: #### 1>2 1>3 2>3";
        let question =
            Question::new(moves.len(), (plain, ending), format!("hanoi {disks} {pegs}:{start}>{target}="), answer);
        let question = question.with("num_disks", disks).with("num_pegs", pegs).with("start_peg", start);
        Some(question.with("target_peg", target).with("solution_length", moves.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    /// The fewest moves by breadth-first search; a state is the peg of every disk, the smallest first.
    fn searched(disks: usize, pegs: usize) -> usize {
        let (start, goal) = (vec![0; disks], vec![1; disks]);
        let mut far = HashMap::from([(start.clone(), 0)]);
        let mut queue = VecDeque::from([start]);
        while let Some(state) = queue.pop_front() {
            if state == goal {
                return far[&state];
            }
            for disk in 0..disks {
                for peg in 0..pegs {
                    let blocked = state[..disk].iter().any(|other| *other == state[disk] || *other == peg);
                    let mut next = state.clone();
                    next[disk] = peg;
                    if !blocked && !far.contains_key(&next) {
                        far.insert(next.clone(), far[&state] + 1);
                        queue.push_back(next);
                    }
                }
            }
        }
        panic!("no way")
    }

    #[test]
    fn no_shorter_way_is_found_by_searching() {
        for pegs in 3..=5 {
            for disks in 1..=(if pegs == 3 { 7 } else { 6 }) {
                let mut moves = Vec::new();
                solve(&mut moves, disks, (1, 2), &(3..=pegs as i64).collect::<Vec<_>>());
                assert_eq!(moves.len(), searched(disks, pegs), "{disks} disks, {pegs} pegs");
                assert_eq!(moves.len() as u64, fewest(disks, pegs).0);
            }
        }
    }
}
