//! Mutated and hostile answers: every verdict stays within its steps.

use serde_json::{Map, Value, json};

use super::*;

/// A generator of numbers for the tests below; the constants are Knuth's.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const SEEDS: &[&str] = &[
    "\\frac{5\\sqrt{42}}{27}",
    "\\left( 3, \\frac{\\pi}{2} \\right)",
    "(-\\infty, 2) \\cup (3, \\infty)",
    "\\{1\\pm\\sqrt{5},-2\\}",
    "\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}",
    "5x - 7y + 11z + 4 = 0",
    "1\\leq|z|\\leq \\frac{3}{2}",
    "x \\in [-2,7]",
    "9^{9^{9^9}}",
    "2 \\sin b \\cos a",
    "\\sum_{k=0}^{n-1} F_k F_{n-k-1}",
    "864 \\mbox{ inches}^2",
    "3.46223 \\times 10^{3}",
    "2^{n+3}",
    "(x+1)^{64}(y+z)^{64}",
    "2004!",
    "\\binom{2000}{1000}",
    "\\sqrt[3]{x}^2",
    "\\log_2 3 + \\tan^{-1} 1",
    "e^{i\\pi/3}",
    "4:45\\frac{3}{11}",
    "1,234,567.891",
    "\\text{(C)}",
    "\\text{ellipse} or circle",
    "((((((x))))))",
    "a/b/c/d/e",
    "x!!!!",
    "{1,2},{3}",
    "$x \\le -2$ or $x \\ge 3$",
    "\\frac{1}{\\frac{1}{\\frac{1}{x}}}",
    "\\lceil n/2 \\rceil",
    "0.\\overline{142857}",
    "((1+x)^{60}+1)^{60}",
    "\\sqrt{\\sqrt{\\sqrt{\\sqrt{2}}}}",
];
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\\{",
    "\\}",
    "|",
    "^",
    "_",
    "^{",
    "\\frac",
    "\\sqrt",
    "\\pm",
    "-",
    "+",
    "*",
    "/",
    ",",
    ";",
    ":",
    "=",
    "<",
    "\\le ",
    "\\in ",
    "\\cup ",
    "!",
    "%",
    "^\\circ",
    "'",
    "\\infty",
    "i",
    "e",
    "\\pi",
    "x",
    "9",
    "10^",
    "999999999",
    "1e400",
    "\\sin ",
    "\\ln ",
    "\\text{",
    "\\boxed{",
    "$",
    "\\",
    "\\\\",
    "&",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    " ",
    "0",
    "1/0",
    "\\sum_",
    "é",
    "\u{200b}",
    "٣",
    "½",
    "²",
    "…",
    "or ",
];

fn mutated(dice: &mut Dice) -> String {
    let mut text: Vec<char> = SEEDS[dice.below(SEEDS.len())].chars().collect();
    for _ in 0..=dice.below(5) {
        let at = dice.below(text.len() + 1);
        match dice.below(5) {
            0 if !text.is_empty() => drop(text.remove(at.min(text.len() - 1))),
            1 => drop(text.splice(at..at, SEEDS[dice.below(SEEDS.len())].chars())),
            2 if !text.is_empty() => {
                let part: Vec<char> = text[at / 2..at].to_vec();
                drop(text.splice(at..at, part));
            }
            _ => drop(text.splice(at..at, PIECES[dice.below(PIECES.len())].chars())),
        }
    }
    text.into_iter().collect()
}

