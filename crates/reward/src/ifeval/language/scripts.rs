//! Scripts, and which of them a text is in.

use super::Language;

/// A script as far as it tells languages apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Chinese,
    /// One language has it to itself.
    Only(Language),
    /// No language that is known here.
    Other,
}

/// Kana among Chinese signs make a text Japanese from this share of kana on.
const LEAST_KANA: f64 = 0.05;
/// A Chinese sign or a Hangul block stands for about so many letters of an alphabet.
const LETTERS_PER_SIGN: f64 = 3.0;

/// First and last sign of a block, and whose it is.
const BLOCKS: &[(char, char, Script)] = &[
    ('A', 'z', Script::Latin),
    ('\u{C0}', '\u{24F}', Script::Latin),
    ('\u{370}', '\u{3FF}', Script::Only("el")),
    ('\u{400}', '\u{52F}', Script::Cyrillic),
    ('\u{590}', '\u{5FF}', Script::Only("he")),
    ('\u{600}', '\u{6FF}', Script::Arabic),
    ('\u{750}', '\u{77F}', Script::Arabic),
    ('\u{900}', '\u{97F}', Script::Devanagari),
    ('\u{980}', '\u{9FF}', Script::Only("bn")),
    ('\u{A00}', '\u{A7F}', Script::Only("pa")),
    ('\u{A80}', '\u{AFF}', Script::Only("gu")),
    ('\u{B80}', '\u{BFF}', Script::Only("ta")),
    ('\u{C00}', '\u{C7F}', Script::Only("te")),
    ('\u{C80}', '\u{CFF}', Script::Only("kn")),
    ('\u{D00}', '\u{D7F}', Script::Only("ml")),
    ('\u{E00}', '\u{E7F}', Script::Only("th")),
    ('\u{1100}', '\u{11FF}', Script::Only("ko")),
    ('\u{1E00}', '\u{1EFF}', Script::Latin),
    ('\u{1F00}', '\u{1FFF}', Script::Only("el")),
    ('\u{3040}', '\u{30FF}', Script::Only("ja")),
    ('\u{3130}', '\u{318F}', Script::Only("ko")),
    ('\u{3400}', '\u{4DBF}', Script::Chinese),
    ('\u{4E00}', '\u{9FFF}', Script::Chinese),
    ('\u{AC00}', '\u{D7AF}', Script::Only("ko")),
    ('\u{F900}', '\u{FAFF}', Script::Chinese),
    ('\u{FB1D}', '\u{FB4F}', Script::Only("he")),
    ('\u{FB50}', '\u{FDFF}', Script::Arabic),
    ('\u{FE70}', '\u{FEFC}', Script::Arabic),
    ('\u{FF21}', '\u{FF5A}', Script::Latin),
    ('\u{FF66}', '\u{FF9F}', Script::Only("ja")),
    ('\u{20000}', '\u{323AF}', Script::Chinese),
];

impl Script {
    /// The script of most letters of a text.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut tally: Vec<(Script, f64)> = Vec::new();
        for letter in text.chars().filter(|c| c.is_alphabetic()) {
            let block = BLOCKS.partition_point(|(first, _, _)| *first <= letter).checked_sub(1).map(|at| BLOCKS[at]);
            let script = block.filter(|(_, last, _)| letter <= *last).map_or(Script::Other, |(_, _, script)| script);
            let weight = match script {
                Script::Chinese | Script::Only("ja" | "ko") => LETTERS_PER_SIGN,
                _ => 1.0,
            };
            match tally.iter_mut().find(|(known, _)| *known == script) {
                Some((_, count)) => *count += weight,
                None => tally.push((script, weight)),
            }
        }
        let count = |script: Script| tally.iter().find(|(known, _)| *known == script).map_or(0.0, |(_, count)| *count);
        let (chinese, kana) = (count(Script::Chinese), count(Script::Only("ja")));
        let japanese = kana > 0.0 && kana >= LEAST_KANA * (chinese + kana);
        if japanese {
            tally.retain(|(script, _)| *script != Script::Chinese && *script != Script::Only("ja"));
            tally.push((Script::Only("ja"), chinese + kana));
        }
        tally.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(script, _)| script)
    }
}

/// Whether a sign is part of a word: letters, and the vowel signs of the scripts of India.
pub(super) fn in_word(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '\u{93C}' | '\u{94D}' | '\u{200C}' | '\u{64B}'..='\u{652}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_in_order() {
        assert!(BLOCKS.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(BLOCKS.iter().all(|(first, last, _)| first < last));
    }

    #[test]
    fn the_script_of_most_letters_decides() {
        assert_eq!(Script::of("12, 3!"), None);
        assert_eq!(Script::of("abc где"), Some(Script::Latin), "equal counts: the first");
        assert_eq!(Script::of("ab где"), Some(Script::Cyrillic));
        assert_eq!(Script::of("日本語です"), Some(Script::Only("ja")));
        assert_eq!(Script::of("我是学生"), Some(Script::Chinese));
        assert_eq!(Script::of("ሰላም"), Some(Script::Other));
    }
}
