//! `number-sequence`: the next number of a sequence.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, integer, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options and defaults are reasoning-gym's (`number_sequence`); its rules are other ones here, because a question is only asked where every rule that fits goes on alike.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "number-sequence",
    family: Family::Cognition,
    summary: "Go on with a sequence that follows a rule.",
    example: "2, 5, 11, 23 → 47",
    answer_reward: "number-sequence",
    options: &[
        whole("min_terms", (4, 40), "4", "fewest numbers shown"),
        whole("max_terms", (4, 40), "8", "most numbers shown"),
        whole("min_value", (-1_000_000, 0), "-100", "smallest number"),
        whole("max_value", (1, 1_000_000), "100", "largest number"),
        whole(
            "max_complexity",
            (1, 4),
            "3",
            "1: a constant is added; 2: also alternating ones; 3: also a factor, or a constant that grows; 4: also the number before",
        ),
        STYLE,
    ],
    levels: &[
        &[("max_terms", "5"), ("max_complexity", "1")],
        &[("min_terms", "5"), ("max_terms", "6"), ("max_complexity", "2")],
        &[("min_terms", "6"), ("max_terms", "8"), ("max_value", "1000"), ("min_value", "-1000")],
        &[
            ("min_terms", "8"),
            ("max_terms", "10"),
            ("max_complexity", "4"),
            ("max_value", "10000"),
            ("min_value", "-10000"),
        ],
    ],
    build: |options, seed| Procedural::build(NumberSequence::new(options)?, options, seed),
};

struct NumberSequence {
    terms: (i64, i64),
    value: (i64, i64),
    complexity: i64,
}

impl NumberSequence {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            value: options.range("min_value", "max_value")?,
            complexity: integer(options, "max_complexity"),
        })
    }
}

/// How a number follows from those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// a(n+1) = a(n) + c.
    Plus(i64),
    /// c and d are added in turn.
    InTurn(i64, i64),
    /// a(n+1) = f · a(n) + c.
    Times(i64, i64),
    /// What is added starts with c and grows by d.
    Growing(i64, i64),
    /// a(n+1) = a(n) + a(n−1) + c.
    Both(i64),
}

impl Rule {
    fn next(self, shown: &[i64]) -> Option<i64> {
        let (at, last) = (shown.len(), *shown.last()?);
        match self {
            Rule::Plus(c) => last.checked_add(c),
            Rule::InTurn(c, d) => last.checked_add(if at % 2 == 1 { c } else { d }),
            Rule::Times(f, c) => last.checked_mul(f)?.checked_add(c),
            Rule::Growing(c, d) => last.checked_add(c + d * (at as i64 - 1)),
            Rule::Both(c) => last.checked_add(*shown.get(at.checked_sub(2)?)?)?.checked_add(c),
        }
    }

    fn fits(self, shown: &[i64], from: usize) -> bool {
        (from..shown.len()).all(|at| self.next(&shown[..at]) == Some(shown[at]))
    }

    fn draw(dice: &mut Dice, complexity: i64) -> Self {
        match dice.between(1, complexity) {
            1 => Rule::Plus(dice.between(-12, 12)),
            2 => Rule::InTurn(dice.between(-9, 9), dice.between(-9, 9)),
            3 if dice.coin() => Rule::Times(*dice.pick(&[-2, 2, 3]), dice.between(-9, 9)),
            3 => Rule::Growing(dice.between(-9, 9), dice.between(-5, 5)),
            _ => Rule::Both(dice.between(-5, 5)),
        }
    }
}

/// Every rule of the five kinds, with whatever constants, that gives the numbers shown. The constants follow from the
/// first numbers; the rest must agree.
fn rules(shown: &[i64]) -> Vec<Rule> {
    let step = |at: usize| shown[at + 1] - shown[at];
    let mut found =
        vec![Rule::Plus(step(0)), Rule::InTurn(step(0), step(1)), Rule::Growing(step(0), step(1) - step(0))];
    let factors = -12..=12;
    found.extend(factors.map(|f| Rule::Times(f, shown[1] - f * shown[0])));
    found.retain(|rule| rule.fits(shown, 1));
    let both = Rule::Both(shown[2] - shown[1] - shown[0]);
    if both.fits(shown, 2) {
        found.push(both);
    }
    found
}

impl Generator for NumberSequence {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// The first number lies in −10…10. Where two rules fit and go on differently, nothing is asked.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms) as usize;
        let rule = Rule::draw(dice, self.complexity);
        let mut shown = vec![dice.between(-10, 10), dice.between(-10, 10)];
        if !matches!(rule, Rule::Both(_)) {
            shown.truncate(1);
        }
        while shown.len() < terms {
            shown.push(rule.next(&shown)?);
        }
        let answer = rule.next(&shown)?;
        let in_range = |number: &i64| (self.value.0..=self.value.1).contains(number);
        let constant = shown.iter().all(|number| *number == shown[0]);
        if constant
            || !shown.iter().all(in_range)
            || rules(&shown).iter().any(|other| other.next(&shown) != Some(answer))
        {
            return None;
        }
        let listed = shown.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let plain = format!(
            "Each number of this sequence follows from the one or two before it by one fixed rule. What comes next: {listed}?"
        );
        let kind = match rule {
            Rule::Plus(_) => 1,
            Rule::InTurn(..) => 2,
            Rule::Times(..) | Rule::Growing(..) => 3,
            Rule::Both(_) => 4,
        };
        let size = terms * kind;
        let question =
            Question::new(size, (plain, NUMBER), format!("{}>", listed.replace(", ", " ")), answer.to_string());
        Some(question.with("sequence", shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_again_and_ambiguity_is_seen() {
        assert_eq!(rules(&[2, 5, 11, 23]), [Rule::Times(2, 1)]);
        let next: Vec<_> = rules(&[1, 2, 4]).into_iter().map(|rule| rule.next(&[1, 2, 4])).collect();
        assert!(next.contains(&Some(8)) && next.contains(&Some(7)), "1, 2, 4 goes on with 8 and with 7: {next:?}");
        assert_eq!(Rule::Both(0).next(&[1, 1, 2, 3, 5]), Some(8));
        assert_eq!(Rule::InTurn(1, 10).next(&[0, 1, 11, 12]), Some(22));
    }

    #[test]
    fn the_rules_that_are_drawn_are_among_those_that_are_found() {
        for seed in 0..2000 {
            let dice = &mut Dice::new(Key::new(seed, lapidary_core::Purpose::Task));
            let rule = Rule::draw(dice, 4);
            let mut shown = vec![dice.between(-10, 10), dice.between(-10, 10)];
            if !matches!(rule, Rule::Both(_)) {
                shown.truncate(1);
            }
            while shown.len() < 6 {
                shown.push(rule.next(&shown).unwrap());
            }
            let same = |other: &Rule| other.next(&shown) == rule.next(&shown);
            assert!(rules(&shown).iter().any(same), "{rule:?}: {shown:?}");
        }
    }
}
