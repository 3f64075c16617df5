//! IFEval's metrics: the share of prompts whose every instruction is followed, and the share of instructions followed.

use serde_json::{Map, Value};

/// One reading's two metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    prompts: u64,
    prompts_followed: u64,
    instructions: u64,
    instructions_followed: u64,
}

impl Accuracy {
    fn add(&mut self, list: &[bool]) {
        let followed = list.iter().filter(|held| **held).count();
        self.prompts += 1;
        self.prompts_followed += u64::from(followed == list.len());
        self.instructions += list.len() as u64;
        self.instructions_followed += followed as u64;
    }

    /// Share of prompts whose every instruction is followed; 0 where there are none.
    pub fn prompts(&self) -> f64 {
        self.prompts_followed as f64 / self.prompts.max(1) as f64
    }

    /// Share of instructions followed; 0 where there are none.
    pub fn instructions(&self) -> f64 {
        self.instructions_followed as f64 / self.instructions.max(1) as f64
    }
}

/// IFEval's four metrics over the responses added so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InstructionAccuracy {
    /// Each response as it is.
    pub strict: Accuracy,
    /// One of eight variants is enough.
    pub loose: Accuracy,
}

impl InstructionAccuracy {
    /// Adds the lists `strict` and `loose` of a verdict of [`crate::Reward::detailed`]; a row without a verdict has a null in them, or
    /// no entry, and is left out.
    pub fn add(&mut self, detail: &Map<String, Value>) {
        let list = |name: &str| -> Option<Vec<bool>> {
            let list: Vec<bool> = detail.get(name)?.as_array()?.iter().map(Value::as_bool).collect::<Option<_>>()?;
            (!list.is_empty()).then_some(list)
        };
        if let (Some(strict), Some(loose)) = (list("strict"), list("loose")) {
            self.strict.add(&strict);
            self.loose.add(&loose);
        }
    }

    /// Responses that are counted.
    pub fn count(&self) -> u64 {
        self.strict.prompts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_counts_where_all_its_instructions_are_followed() {
        let mut found = InstructionAccuracy::default();
        for (strict, loose) in [
            (json!([true, false]), json!([true, true])),
            (json!([true]), json!([true])),
            (json!([true, null]), json!([true, null])),
            (json!([]), json!([])),
        ] {
            found.add(json!({"strict": strict, "loose": loose}).as_object().unwrap());
        }
        assert_eq!(found.count(), 2);
        assert_eq!((found.strict.prompts(), found.strict.instructions()), (0.5, 2.0 / 3.0));
        assert_eq!((found.loose.prompts(), found.loose.instructions()), (1.0, 1.0));
    }
}
