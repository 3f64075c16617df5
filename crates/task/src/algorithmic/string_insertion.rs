//! `string-insertion`: a letter put in after each of five patterns.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`string_insertion`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "string-insertion",
    family: Family::Algorithmic,
    summary: "Insert a letter after every pattern of four.",
    example: "BCDEA → BCDEBA",
    answer_reward: "string-insertion",
    options: &[
        whole("min_string_length", (5, 1000), "5", "fewest letters"),
        whole("max_string_length", (5, 1000), "20", "most letters"),
        STYLE,
    ],
    levels: &[
        &[("max_string_length", "6")],
        &[("min_string_length", "7"), ("max_string_length", "10")],
        &[("min_string_length", "10"), ("max_string_length", "20")],
        &[("min_string_length", "20"), ("max_string_length", "50")],
        &[("min_string_length", "50"), ("max_string_length", "120")],
    ],
    build: |options, seed| Procedural::build(StringInsertion::new(options)?, options, seed),
};

struct StringInsertion {
    length: (i64, i64),
}

impl StringInsertion {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { length: options.range("min_string_length", "max_string_length")? })
    }
}

/// Four letters of the circle A B C D E in a row, and what follows them: the first of the four.
const PATTERNS: [&str; 5] = ["ABCD", "BCDE", "CDEA", "DEAB", "EABC"];

/// From left to right: after a pattern its first letter is inserted, and the search goes on behind it.
fn inserted(text: &str) -> String {
    let mut result = String::new();
    let mut at = 0;
    while at < text.len() {
        let found = PATTERNS.iter().find(|pattern| text[at..].starts_with(**pattern));
        let length = if found.is_some() { 4 } else { 1 };
        result += &text[at..at + length];
        if let Some(pattern) = found {
            result += &pattern[..1];
        }
        at += length;
    }
    result
}

impl Generator for StringInsertion {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Letters follow the circle three times in four, so that patterns occur.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let length = dice.within(self.length) as usize;
        let mut letter = dice.below(5) as u8;
        let mut string = String::new();
        for _ in 0..length {
            string.push((b'A' + letter) as char);
            letter = if dice.below(4) > 0 { (letter + 1) % 5 } else { dice.below(5) as u8 };
        }
        let plain = format!(
            "Go through the string {string} from left to right. Where ABCD stands, insert A behind it; behind BCDE insert B; behind \
             CDEA insert C; behind DEAB insert D; behind EABC insert E. Go on behind the inserted letter. What is the result?"
        );
        let ending = "End with the string after \"####\", like this: #### ABCDA";
        let question = Question::new(length, (plain, ending), format!("{string}>"), inserted(&string));
        Some(question.with("string", string))
    }
}

#[cfg(test)]
mod tests {
    use super::inserted;

    #[test]
    fn the_search_goes_on_behind_what_was_inserted() {
        let all = ["BCDEA", "ABCDE", "ABCDABCD", "EDCBA", "EABCDEAB"].map(inserted);
        assert_eq!(all, ["BCDEBA", "ABCDAE", "ABCDAABCDA", "EDCBA", "EABCEDEABD"]);
    }
}
