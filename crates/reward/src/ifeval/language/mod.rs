//! The language of a text, by its script, and within a script by its commonest words and its letters.
//!
//! Most languages that instructions ask for have a script to themselves. Latin, Cyrillic, Arabic and Devanagari are shared: there every
//! word votes for the languages that have it among their commonest, its beginning or end for those that have it there, and its letters
//! against the languages whose alphabet lacks them. Nothing is learnt and nothing is drawn, so equal texts have equal languages; a
//! language is what most of the text is in.

mod latin;
mod scripts;
mod shared;

use self::scripts::Script;

/// A code as langdetect has it.
pub(super) type Language = &'static str;

/// Every language that can be found: the 55 of langdetect, which the published checker uses.
pub(super) const LANGUAGES: &[Language] = &[
    "af", "ar", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "gu", "he", "hi",
    "hr", "hu", "id", "it", "ja", "kn", "ko", "lt", "lv", "mk", "ml", "mr", "ne", "nl", "no", "pa", "pl", "pt", "ro",
    "ru", "sk", "sl", "so", "sq", "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "zh-cn", "zh-tw",
];

/// How one language of a shared script is known.
pub(super) struct Profile {
    code: Language,
    /// Letters of its alphabet beyond those that all languages of the script have.
    letters: &'static str,
    /// Its commonest words, separated by spaces.
    words: &'static str,
    /// Beginnings (`ge-`) and ends (`-ung`) of its words.
    affixes: &'static str,
}

/// The language of a text in small letters; `None` where it has no letters or nothing tells.
pub(super) fn detect(lower: &str) -> Option<Language> {
    match Script::of(lower)? {
        Script::Latin => latin(lower),
        Script::Cyrillic => among(lower, shared::CYRILLIC, &CYRILLIC),
        Script::Arabic => among(lower, shared::ARABIC, &ARABIC),
        Script::Devanagari => among(lower, shared::DEVANAGARI, &DEVANAGARI),
        Script::Chinese => Some(shared::chinese(lower)),
        Script::Only(language) => Some(language),
        Script::Other => None,
    }
}

/// A language of Latin letters. Words that tell nothing are English where they need no other alphabet: `ok`, a name. Single letters,
/// as in a formula, are no words.
fn latin(lower: &str) -> Option<Language> {
    let word = lower.split(|c: char| !scripts::in_word(c)).any(|word| word.chars().nth(1).is_some());
    let plain = || lower.chars().filter(|c| c.is_alphabetic()).all(|c| c.is_ascii()).then_some("en");
    if word { among(lower, latin::PROFILES, &LATIN).or_else(plain) } else { None }
}

/// Votes of a word, by how it is known, relative to a common word that one language has.
const AFFIX: f64 = 0.15;
const LETTER: f64 = 0.4;
/// A letter that the alphabet lacks.
const FOREIGN: f64 = 0.6;

/// The index of the profiles of a script.
type Index = std::sync::LazyLock<Votes>;

static LATIN: Index = Index::new(|| Votes::new(latin::PROFILES));
static CYRILLIC: Index = Index::new(|| Votes::new(shared::CYRILLIC));
static ARABIC: Index = Index::new(|| Votes::new(shared::ARABIC));
static DEVANAGARI: Index = Index::new(|| Votes::new(shared::DEVANAGARI));

/// Who has which word, letter, beginning and end.
struct Votes {
    words: std::collections::HashMap<&'static str, Vec<usize>>,
    letters: std::collections::HashMap<char, Vec<usize>>,
    affixes: std::collections::HashMap<&'static str, Vec<usize>>,
}

impl Votes {
    fn new(profiles: &'static [Profile]) -> Self {
        let mut votes = Self { words: Default::default(), letters: Default::default(), affixes: Default::default() };
        for (at, profile) in profiles.iter().enumerate() {
            for word in profile.words.split_whitespace() {
                votes.words.entry(word).or_default().push(at);
            }
            for letter in profile.letters.chars() {
                votes.letters.entry(letter).or_default().push(at);
            }
            for affix in profile.affixes.split_whitespace() {
                votes.affixes.entry(affix).or_default().push(at);
            }
        }
        votes
    }

    /// Adds what one word says to the tally.
    fn count(&self, word: &str, tally: &mut [f64]) {
        let mut share = |voters: Option<&Vec<usize>>, weight: f64| {
            for at in voters.into_iter().flatten() {
                tally[*at] += weight / voters.map_or(1, Vec::len) as f64;
            }
        };
        share(self.words.get(word), 1.0);
        for length in 2..=4 {
            let mut ends = word.char_indices().rev().skip(length - 1);
            let (Some((from, _)), Some(_)) = (ends.next(), ends.next()) else { break };
            let to = word.char_indices().nth(length).map_or(word.len(), |(at, _)| at);
            share(self.affixes.get(format!("-{}", &word[from..]).as_str()), AFFIX);
            share(self.affixes.get(format!("{}-", &word[..to]).as_str()), AFFIX);
        }
        // the letter that fewest alphabets have says most
        if let Some(voters) =
            word.chars().filter_map(|letter| self.letters.get(&letter)).min_by_key(|voters| voters.len())
        {
            share(Some(voters), LETTER);
            for (at, votes) in tally.iter_mut().enumerate() {
                *votes -= if voters.contains(&at) { 0.0 } else { FOREIGN };
            }
        }
    }
}

/// The language of a shared script with the most votes, if it has any.
fn among(lower: &str, profiles: &'static [Profile], votes: &Votes) -> Option<Language> {
    let mut tally = vec![0.0; profiles.len()];
    for word in lower.split(|c: char| !scripts::in_word(c)).filter(|word| !word.is_empty()) {
        // the rest of a word that is longer than words are says nothing more
        let end = word.char_indices().nth(LONGEST_WORD).map_or(word.len(), |(at, _)| at);
        votes.count(&word[..end], &mut tally);
    }
    let best = (0..profiles.len()).max_by(|a, b| tally[*a].total_cmp(&tally[*b]).then(b.cmp(a)))?;
    (tally[best] > 0.0).then(|| profiles[best].code)
}

/// Letters of a word that are looked at.
const LONGEST_WORD: usize = 64;

#[cfg(test)]
mod tests;
