//! `caesar-cipher`: letters moved along the alphabet, to be moved back.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};
use crate::words::text;

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`caesar_cipher`); words are made up, so the number of places is told: nobody could guess it.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "caesar-cipher",
    family: Family::Algorithmic,
    summary: "Decipher a text whose letters are moved along the alphabet.",
    example: "LFH, 3 places → ICE",
    answer_reward: "caesar-cipher",
    options: &[
        whole("min_words", (1, 100), "3", "fewest words"),
        whole("max_words", (1, 100), "20", "most words"),
        whole("min_rotation", (1, 25), "1", "fewest places"),
        whole("max_rotation", (1, 25), "25", "most places"),
        STYLE,
    ],
    levels: &[
        &[("min_words", "1"), ("max_words", "1"), ("max_rotation", "3")],
        &[("min_words", "1"), ("max_words", "2"), ("max_rotation", "5")],
        &[("min_words", "2"), ("max_words", "5"), ("max_rotation", "13")],
        &[("min_words", "4"), ("max_words", "10")],
        &[("min_words", "10"), ("max_words", "25")],
    ],
    build: |options, seed| Procedural::build(CaesarCipher::new(options)?, options, seed),
};

struct CaesarCipher {
    words: (i64, i64),
    rotation: (i64, i64),
}

impl CaesarCipher {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            words: options.range("min_words", "max_words")?,
            rotation: options.range("min_rotation", "max_rotation")?,
        })
    }
}

/// Every letter of A to Z moved on by so many places, Z followed by A.
fn moved(text: &str, places: u8) -> String {
    let letter = |c: char| if c.is_ascii_uppercase() { ((c as u8 - b'A' + places) % 26 + b'A') as char } else { c };
    text.chars().map(letter).collect()
}

impl Generator for CaesarCipher {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.words) as usize;
        let clear = text(dice, count).join(" ").to_uppercase();
        let places = dice.within(self.rotation);
        let cipher = moved(&clear, places as u8);
        let plain = format!(
            "Every letter of a text was moved {places} places on in the alphabet, Z followed by A. The result is: {cipher}. What was the text?"
        );
        let ending = "End with the text in capital letters after \"####\", like this: #### ICE";
        let question = Question::new(count, (plain, ending), format!("{cipher}-{places}="), clear);
        Some(question.with("rotation", places).with("cipher_text", cipher))
    }
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn what_is_moved_on_and_on_comes_back() {
        assert_eq!(moved("ICE XYZ", 3), "LFH ABC");
        (1..26).for_each(|places| assert_eq!(moved(&moved("QUARTZ OF A", places), 26 - places), "QUARTZ OF A"));
    }
}
