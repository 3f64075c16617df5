//! Items that say something of answers.

use lapidary_core::{Item, PromptText};
use serde_json::Value;

use crate::recipe::{Duplicates, NearTies, PairRule};

/// An item of a prompt by number; `columns` is an object.
pub(crate) fn item(prompt: usize, columns: Value) -> Item {
    Item {
        id: format!("test/{prompt}"),
        prompt: PromptText::Text(format!("question {prompt}: ")),
        answer: None,
        completion: Some("done".into()),
        metadata: columns.as_object().cloned().unwrap_or_default(),
    }
}

/// The rule of a recipe that says nothing of it.
pub(crate) fn rule() -> PairRule {
    PairRule {
        margin_scale: 1.0,
        near_tie: 0.0,
        near_ties: NearTies::Half,
        duplicates: Duplicates::Drop,
        max_length: None,
    }
}
