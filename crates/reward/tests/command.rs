//! The `command` reward against programs that behave, crash, hang, babble and flood. Programs are `sh` scripts.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::time::{Duration, Instant};

use lapidary_core::{Kind, Verdict};
use lapidary_reward::{Attempt, Reward, build};
use serde_json::{Map, Value, json};

fn shell(script: &str, options: Value) -> Box<dyn Reward> {
    let mut all = json!({"program": ["sh", "-c", script], "timeout_s": 20});
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    build("command", &all).unwrap()
}

fn judge(reward: &dyn Reward, count: usize) -> Vec<Verdict> {
    let metadata = Map::new();
    let texts: Vec<String> = (0..count).map(|at| format!("text {at}")).collect();
    let attempts: Vec<Attempt> = texts.iter().map(|text| Attempt::new("p", text, Some("a"), &metadata)).collect();
    let verdicts = reward.score(&attempts);
    assert_eq!(verdicts.len(), count);
    verdicts
}

fn values(verdicts: &[Verdict]) -> Vec<Option<f32>> {
    verdicts.iter().map(Verdict::value).collect()
}

const GOOD: &str = r#"while read -r line; do echo '{"score": 0.5, "reason": "ok"}'; done"#;

#[test]
fn a_good_program_is_started_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("starts");
    let reward = shell(&format!("echo start >> '{}'; {GOOD}", log.display()), json!({}));
    for _ in 0..5 {
        assert_eq!(values(&judge(&*reward, 3)), [Some(0.5); 3]);
    }
    assert!(reward.score(&[]).is_empty());
    assert_eq!(std::fs::read_to_string(log).unwrap(), "start\n");
}

#[test]
fn every_field_reaches_the_program_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!(r#"read -r line; printf '%s' "$line" > '{}'; echo '{{"score": 1}}'"#, seen.display());
    let reward = shell(&script, json!({}));
    let metadata = Map::from_iter([("n".to_string(), json!(3))]);
    let attempt = Attempt { truncated: true, ..Attempt::new("p\n\"q\"", "c 'd' $HOME", None, &metadata) };
    assert_eq!(values(&reward.score(&[attempt])), [Some(1.0)]);
    let line: Value = serde_json::from_str(&std::fs::read_to_string(seen).unwrap()).unwrap();
    let wanted = json!({"id": 0, "prompt": "p\n\"q\"", "completion": "c 'd' $HOME", "answer": null, "metadata": {"n": 3},
                        "tokens": 3, "truncated": true});
    assert_eq!(line, wanted);
}

#[test]
fn a_crash_is_no_verdict_with_stderr_and_the_next_batch_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("crashed");
    let script = format!(
        r#"if [ ! -e '{0}' ]; then touch '{0}'; read -r a; echo '{{"score": 1}}'; echo "bad luck" >&2; exit 7; fi; {GOOD}"#,
        mark.display()
    );
    let reward = shell(&script, json!({}));
    let verdicts = judge(&*reward, 3);
    assert_eq!(values(&verdicts), [Some(1.0), None, None], "what was answered in order counts");
    let reason = verdicts[2].reason();
    assert!(reason.contains("exit status: 7") && reason.contains("bad luck"), "{reason}");
    assert_eq!(values(&judge(&*reward, 2)), [Some(0.5); 2]);
}

#[test]
fn a_program_that_hangs_is_killed_with_all_it_started_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > '{}'; sleep 600", pid.display());
    let reward = shell(&script, json!({"timeout_s": 0.5}));
    let started = Instant::now();
    let verdicts = judge(&*reward, 2);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(values(&verdicts), [None, None]);
    assert!(verdicts[0].reason().contains("within 0.5 s"), "{}", verdicts[0].reason());
    let grandchild = std::fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", grandchild.trim());
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(gone || !cfg!(target_os = "linux"), "the grandchild must not outlive the program");
}

