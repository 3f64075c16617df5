//! What goes to stdout (data) and to stderr (messages).

use std::io::{BufWriter, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::stop::Outcome;

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

    /// A message to people on stderr, unless `--quiet`.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            // If stderr is gone there is nobody left to tell.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }
}

/// Colours of messages, in one place.
pub mod theme {
    /// A heading: bold.
    pub fn bold(text: impl std::fmt::Display) -> String {
        format!("\x1b[1m{text}\x1b[0m")
    }
}
