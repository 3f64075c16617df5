//! Words that nobody has read: there is no end to them, and no word list to ship.

use crate::dice::Dice;

const VOWELS: &[u8] = b"aeiou";
const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwxyz";

/// First names.
pub(crate) const NAMES: &[&str] = &[
    "Ada", "Boris", "Carla", "Dmitri", "Edith", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara", "Leon", "Mira",
    "Nils", "Olga", "Pablo", "Quentin", "Rosa", "Silvio", "Tamar", "Ulla", "Viktor", "Wanda", "Xenia", "Yusuf", "Zora",
];

/// A word of so many letters that can be spoken: after a vowel a consonant; after a consonant a vowel, or one time in
/// five another consonant.
pub(crate) fn word(dice: &mut Dice, length: usize) -> String {
    let mut vowel = dice.coin();
    let mut word = String::new();
    for _ in 0..length {
        word.push(*dice.pick(if vowel { VOWELS } else { CONSONANTS }) as char);
        vowel = !vowel && dice.below(5) != 0;
    }
    word
}

/// So many words, each of 1 to 9 letters as words of a text are.
pub(crate) fn text(dice: &mut Dice, words: usize) -> Vec<String> {
    (0..words)
        .map(|_| {
            let length = 1 + dice.below(5) + dice.below(5);
            word(dice, length)
        })
        .collect()
}
