//! How many trivial programs one worker judges a second, and how long the slow ones take.
//!
//! `cargo bench -p lapidary-reward --bench code`, on a machine that does nothing else. What is aimed at (reliability X9): 150 programs a
//! second and core, 99 of 100 within 20 ms.
#![allow(clippy::print_stdout, clippy::expect_used)] // a benchmark prints what it measured

use std::time::Instant;

use lapidary_reward::{Attempt, build};
use serde_json::{Value, json};

/// Programs of each kind.
const PROGRAMS: usize = 2000;

fn main() {
    lapidary_sandbox::launch_if_asked();
    let functions =
        json!({"test": "def check(f):\n    assert f(4) == 8\n    assert f(0) == 0\n", "entry_point": "double"});
    let runs = json!({"inputs": ["21"], "outputs": ["42"]});
    measure("functions (two sandboxes)", &functions, "def double(x): return 2 * x\n", json!({"workers": 1}));
    measure("stdin and stdout (one sandbox)", &runs, "print(2 * int(input()))\n", json!({"workers": 1}));
    measure(
        "functions, a fresh sandbox each",
        &functions,
        "def double(x): return 2 * x\n",
        json!({"workers": 1, "fresh": true}),
    );
}

fn measure(title: &str, row: &Value, program: &str, options: Value) {
    let reward = build("code", &options).expect("the options are right");
    let row = row.as_object().expect("a row is an object").clone();
    let attempt = Attempt::new("", program, None, &row);
    let count = if options["fresh"] == true { PROGRAMS / 20 } else { PROGRAMS };
    assert_eq!(reward.score(&[attempt])[0].value(), Some(1.0), "the program is right");
    let mut times: Vec<f64> = Vec::with_capacity(count);
    let started = Instant::now();
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(reward.score(&[attempt])[0].value(), Some(1.0), "the program is right");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let whole = started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    println!(
        "{title}: {:.0} programs/s, median {:.1} ms, p99 {:.1} ms",
        count as f64 / whole,
        times[count / 2],
        times[count * 99 / 100]
    );
}
