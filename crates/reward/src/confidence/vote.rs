//! Answers that mean the same, and which of them is given most often or most surely.

use crate::answer::plain;
use crate::number::parse_number;

/// Whether two answers are the same: equal numbers, or equal words.
pub fn same_answer(a: &str, b: &str) -> bool {
    match (parse_number(a), parse_number(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => plain(a) == plain(b),
        _ => false,
    }
}

/// The class of each answer: the place of the first answer that means the same. `None` for no answer.
fn classes(answers: &[Option<&str>]) -> Vec<Option<usize>> {
    let mut classes: Vec<Option<usize>> = Vec::with_capacity(answers.len());
    for (at, answer) in answers.iter().enumerate() {
        let known = |other: &usize| {
            classes[*other] == Some(*other)
                && matches!((answer, answers[*other]), (Some(a), Some(b)) if same_answer(a, b))
        };
        classes.push(answer.and_then(|_| (0..at).find(known).or(Some(at))));
    }
    classes
}

/// What a group of answers comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The place of the first answer of the majority.
    pub winner: usize,
    /// How many gave it.
    pub votes: usize,
    /// Whether each answer is that of the majority.
    pub agrees: Vec<bool>,
}

/// The most frequent answer; among equals the one that was seen first. Answers that are missing are no class of their own
/// (TTRL, arXiv 2504.16084, whose code counts them). `None` where nobody answered.
pub fn majority(answers: &[Option<&str>]) -> Option<Vote> {
    let classes = classes(answers);
    let votes = |class: usize| classes.iter().filter(|other| **other == Some(class)).count();
    let firsts = (0..answers.len()).filter(|at| classes[*at] == Some(*at));
    let winner = firsts.fold(None, |best: Option<(usize, usize)>, at| match best {
        Some((_, most)) if most >= votes(at) => best,
        _ => Some((at, votes(at))),
    });
    let (winner, votes) = winner?;
    Some(Vote { winner, votes, agrees: classes.iter().map(|class| *class == Some(winner)).collect() })
}

/// The answer whose traces are surest together, Δ̃_a = Σ_{k: ans_k = a} Δ_k (arXiv 2402.10200, §2.2): the place of its first
/// trace, and Δ̃. `None` where nobody answered.
pub fn aggregate(answers: &[Option<&str>], confidences: &[f64]) -> Option<(usize, f64)> {
    assert_eq!(answers.len(), confidences.len(), "one confidence per answer");
    let classes = classes(answers);
    let total = |class: usize| -> f64 {
        classes.iter().zip(confidences).filter(|(other, _)| **other == Some(class)).map(|(_, c)| c).sum()
    };
    let firsts = (0..answers.len()).filter(|at| classes[*at] == Some(*at)).map(|at| (at, total(at)));
    firsts.fold(None, |best: Option<(usize, f64)>, next| match best {
        Some(found) if found.1 >= next.1 => best,
        _ => Some(next),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec B §1.13: answers [60, 72, 72, 60] with Δ [.30, .90, .60, .35] → 72 (1.50 against 0.65).
    #[test]
    fn confidence_is_added_up_over_equal_answers() {
        let answers = [Some("60"), Some("72"), Some("72.0"), Some("$60")];
        let (winner, total) = aggregate(&answers, &[0.30, 0.90, 0.60, 0.35]).unwrap();
        assert_eq!(winner, 1);
        assert!((total - 1.5).abs() < 1e-12);
        let (_, other) = aggregate(&[answers[0], answers[3]], &[0.30, 0.35]).unwrap();
        assert!((other - 0.65).abs() < 1e-12);
        assert_eq!(aggregate(&[None, None], &[0.9, 0.9]), None);
        // Many unsure traces can outweigh one that is surer than each.
        let (winner, _) = aggregate(&[Some("a"), Some("b"), Some("b")], &[0.5, 0.3, 0.3]).unwrap();
        assert_eq!(winner, 1);
    }

    /// Spec B §1.14: answers [3,3,4,3,5,4,3,None] → 3 (4 of 8).
    #[test]
    fn the_majority_of_the_golden_answers() {
        let answers = [Some("3"), Some("3"), Some("4"), Some("3"), Some("5"), Some("4"), Some("3"), None];
        let vote = majority(&answers).unwrap();
        assert_eq!((vote.winner, vote.votes), (0, 4));
        assert_eq!(vote.agrees, [true, true, false, true, false, false, true, false]);
    }

    #[test]
    fn ties_go_to_the_first_seen_and_no_answer_is_no_class() {
        assert_eq!(majority(&[Some("4"), Some("3"), Some("3"), Some("4")]).unwrap().winner, 0);
        let vote = majority(&[None, None, None, Some("7")]).unwrap();
        assert_eq!((vote.winner, vote.votes), (3, 1));
        assert_eq!(majority(&[None]), None);
        assert_eq!(majority(&[]), None);
    }

    #[test]
    fn equal_numbers_and_equal_words_are_one_answer() {
        for (a, b, same) in [
            ("1/2", "0.5", true),
            ("1,000", "1000", true),
            ("Paris.", " paris", true),
            ("12.5", "12. 5", false),
            ("7", "seven", false),
            ("(B)", "(C)", false),
        ] {
            assert_eq!(same_answer(a, b), same, "{a} {b}");
        }
    }
}
