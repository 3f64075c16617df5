//! A second turn: the model sees its own answer and answers again.
//!
//! MGRPO (Ding et al. 2025, arXiv 2506.04746) trains on such turns; [`correction`] measures what they are worth.

use lapidary_core::{Message, PromptText, Result, Role};
use lapidary_text::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, TOLERANCE};
use crate::paired::{Pairs, paired_mean_difference};
use lapidary_statistics::{Interval, wilson};

/// What a template may hold.
const PLACES: [&str; 3] = ["{question}", "{answer}", "{phrase}"];
/// Where a thought ends.
const THOUGHT_END: &str = "</think>";
/// Written after an answer that ran into the limit.
const CUT: &str = " (cut off)";

/// How a model is asked to look at its answer again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondTurn {
    /// The words of the second question, with `{question}`, `{answer}` and `{phrase}` in it. In a conversation they take the place
    /// of the user's last message.
    pub template: String,
    /// How much of the answer is shown.
    pub shown: Shown,
}

/// How much of the first answer the second turn sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// All of it.
    #[default]
    Whole,
    /// What comes after its last `</think>`; all of it where there is none.
    AfterThink,
    /// Its last tokens.
    Tail(usize),
}

impl Default for SecondTurn {
    /// The question, the answer as a thought, and the phrase.
    fn default() -> Self {
        Self { template: "{question}\n<think>{answer}</think>\n{phrase}\n".into(), shown: Shown::Whole }
    }
}

impl SecondTurn {
    /// What is wrong with the template; nothing where it is sound.
    pub fn wrong(&self) -> Option<String> {
        let missing = PLACES.iter().find(|place| !self.template.contains(*place))?;
        Some(format!("the template lacks `{missing}`"))
    }

    /// The second question, in at most `room` tokens: of an answer that is too long only the end is shown. `None` where even
    /// the question does not fit. Special tokens that the answer spells out are taken out of it, so that it cannot end its own
    /// turn.
    ///
    /// # Errors
    /// Those of the chat template.
    pub fn question(
        &self,
        tokenizer: &Tokenizer,
        (question, phrase): (&PromptText, &str),
        (answer, truncated): (&str, bool),
        room: usize,
    ) -> Result<Option<PromptText>> {
        let answer = harmless(tokenizer, answer);
        let mut ids = match self.shown {
            Shown::Whole => tokenizer.encode_continuation(&answer),
            Shown::AfterThink => {
                let after = answer.rsplit_once(THOUGHT_END).map_or(answer.as_str(), |(_, after)| after);
                tokenizer.encode_continuation(after.trim_start())
            }
            Shown::Tail(most) => last(&tokenizer.encode_continuation(&answer), most),
        };
        let whole = ids.len();
        loop {
            let mut shown = tokenizer.decode(&ids);
            if ids.len() == whole && self.shown == Shown::Whole {
                shown.clone_from(&answer);
            }
            if truncated {
                shown.push_str(CUT);
            }
            let prompt = self.fill(question, &shown, phrase);
            let tokens = tokenizer.encode_prompt(&prompt)?.len();
            match tokens.checked_sub(room) {
                None | Some(0) => return Ok(Some(prompt)),
                Some(_) if ids.is_empty() => return Ok(None),
                Some(over) => ids = last(&ids, ids.len().saturating_sub(over.max(1))),
            }
        }
    }

    fn fill(&self, question: &PromptText, answer: &str, phrase: &str) -> PromptText {
        let words = |question: &str| {
            // One pass: what is filled in is never looked at again.
            let mut out = String::new();
            let mut rest = self.template.as_str();
            let find = |rest: &str| PLACES.iter().filter_map(|place| Some((rest.find(*place)?, *place))).min();
            while let Some((at, place)) = find(rest) {
                out.push_str(&rest[..at]);
                out.push_str(match place {
                    "{question}" => question,
                    "{answer}" => answer,
                    _ => phrase,
                });
                rest = &rest[at + place.len()..];
            }
            out + rest
        };
        match question {
            PromptText::Text(text) => PromptText::Text(words(text)),
            PromptText::Messages(messages) => {
                let mut messages = messages.clone();
                match messages.iter_mut().rfind(|message| message.role == Role::User) {
                    Some(user) => user.content = words(&user.content),
                    None => messages.push(Message::new(Role::User, words(""))),
                }
                PromptText::Messages(messages)
            }
        }
    }
}

