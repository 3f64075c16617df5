//! Chat templates: Jinja, as `transformers` sets it up, within bounds.
//!
//! A template is a program that came with a model from the internet. It can call nothing but what is listed here, has no
//! files, no clock but the one it is given, and its instructions, memory, recursion and output are bounded.

mod bounded;
mod python;

use std::path::PathBuf;

use lapidary_core::{Kind, Message, Place, Problem, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use crate::limits;
use crate::specials::Named;

/// The day that `strftime_now` answers unless told otherwise: 26 July 2024, which Llama 3's own template falls back to.
pub(crate) const DEFAULT_CLOCK: i64 = 1_721_952_000;

/// What a conversation is rendered with.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// Whether the text ends where the assistant is to go on.
    pub add_generation_prompt: bool,
    /// JSON schemas of functions that the model may call.
    pub tools: Vec<Json>,
    /// Documents to answer from.
    pub documents: Vec<Json>,
    /// What `strftime_now` answers: seconds since 1970 in UTC. Fixed (26 July 2024) unless set, so that the same
    /// conversation is the same ids on every day.
    pub clock: i64,
    /// Further names for the template (`enable_thinking`, …).
    pub extra: Map<String, Json>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: false,
            tools: Vec::new(),
            documents: Vec::new(),
            clock: DEFAULT_CLOCK,
            extra: Map::new(),
        }
    }
}

impl RenderOptions {
    /// For a text that the model continues as the assistant.
    pub fn prompt() -> Self {
        Self { add_generation_prompt: true, ..Self::default() }
    }
}

/// A chat template: how a conversation becomes one text.
#[derive(Clone)]
pub struct ChatTemplate {
    source: String,
    path: PathBuf,
    /// The compiled template, or what is wrong with it: a model whose template is broken still takes plain text.
    compiled: Result<Environment<'static>>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("path", &self.path).field("bytes", &self.source.len()).finish()
    }
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template; `path` is named where something is wrong with it. Never fails: see [`ChatTemplate::check`].
    pub fn new(source: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let (source, path) = (source.into(), path.into());
        let compiled = compile(&source).map_err(|error| problem(&error, &source, &path));
        let compiled = if source.len() > limits::TEMPLATE_BYTES { Err(too_long(&path)) } else { compiled };
        Self { source, path, compiled }
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What is wrong with the template itself, if anything (T010).
    pub fn check(&self) -> Result<()> {
        self.compiled.as_ref().map(|_| ()).map_err(Problem::clone)
    }

    /// Renders a conversation. `specials` are the texts of `bos_token`, `eos_token` and so on.
    ///
    /// # Errors
    /// T010 the template does not parse, T011 it fails, T012 it goes beyond its bounds, T013 it calls `raise_exception`.
    pub fn render(&self, messages: &[Message], specials: &Named, options: &RenderOptions) -> Result<String> {
        let environment = self.compiled.as_ref().map_err(Problem::clone)?;
        let context = Context::new(messages, specials, options);
        bounded::render(environment, &context).map_err(|error| match error {
            bounded::Failure::Template(error) => problem(&error, &self.source, &self.path),
            bounded::Failure::Output(most) => {
                exceeded(&self.path).why(format!("its output is larger than {} KiB", most >> 10))
            }
            bounded::Failure::Thread(error) => Problem::new(Kind::Failed, "I001", "could not start a thread")
                .why(format!("rendering a chat template: {error}")),
        })
    }
}

/// What a template sees, as JSON, and how large that is.
pub(crate) struct Context {
    pub values: Vec<(String, Json)>,
    /// Messages, tools and documents.
    pub items: u64,
    /// Bytes of everything as JSON.
    pub bytes: u64,
    pub clock: i64,
}

