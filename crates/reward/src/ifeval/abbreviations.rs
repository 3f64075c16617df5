//! English abbreviations, and words that tell whether a sentence begins after one.

/// Abbreviations of Punkt's English model, learnt from the Wall Street Journal. `e.g`, `i.e` and `etc` are none of them.
const ABBREVIATIONS: &[&str] = &[
    // people and places
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "gen", "col", "lt", "maj", "adm", "sen", "rep", "reps", "messrs",
    "ct", // companies
    "inc", "ltd", "co", "corp", "bros", "cie", "vs", "chg", "ph.d", "ft", "mg", // time
    "jan", "feb", "aug", "sept", "sep", "oct", "nov", "dec", "tues", "wed", "fri", "p.m", "yr", // states
    "ala", "ariz", "calif", "colo", "conn", "fla", "ga", "ill", "kan", "ky", "mich", "minn", "okla", "ore", "pa",
    "tenn", "va", "vt", "wash", "w.va", "wis", "nev", "ave",
];

/// Letters that stand alone as abbreviations in that model.
const LETTERS: &[&str] = &["c", "d", "e", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w"];

/// Letters with points that are well known; the model knows some more initials of persons.
const PAIRS: &[&str] = &[
    "u.s", "u.k", "u.n", "u.s.a", "u.s.s.r", "a.m", "p.m", "d.c", "n.y", "n.j", "n.c", "n.h", "n.m", "n.d", "s.c",
    "l.a", "r.i", "a.d", "s.a", "m.b.a", "b.v", "s.p.a", "j.p", "j.r", "j.c", "j.b", "j.j", "j.k", "t.j", "m.j", "r.j",
    "c.v", "a.a", "l.p",
];

/// Whether a word, in small letters and without its last point, is an abbreviation.
pub(super) fn is_abbreviation(stem: &str) -> bool {
    ABBREVIATIONS.contains(&stem) || LETTERS.contains(&stem) || PAIRS.contains(&stem)
}

/// Words that, with a capital, begin a sentence even after an abbreviation: they often do in that corpus, or are otherwise small there.
const BEGINNERS: &[&str] = &[
    "the",
    "he",
    "it",
    "they",
    "i",
    "this",
    "these",
    "there",
    "in",
    "but",
    "so",
    "if",
    "when",
    "while",
    "since",
    "although",
    "though",
    "despite",
    "however",
    "moreover",
    "nevertheless",
    "nonetheless",
    "meanwhile",
    "indeed",
    "instead",
    "thus",
    "yet",
    "some",
    "many",
    "most",
    "both",
    "such",
    "under",
    "among",
    "according",
    "even",
    "similarly",
    "separately",
    "nor",
    "her",
    "here",
    "were",
    "does",
    "which",
    "between",
    "into",
    "through",
    "consider",
    "yes",
    "your",
    "please",
    "include",
    "remember",
    "note",
    "create",
    "describe",
];

/// More words that are written small unless they begin a sentence.
const COMMON: &[&str] = &[
    "she",
    "we",
    "you",
    "that",
    "those",
    "on",
    "at",
    "for",
    "with",
    "from",
    "and",
    "or",
    "then",
    "what",
    "who",
    "why",
    "how",
    "where",
    "another",
    "each",
    "all",
    "his",
    "its",
    "our",
    "their",
    "my",
    "as",
    "after",
    "before",
    "because",
    "let",
    "an",
    "a",
    "is",
    "are",
    "was",
    "has",
    "have",
    "to",
    "of",
    "by",
    "give",
    "make",
    "use",
    "write",
    "show",
    "finish",
    "first",
    "now",
    "not",
    "no",
    "do",
    "did",
    "can",
    "will",
    "throughout",
];

/// Whether a word begins a sentence even after an abbreviation.
pub(super) fn begins(word: &str) -> bool {
    BEGINNERS.contains(&word)
}

/// Whether a word is written small unless it begins a sentence, so that it is no name after an initial.
pub(super) fn is_common(word: &str) -> bool {
    begins(word) || COMMON.contains(&word)
}