fn last(ids: &[u32], most: usize) -> Vec<u32> {
    ids[ids.len().saturating_sub(most)..].to_vec()
}

/// The text without special tokens that it spells out, however they are nested.
fn harmless(tokenizer: &Tokenizer, text: &str) -> String {
    let mut text = text.to_string();
    loop {
        let ids = tokenizer.encode_continuation(&text);
        let plain: Vec<u32> = ids.iter().copied().filter(|id| !tokenizer.is_special(*id)).collect();
        if plain.len() == ids.len() {
            return text;
        }
        let shorter = tokenizer.decode(&plain);
        if shorter.len() >= text.len() {
            return String::new();
        }
        text = shorter;
    }
}

/// What a second turn changed, over the answers that both turns have a verdict on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Answers compared.
    pub answers: usize,
    /// Share of right first answers.
    pub first: Interval,
    /// Share of right second answers.
    pub second: Interval,
    /// Second minus first, paired by prompt: `gained − lost`.
    pub difference: Interval,
    /// Share of answers that were wrong and are right now (i→c).
    pub gained: Interval,
    /// Share of answers that were right and are wrong now (c→i).
    pub lost: Interval,
    /// Share of answers whose text changed.
    pub changed: f64,
}

/// Compares two turns on the same prompts, answer by answer. `None` where no answer has a verdict in both.
///
/// The difference is Newcombe's where every prompt has one answer, else Student's over prompts.
pub fn correction(first: &Evaluation, second: &Evaluation) -> Option<Correction> {
    let right = |evaluation: &Evaluation, score: f32| score >= evaluation.settings.right_from - TOLERANCE;
    let prompts: Vec<Vec<Turned>> = first
        .prompts
        .iter()
        .zip(&second.prompts)
        .map(|(before, after)| {
            let attempts = before.attempts.iter().zip(&after.attempts);
            attempts
                .filter_map(|(a, b)| {
                    Some(Turned {
                        was: right(first, a.verdict.value()?),
                        is: right(second, b.verdict.value()?),
                        changed: a.completion.trim() != b.completion.trim(),
                    })
                })
                .collect()
        })
        .filter(|turned: &Vec<Turned>| !turned.is_empty())
        .collect();
    let all = || prompts.iter().flatten();
    let answers = all().count();
    let share = |of: fn(&Turned) -> bool| wilson(all().filter(|turned| of(turned)).count(), answers);
    let difference = if prompts.iter().all(|turned| turned.len() == 1) {
        Pairs::count(all().map(|turned| (turned.was, turned.is))).difference()
    } else {
        let rate = |of: fn(&Turned) -> bool| -> Vec<f64> {
            let rate = |turned: &Vec<Turned>| turned.iter().filter(|t| of(t)).count() as f64 / turned.len() as f64;
            prompts.iter().map(rate).collect()
        };
        paired_mean_difference(&rate(|turned| turned.was), &rate(|turned| turned.is))
    };
    Some(Correction {
        answers,
        first: share(|turned| turned.was)?,
        second: share(|turned| turned.is)?,
        difference: difference?,
        gained: share(|turned| !turned.was && turned.is)?,
        lost: share(|turned| turned.was && !turned.is)?,
        changed: all().filter(|turned| turned.changed).count() as f64 / answers as f64,
    })
}

/// An answer in both turns.
struct Turned {
    was: bool,
    is: bool,
    changed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{AttemptRecord, PromptRecord, Settings};
    use lapidary_core::Verdict;

    fn text(prompt: Option<PromptText>) -> String {
        prompt.expect("it fits").plain()
    }

    fn ask(turn: &SecondTurn, answer: (&str, bool), room: usize) -> Option<PromptText> {
        let question = PromptText::Text("12+30=".into());
        turn.question(&Tokenizer::characters(), (&question, "Sure?"), answer, room).unwrap()
    }

