//! `simple-integration`: any polynomial with the given derivative.

use serde_json::Value;

use super::polynomial::Polynomial;
use super::{Asked, Rule, Ruling, info};
use crate::registry::RewardInfo;

pub(crate) const SIMPLE_INTEGRATION: RewardInfo = info(
    "simple-integration",
    "The completion's polynomial has the given derivative.",
    "1 if d/dx polynomial(completion) = integrand else 0",
    |options| {
        let judge = |answer: &str, asked: &Asked<'_>| judge(answer, asked, false);
        let credit = |completion: &str, asked: &Asked<'_>| match self::judge(completion, asked, true) {
            Ruling::Right => Some(1.0),
            Ruling::Wrong(_) => Some(0.0),
            Ruling::Unknown(_) => None,
        };
        Rule { name: "simple-integration", numeric: false, judge, credit }.build(options)
    },
);

/// The derivative counts, not the form; the constant may be any number, `C`, or left out, and with `loose` any letter.
fn judge(answer: &str, asked: &Asked<'_>, loose: bool) -> Ruling {
    let text = |name: &str| asked.metadata.get(name).and_then(Value::as_str);
    let variable = text("variable").and_then(|name| name.chars().next()).unwrap_or('x');
    let wanted = match text("integrand") {
        Some(integrand) => Polynomial::parse(integrand, variable, false),
        None => Polynomial::parse(asked.reference, variable, false).map(|polynomial| polynomial.derivative()),
    };
    let Some(wanted) = wanted else {
        return Ruling::Unknown("the row has neither an `integrand` nor a polynomial as its reference answer");
    };
    match Polynomial::parse(answer, variable, loose) {
        None => Ruling::Wrong("is no polynomial".into()),
        Some(given) => Ruling::of(given.derivative() == wanted, || "has another derivative".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Attempt, build};

    #[test]
    fn the_derivative_decides() {
        let row = json!({"integrand": "6*x**2 - 4", "variable": "x"});
        for (completion, wanted) in [
            ("2*x**3 - 4*x + C", 1.0),
            ("#### 2x^3 - 4x", 1.0),
            ("-4*x + 2*x**3 - 7", 1.0),
            ("2*x**3 - 4*x + C*x", 0.0),
            ("2*x**3 + 4*x", 0.0),
            ("6*x**2 - 4", 0.0),
            ("__import__('os').system('true')", 0.0),
            ("", 0.0),
        ] {
            let reward = build("simple-integration", &json!({})).unwrap();
            let verdict = reward.score(&[Attempt::new("", completion, None, row.as_object().unwrap())]).remove(0);
            assert_eq!(verdict.value(), Some(wanted), "{completion}: {verdict:?}");
        }
    }
}