#[test]
fn wrong_lines_are_no_verdict_and_never_zero() {
    for (line, reason) in [
        ("loading model", "not a JSON line"),
        ("7", "not a JSON object"),
        (r#"{"scroe": 1}"#, "no `score`"),
        (r#"{"score": "high"}"#, "not a number"),
        (r#"{"score": 1, "id": 5}"#, "answered id 5"),
        (r#"{"score": NaN}"#, "not a finite number"),
        (r#"{"score": 1e60}"#, "not a finite number"),
        (r#"{"score": 1e999}"#, ""),
        (r#"{"score": null, "reason": "too hard"}"#, "too hard"),
        (r#"{"score": null}"#, "gave no score"),
    ] {
        let reward = shell(&format!("while read -r x; do echo '{line}'; done"), json!({}));
        let verdict = judge(&*reward, 1).remove(0);
        assert_eq!(verdict.value(), None, "{line}");
        assert!(verdict.reason().contains(reason), "{line}: {}", verdict.reason());
    }
}

#[test]
fn too_few_lines_and_lines_nobody_asked_for_are_noticed() {
    let reward = shell(r#"read -r a; echo '{"score": 1}'"#, json!({}));
    assert_eq!(values(&judge(&*reward, 2)), [Some(1.0), None]);
    let reward = shell(r#"while read -r a; do echo '{"score": 1}'; echo '{"score": 0}'; done"#, json!({}));
    judge(&*reward, 1);
    std::thread::sleep(Duration::from_millis(300));
    let verdict = judge(&*reward, 1).remove(0);
    assert!(verdict.value().is_none() && verdict.reason().contains("more lines"), "{verdict:?}");
}

#[test]
fn a_flood_is_cut_off_and_stderr_is_bounded() {
    let reward = shell("read -r a; head -c 50000000 /dev/zero | tr '\\0' x", json!({"max_line_bytes": 1000}));
    let verdict = judge(&*reward, 1).remove(0);
    assert!(verdict.value().is_none() && verdict.reason().contains("more than 1000 bytes"), "{verdict:?}");
    let reward = shell("head -c 5000000 /dev/zero | tr '\\0' y >&2; exit 1", json!({}));
    let verdict = judge(&*reward, 1).remove(0);
    assert!(verdict.value().is_none() && verdict.reason().chars().count() < 500, "{}", verdict.reason().len());
}

#[test]
fn a_large_batch_does_not_block_on_a_full_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let _keep = &folder;
    let reward = shell(GOOD, json!({}));
    assert_eq!(values(&judge(&*reward, 3000)), vec![Some(0.5); 3000]);
    // a program that never reads: the write blocks in its own thread and the deadline holds
    let reward = shell("sleep 600", json!({"timeout_s": 0.5}));
    let started = Instant::now();
    assert_eq!(values(&judge(&*reward, 3000)), vec![None; 3000]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_that_is_not_there_is_a_usage_problem() {
    for program in [json!("no-such-program-anywhere"), json!("./no/such/file"), json!("python3 reward.py"), json!("")] {
        let problem = build("command", &json!({"program": program})).err().unwrap();
        assert_eq!((problem.kind(), problem.code()), (Kind::Usage, "W010"), "{problem}");
    }
}

#[test]
fn the_example_in_python_works_as_its_readme_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/custom_reward");
    let Ok(reward) = build("command", &json!({"program": ["python3", format!("{folder}/reward.py")]})) else {
        println!("skipped: there is no python3");
        return;
    };
    let text = std::fs::read_to_string(format!("{folder}/examples.jsonl")).unwrap();
    let lines = lapidary_reward::jsonl::Lines::new("examples.jsonl", text.as_bytes());
    let examples: Vec<_> = lines.map(|line| lapidary_reward::Example::parse(&line.unwrap()).unwrap()).collect();
    let attempts: Vec<_> = examples.iter().map(lapidary_reward::Example::attempt).collect();
    let written: Vec<String> =
        reward.score(&attempts).iter().map(|verdict| lapidary_reward::verdict_json(verdict).to_string()).collect();
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    assert_eq!(written.len(), 3);
    for line in written {
        assert!(readme.contains(&line), "{line}");
    }
    let program = std::fs::read_to_string(format!("{folder}/reward.py")).unwrap();
    assert!(program.lines().count() < 60);
}
