//! One error type for every crate: what failed, where, why, and what to do.

use std::fmt;
use std::path::PathBuf;

/// Result of anything that can fail because of the outside world.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// What kind of thing is wrong; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anything else that failed (I/O, a child process).
    Failed,
    /// A wrong command line or recipe.
    Usage,
    /// A broken or unusable data file.
    Data,
    /// A model, tokenizer or checkpoint that cannot be used.
    Model,
    /// Numbers that are not finite, or a health rule that stops the run.
    Diverged,
    /// Try again later: locked run directory, full disk.
    Busy,
    /// Stopped by the user.
    Interrupted,
}

impl Kind {
    /// The process's exit code, as documented in the help.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Data => 3,
            Kind::Model => 4,
            Kind::Diverged => 5,
            Kind::Busy => 75,
            Kind::Interrupted => 130,
        }
    }
}

/// A place in a text file that a person can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters to underline, at least 1.
    pub width: usize,
    /// The text of that line (may be shortened; then `column` points into the shortened text).
    pub text: String,
    /// What to write beside the caret.
    pub label: String,
}

impl Place {
    /// The place of the byte range `start..end` of `source`.
    pub fn of_bytes(
        path: impl Into<PathBuf>,
        source: &str,
        start: usize,
        end: usize,
        label: impl Into<String>,
    ) -> Self {
        let mut start = start.min(source.len());
        while !source.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let line = source[..start].matches('\n').count() + 1;
        let column = source[line_start..start].chars().count() + 1;
        let mut end = end.clamp(start, line_end);
        while !source.is_char_boundary(end) {
            end += 1;
        }
        let width = source[start..end].chars().count().max(1);
        Self {
            path: path.into(),
            line,
            column,
            width,
            text: source[line_start..line_end].trim_end_matches('\r').to_string(),
            label: label.into(),
        }
    }
}

/// What failed, on what, expected and got, and a hint. Small to pass around (boxed inside).
///
/// ```
/// use lapidary_core::{Kind, Problem};
/// let problem = Problem::new(Kind::Usage, "R014", "group size 1 makes every GRPO advantage zero")
///     .why("advantage = reward − group mean; with one sample the mean is the reward")
///     .hint("set `samples_per_prompt = 8`");
/// assert_eq!(problem.kind().exit_code(), 2);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    code: &'static str,
    message: String,
    place: Option<Place>,
    why: Vec<String>,
    hint: Option<String>,
}

impl Problem {
    /// A problem with its stable code (letter = area: `R` recipe, `D` data, `M` model, `T` text, `W` reward, `E` worlds, `N` numbers,
    /// `S` state and run directory, `I` anything of the operating system).
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Problem(Box::new(Inner { kind, code, message: message.into(), place: None, why: Vec::new(), hint: None }))
    }

    /// An operation of the operating system that failed on a path. A full disk is [`Kind::Busy`].
    pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("could not {doing} `{}`: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Problem::new(Kind::Busy, "I002", message)
                    .hint("free some space and run the same command again: nothing that was saved is lost")
            }
            _ => Problem::new(Kind::Failed, "I001", message),
        }
    }

    /// Adds the place in a file.
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// Adds a reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.0.why.push(why.into());
        self
    }

    /// Says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts words in front of the message: `context: message`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same problem under another kind.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }
    /// What failed.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Where.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
    /// Reasons.
    pub fn reasons(&self) -> &[String] {
        &self.0.why
    }
    /// What to do.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message)?;
        if let Some(place) = &self.0.place {
            write!(f, " ({}:{}:{})", place.path.display(), place.line, place.column)?;
        }
        for why in &self.0.why {
            write!(f, "; {why}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.0.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let source = "a = 1\nwörd = true\n";
        let start = source.find("true").unwrap();
        let place = Place::of_bytes("x.toml", source, start, start + 4, "here");
        assert_eq!((place.line, place.column, place.width, place.text.as_str()), (2, 8, 4, "wörd = true"));
        let end = Place::of_bytes("x.toml", source, source.len() + 9, source.len() + 20, "");
        assert_eq!((end.line, end.width), (3, 1));
    }

    #[test]
    fn a_full_disk_is_busy() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Problem::io("write", std::path::Path::new("x"), &error).kind().exit_code(), 75);
    }
}
