//! Answers as rows of tokens, and what was said of them by row.

use std::ops::Range;

use lapidary_algo::preference::useless;
use lapidary_algo::{Auxiliary, Example, Pair, Single, Synthetic};
use lapidary_core::{Item, Kind, Problem, Result, TokenBatch};
use lapidary_text::Tokenizer;

use super::said::{Answers, Opinion, Said};
use crate::recipe::PairRule;
use crate::rows::Rows;

/// What an optimiser step or a look at held-out rows goes through. The two answers of a comparison follow each other, so that
/// their prompt is computed once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// `mask` is over the tokens of answers.
    pub(crate) rows: Rows,
    pub(crate) examples: Vec<Example>,
    /// Where the rows of each example end.
    ends: Vec<usize>,
    pub(crate) said: Vec<Said>,
}

/// Which tokens the model is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scored {
    /// All of an answer: what a policy learns from.
    Answers,
    /// The first of an answer, where there is a language head: it says where the prompt ends that both answers share.
    First,
    /// None: the model has no language head.
    Nothing,
}

/// How rows are made.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) rule: &'a PairRule,
    /// Most tokens of a row.
    pub(crate) longest: usize,
    pub(crate) scored: Scored,
}

/// The tokens of an answer with its prompt, and which of them are the answer's.
pub(super) struct Row {
    pub(super) tokens: Vec<u32>,
    pub(super) mask: Vec<bool>,
}

impl Row {
    fn of(tokenizer: &Tokenizer, said: &Said, answer: &str) -> Result<Self> {
        let example = tokenizer.encode_example(&said.prompt, answer)?;
        Ok(Self { tokens: example.tokens, mask: example.mask })
    }

    fn answer(&self) -> &[u32] {
        let start = self.mask.iter().position(|own| *own).unwrap_or(self.tokens.len());
        &self.tokens[start..]
    }
}

impl Opinion {
    /// The same by row, the first answer of the reference being row `first`.
    fn of(&self, first: usize) -> Auxiliary {
        let pair = |(at, (.., preference)): (usize, &(String, String, f64))| Synthetic {
            first: first + 2 * at,
            second: first + 2 * at + 1,
            preference: *preference,
        };
        Auxiliary { preference: self.preference, synthetic: self.synthetic.iter().enumerate().map(pair).collect() }
    }
}

impl Batch {
    /// Appends what an item says; false where it teaches nothing: it does not fit, or both answers are the same tokens.
    pub(crate) fn push(&mut self, item: &Item, making: Making<'_>) -> Result<bool> {
        let Some(said) = Said::read(item, making.rule)? else { return Ok(false) };
        let rows: Vec<Row> =
            said.texts().into_iter().map(|text| Row::of(making.tokenizer, &said, text)).collect::<Result<_>>()?;
        if rows.iter().any(|row| row.tokens.len() > making.longest) {
            return Ok(false);
        }
        if let (Answers::Two { .. }, [chosen, rejected, ..]) = (&said.answers, rows.as_slice())
            && useless(chosen.answer(), rejected.answer()).is_some()
        {
            return Ok(false);
        }
        let first = self.rows.tokens.tokens.rows();
        self.examples.push(match &said.answers {
            Answers::Two { label, margin, .. } => Example::Pair(Pair {
                label: *label,
                margin: *margin,
                weight: said.weight,
                auxiliary: said.auxiliary.as_ref().map(|opinion| opinion.of(first + 2)),
                ..Pair::new(first, first + 1)
            }),
            Answers::One { label, .. } => Example::Single(Single { row: first, label: *label, weight: said.weight }),
        });
        rows.into_iter().for_each(|row| self.push_row(&row, &said.id, making.scored));
        self.ends.push(self.rows.tokens.tokens.rows());
        self.said.push(said);
        Ok(true)
    }