    #[test]
    fn the_second_question_holds_question_answer_and_phrase_once() {
        let turn = SecondTurn::default();
        assert_eq!(text(ask(&turn, ("42", false), 100)), "12+30=\n<think>42</think>\nSure?\n");
        assert_eq!(text(ask(&turn, ("42", true), 100)), "12+30=\n<think>42 (cut off)</think>\nSure?\n");
        // What is filled in is no template.
        assert_eq!(text(ask(&turn, ("{phrase}", false), 100)), "12+30=\n<think>{phrase}</think>\nSure?\n");
        assert_eq!(turn.wrong(), None);
        assert!(SecondTurn { template: "{question} {answer}".into(), ..turn }.wrong().unwrap().contains("{phrase}"));
    }

    #[test]
    fn in_a_conversation_the_users_last_words_are_replaced() {
        let messages = vec![Message::new(Role::System, "Be brief."), Message::new(Role::User, "2+2?")];
        let turn = SecondTurn { template: "{question}|{answer}|{phrase}".into(), shown: Shown::Whole };
        let asked = turn
            .question(&Tokenizer::characters(), (&PromptText::Messages(messages), "Sure?"), ("5", false), 100)
            .unwrap();
        let Some(PromptText::Messages(asked)) = asked else { panic!("still a conversation") };
        assert_eq!(asked.len(), 2);
        assert_eq!((asked[0].content.as_str(), asked[1].content.as_str()), ("Be brief.", "2+2?|5|Sure?"));
    }

    #[test]
    fn a_long_answer_keeps_its_end_and_a_thought_can_be_left_out() {
        let turn = |shown| SecondTurn { template: "{question}{answer};{phrase}".into(), shown };
        assert_eq!(text(ask(&turn(Shown::Tail(3)), ("123456", false), 100)), "12+30=456;Sure?");
        let thought = ("<think>so</think>\n42", false);
        assert_eq!(text(ask(&turn(Shown::AfterThink), thought, 100)), "12+30=42;Sure?");
        assert_eq!(text(ask(&turn(Shown::AfterThink), ("42", false), 100)), "12+30=42;Sure?");
        // Without the answer the question takes 12 tokens, and one for the start.
        let least = Tokenizer::characters().encode_prompt(&PromptText::Text("12+30=;Sure?".into())).unwrap().len();
        assert_eq!(text(ask(&turn(Shown::Whole), ("123456", false), least + 2)), "12+30=56;Sure?");
        assert_eq!(text(ask(&turn(Shown::Whole), ("123456", false), least)), "12+30=;Sure?");
        assert_eq!(ask(&turn(Shown::Whole), ("123456", false), least - 1), None);
    }

    fn evaluation(scores: &[Option<f32>]) -> Evaluation {
        let prompt = |(at, score): (usize, &Option<f32>)| PromptRecord {
            id: at.to_string(),
            prompt: String::new(),
            answer: None,
            attempts: vec![AttemptRecord {
                confidence: None,
                found: None,
                completion: format!("{score:?}"),
                tokens: 1,
                truncated: false,
                verdict: score.map_or(Verdict::none("no"), |score| Verdict::score(score, "")),
            }],
        };
        let prompts = scores.iter().enumerate().map(prompt).collect();
        Evaluation::new("task", "reward", Settings::default(), 0, prompts)
    }

    /// Spec B §3.10.
    #[test]
    fn correction_statistics_are_those_of_the_specification() {
        let turn = |right: [u8; 10]| evaluation(&right.map(|right| Some(f32::from(right))));
        let first = turn([1, 1, 0, 0, 0, 1, 0, 1, 0, 0]);
        let second = turn([1, 1, 1, 0, 0, 0, 1, 1, 0, 1]);
        let found = correction(&first, &second).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(found.first.estimate, 0.4) && near(found.second.estimate, 0.6));
        assert!(near(found.difference.estimate, 0.2) && near(found.gained.estimate, 0.3));
        assert!(near(found.lost.estimate, 0.1) && near(found.changed, 0.4) && found.answers == 10);
        assert!(near(found.difference.estimate, found.gained.estimate - found.lost.estimate));
    }

    #[test]
    fn answers_without_a_verdict_in_one_turn_are_left_out() {
        let found = correction(&evaluation(&[Some(1.0), None, Some(0.0)]), &evaluation(&[None, Some(1.0), Some(1.0)]));
        assert_eq!(found.map(|found| (found.answers, found.gained.estimate)), Some((1, 1.0)));
        assert_eq!(correction(&evaluation(&[None]), &evaluation(&[Some(1.0)])), None);
    }
}
