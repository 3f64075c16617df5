use serde_json::{Map, Value, json};

use super::*;

fn verdict(options: &Value, completion: &str, reference: &str) -> Verdict {
    let reward = crate::build("math", options).unwrap();
    reward.score(&[Attempt::new("", completion, Some(reference), &Map::new())]).remove(0)
}

fn check(options: &Value, cases: &[(&str, &str, bool)]) {
    let mut wrong = Vec::new();
    for (gold, given, equal) in cases {
        let verdict = verdict(options, &format!("so \\boxed{{{given}}}"), gold);
        if verdict.value() != Some(f32::from(u8::from(*equal))) {
            wrong.push(format!("{gold} and {given}: {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{options}:\n{}", wrong.join("\n"));
}

#[test]
fn numbers_in_every_dress() {
    check(
        &json!({}),
        &[
            ("1/2", "\\frac12", true),
            ("1/2", "0.5", true),
            ("0.5", "\\dfrac{2}{4}", true),
            ("-\\frac{1}{2}", "-1/2", true),
            ("\\frac{-1}{2}", "-\\tfrac12", true),
            ("1,000", "1000", true),
            ("58,500", "58500", true),
            ("11,\\! 111,\\! 111,\\! 100", "11111111100", true),
            ("10{,}080", "10080", true),
            ("1000", "1 000", true),
            ("\\$18.90", "18.9", true),
            ("18.90", "$18.90", true),
            ("1\\frac{4}{5}", "9/5", true),
            ("137 \\frac{1}{2}", "137.5", true),
            ("7 3/4", "31/4", true),
            ("3.46223 \\times 10^{3}", "3462.23", true),
            ("0.0000672", "6.72e-5", true),
            (".0000672", "6.72 \\cdot 10^{-5}", true),
            ("10^{10}", "10000000000", true),
            ("0.\\overline{3}", "1/3", true),
            ("0.1\\overline{6}", "1/6", true),
            ("5 million", "5000000", true),
            ("2\\text{ million}", "2,000,000", true),
            ("72", "72.", true),
            ("007", "7", true),
            ("5", "5.01", false),
            ("1/3", "0.333333", false),
            ("1/3", "0.3333", false),
            ("1,234", "1.234", false),
            ("12", "1 2", false),
            ("(995^2,994^2)", "(995^2, 994^2)", true),
            ("(1,234, 5)", "(1234,5)", true),
            ("(1,234)", "(1, 234)", true),
            ("x = 1,234", "1234", true),
            ("75/4", "7 5/4", false),
            ("3", "-3", false),
            ("204_5", "204_5", true),
            ("4210_{5}", "4210_5", true),
            ("204_5", "204", false),
            ("204_5", "204_6", false),
            ("204_5", "54", false),
            ("54_{10}", "54", true),
        ],
    );
}

#[test]
fn decimals_percent_and_units() {
    check(
        &json!({}),
        &[
            ("12.8", "64/5", true),
            ("12.8", "12.7", false),
            ("3.14", "\\pi", true),
            ("3.14", "3.14159", true),
            ("3.14", "3.15", false),
            ("0.5", "0.46", false),
            ("16.67\\%", "16.67", true),
            ("10\\%", "10", true),
            ("10\\%", "0.1", true),
            ("0.1", "10\\%", true),
            ("10", "10\\%", true),
            ("10\\%", "1", false),
            ("50\\%", "1/2", true),
            ("90^\\circ", "90", true),
            ("90", "90^{\\circ}", true),
            ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}", true),
            ("864 \\mbox{ inches}^2", "864", true),
            ("864 \\mbox{ inches}^2", "864 \\text{ square inches}", true),
            ("15\\mbox{ cm}^2", "15 m^2", false),
            ("2", "2\\text{ cm}", true),
            ("5.4 \\text{ cents}", "5.4", true),
            ("5 \\text{ cm}", "5 \\text{ m}", false),
            ("25^{\\circ} \\mathrm{C}", "25", true),
            ("3200 \\mathrm{~cm}^{3}", "3200", true),
            ("20\\text{ miles}", "20 miles", true),
            ("20\\text{ miles}", "20\\%", false),
            ("\\$36", "36", true),
            ("\\$36", "36 \\text{ dollars}", true),
            ("\\$36", "36^\\circ", false),
            ("\\$36", "€36", false),
            ("-\\$5", "-5", true),
            ("18+2\\pi", "18+2\\pi\\text{ cm}", true),
            ("-\\frac{24}{25}", "-\\frac{24}{25}\\text{ cm}", true),
            ("3 \\pm 2\\sqrt2", "3 \\pm 2 \\sqrt2\\text{ cm}", true),
            ("3R^2", "3R^2\\text{ cm}", true),
            ("x^2+1", "x^2 + 1 \\text{ square meters}", true),
            ("p - q", "p - q\\text{ cm}", true),
            ("18+2\\pi \\text{ m}", "18+2\\pi\\text{ cm}", false),
        ],
    );
    check(&json!({"rounding": "exact"}), &[("3.14", "3.14159", false), ("3.14", "3.140", true)]);
    check(&json!({"places": 6}), &[("1/3", "0.333333", true), ("1/3", "0.3333", false), ("\\pi/2", "1.570796", true)]);
    check(&json!({"places": 3}), &[("1/3", "0.333", true), ("4/3", "1.333", true)]);
    check(&json!({"places": 4}), &[("1/3", "0.333", false), ("4/3", "1.333", false)]);
    check(&json!({"percent": "value"}), &[("10\\%", "10", false), ("10\\%", "0.1", true)]);
    check(&json!({"percent": "sign"}), &[("10\\%", "10", true), ("10\\%", "0.1", false)]);
    check(&json!({"units": "keep"}), &[("5 \\text{ cm}", "5", false), ("5 \\text{ cm}", "5 cm", true)]);
}

#[test]
fn closed_forms_are_compared_to_the_last_digit() {
    check(
        &json!({}),
        &[
            ("\\sqrt8", "2\\sqrt2", true),
            ("\\frac{5\\sqrt{42}}{27}", "\\frac{10\\sqrt{10.5}}{27}", true),
            ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt2}{2}", true),
            ("\\frac{1 + \\sqrt{5}}{2}", "\\frac{2}{\\sqrt{5}-1}", true),
            ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2", true),
            ("\\sqrt[3]{16}", "2\\sqrt[3]{2}", true),
            ("\\sqrt[3]{-8}\\sqrt2", "-2\\sqrt2", true),
            ("2^{8/3}", "4\\sqrt[3]{4}", true),
            ("\\sqrt{-4}", "2i", true),
            ("6 - 5i", "-5i+6", true),
            ("e^{i\\pi/3}", "\\frac{1+i\\sqrt3}{2}", true),
            ("(1+i)^2", "2i", true),
            ("\\ln 8", "3\\ln 2", true),
            ("\\log_2 3", "\\frac{\\ln 3}{\\ln 2}", true),
            ("\\log 2", "\\ln 2", false),
            ("\\tan^{-1} 1", "\\frac{\\pi}{4}", true),
            ("\\frac{\\sqrt3}{2}", "\\sin 60^\\circ", false),
            ("\\cos\\frac{\\pi}{5}", "\\frac{1+\\sqrt5}{4}", true),
            ("\\frac{20000}{\\pi}", "20000/pi", true),
            ("\\frac94\\pi", "\\frac{9\\pi}{4}", true),
            ("1 / 2004!", "\\frac{1}{2004!}", true),
            ("1 + 2004!", "2004! + 1", true),
            ("\\binom{10}{3} x", "120x", true),
            ("\\pi", "355/113", false),
            ("e^{\\pi\\sqrt{163}}", "262537412640768744", false),
            ("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt6}", true),
            ("\\sqrt{2}+\\sqrt{3}", "3.1462643699", false),
            ("|{-3}|\\pi", "3\\pi", true),
            ("\\lfloor \\pi \\rfloor", "3", true),
            ("4", "4\\sqrt2", false),
        ],
    );
}

#[test]
fn symbols_are_compared_as_functions() {
    check(
        &json!({}),
        &[
            ("x^2-1", "(x-1)(x+1)", true),
            ("(a+5)(b+2)", "ab+2a+5b+10", true),
            ("(a+5)(b+2)", "(+5)(b+2)", false),
            ("\\frac{x+2}{7}", "\\frac{x}{7}+\\frac{2}{7}", true),
            ("\\frac{x^2-1}{x-1}", "x+1", true),
            ("6r^2-4r-24", "2(3r^2-2r-12)", true),
            ("5r^5", "5r^4", false),
            ("2 \\sin b \\cos a", "\\sin(a+b)-\\sin(a-b)", true),
            ("\\sin^2 x + \\cos^2 x", "1", true),
            ("\\cot x", "\\frac{\\cos x}{\\sin x}", true),
            ("2^{n+3}", "8 \\cdot 2^n", true),
            ("\\sqrt{x}\\sqrt{y}", "\\sqrt{xy}", true),
            ("\\sqrt{x^2}", "|x|", true),
            ("\\sqrt{x^2}", "x", false),
            ("\\frac{1}{3x^{2/3}}", "\\frac{1}{3\\sqrt[3]{x}^2}", true),
            ("\\frac{n!}{(n-1)!}", "n", true),
            ("(-1)^n", "\\cos(n\\pi)", true),
            ("f(x)", "f(y)", false),
            ("x_1 + x_2", "x_2+x_1", true),
            ("\\alpha\\beta", "\\beta\\alpha", true),
            ("2R", "2r", false),
            ("\\sum_{k=0}^{n-1} F_k F_{n-k-1}", "\\sum_{k=0}^{n-1} F_{n-k-1} F_k", true),
        ],
    );
}

#[test]
fn structures_part_by_part() {
    check(
        &json!({}),
        &[
            ("\\{1,2\\}", "\\{2,1\\}", true),
            ("1,-2", "-2, 1", true),
            ("1,2", "1,2,3", false),
            ("1,2,3", "1,2", false),
            ("(1,2)", "(2,1)", false),
            ("(1,2)", "1,2", true),
            ("(3,1)", "{1,3}", false),
            ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)", true),
            ("[1,2)", "(1,2]", false),
            ("(2,\\infty)", "(2, +\\infty)", true),
            ("(-\\infty, 2) \\cup (3, \\infty)", "(3,\\infty)\\cup(-\\infty,2)", true),
            ("[0,1]\\cup[1,2]", "[0,2]", true),
            ("(0,9) \\cup (9,36)", "(0,36)", false),
            ("(0,9) \\cup (9,36)", "(0,36) \\setminus \\{9\\}", true),
            ("\\mathbb{R} \\setminus \\{1\\}", "(-\\infty,1)\\cup(1,\\infty)", true),
            ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}", true),
            ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}", false),
            ("\\{1\\pm\\sqrt{5},-2\\}", "2 \\cdot (\\{1\\pm\\sqrt{5},-2\\})", false),
            ("x = \\pm 2", "x=2 \\text{ or } x=-2", true),
            ("y = \\pm\\frac{1}{2}x", "y=\\frac{x}{2}, y = -\\frac{x}{2}", true),
            ("\\overline{AB}", "AB", true),
            ("\\text{B, C}", "C, B", true),
            ("A", "\\textbf{(A)}\\ 5", true),
            ("B", "\\textbf{(A)}\\ 5", false),
            ("A", "\\textbf{(A)}\\ 5 \\text{ or } \\textbf{(B)}", false),
            ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1-\\sqrt5, 1+\\sqrt5", true),
            ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\begin{pmatrix} 0.2 \\\\ -3.6 \\end{pmatrix}", true),
            ("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", false),
            ("\\begin{pmatrix} -2 \\\\ -14 \\\\ -7 \\end{pmatrix}", "(-2,-14,-7)", true),
            ("1:2", "2:4", true),
            ("1:2", "1/2", true),
            ("3 : 5 : 7", "6:10:14", true),
            ("12:00", "1:00", false),
            ("4:40", "2:20", false),
            ("4:40 a.m.", "4:40 \\text{ a.m.}", true),
            ("4:40 a.m.", "4:40 p.m.", false),
            ("4:45\\frac{3}{11}", "4:45 \\frac{3}{11}", true),
            ("\\text{even}", "even", true),
            ("\\text{(C)}", "C", true),
            ("\\text{(C)}", "\\text{C}", true),
            ("\\text{(C)}", "D", false),
            ("\\text{Evelyn}", "Evelyn", true),
            ("\\text{east}", "west", false),
            ("\\text{no}", "no", true),
            ("\\text{yes}", "no", false),
            ("\\text{east}", "-\\text{east}", false),
            ("\\text{(B)}", "\\text{(B)}+1", false),
            ("\\text{(B)}", "-\\text{(B)}", false),
            ("\\frac{3}{8}", "-\\frac{3}{8}", false),
            ("1 / 2004!", "-1 / 2004!", false),
            ("(2/5, 3/5)", "2(2/5, 3/5)", false),
        ],
    );
    check(&json!({"lists": "ordered"}), &[("1,-2", "-2, 1", false), ("1,-2", "1,-2", true)]);
}

