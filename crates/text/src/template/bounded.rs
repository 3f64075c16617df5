//! Rendering with a bound on everything.

use std::thread;

use minijinja::machinery::{eval, make_string_output};
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::guard::{self, Bounds};
use super::{Context, python};
use crate::limits;

/// Why a render gave no text.
pub(super) enum Failure {
    /// The template engine says so.
    Template(Error),
    /// The operating system gives no thread.
    Thread(std::io::Error),
}

/// Renders on a thread of its own, whose stack is known: the engine recurses over values.
pub(super) fn render(source: &str, context: &Context) -> Result<String, Failure> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("chat-template".to_string()).stack_size(limits::RENDER_STACK);
        let running = thread
            .spawn_scoped(scope, || render_here(source, context).map_err(Failure::Template))
            .map_err(Failure::Thread)?;
        match running.join() {
            Ok(rendered) => rendered,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn render_here(source: &str, context: &Context) -> Result<String, Error> {
    let program = guard::compile(source)?;
    let environment = environment(context);
    let values = context.values.iter().map(|(name, value)| (Value::from(name.as_str()), python::value(value)));
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    eval(&environment, &program.main, Value::from_pairs(values), &program.blocks, &mut output, AutoEscape::None)?;
    Ok(text)
}

/// `ImmutableSandboxedEnvironment(extensions=[loopcontrols])` of `transformers` with its filters and functions
/// (`utils/chat_template_utils.py`), and what a render may spend.
fn environment(context: &Context) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(limits::RECURSION);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", |value: &Value, options: Kwargs| python::to_json(value, &options));
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
    });
    let clock = context.clock;
    environment.add_function("strftime_now", move |format: &str| python::strftime(clock, format));

    let work = context.items * limits::FUEL_PER_MESSAGE + context.size.bytes / limits::FUEL_BYTES;
    environment.set_fuel(Some((limits::FUEL_BASE + work).min(limits::FUEL_MOST)));
    let bounds = Bounds {
        nodes: limits::VALUE_NODES + 2 * context.size.nodes,
        bytes: limits::VALUE_BYTES + 2 * context.size.bytes,
    };
    environment.add_test(guard::WHOLE, move |state: &State, value: &Value| bounds.check(state, value));
    environment.add_test(guard::STORED, |value: &Value| guard::check_stored(value));
    environment
}

/// Python's methods of texts, lists and dicts. `format` must not pad: the engine pays for the padded text only afterwards.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let pads = |text: &str| {
        let digits = text.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > 3);
        let nested = text.split('{').any(|field| field.contains(':') && !field.contains('}'));
        digits || nested
    };
    if name == "format" && value.as_str().is_some_and(pads) {
        return Err(Error::new(ErrorKind::InvalidOperation, "a format with a wide or computed field is refused"));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

/// Marks an error that the template itself raised.
#[derive(Debug)]
pub(super) struct Raised;

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raised by the template")
    }
}

impl std::error::Error for Raised {}
