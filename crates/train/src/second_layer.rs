//! The second layer of MGRPO (Ding et al. 2025, arXiv 2506.04746): answers are shown to the model again, and it learns to correct
//! them.
//!
//! ```text
//! first answers + rewards ─▶ choose ─▶ second questions ─▶ second answers ─▶ rewards ─▶ groups that can teach
//! ```
//! The second layer is a step like the first ([`Step`]): its groups are the second answers to one first answer, so everything
//! that is done with a step is done with it. First answer and phrase are prompt tokens there: they carry no loss.

use lapidary_core::{Item, Key, Purpose, Result, Verdict};
use lapidary_engine::Choose;

use crate::bench::Bench;
use crate::draw::{Step, right_from, sampling_of};
use crate::judge::Judge;
use crate::recipe::{Filter, Inputs, LayerGroup, LayerReward, PhraseOrder, Policies, Rl, SecondLayer};
use crate::rollouts::{Sampled, sample};
use crate::rows::Rows;
use crate::state::RunState;
use crate::watch::{Metrics, Phase};
use lapidary_algo::{TokenAdvantages, rewards_vary};

/// The layer of a stage.
pub(crate) struct Layer<'r> {
    pub(crate) rule: &'r SecondLayer,
    pub(crate) rl: &'r Rl,
    pub(crate) seed: u64,
}

/// A first answer that is shown again: its group in the step, and its place in the group.
type Parent = (usize, usize);

/// Second answers, and the first answers that they belong to.
pub(crate) struct Second {
    /// The groups that are learned from are `kept`.
    pub(crate) step: Step,
    /// The first layer's group of each group.
    pub(crate) origins: Vec<usize>,
    pub(crate) metrics: Metrics,
}

/// Rewards of a first answer and of a second one to it, and whether its words changed.
#[derive(Clone, Copy)]
struct Pair {
    first: f64,
    second: f64,
    changed: bool,
}

/// Numbers of the second layer's losses that are reported beside the first one's.
const LOSSES: [&str; 3] = ["loss", "entropy", "kl"];

/// Metrics of the second layer's losses, under names of their own.
pub(crate) fn losses(metrics: Metrics) -> Metrics {
    let known = metrics.into_iter().filter(|(name, _)| LOSSES.contains(&name.as_str()));
    known.map(|(name, value)| (format!("layer2/{name}"), value)).collect()
}

type PerPair = fn(&Pair) -> f64;

