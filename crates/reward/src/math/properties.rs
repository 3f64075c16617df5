//! Random expressions whose value is known without the code under test.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;
use proptest::prelude::*;
use serde_json::{Map, json};

use crate::{Attempt, build};

/// An expression in LaTeX and in plain text, and its value.
#[derive(Clone, Debug)]
struct Known {
    latex: String,
    plain: String,
    value: BigRational,
}

fn leaf() -> impl Strategy<Value = Known> {
    prop_oneof![
        (0i64..100).prop_map(|n| Known {
            latex: n.to_string(),
            plain: n.to_string(),
            value: BigRational::from_integer(n.into())
        }),
        (1i64..10_000, 1u32..4).prop_map(|(n, places)| {
            let ten = 10i64.pow(places);
            let text = format!("{}.{:0width$}", n / ten, n % ten, width = places as usize);
            Known { latex: text.clone(), plain: text, value: BigRational::new(n.into(), ten.into()) }
        }),
    ]
}

fn expression() -> impl Strategy<Value = Known> {
    leaf().prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0usize..6).prop_map(|(a, b, operation)| {
            let (x, y) = (a.value.clone(), b.value.clone());
            let make = |latex: String, plain: String, value: BigRational| Known { latex, plain, value };
            let joined = |sign: &str, text: &str, value| {
                make(
                    format!("\\left({}{sign}{}\\right)", a.latex, b.latex),
                    format!("({} {text} {})", a.plain, b.plain),
                    value,
                )
            };
            match operation {
                0 => joined("+", "+", x + y),
                1 => joined(" - ", "-", x - y),
                2 => joined(" \\cdot ", "*", x * y),
                3 if !y.is_zero() => {
                    make(format!("\\frac{{{}}}{{{}}}", a.latex, b.latex), format!("({})/({})", a.plain, b.plain), x / y)
                }
                4 => make(format!("{{({})}}^{{2}}", a.latex), format!("({})**2", a.plain), &x * &x),
                _ => make(format!("-({})", a.latex), format!("(-({}))", a.plain), -x),
            }
        })
    })
}

fn score(completion: &str, reference: &str) -> Option<f32> {
    let reward = build("math", &json!({"worked-out": false, "rounding": "exact"})).unwrap();
    let metadata = Map::new();
    let boxed = format!("\\boxed{{{completion}}}");
    let verdict = reward.score(&[Attempt::new("", &boxed, Some(reference), &metadata)]).remove(0);
    verdict.value()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn expressions_have_their_value_and_no_other(known in expression(), off in 1i64..1_000_000) {
        let wrong = &known.value + BigRational::new(1.into(), BigInt::from(off));
        for text in [&known.latex, &known.plain] {
            prop_assert_eq!(score(text, &known.value.to_string()), Some(1.0), "{} is {}", text, &known.value);
            prop_assert_eq!(score(&known.value.to_string(), text), Some(1.0), "{} is {}", &known.value, text);
            prop_assert_eq!(score(text, &wrong.to_string()), Some(0.0), "{} is not {}", text, &wrong);
        }
        prop_assert_eq!(score(&known.latex, &known.plain), Some(1.0));
    }

    /// (a·√n + b)·(c·x + d) multiplied out by hand.
    #[test]
    fn roots_and_symbols_multiply_out(a in -9i64..10, b in 1i64..10, c in 1i64..10, d in -9i64..10, n in 2i64..200) {
        let product = format!("({a}\\sqrt{{{n}}}+{b})({c}x+{d})");
        let sum = format!("{}x\\sqrt{{{n}}}+{}\\sqrt{{{n}}}+{}x+{}", a * c, a * d, b * c, b * d);
        prop_assert_eq!(score(&product, &sum), Some(1.0), "{} = {}", &product, &sum);
        let wrong = format!("{sum}+\\frac{{1}}{{1000}}");
        prop_assert_eq!(score(&product, &wrong), Some(0.0), "{} ≠ {}", &product, &wrong);
        let square = format!("{n}x^2");
        let rooted = format!("(\\sqrt{{{n}}}x)^2");
        prop_assert_eq!(score(&square, &rooted), Some(1.0));
    }

    /// Equations up to a factor, inequalities up to a positive one.
    #[test]
    fn equations_scale(a in 1i64..50, b in -50i64..50, k in prop_oneof![-9i64..-1, 2i64..9]) {
        let scaled = |sign: &str| format!("{}x + {} {sign} {}y", a * k, b * k, k);
        prop_assert_eq!(score(&scaled("="), &format!("{a}x + {b} = y")), Some(1.0));
        prop_assert_eq!(score(&scaled("="), &format!("{a}x + {} = y", b + 1)), Some(0.0));
        let (same, other) = if k > 0 { ("<", ">") } else { (">", "<") };
        prop_assert_eq!(score(&scaled(same), &format!("{a}x + {b} < y")), Some(1.0));
        prop_assert_eq!(score(&scaled(other), &format!("{a}x + {b} < y")), Some(0.0));
    }
}
