//! `majority-vote`: agreement with the most frequent answer of the group (TTRL, arXiv 2504.16084).
//!
//! r_i = 1[answer_i means the majority's answer]. Ties go to the answer that was seen first; a completion without an answer votes
//! for nobody and gets 0. With `votes` above `samples_per_prompt` more answers vote than are learned from (TTRL: 64 and 32).

use std::collections::BTreeMap;

use lapidary_core::{Result, Verdict};

use crate::confidence::majority;
use crate::find::{EXTRACT, Finder, SEVERAL, shorten};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "majority-vote",
    summary: "No label: the answer equals the most frequent answer of the group (TTRL).",
    formula: "1 if answer(completion) = most common answer of the prompt's samples else 0",
    options: &[
        EXTRACT,
        SEVERAL,
        OptionInfo {
            name: "votes",
            kind: OptionKind::Integer(0, 1 << 20),
            default: "0",
            meaning: "samples of a prompt that vote, the first `samples_per_prompt` of which are learned from; 0: these alone",
        },
    ],
    build: |options| Ok(Box::new(MajorityVote::new(options)?)),
};

#[derive(Debug)]
struct MajorityVote {
    finder: Finder,
    votes: usize,
}

impl MajorityVote {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { finder: Finder::of(options), votes: options.integer("votes").unwrap_or(0) as usize })
    }

    fn judge(&self, group: &[Attempt<'_>]) -> Vec<Verdict> {
        let answer = |attempt: &Attempt<'_>| {
            self.finder.find(attempt.completion, true).ok().map(|(answer, _)| answer.to_string())
        };
        let answers: Vec<Option<String>> = group.iter().map(answer).collect();
        let read: Vec<Option<&str>> = answers.iter().map(Option::as_deref).collect();
        let Some(vote) = majority(&read) else {
            return vec![Verdict::none("no sample of its prompt has an answer, so there is no majority"); group.len()];
        };
        let winner = read[vote.winner].map_or(String::new(), shorten);
        let share = format!("{} of {} say {winner}", vote.votes, group.len());
        let verdict = |(agrees, answer): (&bool, &Option<&str>)| match (agrees, answer) {
            (true, _) => Verdict::score(1.0, share.clone()),
            (false, Some(answer)) => Verdict::score(0.0, format!("{}; {share}", shorten(answer))),
            (false, None) => Verdict::score(0.0, format!("no answer found; {share}")),
        };
        vote.agrees.iter().zip(&read).map(verdict).collect()
    }
}

impl Reward for MajorityVote {
    fn name(&self) -> &str {
        INFO.name
    }

    /// Groups are those of the step; away from a model, attempts with the same prompt.
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let mut groups: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
        for (row, attempt) in attempts.iter().enumerate() {
            groups.entry(attempt.prompt_key()).or_default().push(row);
        }
        let mut verdicts = vec![Verdict::none(""); attempts.len()];
        for rows in groups.values() {
            let group: Vec<Attempt<'_>> = rows.iter().map(|&row| attempts[row]).collect();
            for (&row, verdict) in rows.iter().zip(self.judge(&group)) {
                verdicts[row] = verdict;
            }
        }
        verdicts
    }

    fn votes(&self) -> Option<usize> {
        Some(self.votes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intrinsic::Seen;
    use serde_json::{Map, json};

    fn scores(texts: &[(&str, &str)], groups: Option<&[usize]>) -> Vec<Option<f32>> {
        let (metadata, reward) = (Map::new(), crate::build("majority-vote", &json!({})).unwrap());
        let seen = |at: usize| groups.map(|groups| Seen { group: groups[at], readings: &[] });
        let attempts: Vec<Attempt<'_>> = texts
            .iter()
            .enumerate()
            .map(|(at, (prompt, text))| Attempt { seen: seen(at), ..Attempt::new(prompt, text, Some("99"), &metadata) })
            .collect();
        reward.score(&attempts).iter().map(Verdict::value).collect()
    }

    /// Spec B §1.14: answers [3,3,4,3,5,4,3,None] → rewards [1,1,0,1,0,0,1,0]; what the row's answer is does not matter.
    #[test]
    fn the_golden_group() {
        let texts = ["#### 3", "so 3", "4", "3.0", "5", "4", "\\boxed{3}", ""].map(|text| ("?", text));
        assert_eq!(scores(&texts, None), [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0].map(Some));
    }

    #[test]
    fn prompts_vote_apart_and_nobody_is_no_majority() {
        let texts = [("a", "1"), ("b", "2"), ("b", "2"), ("a", "3"), ("c", "")];
        assert_eq!(scores(&texts, None), [Some(1.0), Some(1.0), Some(1.0), Some(0.0), None]);
        // The same words asked twice in a step are two groups.
        let twice = [("a", "1"), ("a", "2"), ("a", "2")];
        assert_eq!(scores(&twice, Some(&[0, 1, 1])), [Some(1.0); 3]);
        assert_eq!(scores(&twice, None), [Some(0.0), Some(1.0), Some(1.0)], "the control");
    }
}
