//! Text and numbers as a page shows them.

/// Characters of a prompt or completion that are shown; the rest is counted.
const SHOWN_CHARACTERS: usize = 1500;

/// Text with everything escaped that HTML gives a meaning, in elements and in quoted attributes alike.
///
/// Control characters become their visible pictures, and characters that reorder text (which could make a line read as
/// another) become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + c as u32)),
            '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// Escapes, and turns `backticks` into `<code>`: for our own sentences only.
pub(super) fn prose(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in escape(text).split('`').enumerate() {
        if at > 0 {
            out.push_str(if at % 2 == 1 { "<code>" } else { "</code>" });
        }
        out.push_str(part);
    }
    if text.matches('`').count() % 2 == 1 {
        out.push_str("</code>");
    }
    out
}

/// The start of a long text, escaped, with how much was left out.
pub(super) fn excerpt(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN_CHARACTERS {
        return escape(text);
    }
    let start: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{}<em> … {} more characters</em>", escape(&start), count - SHOWN_CHARACTERS)
}

/// Three significant digits without trailing zeros: `0.0123`, `318`, `1,940`, `2.5e-6`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_string();
    }
    if !(1e-3..1e9).contains(&size) {
        return trim(&format!("{value:.2e}"));
    }
    if size >= 1000.0 {
        return thousands(value.round() as i64);
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 7) as usize;
    trim(&format!("{value:.decimals$}"))
}

fn trim(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').map_or((text, ""), |(digits, exponent)| (digits, exponent));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let digits = if digits == "-0" { "0" } else { digits };
    if exponent.is_empty() { digits.to_string() } else { format!("{digits}e{exponent}") }
}

/// `1,234,567`.
pub(super) fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("−{out}") } else { out }
}

/// A share as percent with one decimal: `87.5 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", trim(&format!("{:.1}", 100.0 * share)))
}

/// A difference of shares in percentage points, with its sign: `+84.0`.
pub(super) fn points(difference: f64) -> String {
    let text = format!("{:+.1}", 100.0 * difference);
    let text = if text == "-0.0" { "+0.0".to_string() } else { text };
    text.replace('-', "−")
}

/// `1 step`, `2 steps`.
pub(super) fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n as i64), if n == 1 { "" } else { "s" })
}

/// `842 k`, `1.3 M`, `7 B`.
pub(super) fn scaled(n: u64) -> String {
    let (unit, name) = match n {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "B"),
    };
    format!("{} {name}", number(n as f64 / unit))
}

/// `1.2 GB`: powers of ten, as disks are sold.
pub(super) fn bytes(n: u64) -> String {
    let text = scaled(n);
    let text = text.strip_suffix(" B").map_or(text.clone(), |digits| format!("{digits} G"));
    if n < 1000 { format!("{text} B") } else { format!("{text}B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
        assert_eq!(escape("a\u{202e}b\u{1b}[0m\r\n"), "a\u{fffd}b␛[0m␍\n");
        assert_eq!(prose("set `a < b`, `c"), "set <code>a &lt; b</code>, <code>c</code>");
        assert!(excerpt(&"ä".repeat(1501)).ends_with("ä<em> … 1 more characters</em>"));
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.5, 0.012345, 318.2, 1940.4, 2.5e-6, -0.25, 99.96, 5e-4, -12345.0].map(number);
        assert_eq!(shown, ["0", "0.5", "0.0123", "318", "1,940", "2.5e-6", "-0.25", "100", "5e-4", "−12,345"]);
        assert_eq!([percent(0.875), percent(1.0), percent(0.03456)], ["87.5 %", "100 %", "3.5 %"]);
        assert_eq!([points(0.84), points(-0.021), points(-0.0001)], ["+84.0", "−2.1", "+0.0"]);
        assert_eq!([scaled(842_113), scaled(1_240_000_000), scaled(12)], ["842 k", "1.24 B", "12"]);
        assert_eq!([bytes(560), bytes(3_402_118), bytes(2_500_000_000)], ["560 B", "3.4 MB", "2.5 GB"]);
        assert_eq!([count(1, "step"), count(1200, "step")], ["1 step", "1,200 steps"]);
    }
}
