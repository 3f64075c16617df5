//! Every row of `system_calls.txt` is denied inside, and its control is not outside.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test says what is wrong by panicking

mod common;

use common::{ask, control, no_python, python, sandbox};

lapidary_sandbox::launcher_of_tests!();

const ROWS: &str = include_str!("system_calls.txt");
const HELPERS: &str = include_str!("system_calls.py");
/// `ptrace` and 40 more.
const LEAST_ROWS: usize = 41;
const EPERM: i64 = 1;
const EACCES: i64 = 13;
const ENOSYS: i64 = 38;

struct Row {
    title: String,
    number: u32,
    arguments: String,
    first: String,
}

fn rows() -> Vec<Row> {
    let lines = ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &str| {
        let columns: Vec<&str> = line.splitn(5, '|').map(str::trim).collect();
        let column = |at: usize| columns.get(at).copied().unwrap_or_default().to_string();
        Row {
            title: format!("{}: {}", column(1), column(2)),
            number: column(0).parse().unwrap(),
            arguments: column(3),
            first: column(4),
        }
    };
    lines.map(row).collect()
}

/// `(result, errno)` as the program printed it.
fn outcome(said: &str) -> Option<(i64, i64)> {
    let (result, errno) = said.trim().strip_prefix('(')?.strip_suffix(')')?.split_once(", ")?;
    Some((result.parse().ok()?, errno.parse().ok()?))
}

#[test]
fn every_call_of_the_table_is_denied_inside_and_not_outside() {
    if no_python() {
        return;
    }
    let executable = python().executable().display().to_string();
    let mut cell = sandbox().start().unwrap();
    let (mut proven, mut wrong) = (0, Vec::new());
    for Row { title, number, arguments, first } in rows() {
        let call = format!("answer = attempt({number}, {arguments})");
        let head = format!("executable = {executable:?}\n{HELPERS}");
        let inside = ask(&mut cell, &format!("{head}\n{call}"));
        match outcome(&inside) {
            Some((-1, EPERM | ENOSYS)) => {}
            _ => wrong.push(format!("{title}: inside it gives {inside}")),
        }
        let outside = control(&format!("{head}\n{first}\n{call}"));
        let reached = match outcome(&outside) {
            Some((-1, errno)) => ![EPERM, EACCES, ENOSYS].contains(&errno),
            Some(_) => true,
            None => outside == "0 0", // another program ran, and said so
        };
        println!("{} {title}: inside {inside}, outside {outside}", if reached { "ok" } else { "NO CONTROL" });
        proven += usize::from(reached);
        if !cell.is_fit() {
            cell = sandbox().start().unwrap();
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // as an ordinary user, or in a container, many controls are denied as well: then they prove nothing
    if mighty() {
        assert!(proven >= LEAST_ROWS, "only {proven} controls succeeded");
    }
    println!("{proven} of {} calls are denied inside and not outside", rows().len());
}

/// Whether this process may do what the controls do.
fn mighty() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(held, 16).unwrap() & SYS_ADMIN != 0
}
