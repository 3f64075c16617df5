//! The string comparisons of peers, for parity with their numbers.
//!
//! `hendrycks` is the normaliser of the MATH dataset's authors (Hendrycks et al., 2021, `math_equivalence.py`), `verl_math`
//! verl's `math_reward.py`, which is the same normaliser behind its own search for the last box. Where their Python code
//! fails with an exception, they compare the raw strings, or score 0; so does this.

/// A step of the normaliser failed as its Python original fails.
struct Failed;

/// Whether two answers are the same to the MATH normaliser.
pub(crate) fn hendrycks(a: &str, b: &str) -> bool {
    match (stripped(a), stripped(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Whether verl's MATH score of a completion is 1.
pub(crate) fn verl_math(completion: &str, reference: &str) -> bool {
    last_box(completion).is_some_and(|answer| hendrycks(answer, reference))
}

/// The content of the last box as verl finds it: `\boxed 7$` counts up to the dollar sign, `\fbox` does not count.
fn last_box(text: &str) -> Option<&str> {
    if let Some(at) = text.rfind("\\boxed ") {
        let rest = &text[at + "\\boxed ".len()..];
        return Some(rest.split('$').next().unwrap_or(rest));
    }
    let start = text.rfind("\\boxed")?;
    let mut depth = 0i64;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return text[start..at].strip_prefix("\\boxed{");
                }
            }
            _ => {}
        }
    }
    None
}

fn stripped(text: &str) -> Result<String, Failed> {
    let mut text = text.replace('\n', "").replace("\\!", "").replace("\\\\", "\\");
    for (from, to) in [
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("\\$", ""),
    ] {
        text = text.replace(from, to);
    }
    text = without_unit(&text)?.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.");
    if text.is_empty() {
        return Ok(text);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    if let [left, right] = text.split('=').collect::<Vec<_>>()[..]
        && left.chars().count() <= 2
    {
        text = right.to_string();
    }
    text = braced_roots(&text)?.replace(' ', "");
    text = braced_fractions(&text)?;
    if text == "0.5" {
        text = "\\frac{1}{2}".into();
    }
    Ok(slash_fraction(&text).unwrap_or(text))
}

/// What stands before the only `\text{ `.
fn without_unit(text: &str) -> Result<&str, Failed> {
    match text.split("\\text{ ").collect::<Vec<_>>()[..] {
        [whole] => Ok(whole),
        [before, _] => Ok(before),
        _ => Err(Failed),
    }
}

fn braced_roots(text: &str) -> Result<String, Failed> {
    let mut pieces = text.split("\\sqrt");
    let mut result = pieces.next().unwrap_or("").to_string();
    for piece in pieces {
        let first = piece.chars().next().ok_or(Failed)?;
        let rest = &piece[first.len_utf8()..];
        result.push_str("\\sqrt");
        if first == '{' {
            result.push_str(piece);
        } else {
            result.push_str(&format!("{{{first}}}{rest}"));
        }
    }
    Ok(result)
}

fn braced_fractions(text: &str) -> Result<String, Failed> {
    let mut pieces = text.split("\\frac");
    let mut result = pieces.next().unwrap_or("").to_string();
    for piece in pieces {
        let mut characters = piece.chars();
        let above = characters.next().ok_or(Failed)?;
        result.push_str("\\frac");
        if above == '{' {
            result.push_str(piece);
            continue;
        }
        let Some(below) = characters.next() else { return Ok(text.to_string()) };
        let rest = characters.as_str();
        if below == '{' {
            result.push_str(&format!("{{{above}}}{below}{rest}"));
        } else {
            result.push_str(&format!("{{{above}}}{{{below}}}{rest}"));
        }
    }
    Ok(result)
}

/// `a/b` of two whole numbers written as Python writes them.
fn slash_fraction(text: &str) -> Option<String> {
    let [above, below] = text.split('/').collect::<Vec<_>>()[..] else { return None };
    let whole = |part: &str| {
        let digits = part.strip_prefix('-').unwrap_or(part);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain && (digits == "0" && part == "0" || !digits.starts_with('0'))
    };
    (whole(above) && whole(below)).then(|| format!("\\frac{{{above}}}{{{below}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec B §5.2.2: what the normaliser says, its known failings included.
    #[test]
    fn the_normaliser_agrees_with_its_published_cases() {
        for (a, b, same) in [
            ("\\dfrac12", "0.5", true),
            ("1/2", "\\frac{1}{2}", true),
            ("0.50", "0.5", false),
            ("1,000", "1000", false),
            ("2/4", "1/2", false),
            ("10%", "10\\%", false),
            ("-1/2", "-\\frac{1}{2}", false),
            ("(1,2)", "\\left(1, 2\\right)", true),
            ("x=5", "5", true),
            ("abc=3", "3", false),
            ("5 \\text{ cm}", "5", true),
            (".25", "0.25", true),
            ("\\frac", "\\frac", true),
            ("5 \\text{ a} \\text{ b}", "5", false),
        ] {
            assert_eq!(hendrycks(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn verl_finds_its_last_box() {
        assert_eq!(last_box("\\boxed{1} \\boxed{\\frac{1}{2}} x"), Some("\\frac{1}{2}"));
        assert_eq!(last_box("so $\\boxed 7$."), Some("7"));
        assert_eq!(last_box("\\boxed{1"), None);
        assert_eq!(last_box("\\fbox{4}"), None);
    }
}