    fn push_row(&mut self, row: &Row, name: &str, scored: Scored) {
        let start = row.tokens.len() - row.answer().len();
        let asked = |t: usize| match scored {
            Scored::Answers => row.mask[t],
            Scored::First => t == start,
            Scored::Nothing => false,
        };
        let asked: Vec<bool> = (0..row.tokens.len()).map(asked).collect();
        self.rows.tokens.push(&row.tokens, &asked, 1.0);
        self.rows.mask.push(row.mask.iter().copied());
        self.rows.names.push(name.to_string());
    }

    /// How many tokens each answer has.
    pub(crate) fn lengths(&self) -> Vec<f64> {
        self.rows.mask.iter().map(|mask| mask.iter().filter(|own| **own).count() as f64).collect()
    }

    /// Rows and examples of each pass through the model: whole groups of rows that begin alike and whole examples, as many as fit
    /// `budget` tokens. Where the cuts are changes no bit of a gradient.
    pub(crate) fn microbatches(&self, budget: usize) -> Vec<(Range<usize>, Range<usize>)> {
        let mut out: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let (mut sum, mut pending, mut start) = (0, 0, 0..0);
        for group in self.rows.tokens.groups() {
            pending += self.rows.tokens.tokens_of(&group);
            start.end = group.rows.end;
            let Ok(example) = self.ends.binary_search(&group.rows.end) else { continue };
            match out.last_mut() {
                Some((rows, examples)) if sum + pending <= budget => {
                    (rows.end, examples.end) = (start.end, example + 1);
                    sum += pending;
                }
                _ => {
                    let first = out.last().map_or(0, |(_, examples)| examples.end);
                    out.push((start.clone(), first..example + 1));
                    sum = pending;
                }
            }
            (pending, start) = (0, start.end..start.end);
        }
        out
    }

    /// The rows of a pass, and its examples by place among them.
    pub(crate) fn part(&self, rows: &Range<usize>, examples: &Range<usize>) -> (Rows, Vec<Example>) {
        let here = self.rows.select(&rows.clone().collect::<Vec<_>>());
        let moved = self.examples[examples.clone()].iter().map(|example| match example {
            Example::Pair(pair) => {
                let mut pair = pair.clone();
                pair.chosen -= rows.start;
                pair.rejected -= rows.start;
                for synthetic in pair.auxiliary.iter_mut().flat_map(|auxiliary| &mut auxiliary.synthetic) {
                    synthetic.first -= rows.start;
                    synthetic.second -= rows.start;
                }
                Example::Pair(pair)
            }
            Example::Single(single) => Example::Single(Single { row: single.row - rows.start, ..*single }),
            Example::Unlabelled(_) => unreachable!("no row is without a label"),
        });
        (here, moved.collect())
    }

    /// Every row with the name of what it is from and its place there: 0 the chosen or only answer, 1 the rejected.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        let mut first = 0;
        self.ends.iter().zip(&self.said).flat_map(move |(&end, said)| {
            let start = std::mem::replace(&mut first, end);
            (start..end).map(move |row| (said.id.as_str(), row - start, row))
        })
    }

    /// Every answer under the prompt of the next example that has another one: what KTO's zero is the mean of. An answer that does
    /// not fit there is left out.
    pub(crate) fn mismatched(&self, making: Making<'_>) -> Result<Batch> {
        let mut out = Batch::default();
        for (at, said) in self.said.iter().enumerate() {
            let others = (1..self.said.len()).map(|step| &self.said[(at + step) % self.said.len()].prompt);
            let Some(prompt) = others.into_iter().find(|prompt| **prompt != said.prompt) else { continue };
            for text in said.texts() {
                let answers = Answers::One { completion: text.to_string(), label: 1.0 };
                let other = Said { prompt: prompt.clone(), answers, auxiliary: None, ..said.clone() };
                let row = Row::of(making.tokenizer, &other, text)?;
                if row.tokens.len() > making.longest {
                    continue;
                }
                let first = out.rows.tokens.tokens.rows();
                out.examples.push(Example::Single(Single { row: first, label: 1.0, weight: 1.0 }));
                out.push_row(&row, &format!("{} under another prompt", other.id), making.scored);
                out.ends.push(first + 1);
                out.said.push(Said { id: format!("{} under another prompt", other.id), ..other });
            }
        }
        Ok(out)
    }

    /// Rows as the model is asked about them.
    pub(crate) fn tokens(&self) -> &TokenBatch {
        &self.rows.tokens
    }
}