#[test]
fn equations_and_inequalities() {
    check(
        &json!({}),
        &[
            ("x=5", "5", true),
            ("5", "x=5", true),
            ("x=5", "y=5", false),
            ("y = 2x + 3", "2x+3", true),
            ("y = 2x + 3", "2x - y + 3 = 0", true),
            ("y = 2x + 3", "y = 2x - 3", false),
            ("5x - 7y + 11z + 4 = 0", "-10x+14y-22z-8=0", true),
            ("x + y = 1", "0 = 0", false),
            ("x^2 = 4", "x^2 = 5", false),
            ("\\frac{1}{8}+\\frac{1}{x}=\\frac{1}{2}", "\\frac{1}{x} = \\frac38", true),
            ("7 = 11a+c", "11a+c", false),
            ("x \\geq 3", "3 \\leq x", true),
            ("x<1", "-x > -1", true),
            ("x<1", "x > -1", false),
            ("x < 1", "x \\le 1", false),
            ("m \\neq 1", "1 \\ne m", true),
            ("1<x<2", "(1,2)", true),
            ("(1,2)", "1<x<2", false),
            ("1\\leq|z|\\leq \\frac{3}{2}", "[-1.5,-1]\\cup[1,1.5]", true),
            ("$x \\le -2$ or $x \\ge 3$", "(-\\infty,-2]\\cup[3,\\infty)", true),
            ("x \\in [-2,7]", "[-2,7]", true),
            ("a^2 + b^2 < c", "b^2+a^2 - c < 0", true),
            ("a < b < c", "c > b > a", true),
            ("120 < n \\leq 130", "(120, 130]", true),
            ("x=1, y=2", "y=2, x=1", true),
            ("x=1, y=2", "x=2, y=1", false),
            ("n = 2, 5, 13", "2, 5, 13", true),
            ("(x, y) = (5, 8)", "(5,8)", true),
        ],
    );
    check(&json!({"inequality-for-set": true}), &[("(1,2)", "1<x<2", true)]);
}

