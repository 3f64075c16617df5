//! `word-sorting`: words in the order of their characters.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};
use crate::words::word;

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`word_sorting`); the words are made up and all different.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "word-sorting",
    family: Family::Algorithmic,
    summary: "Sort words by their characters, capital letters first.",
    example: "descending: apple, Cat, bee → bee, apple, Cat",
    answer_reward: "word-sorting",
    options: &[
        whole("min_words", (1, 200), "3", "fewest words"),
        whole("max_words", (1, 200), "10", "most words"),
        whole("min_word_length", (1, 40), "3", "fewest letters"),
        whole("max_word_length", (1, 40), "12", "most letters"),
        OptionInfo {
            name: "transformation",
            kind: OptionKind::Choice(&["original", "lowercase", "uppercase", "randomcase"]),
            default: "\"original\"",
            meaning: "`original` has one capital word in four, `randomcase` draws the case of each letter",
        },
        STYLE,
    ],
    levels: &[
        &[("max_words", "3"), ("max_word_length", "4"), ("transformation", r#""lowercase""#)],
        &[("max_words", "5"), ("max_word_length", "6"), ("transformation", r#""lowercase""#)],
        &[("min_words", "4"), ("max_words", "8")],
        &[("min_words", "8"), ("max_words", "15")],
        &[("min_words", "12"), ("max_words", "30"), ("transformation", r#""randomcase""#)],
    ],
    build: |options, seed| Procedural::build(WordSorting::new(options)?, options, seed),
};

struct WordSorting {
    count: (i64, i64),
    length: (i64, i64),
    case: Case,
}

impl WordSorting {
    fn new(options: &Options) -> Result<Self> {
        let case = match options.text("transformation") {
            Some("lowercase") => Case::Lower,
            Some("uppercase") => Case::Upper,
            Some("randomcase") => Case::Random,
            _ => Case::Original,
        };
        Ok(Self {
            count: options.range("min_words", "max_words")?,
            length: options.range("min_word_length", "max_word_length")?,
            case,
        })
    }

    fn cased(&self, dice: &mut Dice, word: String) -> String {
        match self.case {
            Case::Lower => word,
            Case::Upper => word.to_uppercase(),
            Case::Random => word.chars().map(|c| if dice.coin() { c.to_ascii_uppercase() } else { c }).collect(),
            Case::Original if dice.below(4) == 0 => word[..1].to_uppercase() + &word[1..],
            Case::Original => word,
        }
    }
}

enum Case {
    Original,
    Lower,
    Upper,
    Random,
}

impl Generator for WordSorting {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.count) as usize;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let length = dice.within(self.length) as usize;
            let plain = word(dice, length);
            words.push(self.cased(dice, plain));
        }
        let falling = dice.coin();
        let mut sorted = words.clone();
        sorted.sort();
        if falling {
            sorted.reverse();
        }
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let direction = if falling { "descending" } else { "ascending" };
        let plain = format!(
            "Sort these words in {direction} order of their characters, all capital letters before all small ones: {}.",
            words.join(", ")
        );
        let ending = "End with the words after \"####\", with commas between them, like this: #### one, three, two";
        let terse = format!("{}{}=", if falling { '>' } else { '<' }, words.join(" "));
        let question = Question::new(count, (plain, ending), terse, sorted.join(", "));
        let question = question.same_as(format!("{direction} {}", sorted.join(" "))).terse_answer(sorted.join(" "));
        Some(question.with("direction", direction).with("sorted_words", sorted))
    }
}
