//! Every bound of this crate and its reason.

/// Largest `tokenizer.json`. The largest in use (Gemma 3, 262,144 tokens) has 33 MB.
pub const TOKENIZER_BYTES: u64 = 256 << 20;

/// Largest of the small files beside it: configurations and templates. The largest seen (Llama 3.1) has 56 kB.
pub const CONFIG_BYTES: u64 = 16 << 20;

/// Longest chat template, in bytes. The longest in use have about 20 kB.
pub const TEMPLATE_BYTES: usize = 128 << 10;

/// Fuel of a render whatever it is given: one unit is an instruction or 64 bytes made. 100,000 take about 20 ms.
pub const FUEL_BASE: u64 = 100_000;

/// Further fuel per message, tool and document: the longest template in use spends under 500 on one.
pub const FUEL_PER_MESSAGE: u64 = 2_000;

/// One unit of further fuel for so many bytes of input: every byte can be copied sixteen times.
pub const FUEL_BYTES: u64 = 4;

/// Most fuel of a render, whatever it is given.
pub const FUEL_MOST: u64 = 20_000_000;

/// How deep a template may recurse (a macro counts several).
pub const RECURSION: usize = 64;

/// How deep a value may be nested when it is written as JSON; the same as for reading JSON.
pub const JSON_DEPTH: usize = 128;

/// How many values a value that a template puts together may unfold to whatever it is given: the largest table in a
/// template in use has under 100.
pub const VALUE_NODES: u64 = 4_000;

/// How many bytes of text such a value may unfold to whatever it is given.
pub const VALUE_BYTES: u64 = 1 << 20;

/// How deep such a value may be nested: conversations come from JSON, which may be nested half as deep.
pub const VALUE_DEPTH: usize = 256;

/// Weighing or comparing so many values takes one unit of fuel.
pub const NODES_PER_FUEL: u64 = 2;

/// Stack of the thread that renders: [`VALUE_DEPTH`] nested values and [`RECURSION`] fit many times over.
pub const RENDER_STACK: usize = 16 << 20;
