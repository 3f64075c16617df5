//! As much of Python as its published databases, tools and hashes need: values, `json.loads` and `json.dumps`, `repr`, and operators
//! with the words of their exceptions.
//!
//! TAU-bench's observations are what Python prints and its hashes are hashes of what Python prints, so a value here prints, adds and
//! fails as it does there: integers have no bound, `1 == 1.0` but they print differently, `True` is an integer.

mod arithmetic;
mod expression;
mod operate;
mod parse;
mod print;
mod value;

pub use expression::calculate;
pub use operate::{
    Raised, add, add_in_place, contains, count, hashable, item, iterate, length, less, lower, multiply, negate,
    round_cents, sorted, subtract, subtract_in_place, sum,
};
pub use parse::{DEEPEST, parse};
pub use print::{canonical_hash, compact_json, frozen, published_hash, repr, repr_float, text};
pub use value::{Dict, Value};
