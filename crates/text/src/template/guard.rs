//! Checks between the instructions of a template.
//!
//! The engine's fuel pays for steps and for bytes that are made, but not for what a value unfolds to: `[x, x]` is two
//! slots, and thirty of them in each other are a text of gigabytes, a comparison without end, or a list that is built in
//! one step. So every value that is put together is weighed as it unfolds, and none above the bound goes on living. With
//! that, every single step of the engine is bounded, and fuel bounds their number.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, State};

use super::NAME;
use crate::limits;

/// Names of the checks; no template can write them.
pub(super) const WHOLE: &str = "|whole";
pub(super) const STORED: &str = "|stored";

/// A test that is looked up at every use.
const NO_LOCAL: u8 = !0;

/// A compiled template with its checks.
pub(super) struct Program<'source> {
    pub main: Instructions<'source>,
    pub blocks: BTreeMap<&'source str, Instructions<'source>>,
}

/// Compiles a template as `transformers` sets Jinja up: `trim_blocks`, `lstrip_blocks`, nothing escaped.
pub(super) fn compile(source: &str) -> Result<Program<'_>, Error> {
    let syntax_config = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let config = TemplateConfig { syntax_config, default_auto_escape: Arc::new(|_| AutoEscape::None) };
    let compiled = CompiledTemplate::new(NAME, source, &config)?;
    let blocks = compiled.blocks.iter().map(|(name, block)| (*name, checked(block))).collect();
    Ok(Program { main: checked(&compiled.instructions), blocks })
}

/// The same instructions with checks before and after those that need them, and jumps to where their targets are now.
fn checked<'source>(from: &Instructions<'source>) -> Instructions<'source> {
    let all = || (0..).map_while(|at| from.get(at).map(|instruction| (at, instruction)));
    let mut places = Vec::new();
    let mut next = 0;
    for (_, instruction) in all() {
        places.push(next);
        next += (before(instruction).len() + 1 + after(instruction).len()) as u32;
    }
    places.push(next);
    let place = |target: u32| places.get(target as usize).copied().unwrap_or(next);
    let mut to = Instructions::new(from.name(), from.source());
    for (at, instruction) in all() {
        let moved = match instruction.clone() {
            Instruction::Iterate(target) => Instruction::Iterate(place(target)),
            Instruction::Jump(target) => Instruction::Jump(place(target)),
            Instruction::JumpIfFalse(target) => Instruction::JumpIfFalse(place(target)),
            Instruction::JumpIfFalseOrPop(target) => Instruction::JumpIfFalseOrPop(place(target)),
            Instruction::JumpIfTrueOrPop(target) => Instruction::JumpIfTrueOrPop(place(target)),
            Instruction::BuildMacro(name, target, flags) => Instruction::BuildMacro(name, place(target), flags),
            other => other,
        };
        let line = from.get_line(at).unwrap_or(0).min(usize::from(u16::MAX)) as u16;
        for one in before(instruction).into_iter().chain([moved]).chain(after(instruction)) {
            to.add_with_line(one, line);
        }
    }
    to
}

/// Looks at the value on top of the stack and leaves it there. A test, since filters pay for the text they are given.
fn look(check: &'static str) -> [Instruction<'static>; 3] {
    [Instruction::DupTop, Instruction::PerformTest(check, Some(1), NO_LOCAL), Instruction::DiscardTop]
}

fn before(instruction: &Instruction<'_>) -> Vec<Instruction<'static>> {
    match instruction {
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::CompareAndPreserve(_)
        | Instruction::PerformTest(_, Some(2), _) => look(WHOLE).to_vec(),
        Instruction::SetAttr(_) => {
            let [copy, test, drop] = look(STORED);
            vec![Instruction::Swap, copy, test, drop, Instruction::Swap]
        }
        _ => Vec::new(),
    }
}

fn after(instruction: &Instruction<'_>) -> Vec<Instruction<'static>> {
    match instruction {
        Instruction::BuildMap(_)
        | Instruction::BuildList(_)
        | Instruction::BuildTuple(_)
        | Instruction::Slice
        | Instruction::Add
        | Instruction::Mul
        | Instruction::ApplyFilter(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_) => look(WHOLE).to_vec(),
        _ => Vec::new(),
    }
}

/// What a value may unfold to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub nodes: u64,
    pub bytes: u64,
}

impl Bounds {
    /// Whether a value unfolds to no more than these bounds (it fails if not); its nodes are paid for.
    pub(super) fn check(self, state: &State<'_, '_>, value: &Value) -> Result<bool, Error> {
        if is_container(value) {
            state.consume_fuel(1 + self.weigh(value)? / limits::NODES_PER_FUEL)?;
        }
        Ok(true)
    }

    /// How many values a container unfolds to.
    fn weigh(self, value: &Value) -> Result<u64, Error> {
        let (mut nodes, mut bytes) = (0, 0);
        let mut open = vec![children(value)?];
        while let Some(iterator) = open.last_mut() {
            let Some(child) = iterator.next() else {
                open.pop();
                continue;
            };
            let child = child?;
            nodes += 1;
            bytes += child.as_str().map_or(0, |text| text.len() as u64);
            if nodes > self.nodes || bytes > self.bytes {
                return Err(too_much("a value that unfolds to more than its conversation can need"));
            }
            if is_namespace(&child) {
                return Err(too_much("a namespace inside a value"));
            }
            if is_container(&child) {
                if open.len() == limits::VALUE_DEPTH {
                    return Err(too_much("a value that is nested too deep"));
                }
                open.push(children(&child)?);
            }
        }
        Ok(nodes)
    }
}

/// Whether a value may be put into a namespace (it fails if not): no namespace may, since it could be the same one.
pub(super) fn check_stored(value: &Value) -> Result<bool, Error> {
    if is_namespace(value) { Err(too_much("a namespace inside a namespace")) } else { Ok(true) }
}

fn too_much(what: &'static str) -> Error {
    Error::new(ErrorKind::OutOfFuel, what)
}

fn is_container(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

type Children = Box<dyn Iterator<Item = Result<Value, Error>>>;

/// What a container holds, keys of a map included.
fn children(value: &Value) -> Result<Children, Error> {
    let own = value.try_iter()?;
    if value.kind() != ValueKind::Map {
        return Ok(Box::new(own.map(Ok)));
    }
    let map = value.clone();
    Ok(Box::new(own.flat_map(move |key| {
        let held = map.get_item(&key);
        [Ok(key), held]
    })))
}