impl Context {
    fn new(messages: &[Message], specials: &Named, options: &RenderOptions) -> Self {
        let messages: Vec<Json> = messages.iter().map(message).collect();
        let items = messages.len() + options.tools.len() + options.documents.len();
        let or_none = |list: &[Json]| if list.is_empty() { Json::Null } else { Json::Array(list.to_vec()) };
        let mut values = vec![
            ("messages".to_string(), Json::Array(messages)),
            ("tools".to_string(), or_none(&options.tools)),
            ("documents".to_string(), or_none(&options.documents)),
            ("add_generation_prompt".to_string(), options.add_generation_prompt.into()),
        ];
        values.extend(specials.iter().map(|(name, text)| (name.clone(), text.clone().into())));
        values.extend(options.extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        let bytes = values.iter().map(|(_, value)| python::size(value)).sum();
        Self { values, items: items as u64, bytes, clock: options.clock }
    }
}

/// A message as the template sees it: `role`, `content`, then everything else in the order of the data.
fn message(message: &Message) -> Json {
    let role = match message.role {
        lapidary_core::Role::System => "system",
        lapidary_core::Role::User => "user",
        lapidary_core::Role::Assistant => "assistant",
        lapidary_core::Role::Tool => "tool",
    };
    let mut object = Map::new();
    object.insert("role".to_string(), role.into());
    object.insert("content".to_string(), message.content.clone().into());
    object.extend(message.extra.iter().map(|(key, value)| (key.clone(), value.clone())));
    Json::Object(object)
}

/// `ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])` of `transformers`,
/// with its filters and functions (`utils/chat_template_utils.py`).
fn compile(source: &str) -> std::result::Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(limits::RECURSION);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", |value: &Value, options: Kwargs| python::to_json(value, &options));
    environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
    });
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

/// Python's methods of texts, lists and dicts. `format` must not pad: the engine pays for the padded text only afterwards.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> std::result::Result<Value, Error> {
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
struct Raised;

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raised by the template")
    }
}

impl std::error::Error for Raised {}

/// `{% generation %}` only marks what the assistant says (`transformers` makes a mask of it); to the text it is an empty
/// block, which is what it becomes here, whitespace marks and lines as they were.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let name = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

fn exceeded(path: &std::path::Path) -> Problem {
    Problem::new(Kind::Model, "T012", format!("the chat template of `{}` goes beyond its bounds", path.display()))
        .hint("no template in use needs so much: do not trust this one, or give another chat_template.jinja")
}

fn too_long(path: &std::path::Path) -> Problem {
    exceeded(path).why(format!("it is longer than {} KiB", limits::TEMPLATE_BYTES >> 10))
}

/// What the template engine says, with the line of the template.
fn problem(error: &Error, source: &str, path: &std::path::Path) -> Problem {
    let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    let recursed = words.contains("recursion limit");
    let name = path.display();
    let problem = match error.kind() {
        ErrorKind::OutOfFuel => exceeded(path).why("it takes more steps than its conversation can need"),
        _ if recursed => exceeded(path).why("it nests or calls itself too deep"),
        ErrorKind::SyntaxError | ErrorKind::BadEscape => {
            Problem::new(Kind::Model, "T010", format!("the chat template of `{name}` does not parse: {words}"))
        }
        _ if raised(error) => {
            Problem::new(Kind::Data, "T013", format!("the chat template refuses this conversation: {words}"))
                .hint("change the roles or their order as the message says")
        }
        _ => Problem::new(Kind::Model, "T011", format!("the chat template of `{name}` failed: {words}")),
    };
    match error.line() {
        Some(line) => problem.at(line_of(source, path, line)),
        None => problem,
    }
}

fn raised(error: &Error) -> bool {
    let mut next = Some(error as &dyn std::error::Error);
    while let Some(error) = next {
        if error.is::<Raised>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The whole of a line of the template, shortened.
fn line_of(source: &str, path: &std::path::Path, line: usize) -> Place {
    const SHOWN: usize = 160;
    let text: String = source.lines().nth(line - 1).unwrap_or("").chars().take(SHOWN).collect();
    let column = text.chars().take_while(|c| c.is_whitespace()).count() + 1;
    let width = text.trim().chars().count().max(1);
    Place { path: path.to_path_buf(), line, column, width, text, label: "in this line".to_string() }
}

#[cfg(test)]
mod tests;