/// What should not pass, and what should not even be compared.
#[test]
fn tricks_score_nothing() {
    check(
        &json!({}),
        &[
            ("1", "1 or 2", false),
            ("2", "1, 2", false),
            ("2", "\\{1,2\\}", false),
            ("2", "2 \\pm 0.1", false),
            ("19", "12+7", false),
            ("19", "\\frac{38}{2}", true),
            ("84", "12 \\times 7", false),
            ("16", "\\sqrt{256}", false),
            ("5", "the answer is 5 or 6", false),
            ("5", "5 and not 6", false),
            ("$12$", "2$12$", false),
            ("6", "some 5 or $6$", false),
            ("6", "it is not $6$", false),
            ("0", "0/0", false),
            ("0", "\\frac{1}{0}", false),
            ("1", "\\infty/\\infty", false),
            ("\\infty", "\\frac{1}{0}", false),
            ("\\infty", "-\\infty", false),
            ("1", "\\text{nan}", false),
            ("1", "nan", false),
            ("nan", "1", false),
            ("12", "１２", false),
            ("x", "х", false),
            ("12", "1\u{200b}2", false),
            ("12", "١٢", false),
            ("5", "9^{9^{9^9}}", false),
            ("0", "10^{-99999}", false),
            ("\\frac{1}{3}", "\\frac{1}{3} + 10^{-50}", false),
            ("5", "x", false),
            ("x", "5", false),
            ("x=5", "x", false),
            ("2x+1=0", "0=0", false),
        ],
    );
    for (completion, gold) in [
        ("\\boxed{}", "5"),
        ("\\boxed{5", "6"),
        ("\\boxed{2} no wait \\boxed{3}", "3"),
        ("\\boxed{2} no wait \\boxed{3}", "2"),
        ("the answer is 5. the answer is 6.", "5"),
        ("1 2 3 4 5", "5"),
        ("I do not know, but 5 is a number.", "5"),
        ("<answer>5</answer><answer>6</answer>", "6"),
        ("", "5"),
        ("5 6", "5"),
    ] {
        let verdict = verdict(&json!({}), completion, gold);
        assert_eq!(verdict.value(), Some(0.0), "{completion} for {gold}: {verdict:?}");
    }
    let last = json!({"several": "last"});
    assert_eq!(verdict(&last, "\\boxed{2} no wait \\boxed{3}", "3").value(), Some(1.0));
    assert_eq!(
        verdict(&json!({}), "\\boxed{0.5}, that is \\boxed{\\frac12}", "1/2").value(),
        Some(1.0),
        "all are right"
    );
}

