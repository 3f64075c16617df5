//! How a confidence is measured: which statistic, over which tokens.

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};

use super::span::{Span, SpanSource, Tie};
use super::statistic::{Disparity, Statistic};

/// Size of a compiled pattern. Matching takes linear time, so this bounds the work per character.
const LARGEST_PATTERN: usize = 1 << 20;

/// Everything that says what a confidence is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// c_t.
    pub statistic: Statistic,
    /// Its form, where it is a disparity.
    pub disparity: Disparity,
    /// How the answer is found.
    pub span: SpanSource,
    /// Which of several places is the answer's.
    pub tie: Tie,
    /// The expression of [`SpanSource::Regex`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What [`SpanSource::Probe`] appends to a trace.
    pub probe: String,
    /// Most tokens of the answer to it.
    pub probe_tokens: usize,
}

impl Default for Measure {
    /// RLSF's: disparity of the probed answer, `So the answer is`, 20 tokens; of several places the last.
    fn default() -> Self {
        Self {
            statistic: Statistic::default(),
            disparity: Disparity::default(),
            span: SpanSource::default(),
            tie: Tie::default(),
            pattern: None,
            probe: "So the answer is".into(),
            probe_tokens: 20,
        }
    }
}

impl Measure {
    /// The finder of answers.
    ///
    /// # Errors
    /// Why there is none: `regex` without a pattern, a pattern without `regex`, or one that does not compile.
    pub fn finder(&self) -> Result<Span, String> {
        let pattern = match (self.span, &self.pattern) {
            (SpanSource::Regex, None) => return Err("`span = \"regex\"` needs a `pattern`".into()),
            (SpanSource::Regex, Some(pattern)) => {
                let built = RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
                Some(built.map_err(|error| {
                    let what = error.to_string();
                    let last = what.lines().last().unwrap_or("it does not compile").trim();
                    format!("the `pattern` is no regular expression: {}", last.trim_start_matches("error: "))
                })?)
            }
            (_, Some(_)) => return Err("a `pattern` only means something with `span = \"regex\"`".into()),
            (_, None) => None,
        };
        Ok(Span::new(self.span, self.tie, pattern))
    }

    /// A trace as the probe continues it: one line that ends in a full stop, then the probe (RLSF's code). It is only asked
    /// of the model; no trace is ever changed by it.
    pub fn probe_after(&self, trace: &str) -> String {
        let line = trace.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let stop = if line.is_empty() || line.ends_with('.') { "" } else { "." };
        format!("{line}{stop} {}", self.probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_belongs_to_regex() {
        let with =
            |span, pattern: Option<&str>| Measure { span, pattern: pattern.map(String::from), ..Measure::default() };
        assert!(with(SpanSource::Regex, Some(r"#### (\d+)")).finder().is_ok());
        assert!(with(SpanSource::Regex, Some("(")).finder().unwrap_err().contains("no regular expression"));
        assert!(with(SpanSource::Regex, None).finder().unwrap_err().contains("needs a `pattern`"));
        assert!(with(SpanSource::Boxed, Some("x")).finder().unwrap_err().contains("only means something"));
        assert!(Measure::default().finder().unwrap().asks());
    }

    /// The probe follows a copy: line ends become blanks, decimals are left alone.
    #[test]
    fn the_probe_follows_one_line() {
        let measure = Measure::default();
        assert_eq!(measure.probe_after("half of 25\nis 12.5"), "half of 25 is 12.5. So the answer is");
        assert_eq!(measure.probe_after("It is 7.\n"), "It is 7. So the answer is");
        assert_eq!(measure.probe_after(""), " So the answer is");
    }
}