/// 12,000 mutated answers, each within 3,000 steps counted by the code: no panic, one verdict, the same again.
#[test]
fn mutated_answers_stay_within_their_steps() {
    const FEW: u64 = 3_000;
    let math = crate::build("math", &json!({})).unwrap();
    let rules = Math::new(&options(json!({}))).unwrap();
    let mut dice = Dice(7);
    let (mut right, mut spent) = (0, 0);
    for round in 0..12_000 {
        let (gold, given) = (mutated(&mut dice), mutated(&mut dice));
        let completion = format!("\\boxed{{{given}}}");
        let judge = || {
            let budget = Budget::new(FEW);
            let verdict = rules.judge(&completion, &Gold::of(gold.trim()), &budget);
            assert!(verdict.value().is_none_or(|score| score == 0.0 || score == 1.0), "{gold} {given}");
            (verdict, budget.left())
        };
        let (first, left) = judge();
        assert_eq!(judge(), (first.clone(), left), "the same again: {gold} and {given}");
        right += u32::from(first.value() == Some(1.0));
        spent += u32::from(left == 0);
        if round % 8 == 0 && !gold.trim().is_empty() {
            let metadata = Map::new();
            let own = math.score(&[Attempt::new("", &gold, Some(&gold), &metadata)]).remove(0);
            assert!(
                own.value() != Some(0.0)
                    || answers(&gold, STRICT, false, false).is_none_or(|found| found.all != [gold.trim()])
            );
        }
    }
    assert!(spent > 0, "some of them are too large for so few steps");
    assert!(right < 200, "{right} of two unlike texts are equal");
}

fn options(given: Value) -> Options {
    let owner = crate::options::Owner { what: "reward", name: "math", unknown: "W002", wrong: "W003" };
    Options::check(owner, OPTIONS, &given).unwrap()
}

/// Whatever is written, and however deep or long, a verdict takes no more steps than it is given.
#[test]
fn bombs_are_defused() {
    let deep = |open: &str, close: &str, count: usize| format!("{}x{}", open.repeat(count), close.repeat(count));
    let bombs = [
        "9^9^9^9".to_string(),
        "9^{9^{9^{9}}}".to_string(),
        "10^{10^{10}} - 10^{10^{10}}".to_string(),
        "(x+y+z+w)^{64}".to_string(),
        "((x+y+z+w)^{60}+1)^{60}".to_string(),
        "2000!!!!".to_string(),
        "\\binom{2100}{1050}^{2100}".to_string(),
        "e^{e^{e^{e^{e}}}}".to_string(),
        "\\sin(10^{300})".to_string(),
        "1e400*1e400*1e400".to_string(),
        "0.".to_string() + &"3".repeat(3000),
        "9".repeat(1_000_000),
        "{".repeat(1 << 20),
        "\\frac{".repeat(1 << 17),
        deep("(", ")", 2000),
        deep("\\frac{1}{", "}", 400),
        deep("\\sqrt{", "}", 500),
        deep("|", "|", 1000),
        deep("f(", ")", 900),
        deep("x^{", "}", 900),
        "-".repeat(4000),
        "x/".repeat(2000) + "x",
        "x!".repeat(1000),
        "x,".repeat(2000) + "x",
        "x<".repeat(2000) + "x",
        "\\pm ".repeat(700) + "1",
        "(1,2)\\cup".repeat(400) + "(1,2)",
        "abc".repeat(1300),
        (0..300).map(|n| format!("x_{{{n}}}+")).collect::<String>() + "1",
        (2..200).map(|n| format!("\\sqrt{{{n}}}+")).collect::<String>() + "1",
        format!("({})({})", "x+".repeat(900) + "1", "y+".repeat(900) + "1"),
        (0..60).map(|n| format!("\\sqrt{{{n}x+1}}*")).collect::<String>() + "1",
    ];
    let rules = Math::new(&options(json!({}))).unwrap();
    for bomb in &bombs {
        for gold in ["5", "x+1", "\\sqrt2", bomb.as_str()] {
            let budget = Budget::new(STEPS);
            let given = format!("\\boxed{{{bomb}}}");
            let verdict = rules.judge(&given, &Gold::of(gold), &budget);
            if gold != bomb {
                assert_eq!(verdict.value(), Some(0.0), "{:.60} for {gold}: {verdict:?}", bomb);
            }
            let reversed = rules.judge("\\boxed{5}", &Gold::of(bomb), &Budget::new(STEPS));
            assert_ne!(reversed.value(), Some(1.0), "{:.60}: {reversed:?}", bomb);
        }
    }
}
