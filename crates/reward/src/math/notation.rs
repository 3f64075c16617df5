//! LaTeX commands and signs that say the same.

/// Commands that change the looks only.
const LOOKS: &str = "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle \
                     scriptstyle limits nolimits rm bf it boldsymbol mathbf bm mathit vec overrightarrow hat widehat bar \
                     mathcal mathfrak mathscr underline boxed fbox angle triangle ensuremath hline small large tiny mathop";
/// Commands that are spaces.
const SPACES: &str = "quad qquad enspace thinspace space newline";
/// Commands that hold words.
const WORDS: &str = "text mbox textbf textit textrm textnormal mathrm operatorname mathsf texttt hbox emph textsf";
/// Signs and the commands that are them. `⦃ ⦄` are the braces of a set.
const SIGNS: &[(char, &str)] = &[
    ('≤', "le leq leqslant leqq"),
    ('≥', "ge geq geqslant geqq"),
    ('≠', "ne neq"),
    ('<', "lt"),
    ('>', "gt"),
    ('≈', "approx simeq"),
    ('*', "cdot times ast"),
    ('/', "div slash"),
    ('±', "pm"),
    ('∓', "mp"),
    ('∪', "cup"),
    ('∩', "cap"),
    ('∖', "setminus backslash"),
    ('∈', "in"),
    ('∞', "infty"),
    ('∅', "emptyset varnothing"),
    ('⦃', "lbrace"),
    ('⦄', "rbrace"),
    ('|', "vert lvert rvert mid"),
    ('‖', "Vert lVert rVert"),
    ('⟨', "langle"),
    ('⟩', "rangle"),
    ('⌊', "lfloor"),
    ('⌋', "rfloor"),
    ('⌈', "lceil"),
    ('⌉', "rceil"),
    ('°', "circ degree"),
    (':', "colon"),
    ('(', "lparen"),
    (')', "rparen"),
    ('[', "lbrack"),
    (']', "rbrack"),
    ('\'', "prime"),
    ('…', "ldots cdots dots dotsc"),
];
/// Greek letters and their commands.
const GREEK: &[(char, &str)] = &[
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon varepsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta vartheta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('τ', "tau"),
    ('φ', "phi varphi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
    ('Γ', "Gamma"),
    ('Δ', "Delta"),
    ('Θ', "Theta"),
    ('Λ', "Lambda"),
    ('Σ', "Sigma"),
    ('Φ', "Phi"),
    ('Ψ', "Psi"),
    ('Ω', "Omega"),
    ('ℓ', "ell"),
];
/// Characters that are another one's double.
const ALIKE: &[(char, &str)] = &[
    ('-', "−–"),
    ('*', "×·⋅∙"),
    ('/', "÷∕⁄"),
    ('≤', "⩽"),
    ('≥', "⩾"),
    ('\'', "′’"),
    ('|', "∣"),
    (' ', "\u{a0}\u{2009}\u{202f}\u{2002}\u{2003}～"),
    (';', "；"),
    (',', "，"),
    ('(', "（"),
    (')', "）"),
];

fn among(words: &str, name: &str) -> bool {
    words.split(' ').any(|word| word == name)
}

fn row(rows: &[(char, &str)], name: &str) -> Option<char> {
    rows.iter().find(|(_, words)| among(words, name)).map(|(sign, _)| *sign)
}

/// Whether a command changes the looks only.
pub(super) fn is_looks(name: &str) -> bool {
    among(LOOKS, name)
}

/// Whether a command is a space.
pub(super) fn is_space(name: &str) -> bool {
    among(SPACES, name)
}

/// Whether a command holds words.
pub(super) fn is_words(name: &str) -> bool {
    among(WORDS, name)
}

/// The sign that a command is.
pub(super) fn sign_of(name: &str) -> Option<char> {
    row(SIGNS, name)
}

/// The Greek letter that a command is.
pub(super) fn greek(name: &str) -> Option<char> {
    row(GREEK, name)
}

/// Whether a character is a Greek letter that is read as a name.
pub(super) fn greek_sign(sign: char) -> bool {
    GREEK.iter().any(|(letter, _)| *letter == sign)
}

/// The character that is meant.
pub(super) fn plain_sign(sign: char) -> char {
    ALIKE.iter().find(|(_, doubles)| doubles.contains(sign)).map_or(sign, |(plain, _)| *plain)
}
