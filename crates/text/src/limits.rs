//! Every bound of this crate and its reason.

/// Largest `tokenizer.json`. The largest in use (Gemma 3, 262,144 tokens) has 33 MB.
pub const TOKENIZER_BYTES: u64 = 256 << 20;

/// Largest of the small files beside it: configurations and templates. The largest seen (Llama 3.1) has 56 kB.
pub const CONFIG_BYTES: u64 = 16 << 20;

/// Longest chat template, in bytes. The longest in use have about 20 kB.
pub const TEMPLATE_BYTES: usize = 1 << 20;

/// Fuel of a render whatever it is given: one unit is an instruction or 64 bytes made. 100,000 take about 20 ms.
pub const FUEL_BASE: u64 = 100_000;

/// Further fuel per message, tool and document: the longest template in use spends under 500 on one.
pub const FUEL_PER_MESSAGE: u64 = 2_000;

/// Further fuel per so many bytes of input: eight copies of every byte.
pub const FUEL_BYTES: u64 = 8;

/// Most fuel of a render, whatever it is given.
pub const FUEL_MOST: u64 = 20_000_000;

/// How deep a template may recurse (a macro counts several).
pub const RECURSION: usize = 64;

/// How deep a value may be nested when it is written as JSON; the same as for reading JSON.
pub const JSON_DEPTH: usize = 128;

/// Output that a render may make whatever it is given, in bytes.
pub const OUTPUT_BASE: usize = 1 << 20;

/// Further output per byte of input: a template repeats its input a few times at most.
pub const OUTPUT_PER_BYTE: usize = 8;

/// Stack of the thread that renders. Values that a template nests as deep as its fuel allows are dropped on it.
pub const RENDER_STACK: usize = 512 << 20;
