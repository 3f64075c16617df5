//! Problems on stderr: what, where with a caret, why, and what to do; or one JSON object.

use std::io::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use lapidary_core::{Kind, Place, Problem};
use serde_json::{Value, json};

/// Columns that a message may fill.
pub(crate) const WIDTH: usize = 80;

/// Writes a problem to stderr. If stderr is gone there is nobody left to tell.
pub fn problem(problem: &Problem, json: bool) {
    let mut stderr = anstream::stderr().lock();
    let _ = if json { writeln!(stderr, "{}", as_json(problem)) } else { writeln!(stderr, "{}", styled(problem)) };
}

/// A problem as one JSON object.
pub fn as_json(problem: &Problem) -> Value {
    let place = problem.place().map(|place| {
        json!({
            "path": place.path.to_string_lossy(),
            "line": place.line,
            "column": place.column,
            "width": place.width,
            "text": place.text,
            "label": place.label,
        })
    });
    json!({ "error": {
        "code": problem.code(),
        "kind": kind_name(problem.kind()),
        "exit_code": problem.kind().exit_code(),
        "message": problem.message(),
        "place": place,
        "why": problem.reasons(),
        "hint": problem.advice(),
    } })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Usage => "usage",
        Kind::Data => "data",
        Kind::Model => "model",
        Kind::Diverged => "diverged",
        Kind::Busy => "busy",
        Kind::Interrupted => "interrupted",
    }
}

/// A problem with colours; the stream takes them off where they are not wanted.
fn styled(problem: &Problem) -> String {
    render(problem, Renderer::styled())
}

fn render(problem: &Problem, renderer: Renderer) -> String {
    let title = wrapped(problem.message(), WIDTH - "error[X000]: ".len());
    let mut main = Level::ERROR.primary_title(title).id(problem.code()).elements(problem.place().map(snippet));
    for why in problem.reasons() {
        main = main.element(Level::NOTE.with_name("why").message(wrapped(why, WIDTH - "     = why: ".len())));
    }
    let hint = problem.advice().map(|hint| wrapped(hint, WIDTH - "hint: ".len()));
    let mut groups = vec![main];
    if let Some(hint) = hint {
        groups.push(Group::with_title(Level::HELP.with_name("hint").secondary_title(hint)));
    }
    renderer.term_width(WIDTH).render(&groups)
}

fn snippet(place: &Place) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let bytes = |characters: usize| place.text.chars().take(characters).map(char::len_utf8).sum::<usize>();
    let start = bytes(place.column - 1);
    let end = bytes(place.column - 1 + place.width).max(start);
    Snippet::source(place.text.as_str())
        .line_start(place.line)
        .path(printable(&place.path.to_string_lossy()))
        .annotation(AnnotationKind::Primary.span(start..end).label(printable(&place.label)))
}

/// Without control characters, which may come from a user's file and would reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Breaks at spaces so that no line is longer than `width` characters, where words allow it.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let mut column = 0;
        for word in line.split(' ') {
            let word = printable(word);
            let length = word.chars().count();
            if column > 0 && column + 1 + length > width {
                out.push('\n');
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(&word);
            column += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_an_error() {
        let source = "[[stage]]\nsamples_per_prompt = 1\n";
        let at = source.rfind('1').unwrap();
        let problem = Problem::new(Kind::Usage, "R014", "group size 1 makes every advantage of `grpo` zero")
            .at(Place::of_bytes("x.toml", source, at, at + 1, "must be 2 or more for `grpo`"))
            .why("advantage = reward − group mean; with one sample the mean is the reward")
            .hint("set `samples_per_prompt = 8`, or use `method = \"reinforce\"` which has no group baseline at all");
        let text = render(&problem, Renderer::plain());
        assert_eq!(
            text,
            "\
error[R014]: group size 1 makes every advantage of `grpo` zero
 --> x.toml:2:22
  |
2 | samples_per_prompt = 1
  |                      ^ must be 2 or more for `grpo`
  |
  = why: advantage = reward − group mean; with one sample the mean is the
         reward
hint: set `samples_per_prompt = 8`, or use `method = \"reinforce\"` which has no
      group baseline at all"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let text = "a\x1b[31m = 1";
        let problem = Problem::new(Kind::Usage, "R003", "unknown key `a\x1b[31m`")
            .at(Place::of_bytes("x.toml", text, 0, 6, "\x1b[31m"))
            .why("\x1b[31m")
            .hint("\x1b[31m");
        assert!(!render(&problem, Renderer::plain()).contains('\x1b'));
    }
}
