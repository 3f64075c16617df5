//! The page as a whole: nothing escapes, nothing is fetched, nothing changes between calls.

use super::*;
use crate::metrics::Row;
use crate::switch::{Mode, Transition};
use lapidary_core::{Key, Purpose};

/// A run as it comes out of a small machine: sft on demonstrations, then GSPO.
fn demo() -> ReportData {
    let key = Key::new(17, Purpose::Task);
    let noise = |step: u64, n: u64| key.at(step).at(n).normal();
    let mut rows = Vec::new();
    for step in 1..=200u64 {
        let t = step as f64 / 200.0;
        rows.push(
            Row::new(step, 1, "sft")
                .with("loss", 0.35 + 2.4 * (-5.0 * t).exp() + 0.03 * noise(step, 0))
                .with("entropy", 0.4 + 2.2 * (-5.0 * t).exp() + 0.02 * noise(step, 1))
                .with("grad_norm", 0.8 + 2.0 * (-4.0 * t).exp() + 0.1 * noise(step, 2).abs())
                .with("learning_rate", 1e-3 * (t * 10.0).min(1.0)),
        );
    }
    for step in 201..=500u64 {
        let t = (step - 200) as f64 / 300.0;
        let reward = (0.22 + 0.62 * (1.0 - (-3.5 * t).exp()) + 0.05 * noise(step, 3)).clamp(0.0, 1.0);
        rows.push(
            Row::new(step, 2, "gspo")
                .with("loss", 0.004 * noise(step, 4))
                .with("policy_loss", 0.003 * noise(step, 5))
                .with("entropy", 0.1 + 0.32 * (-2.5 * t).exp() + 0.01 * noise(step, 6))
                .with("approx_kl", 0.0004 + 0.0002 * noise(step, 7).abs())
                .with("ratio/mean", 1.0 + 0.0002 * noise(step, 8))
                .with("ratio/max", 1.004 + 0.001 * noise(step, 9).abs())
                .with("clip_ratio/region_mean", (0.12 + 0.03 * noise(step, 10)).max(0.0))
                .with("sampling/logp_difference/max", 0.0)
                .with("reward", reward)
                .with("reward_std", 0.05 + 0.3 * (1.0 - reward))
                .with("rewards/answer/mean", reward)
                .with("frac_reward_zero_std", (0.25 + 0.5 * t + 0.08 * noise(step, 11)).clamp(0.0, 1.0))
                .with("frac_no_verdict", 0.0)
                .with("completions/mean_length", 9.4 - 1.5 * t + 0.2 * noise(step, 12))
                .with("completions/max_length", (14.0 + 2.0 * noise(step, 13)).round())
                .with("completions/clipped_ratio", (0.06 * (-4.0 * t).exp() + 0.004 * noise(step, 14)).max(0.0))
                .with("grad_norm", 0.4 + 0.1 * noise(step, 15).abs() + if step == 330 { 2.6 } else { 0.0 })
                .with("learning_rate", 3e-5 * (1.0 - 0.9 * t)),
        );
    }
    let evaluation = |step, stage, right: usize| EvaluationData {
        step,
        stage,
        accuracy: lapidary_eval::wilson(right, 200).unwrap().into(),
        prompts: 200,
        no_verdict: 0,
        mean_length: 8.0,
    };
    let whole = lapidary_eval::Pairs { both: 3, gained: 163, lost: 0, neither: 34 };
    let pairs = lapidary_eval::Pairs { both: 40, gained: 126, lost: 4, neither: 30 };
    let sft = lapidary_eval::Pairs { both: 2, gained: 42, lost: 1, neither: 155 };
    let change = |from: &str, to: &str, pairs: lapidary_eval::Pairs| DifferenceData {
        to: to.into(),
        from: from.into(),
        difference: pairs.difference().unwrap().into(),
        p_value: Some(pairs.mcnemar()),
        gained: pairs.gained,
        lost: pairs.lost,
        prompts: pairs.total(),
    };
    let answer = |completion: &str, reward: f32, reason: &str| AnswerData {
        completion: completion.into(),
        reward: Some(reward),
        reason: reason.into(),
        truncated: false,
    };
    let sample = |prompt: &str, reference: &str, before: AnswerData, after: AnswerData| SampleData {
        prompt: prompt.into(),
        answer: Some(reference.into()),
        before: Some(before),
        after,
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    let move_to = |to, reasons: &[&str], buffer, metrics: &[(&str, f64)]| Transition {
        step: 240,
        to,
        reasons: reasons.iter().map(|reason| reason.to_string()).collect(),
        mask: 6,
        buffer,
        metrics: metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect(),
    };
    ReportData {
        transitions: vec![
            move_to(Mode::Sft, &["plateau", "gap"], 41, &[("switch/plateau_bad", 3.0), ("switch/gap_traffic", 0.25)]),
            move_to(Mode::Rl, &["plateau", "gap"], 9, &[("sft/loss", 1.25), ("sft/demonstrations", 32.0)]),
        ],
        calibrations: Vec::new(),
        name: "chain-sum-gspo".into(),
        model: "tiny".into(),
        parameters: Some(842_112),
        status: Status::Finished,
        stages: vec![
            StageData {
                name: "sft".into(),
                task: "chain-sum".into(),
                first_step: 1,
                steps: 200,
                about: "minimises −log p of the demonstration's tokens".into(),
            },
            StageData {
                name: "gspo".into(),
                task: "chain-sum".into(),
                first_step: 201,
                steps: 300,
                about: "Group Sequence Policy Optimization (Zheng et al. 2025): one clipped ratio per answer, the geometric \
                        mean of its token ratios"
                    .into(),
            },
        ],
        evaluations: vec![
            evaluation(0, 0, 3),
            evaluation(100, 1, 21),
            evaluation(200, 1, 44),
            evaluation(260, 2, 96),
            evaluation(320, 2, 131),
            evaluation(380, 2, 150),
            evaluation(440, 2, 160),
            evaluation(500, 2, 166),
        ],
        differences: vec![change("start", "after gspo", whole), change("after sft", "after gspo", pairs), change("start", "after sft", sft)],
        rows,
        samples: vec![
            sample("4 + 7 - 2 =", "9", answer("11", 0.0, "expected 9, found 11"), answer("9", 1.0, "")),
            sample("12 - 5 + 31 =", "38", answer("38", 1.0, ""), answer("38", 1.0, "")),
            sample(
                "8 - 3 + 6 - 9 + 15 =",
                "17",
                AnswerData { completion: "8 8 8 8 8 8 8 8".into(), truncated: true, ..answer("", 0.0, "no number found") },
                answer("17", 1.0, ""),
            ),
            sample(
                "Tom has <b>3</b> apples & buys 14 more. How many?",
                "17",
                AnswerData { completion: String::new(), reward: None, reason: "the verifier timed out".into(), truncated: false },
                answer("Tom has 3 apples and buys 14 more, so 3 + 14 = 17.\n#### 17", 0.5, "answer 1, length 0"),
            ),
        ],
        warnings: vec![WarningData {
            step: 471,
            rule: "zero_variance".into(),
            seen: "92 % of the groups have equal rewards, so they teach nothing".into(),
            cause: "the task has become too easy: every sample of a prompt is right".into(),
            knob: "harder prompts, or stop here".into(),
        }],
        recipe: "seed = 17\nname = \"chain-sum-gspo\"\nmodel = \"tiny\"\n\n[[stage]]\nkind = \"sft\"\ntask = \"chain-sum\"\nsteps = 200\n\
                 prompts_per_step = 32\nlearning_rate = 0.001\n\n[[stage]]\nkind = \"rl\"\nmethod = \"gspo\"\ntask = \"chain-sum\"\n\
                 reward = [\"answer\"]\nsteps = 300\nprompts_per_step = 8\nsamples_per_prompt = 8\nmax_new_tokens = 16\n"
            .into(),
        plan: vec![
            pair("optimiser steps", "200 + 600"),
            pair("completions per step", "64"),
            pair("tokens per step, at most", "2,048"),
            pair("memory, at most", "48 MB"),
            pair("a checkpoint", "10 MB, 3 kept"),
        ],
        checkpoint: Some(CheckpointData { path: "runs/chain-sum-gspo/checkpoints/step-000500".into(), step: 500, bytes: 10_240_118 }),
        next: vec![
            pair("Try it:", "lapidary generate --model runs/chain-sum-gspo/checkpoints/step-000500"),
            pair("Measure it on more prompts:", "lapidary eval --run runs/chain-sum-gspo --prompts 1000"),
        ],
        facts: vec![pair("lapidary", "0.1.0"), pair("seed", "17"), pair("host", "builder, 2 cores"), pair("time", "4 min 12 s")],
    }
}

#[test]
fn the_page_says_what_happened() {
    let page = render(&demo());
    for part in [
        "Trained <b>tiny</b> (842 k parameters): 200 steps of <b>sft</b> on chain-sum, then 300 steps of <b>gspo</b>",
        "accuracy changed by <b>+81.5 points</b> from start to after gspo",
        "more than chance explains",
        "after gspo",
        "83 % [77.2 to 87.6 %]",
        "1.5 %</span><span>→</span><b>83 %",
        "step-000500",
        "10.2 MB",
        "Try:</b> harder prompts",
        "data-label=\"Before\"",
        "exactly 0 on the native engine",
        "1 phase of demonstrations between the updates",
        "<td>240</td><td>to demonstrations</td><td>plateau, gap</td><td>41</td>",
        "plateau_bad 3 · gap_traffic 0.25",
        "back to rewards",
    ] {
        assert!(page.contains(part), "`{part}` is missing");
    }
    assert_eq!(page, render(&demo()), "equal data gives equal bytes");
    if let Ok(path) = std::env::var("LAPIDARY_REPORT_OUT") {
        std::fs::write(path, &page).unwrap();
    }
}

/// Names, texts and numbers of an attacker in every place where a run can put text.
fn hostile() -> ReportData {
    const X: &str =
        "</style></title></textarea>--><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=alert(3) ' `";
    let x = || X.to_string();
    let answer = || AnswerData { completion: x(), reward: Some(0.5), reason: x(), truncated: true };
    let mut data = demo();
    data.name = x();
    data.model = x();
    data.status = Status::Failed { why: x() };
    data.stages = vec![StageData { name: x(), task: x(), first_step: 1, steps: 10, about: x() }];
    data.differences.iter_mut().for_each(|change| (change.from, change.to) = (x(), x()));
    data.rows = (1..40).map(|step| Row::new(step, 1, x()).with(x(), step as f64).with("loss", step as f64)).collect();
    data.rows.iter_mut().for_each(|row| row.values.push((format!("constant {X}"), 1.0)));
    data.samples = vec![SampleData { prompt: x(), answer: Some(x()), before: Some(answer()), after: answer() }];
    data.warnings = vec![WarningData { step: 1, rule: x(), seen: x(), cause: x(), knob: x() }];
    data.transitions[0].reasons = vec![x()];
    data.transitions[1].metrics = vec![(x(), 1.0)];
    data.recipe = x();
    data.plan = vec![(x(), x())];
    data.facts = vec![(x(), x())];
    data.next = vec![(x(), x())];
    data.checkpoint = Some(CheckpointData { path: x(), step: 1, bytes: 1 });
    data
}

/// Names of the tags of a page and, in lower case, everything between `<` and `>`.
fn tags(page: &str) -> Vec<String> {
    let after_style = &page[page.find("</style>").unwrap()..];
    after_style.split('<').skip(1).map(|part| part.split('>').next().unwrap().to_lowercase()).collect()
}

#[test]
fn no_text_becomes_markup() {
    let page = render(&hostile());
    let known: std::collections::BTreeSet<String> =
        tags(&render(&demo())).iter().map(|tag| tag.split([' ', '/']).next().unwrap().to_string()).collect();
    for tag in tags(&page) {
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(known.contains(name), "a text opened `<{tag}>`");
        // Outside of quoted values no attribute may be an event handler.
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(!outside.contains("onload") && !outside.contains("onerror"), "`<{tag}>`");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_eq!(page.matches("<title>").count(), page.matches("</title>").count());
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn nothing_is_fetched_and_no_script_runs() {
    let page = render(&demo());
    for forbidden in ["<script", "http:", "https:", "url(", "@import", "<link", "<iframe", "src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_of_nothing_and_a_page_of_one_step_are_pages() {
    assert!(render(&ReportData::default()).contains("No evaluation on held-out prompts was made."));
    let mut data = demo();
    data.rows.truncate(1);
    data.evaluations.truncate(1);
    data.differences.clear();
    data.status = Status::Unfinished { done: 1, total: 500 };
    let page = render(&data);
    assert!(page.contains("step 1 of 500") && !page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_long_run_stays_a_small_page() {
    let mut data = demo();
    let last = data.rows[499].clone();
    data.rows.extend((501..20_000).map(|step| Row { step, ..last.clone() }));
    let page = render(&data);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}
