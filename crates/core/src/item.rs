//! What a task hands out.

use serde::{Deserialize, Serialize};

/// Who speaks a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the model.
    System,
    /// A person, or a simulated one.
    User,
    /// The model.
    Assistant,
    /// The output of a tool.
    Tool,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: String,
    /// Everything else the data held (`tool_calls`, `name`, `reasoning_content`, …), passed to the chat template.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Message {
    /// A message with text only.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), extra: serde_json::Map::new() }
    }
}

/// A prompt as data: plain text, or a conversation that a chat template renders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PromptText {
    /// Tokenised as it is.
    Text(String),
    /// Rendered by the model's chat template, or as plain text where the model has none.
    Messages(Vec<Message>),
}

impl PromptText {
    /// The words of the prompt without any template, for rewards and for people.
    pub fn plain(&self) -> String {
        match self {
            PromptText::Text(text) => text.clone(),
            PromptText::Messages(messages) => {
                messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// One row of a task: a question, how its answer is checked, and (for SFT) how it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Stable name, unique in its task: `chain-sum/train/12`, `train.jsonl:7`.
    pub id: String,
    /// What the model is given.
    pub prompt: PromptText,
    /// The reference answer that rewards compare with.
    pub answer: Option<String>,
    /// A demonstration: the completion that SFT learns.
    pub completion: Option<String>,
    /// Everything else about the row (numbers of a countdown, difficulty, source), for rewards and reports.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}