#[test]
fn where_the_answer_may_stand() {
    for (completion, gold) in [
        ("so \\boxed{\\frac{1}{2}} ok", "1/2"),
        ("so \\fbox{7}.", "7"),
        ("<think>\\boxed{1}</think> it is \\boxed{2}", "2"),
        ("<answer>\\frac{1}{2}</answer>", "0.5"),
        ("<answer>so \\boxed{7}</answer>", "7"),
        ("adds up\n#### $1,234.", "1234"),
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "1/2"),
        ("Final Answer: The final answer is 28\\%. I hope it is correct.", "28"),
        ("The answer is: x = 5", "5"),
        ("$x = 5$", "5"),
        ("5", "5"),
        ("\\boxed{1} and \\boxed{2}", "1,2"),
        ("The answer is 12 apples.", "12"),
        ("\\boxed{5\\text{ or }6}", "6, 5"),
    ] {
        let verdict = verdict(&json!({}), completion, gold);
        assert_eq!(verdict.value(), Some(1.0), "{completion} for {gold}: {verdict:?}");
    }
    let tags = json!({"extract": ["tags"]});
    assert_eq!(verdict(&tags, "\\boxed{5}", "5").value(), Some(0.0));
    let reward = crate::build("math", &json!({})).unwrap();
    let question = "Solve and put the answer in \\boxed{7}.";
    let echo = format!("{question} I would say nothing");
    let metadata = Map::new();
    let verdict = reward.score(&[Attempt::new(question, &echo, Some("7"), &metadata)]).remove(0);
    assert_eq!(verdict.value(), Some(0.0), "the question's own words do not count: {verdict:?}");
}

