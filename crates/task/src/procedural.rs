//! What all procedural tasks share: random access, two splits that never meet, and the style of a question.

use lapidary_core::{Item, Key, Message, PromptText, Purpose, Result, Role};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};
use serde_json::{Map, Value};

use crate::registry::LEVEL;
use crate::{Split, Task};

/// One question in four is kept for tests.
const TEST_SHARE: u64 = 4;
/// Draws for one item until it falls into the wanted split. With at least one question in 50 in a split, all these miss
/// with a probability below 10⁻⁸⁷.
const MOST_DRAWS: u64 = 10_000;

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In English, as a message of the user, with the form that the answer is to have.
    Plain,
    /// In English, as a message of the user, without a word about form: for small models that such words confuse.
    Question,
    /// As few characters as will do, as bare text: `12+7=`.
    Terse,
}

/// An option that holds a whole number.
pub(crate) const fn whole(
    name: &'static str,
    (least, most): (i64, i64),
    default: &'static str,
    meaning: &'static str,
) -> OptionInfo {
    OptionInfo { name, kind: OptionKind::Integer(least, most), default, meaning }
}

/// An option that holds a share or a probability.
pub(crate) const fn share(name: &'static str, default: &'static str, meaning: &'static str) -> OptionInfo {
    OptionInfo { name, kind: OptionKind::Number(0.0, 1.0), default, meaning }
}

/// The whole number of an option that has a default.
pub(crate) fn integer(options: &Options, name: &str) -> i64 {
    options.integer(name).unwrap_or_default()
}

/// The option `style`, the same for every procedural task.
pub(crate) const STYLE: OptionInfo = OptionInfo {
    name: "style",
    kind: OptionKind::Choice(&["plain", "question", "terse"]),
    default: "\"plain\"",
    meaning: "`plain` asks in English, as a chat message that says how to end; `question` leaves that out; `terse` is bare text like `12+7=`, for tiny models",
};

impl Style {
    pub(crate) fn of(options: &Options) -> Self {
        match options.text("style") {
            Some("terse") => Style::Terse,
            Some("question") => Style::Question,
            _ => Style::Plain,
        }
    }
}

/// How the answer to a question of numbers is to be given.
pub(crate) const NUMBER: &str = "End with the number after \"####\", like this: #### 5";

/// A question, however it is going to be put.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// What is asked, without any style: equal problems are the same question. Decides the split.
    problem: String,
    /// In English.
    plain: String,
    /// The form that the answer is to have, in English.
    ending: &'static str,
    /// In as few characters as will do.
    terse: String,
    /// The reference answer.
    answer: String,
    /// The answer as a terse demonstration gives it.
    terse_answer: String,
    /// Everything else.
    metadata: Map<String, Value>,
}

impl Question {
    /// A question in English with the form of its answer, in few characters, and its answer. `size` says how much work it
    /// is, in a unit of the task: it rises from level to level.
    pub(crate) fn new(
        size: usize,
        (plain, ending): (impl Into<String>, &'static str),
        terse: impl Into<String>,
        answer: impl Into<String>,
    ) -> Self {
        let (terse, answer) = (terse.into(), answer.into());
        let metadata = Map::from_iter([("size".to_string(), size.into())]);
        let (problem, terse_answer) = (terse.clone(), answer.clone());
        Self { problem, plain: plain.into(), ending, terse, answer, terse_answer, metadata }
    }

    /// Questions that are the same although they are written differently.
    pub(crate) fn same_as(mut self, problem: impl Into<String>) -> Self {
        self.problem = problem.into();
        self
    }

    /// The answer as a terse demonstration gives it, where that is shorter.
    pub(crate) fn terse_answer(mut self, answer: impl Into<String>) -> Self {
        self.terse_answer = answer.into();
        self
    }

    #[cfg(test)]
    pub(crate) fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    #[cfg(test)]
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }

    /// Something that the verifier or a reader needs; named as reasoning-gym names it.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_string(), value.into());
        self
    }
}

/// A generator of questions.
pub(crate) trait Generator: Send + Sync {
    /// The name in the registry.
    fn name(&self) -> &'static str;
    /// A question drawn with this key; `None` where this draw came to nothing.
    fn draw(&self, key: Key) -> Option<Question>;
}

/// A generator made a task.
pub(crate) struct Procedural<G> {
    generator: G,
    style: Style,
    seed: u64,
    level: Option<i64>,
}

impl<G: Generator + 'static> Procedural<G> {
    /// The task, once it is sure that both splits have questions.
    pub(crate) fn build(generator: G, options: &Options, seed: u64) -> Result<Box<dyn Task>> {
        let task = Self { generator, style: Style::of(options), seed, level: options.integer(LEVEL) };
        for split in [Split::Train, Split::Test] {
            task.find(split, 0).ok_or_else(|| too_few(task.generator.name(), split))?;
        }
        Ok(Box::new(task))
    }

    fn find(&self, split: Split, index: u64) -> Option<Question> {
        let key = Key::new(self.seed, Purpose::Task).at_name(self.generator.name()).at(split as u64).at(index);
        (0..MOST_DRAWS)
            .filter_map(|draw| self.generator.draw(key.at(draw)))
            .find(|question| split_of(self.generator.name(), &question.problem) == split)
    }
}

/// The split that a question belongs to: a property of the question alone, so that a test question is never trained
/// on, whatever the seed, the other options and the style.
pub(crate) fn split_of(task: &str, problem: &str) -> Split {
    let hash = Key::new(0, Purpose::Task).at_name("split").at_name(task).at_name(problem).bits();
    if hash.is_multiple_of(TEST_SHARE) { Split::Test } else { Split::Train }
}

fn too_few(task: &str, split: Split) -> lapidary_core::Problem {
    let message = format!("task `{task}`: these options leave no question for the {} split", split.name());
    lapidary_core::Problem::new(lapidary_core::Kind::Usage, "D023", message)
        .why("a question belongs to one split for good, so that tests are never trained on; one in four is for tests")
        .hint("widen the ranges so that there are more different questions")
}

impl<G: Generator + 'static> Task for Procedural<G> {
    fn name(&self) -> &str {
        self.generator.name()
    }

    fn len(&self, _: Split) -> Option<usize> {
        None
    }

    fn item(&self, split: Split, index: u64) -> Result<Item> {
        let question = self.find(split, index).ok_or_else(|| too_few(self.generator.name(), split))?;
        let (prompt, completion) = match self.style {
            Style::Plain => {
                let message = Message::new(Role::User, format!("{} {}", question.plain, question.ending));
                (PromptText::Messages(vec![message]), format!("#### {}", question.answer))
            }
            Style::Question => {
                let message = Message::new(Role::User, question.plain);
                (PromptText::Messages(vec![message]), question.answer.clone())
            }
            Style::Terse => (PromptText::Text(question.terse), question.terse_answer),
        };
        Ok(Item {
            id: match self.level {
                None => format!("{}/{}/{index}", self.generator.name(), split.name()),
                Some(level) => format!("{}@{level}/{}/{index}", self.generator.name(), split.name()),
            },
            prompt,
            answer: Some(question.answer),
            completion: Some(completion),
            metadata: question.metadata,
        })
    }

    fn answer_reward(&self) -> &'static str {
        self.generator.name()
    }
}
