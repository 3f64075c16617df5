//! What goes to stdout (data) and to stderr (messages).

use std::io::{BufWriter, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::stop::Outcome;

/// A narrower terminal cannot show a table anyway.
const NARROWEST: u16 = 20;
/// Columns of a terminal that does not say.
const USUAL_WIDTH: u16 = 80;
/// Columns of a table where stdout is no terminal.
const PLAIN_WIDTH: u16 = 200;

/// Stdout, buffered; a closed pipe ends the command quietly.
pub struct Output {
    stdout: BufWriter<anstream::Stdout>,
    /// Whether data is JSON.
    pub json: bool,
    quiet: bool,
}

impl Output {
    /// Stdout under the global flags.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { stdout: BufWriter::new(anstream::stdout()), json, quiet }
    }

    /// A line of data.
    pub fn line(&mut self, text: impl std::fmt::Display) -> Outcome {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// A text as it is, without a line end added.
    pub fn text(&mut self, text: &str) -> Outcome {
        self.stdout.write_all(text.as_bytes())?;
        Ok(())
    }

    /// A value as one line of JSON. `f32` fields are written as the shortest decimal that gives the same `f32` back.
    pub fn json(&mut self, value: &impl Serialize) -> Outcome {
        // Only maps with keys that are not text, or a failing writer, make this fail; the values here have neither.
        serde_json::to_writer(&mut self.stdout, value).map_err(std::io::Error::from)?;
        self.line("")
    }

    /// A table for people: drawn on a terminal, Markdown elsewhere (ready for an issue).
    pub fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Outcome {
        let mut table = Table::new();
        table.set_header(header.to_vec());
        for row in rows {
            table.add_row(row);
        }
        if std::io::stdout().is_terminal() {
            table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            // A terminal that does not say how wide it is says 0.
            if table.width().is_none_or(|width| width < NARROWEST) {
                table.set_width(USUAL_WIDTH);
            }
        } else {
            table.load_style(presets::ASCII_MARKDOWN).set_width(PLAIN_WIDTH);
        }
        self.line(table)
    }

    /// Sends what is buffered; call it wherever a reader may be waiting, and at the end.
    pub fn flush(&mut self) -> Outcome {
        self.stdout.flush()?;
        Ok(())
    }

    /// A bar on stderr for work that takes a while; nothing where stderr is no terminal.
    pub fn progress(&self, what: &'static str) -> Bar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0).with_prefix(what);
        // A template that does not parse leaves the default one.
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30.cyan/dim} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        Bar(bar)
    }

    /// A message to people on stderr, unless `--quiet`.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            // If stderr is gone there is nobody left to tell.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }
}

/// A progress bar.
pub struct Bar(ProgressBar);

impl Bar {
    /// `done` of `total` units are done.
    pub fn at(&self, done: usize, total: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Colours of messages, in one place.
pub mod theme {
    /// Something done: green.
    pub fn good(text: impl std::fmt::Display) -> String {
        format!("\x1b[32m{text}\x1b[0m")
    }
    /// Something to look at: yellow.
    pub fn warning(text: impl std::fmt::Display) -> String {
        format!("\x1b[33m{text}\x1b[0m")
    }
    /// Something broken: red.
    pub fn bad(text: impl std::fmt::Display) -> String {
        format!("\x1b[31m{text}\x1b[0m")
    }
    /// A path or a hint: cyan.
    pub fn path(text: impl std::fmt::Display) -> String {
        format!("\x1b[36m{text}\x1b[0m")
    }
    /// A command to run: green.
    pub fn command(text: impl std::fmt::Display) -> String {
        good(text)
    }
    /// A heading: bold.
    pub fn bold(text: impl std::fmt::Display) -> String {
        format!("\x1b[1m{text}\x1b[0m")
    }
}
