//! Rendering with a bound on everything.

use std::io::{self, Write};
use std::thread;

use minijinja::value::Value;
use minijinja::{Environment, Error};

use super::{Context, NAME, python};
use crate::limits;

/// Why a render gave no text.
pub(super) enum Failure {
    /// The template engine says so.
    Template(Error),
    /// More output than so many bytes.
    Output(usize),
    /// The operating system gives no thread.
    Thread(io::Error),
}

/// Renders on a thread of its own: a template can nest values as deep as its fuel allows, and dropping them recurses.
pub(super) fn render(environment: &Environment<'static>, context: &Context) -> Result<String, Failure> {
    let work = context.items * limits::FUEL_PER_MESSAGE + context.bytes / limits::FUEL_BYTES;
    let mut environment = environment.clone();
    environment.set_fuel(Some((limits::FUEL_BASE + work).min(limits::FUEL_MOST)));
    let clock = context.clock;
    environment.add_function("strftime_now", move |format: &str| python::strftime(clock, format));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("chat-template".to_string()).stack_size(limits::RENDER_STACK);
        let running = thread.spawn_scoped(scope, || render_here(&environment, context)).map_err(Failure::Thread)?;
        match running.join() {
            Ok(rendered) => rendered,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn render_here(environment: &Environment<'static>, context: &Context) -> Result<String, Failure> {
    let most = limits::OUTPUT_BASE + limits::OUTPUT_PER_BYTE * context.bytes as usize;
    let mut output = Output { bytes: Vec::new(), most, full: false };
    let values = context.values.iter().map(|(name, value)| (Value::from(name.as_str()), python::value(value)));
    let template = environment.get_template(NAME).map_err(Failure::Template)?;
    let rendered = template.render_captured_to(Value::from_pairs(values), &mut output).map(drop);
    if output.full {
        return Err(Failure::Output(most));
    }
    rendered.map_err(Failure::Template)?;
    Ok(String::from_utf8(output.bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A writer that refuses to grow beyond its bound.
struct Output {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.full = true;
            return Err(io::Error::other("the output is full"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
