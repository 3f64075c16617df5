//! Verdicts of `math` a second: `cargo bench -p lapidary-reward --bench math`.
//!
//! Prints one JSON line per kind of answer: answers per wall second on one thread, the median of `ROUNDS` rounds
//! (default 5) of 2,000 verdicts each. Right and wrong answers alternate, so that nothing can be said by comparing texts.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use lapidary_reward::{Attempt, build};
use serde_json::{Map, Value, json};

/// Kind, reference, right answer, wrong answer.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("integer", "1234", "1,234", "1235"),
    ("fraction", "\\frac{14}{3}", "\\dfrac{28}{6}", "\\frac{14}{5}"),
    ("root", "\\frac{5\\sqrt{42}}{27}", "\\frac{10\\sqrt{10.5}}{27}", "\\frac{5\\sqrt{41}}{27}"),
    ("polynomial", "(a+5)(b+2)", "ab+2a+5b+10", "ab+2a+5b+11"),
    ("interval", "(-\\infty, 2) \\cup (3, \\infty)", "(3,\\infty)\\cup(-\\infty,2)", "(-\\infty,2)\\cup[3,\\infty)"),
    ("matrix", "\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "(0.2, -3.6)", "(0.2, -3.7)"),
    ("equation", "y = 2x + 3", "2x - y + 3 = 0", "2x - y + 4 = 0"),
    ("numeric", "2 \\sin b \\cos a", "\\sin(a+b)-\\sin(a-b)", "\\sin(a+b)+\\sin(a-b)"),
];
const VERDICTS: usize = 2000;

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|value| value.parse().ok()).unwrap_or(5usize).max(1);
    let reward = build("math", &Value::Null).unwrap();
    let metadata = Map::new();
    for (kind, reference, right, wrong) in KINDS {
        let texts: Vec<String> = (0..VERDICTS)
            .map(|index| format!("Step {index}, so it is $\\boxed{{{}}}$.", if index % 2 == 0 { right } else { wrong }))
            .collect();
        let attempts: Vec<Attempt<'_>> =
            texts.iter().map(|text| Attempt::new("", text, Some(reference), &metadata)).collect();
        let mut rates: Vec<f64> = Vec::new();
        for _ in 0..rounds {
            let started = Instant::now();
            let verdicts = reward.score(&attempts);
            rates.push(VERDICTS as f64 / started.elapsed().as_secs_f64());
            assert_eq!(verdicts.iter().filter(|verdict| verdict.value() == Some(1.0)).count(), VERDICTS / 2, "{kind}");
        }
        rates.sort_by(f64::total_cmp);
        println!("{}", json!({"kind": kind, "verdicts_per_second": rates[rounds / 2].round()}));
    }
}