/// Nothing of a whole pass over the data can be learned from.
pub(crate) fn nothing_fits(task: &str, longest: usize) -> Problem {
    Problem::new(Kind::Data, "D066", format!("no row of `{task}` can be learned from"))
        .why(format!("each is longer than {longest} tokens, or its two answers are the same"))
        .hint("use a model with a longer context, raise `max_length` of `[stage.pairs]`, or look at the data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::testing::{item, rule};
    use serde_json::json;

    fn batch(scored: Scored) -> Batch {
        let tokenizer = Tokenizer::characters();
        let rule = rule();
        let making = Making { tokenizer: &tokenizer, rule: &rule, longest: 60, scored };
        let mut batch = Batch::default();
        for (prompt, columns, fits) in [
            (1, json!({"chosen": "aa", "rejected": "b"}), true),
            (2, json!({"chosen": "same", "rejected": "same"}), false),
            (2, json!({"label": true}), true),
            (3, json!({"chosen": "a", "rejected": "b".repeat(99)}), false),
            (3, json!({"chosen": "aaaa", "rejected": "bb", "margin": 2, "weight": 0.5}), true),
            (3, json!({"chosen": "aaaa", "rejected": "c"}), true),
        ] {
            assert_eq!(batch.push(&item(prompt, columns), making).unwrap(), fits);
        }
        batch
    }

    #[test]
    fn rows_follow_their_examples() {
        let batch = batch(Scored::Answers);
        assert_eq!(batch.lengths(), [3.0, 2.0, 5.0, 5.0, 3.0, 5.0, 2.0], "the end token counts");
        let Example::Pair(third) = &batch.examples[2] else { panic!("a pair") };
        assert_eq!((third.chosen, third.rejected, third.margin, third.weight), (3, 4, 2.0, 0.5));
        assert!(matches!(&batch.examples[1], Example::Single(single) if single.row == 2 && single.label == 1.0));
    }

    /// Whatever the budget: every example once and whole, rows without a gap, groups never cut.
    #[test]
    fn passes_hold_whole_examples_and_whole_groups() {
        for scored in [Scored::Answers, Scored::First, Scored::Nothing] {
            let batch = batch(scored);
            let starts: Vec<usize> = batch.rows.tokens.groups().iter().map(|group| group.rows.start).collect();
            let mut counts = Vec::new();
            for budget in [1, 30, 60, 100, 1000] {
                let passes = batch.microbatches(budget);
                let rows: Vec<usize> = passes.iter().flat_map(|(rows, _)| rows.clone()).collect();
                let examples: Vec<usize> = passes.iter().flat_map(|(_, examples)| examples.clone()).collect();
                assert_eq!((rows, examples), ((0..7).collect(), (0..4).collect()), "{budget}");
                for (rows, examples) in &passes {
                    assert!(starts.contains(&rows.start));
                    let (part, local) = batch.part(rows, examples);
                    for example in local {
                        if let Example::Pair(pair) = example {
                            assert!(pair.rejected < part.tokens.tokens.rows());
                        }
                    }
                }
                counts.push(passes.len());
            }
            assert!(counts[0] > 1 && counts.last() == Some(&1), "{counts:?}");
        }
        let tokens = |scored| -> usize {
            let batch = batch(scored);
            batch.rows.tokens.groups().iter().map(|group| batch.rows.tokens.tokens_of(group)).sum()
        };
        assert!(tokens(Scored::First) < tokens(Scored::Nothing), "a shared prompt is computed once");
        assert_eq!(tokens(Scored::First), tokens(Scored::Answers));
    }
}