#[test]
fn a_reference_that_says_nothing_gives_no_verdict() {
    for gold in ["", "  ", "\\frac{2 k n}{n+k-1}-2 \\frac{k!n!}{(k+n-1)!", "\\frac{1}{0}", "x^^2", "0/0", "9^{9^{9^9}}"]
    {
        let verdict = verdict(&json!({}), "\\boxed{7}", gold);
        assert_eq!(verdict.value(), None, "{gold}: {verdict:?}");
    }
    assert_eq!(verdict(&json!({}), "\\boxed{x^^2}", "x^^2").value(), Some(1.0), "its own words are right");
}

#[test]
fn reasons_say_what_was_read() {
    let reason = |completion, gold| verdict(&json!({}), completion, gold).reason().to_string();
    assert_eq!(
        reason("\\boxed{\\frac{2}{4}}", "0.5"),
        "`\\frac{2}{4}` (in \\boxed{}) is the reference `0.5`: equal as `2/4`"
    );
    assert_eq!(
        reason("\\boxed{x^2+1}", "(x+1)^2"),
        "`x^2+1` (in \\boxed{}) is not the reference `(x+1)^2`: it is `x^2 + 1`, not `(x + 1)^2`"
    );
    assert_eq!(
        reason("\\boxed{12+7}", "19"),
        "`12+7` (in \\boxed{}) is not the reference `19`: it is right, but not worked out"
    );
}
