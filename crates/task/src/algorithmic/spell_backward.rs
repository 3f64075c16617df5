//! `spell-backward`: write a word in reverse.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::procedural::{Generator, Procedural, Question, STYLE};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options and defaults are reasoning-gym's (`spell_backward`); words are made up, so that there
/// is no end to them and no word list to ship.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "spell-backward",
    family: Family::Algorithmic,
    summary: "Spell a (made-up) word backward.",
    example: "kelt → tlek",
    answer_reward: "spell-backward",
    options: &[
        OptionInfo { name: "min_word_len", kind: OptionKind::Integer(2, 64), default: "3", meaning: "fewest letters" },
        OptionInfo { name: "max_word_len", kind: OptionKind::Integer(2, 64), default: "10", meaning: "most letters" },
        STYLE,
    ],
    levels: &[
        &[("max_word_len", "3")],
        &[("max_word_len", "5")],
        &[("max_word_len", "8")],
        &[("min_word_len", "5"), ("max_word_len", "12")],
        &[("min_word_len", "8"), ("max_word_len", "20")],
    ],
    build: |options, seed| Procedural::build(SpellBackward::new(options)?, options, seed),
};

const VOWELS: &[u8] = b"aeiou";
const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwxyz";

struct SpellBackward {
    length: (i64, i64),
}

impl SpellBackward {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { length: options.range("min_word_len", "max_word_len")? })
    }
}

impl Generator for SpellBackward {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// A word that can be spoken: after a vowel a consonant; after a consonant a vowel, or one time in five another
    /// consonant.
    fn draw(&self, key: Key) -> Option<Question> {
        let length = key.at(0).between(self.length.0, self.length.1) as u64;
        let mut vowel = key.at(1).below(2) == 1;
        let mut word = String::new();
        for at in 0..length {
            let letters = if vowel { VOWELS } else { CONSONANTS };
            word.push(letters[key.at(2).at(at).below(letters.len() as u64) as usize] as char);
            vowel = !vowel && key.at(3).at(at).below(5) != 0;
        }
        let reversed: String = word.chars().rev().collect();
        let plain = format!("Spell this word backward, letter by letter: {word}.");
        let ending = "End with the reversed word after \"####\", like this: #### tac";
        let question = Question::new(length as usize, (plain, ending), format!("{word}>"), reversed);
        Some(question.same_as(&*word).with("word", word).with("word_len", length))
    }
}
