//! What a reward is given, and what every reward does.

use lapidary_core::{PromptText, Verdict};
use serde_json::{Map, Value};

use crate::intrinsic::{Reads, Seen};

/// One completion to be judged, with everything a verifier may look at. Only text the model wrote is in `completion`.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The words the model was given, without any chat template.
    pub prompt: &'a str,
    /// The same as it was put: text, or a conversation; `None` where only the words are known.
    pub asked: Option<&'a PromptText>,
    /// The words the model wrote, without special tokens.
    pub completion: &'a str,
    /// The reference answer of the row.
    pub answer: Option<&'a str>,
    /// The row's other data: the numbers and the target of a countdown, for instance.
    pub metadata: &'a Map<String, Value>,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Whether the completion ran into the limit of new tokens.
    pub truncated: bool,
    /// What is known of it where it was sampled from a model at hand.
    pub seen: Option<Seen<'a>>,
    /// Lengths in tokens of all samples of its prompt, its own among them; empty where they are not known.
    pub group: &'a [usize],
    /// What the first reward of a mix said of it; `None` for that one, and where it is not known.
    pub first: Option<f32>,
}

impl<'a> Attempt<'a> {
    /// An attempt that ended by itself; its length in tokens is taken as its number of words until it is set.
    pub fn new(
        prompt: &'a str,
        completion: &'a str,
        answer: Option<&'a str>,
        metadata: &'a Map<String, Value>,
    ) -> Self {
        let tokens = completion.split_whitespace().count();
        Self {
            prompt,
            asked: None,
            completion,
            answer,
            metadata,
            tokens,
            truncated: false,
            seen: None,
            group: &[],
            first: None,
        }
    }

    /// What is equal for the samples of a prompt and different for others: its number in the step, or else its words.
    pub(crate) fn prompt_key(&self) -> (usize, &'a str) {
        self.seen.map_or((0, self.prompt), |seen| (seen.group, ""))
    }
}

/// A verifier. Pure but for `command`, `judge` and the clock of `code`: equal attempts give equal verdicts, on any thread and in
/// any batch.
pub trait Reward: Send + Sync {
    /// The name it has in the registry.
    fn name(&self) -> &str;

    /// One verdict per attempt, in order.
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict>;

    /// The verdicts, each with what else there is to say of it: more keys for its line of JSON. Empty for most rewards.
    fn detailed(&self, attempts: &[Attempt<'_>]) -> Vec<(Verdict, Map<String, Value>)> {
        self.score(attempts).into_iter().map(|verdict| (verdict, Map::new())).collect()
    }

    /// What it wants to know of the tokens, beyond the text; see [`Attempt::seen`].
    fn reads(&self) -> Option<Reads> {
        None
    }

    /// Where it lets samples of a prompt vote: how many (0: those that are learned from).
    fn votes(&self) -> Option<usize> {
        None
    }

    /// Is given what the run remembers of it, before a step.
    fn recall(&mut self, _memory: Option<f64>) {}

    /// What the run is to remember of it, after the attempts of a step.
    fn remember(&self, _attempts: &[Attempt<'_>]) -> Option<f64> {
        None
    }
}
