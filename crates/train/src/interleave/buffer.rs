//! The questions that no answer solved, with their demonstrations, newest first (ReLIFT, arXiv 2506.07527).

use std::collections::VecDeque;

use lapidary_core::PromptText;
use serde::{Deserialize, Serialize};

/// A question that no answer solved, and how it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The item's name.
    pub id: String,
    /// What was asked.
    pub prompt: PromptText,
    /// How it is answered.
    pub demonstration: String,
    /// The kind of question, where the recipe tells kinds apart.
    pub kind: Option<String>,
    /// Step of the run at which it was last asked.
    pub step: u64,
}

/// What became of the questions that were added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Questions that are in the buffer now and were not before.
    pub new: usize,
    /// Questions that were there already, or twice among those added.
    pub again: usize,
    /// Old ones for which there was no more room.
    pub dropped: usize,
}

/// A deque: the front is the newest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buffer {
    waiting: VecDeque<Waiting>,
}

impl Buffer {
    /// How many questions wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that wait, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// Puts the questions of a step in front, in their order. Of those with one name the newest stays; of the others the
    /// oldest go where there are more than `cap`.
    pub fn add(&mut self, questions: Vec<Waiting>, cap: Option<usize>) -> Added {
        let mut added = Added::default();
        let mut front: Vec<Waiting> = Vec::with_capacity(questions.len());
        for question in questions {
            if front.iter().any(|other| other.id == question.id) {
                added.again += 1;
                continue;
            }
            let before = self.waiting.len();
            self.waiting.retain(|other| other.id != question.id);
            if self.waiting.len() < before {
                added.again += 1;
            } else {
                added.new += 1;
            }
            front.push(question);
        }
        front.into_iter().rev().for_each(|question| self.waiting.push_front(question));
        if let Some(cap) = cap {
            added.dropped = self.waiting.len().saturating_sub(cap);
            self.waiting.truncate(cap);
        }
        added
    }

    /// Forgets what was last asked more than `most` steps before `step`; gives how many.
    pub fn expire(&mut self, step: u64, most: u64) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|question| step - question.step <= most);
        before - self.waiting.len()
    }

    /// Takes up to `most`: those of the given kinds first, then the newest. What is left keeps its order.
    pub fn take(&mut self, most: usize, kinds: &[&str]) -> Vec<Waiting> {
        let first = |question: &Waiting| question.kind.as_deref().is_some_and(|kind| kinds.contains(&kind));
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_by_key(|&at| !first(&self.waiting[at]));
        order.truncate(most);
        let mut slots: Vec<Option<Waiting>> = self.waiting.drain(..).map(Some).collect();
        let taken = order.into_iter().filter_map(|at| slots[at].take()).collect();
        self.waiting = slots.into_iter().flatten().collect();
        taken
    }

    /// Mean number of steps since the questions were last asked; 0 of none.
    pub fn mean_age(&self, step: u64) -> f64 {
        let ages: u64 = self.waiting.iter().map(|question| step - question.step).sum();
        ages as f64 / self.waiting.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, step: u64) -> Waiting {
        let kind = (id.len() > 2).then(|| id[2..].to_string());
        Waiting { id: id.into(), prompt: PromptText::Text(id.into()), demonstration: "x".into(), kind, step }
    }

    fn add(buffer: &mut Buffer, step: u64, ids: &[&str], cap: Option<usize>) -> Added {
        buffer.add(ids.iter().map(|id| question(id, step)).collect(), cap)
    }

    fn ids<'a>(questions: impl IntoIterator<Item = &'a Waiting>) -> Vec<&'a str> {
        questions.into_iter().map(|question| question.id.as_str()).collect()
    }

    /// Spec B §2.11, M = 3: it fires at step 2 with q3, q4, q1 and at step 4 with q7, q8, q6; nothing is left.
    #[test]
    fn golden_trace() {
        let mut buffer = Buffer::default();
        let mut fired = Vec::new();
        for (step, asked) in [&["q1"][..], &["q3", "q4"], &["q6"], &["q7", "q8"]].into_iter().enumerate() {
            add(&mut buffer, step as u64 + 1, asked, None);
            if buffer.len() >= 3 {
                let taken = buffer.take(3, &[]);
                fired.push((step + 1, ids(&taken).join(" ")));
            }
        }
        assert_eq!(fired, [(2, "q3 q4 q1".to_string()), (4, "q7 q8 q6".to_string())]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_question_waits_once_and_its_newest_asking_counts() {
        let mut buffer = Buffer::default();
        assert_eq!(add(&mut buffer, 1, &["a", "b", "a"], None), Added { new: 2, again: 1, dropped: 0 });
        assert_eq!(add(&mut buffer, 5, &["b", "c"], None), Added { new: 1, again: 1, dropped: 0 });
        assert_eq!(ids(buffer.iter()), ["b", "c", "a"]);
        assert_eq!(buffer.iter().map(|question| question.step).collect::<Vec<_>>(), [5, 5, 1]);
        assert_eq!(buffer.mean_age(7), (2.0 + 2.0 + 6.0) / 3.0);
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_when_they_are_too_old() {
        let mut buffer = Buffer::default();
        add(&mut buffer, 1, &["a", "b"], Some(3));
        assert_eq!(add(&mut buffer, 2, &["c", "d"], Some(3)).dropped, 1);
        assert_eq!(ids(buffer.iter()), ["c", "d", "a"]);
        assert_eq!((buffer.expire(4, 3), buffer.expire(5, 3)), (0, 1));
        assert_eq!(ids(buffer.iter()), ["c", "d"]);
    }

    #[test]
    fn kinds_that_are_a_gap_go_first_and_what_is_left_stays_in_order() {
        let mut buffer = Buffer::default();
        add(&mut buffer, 1, &["q1x", "q2y"], None);
        add(&mut buffer, 2, &["q3z", "q4x", "q5"], None);
        let taken = buffer.take(3, &["x"]);
        assert_eq!(ids(&taken), ["q4x", "q1x", "q3z"]);
        assert_eq!(ids(buffer.iter()), ["q5", "q2y"]);
        assert_eq!(ids(&buffer.take(9, &[])), ["q5", "q2y"], "no more than there are");
    }
}
