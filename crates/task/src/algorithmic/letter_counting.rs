//! `letter-counting`: how often a letter occurs.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};
use crate::words::text;

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`letter_counting`); the words are made up.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "letter-counting",
    family: Family::Algorithmic,
    summary: "Count a letter in some words.",
    example: "h in: if they had → 2",
    answer_reward: "letter-counting",
    options: &[
        whole("min_words", (1, 200), "5", "fewest words"),
        whole("max_words", (1, 200), "15", "most words"),
        STYLE,
    ],
    levels: &[
        &[("min_words", "1"), ("max_words", "1")],
        &[("min_words", "2"), ("max_words", "3")],
        &[("min_words", "3"), ("max_words", "6")],
        &[("min_words", "6"), ("max_words", "12")],
        &[("min_words", "12"), ("max_words", "30")],
    ],
    build: |options, seed| Procedural::build(LetterCounting::new(options)?, options, seed),
};

struct LetterCounting {
    words: (i64, i64),
}

impl LetterCounting {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { words: options.range("min_words", "max_words")? })
    }
}

impl Generator for LetterCounting {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// A letter that occurs, each as likely as any other.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.words) as usize;
        let span = text(dice, count);
        let words = span.join(" ");
        let mut letters: Vec<char> = words.chars().filter(|letter| *letter != ' ').collect();
        letters.sort_unstable();
        letters.dedup();
        let letter = *dice.pick(&letters);
        let times = words.chars().filter(|other| *other == letter).count();
        let plain = format!("How often does the letter {letter} occur in this line? {words}");
        let question = Question::new(count, (plain, NUMBER), format!("{letter} in {words}="), times.to_string());
        Some(question.with("span", span).with("target_letter", letter.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn reasoning_gym_means_the_same() {
        for row in crate::gym::rows("letter_counting").unwrap_or_default() {
            let letter = row["metadata"]["target_letter"].as_str().unwrap();
            let text = row["question"].as_str().unwrap().split_once("in the text: \"").unwrap().1.to_lowercase();
            assert_eq!(text.matches(letter).count() as i64, crate::gym::number(&row), "{row}");
        }
    }
}