impl Layer<'_> {
    /// Whether the first answers come from another model than the one that learns.
    pub(crate) fn separate(&self) -> bool {
        self.rule.policies == Policies::Separate
    }

    /// Samples and judges second answers to what `first` holds.
    pub(crate) fn sample(
        &self,
        bench: &Bench<'_, '_>,
        state: &RunState,
        first: &Step,
        judge: &Judge,
    ) -> Result<Second> {
        let key = Key::new(self.seed, Purpose::Sample).at_name("second layer").at(state.step);
        let parents = self.choose(first, key);
        let room = bench.engine.model().context.saturating_sub(self.rule.max_new_tokens);
        let (mut items, mut asked, mut no_room) = (Vec::new(), Vec::new(), 0);
        for (at, &parent) in parents.iter().enumerate() {
            let sampled = of(first, parent);
            let phrase = self.phrase(at, state.step, key.at_name("phrase"));
            let answer = (sampled.completion.as_str(), sampled.truncated());
            let question = (&sampled.prompt_text, phrase);
            match self.rule.turn.question(bench.tokenizer, question, answer, room)? {
                Some(prompt) => {
                    items.push(Item {
                        id: format!("{}/{}", sampled.id, parent.1),
                        prompt,
                        answer: sampled.answer.clone(),
                        completion: None,
                        metadata: sampled.metadata.clone(),
                    });
                    asked.push(parent);
                }
                None => no_room += 1,
            }
        }
        let mut sampling = sampling_of(self.rl, self.rule.temperature);
        if let Choose::Draw { temperature, .. } = &mut sampling.choose {
            *temperature = self.rule.temperature;
        }
        (sampling.samples, sampling.max_new_tokens) = (self.rule.samples, self.rule.max_new_tokens);
        let groups = sample((bench, &*bench.engine), &items, sampling, judge, (key, 0), Phase::Sample)?;
        let mut metrics = vec![("layer2/no_room".to_string(), no_room as f64)];
        metrics.extend(self.statistics(first, &asked, &groups));
        let (step, origins) = self.settle(first, &asked, groups);
        metrics.push(("layer2/groups".into(), step.groups.len() as f64));
        metrics.push(("layer2/groups_kept".into(), step.kept.len() as f64));
        Ok(Second { step, origins, metrics })
    }

    fn right(&self, sampled: &Sampled) -> bool {
        sampled.verdict.value().is_some_and(|value| f64::from(value) >= right_from(self.rl))
    }

    /// The first answers that are shown, in the order of the step.
    fn choose(&self, first: &Step, key: Key) -> Vec<Parent> {
        let rule = self.rule;
        let candidate =
            |sampled: &Sampled| sampled.verdict.value().is_some() && !(rule.exclude_truncated && sampled.truncated());
        let mut parents: Vec<Parent> = Vec::new();
        for &group in &first.kept {
            let samples = &first.groups[group];
            let right = samples.iter().filter(|sampled| self.right(sampled)).count();
            let judged = samples.iter().filter(|sampled| sampled.verdict.value().is_some()).count();
            if rule.inputs == Inputs::MixedGroupsOnly && (right == 0 || right == judged) {
                continue;
            }
            let wanted = |sampled: &Sampled| rule.inputs != Inputs::IncorrectOnly || !self.right(sampled);
            let fit = samples.iter().enumerate().filter(|(_, sampled)| candidate(sampled) && wanted(sampled));
            parents.extend(fit.map(|(at, _)| (group, at)));
        }
        if rule.inputs == Inputs::Balanced {
            parents = self.balanced(first, parents, key);
        }
        let count = (rule.fraction * parents.len() as f64).ceil() as usize;
        some_of(&parents, count, key.at_name("fraction"))
    }

    /// As many as there can be with the wanted share of wrong answers.
    fn balanced(&self, first: &Step, parents: Vec<Parent>, key: Key) -> Vec<Parent> {
        let (right, wrong): (Vec<Parent>, Vec<Parent>) =
            parents.into_iter().partition(|&parent| self.right(of(first, parent)));
        let share = self.rule.wrong_share;
        let total = (wrong.len() as f64 / share).min(right.len() as f64 / (1.0 - share));
        // A rounding error below a whole number is not to cost an answer.
        let part = |share: f64| (total * share + 1e-9) as usize;
        let mut chosen = some_of(&wrong, part(share), key.at_name("wrong"));
        chosen.extend(some_of(&right, part(1.0 - share), key.at_name("right")));
        chosen.sort_unstable();
        chosen
    }

    /// What is said to the first answer at place `at`.
    fn phrase(&self, at: usize, step: u64, key: Key) -> &str {
        let phrases = &self.rule.phrases;
        match self.rule.phrase_order {
            PhraseOrder::Fixed => &phrases[0],
            PhraseOrder::RoundRobin => &phrases[(step as usize).wrapping_add(at) % phrases.len()],
            PhraseOrder::Random => {
                let weights = &self.rule.phrase_weights;
                let mut left = key.at(at as u64).uniform() * weights.iter().sum::<f64>();
                let drawn = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                &phrases[drawn.unwrap_or(phrases.len() - 1)]
            }
        }
    }

    /// Rewards as the second layer sees them, groups as it compares them, and which of them can teach.
    fn settle(&self, first: &Step, parents: &[Parent], groups: Vec<Vec<Sampled>>) -> (Step, Vec<usize>) {
        let (mut merged, mut origins): (Vec<Vec<Sampled>>, Vec<usize>) = (Vec::new(), Vec::new());
        for (mut group, &parent) in groups.into_iter().zip(parents) {
            let before = of(first, parent).verdict.value().unwrap_or(0.0);
            for sampled in &mut group {
                sampled.verdict = self.worth(before, &sampled.verdict);
            }
            match (self.rule.group, origins.last()) {
                (LayerGroup::Query, Some(last)) if *last == parent.0 => {
                    let all = merged.len() - 1;
                    merged[all].extend(group);
                }
                _ => {
                    merged.push(group);
                    origins.push(parent.0);
                }
            }
        }
        for (at, group) in merged.iter_mut().enumerate() {
            for (number, sampled) in group.iter_mut().enumerate() {
                (sampled.rollout.prompt, sampled.rollout.sample) = (at, number);
            }
        }
        let teaches = |group: &[Sampled]| match self.rule.filter {
            Filter::Group => rewards_vary(&group.iter().map(|sampled| sampled.verdict.value()).collect::<Vec<_>>()),
            Filter::SuccessOnly => group.iter().any(|sampled| sampled.verdict.value().is_some()),
        };
        let kept = (0..merged.len()).filter(|&at| teaches(&merged[at])).collect();
        (Step::of(merged, kept), origins)
    }

    fn worth(&self, before: f32, verdict: &Verdict) -> Verdict {
        let Some(after) = verdict.value() else { return verdict.clone() };
        // What is learned under `success_only` is the gain of a right answer.
        let worth = match (self.rule.filter, self.rule.reward) {
            (Filter::SuccessOnly, _) if f64::from(after) < right_from(self.rl) => 0.0,
            (Filter::SuccessOnly, _) | (_, LayerReward::Improve) => after - before,
            (_, LayerReward::Outcome) => after,
            (_, LayerReward::Shaped) => after + self.rule.shaping as f32 * (after - before),
        };
        Verdict::score(worth, verdict.reason())
    }

    /// Under `success_only` the gain of a right answer is its advantage, as it is, and wrong answers carry no loss.
    pub(crate) fn imitate(&self, step: &mut Step, rows: &mut Rows) {
        if self.rule.filter != Filter::SuccessOnly {
            return;
        }
        let gains: Vec<f32> = step.kept().map(|sampled| sampled.verdict.value().unwrap_or(0.0)).collect();
        for (row, (sampled, gain)) in step.kept_mut().zip(&gains).enumerate() {
            if *gain == 0.0 {
                rows.mask.row_mut(row).fill(false);
            }
            sampled.advantage = sampled.advantage.map(|_| *gain);
        }
        rows.advantages = TokenAdvantages::PerRow(gains);
    }

    /// What the second turn changed, over answers that both turns have a verdict on.
    fn statistics(&self, first: &Step, parents: &[Parent], groups: &[Vec<Sampled>]) -> Metrics {
        let mut pairs = Vec::new();
        for (group, &parent) in groups.iter().zip(parents) {
            let before = of(first, parent);
            pairs.extend(group.iter().filter(|sampled| sampled.verdict.value().is_some()).map(|sampled| Pair {
                first: f64::from(u8::from(self.right(before))),
                second: f64::from(u8::from(self.right(sampled))),
                changed: sampled.completion.trim() != before.completion.trim(),
            }));
        }
        let length = |samples: &mut dyn Iterator<Item = &Sampled>| samples.map(Sampled::length).sum::<usize>() as f64;
        let tokens = length(&mut groups.iter().flatten());
        let share = |of: PerPair| pairs.iter().map(of).sum::<f64>() / pairs.len().max(1) as f64;
        let mut metrics: Metrics = [
            ("layer2/share_of_tokens", tokens / (tokens + length(&mut first.fresh())).max(1.0)),
            ("layer2/mean_length", tokens / groups.iter().flatten().count().max(1) as f64),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        if !pairs.is_empty() {
            let named: [(&str, PerPair); 6] = [
                ("acc_t1", |pair| pair.first),
                ("acc_t2", |pair| pair.second),
                ("delta", |pair| pair.second - pair.first),
                ("i2c", |pair| (1.0 - pair.first) * pair.second),
                ("c2i", |pair| pair.first * (1.0 - pair.second)),
                ("changed", |pair| f64::from(u8::from(pair.changed))),
            ];
            metrics.extend(named.map(|(name, of)| (format!("layer2/{name}"), share(of))));
        }
        metrics
    }
}

fn of(first: &Step, (group, at): Parent) -> &Sampled {
    &first.groups[group][at]
}

/// `count` of them, drawn by `key`, in their order.
fn some_of(parents: &[Parent], count: usize, key: Key) -> Vec<Parent> {
    if count >= parents.len() {
        return parents.to_vec();
    }
    let mut places = key.permutation(parents.len());
    places.truncate(count);
    places.sort_unstable();
    places.into_iter().map(|place| parents[place]).collect()
}

#[cfg(test)]
mod tests;
