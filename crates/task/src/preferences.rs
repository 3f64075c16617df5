//! `preferences`: comparisons whose truth is known, with the faults that comparisons of people have, one knob each.
//!
//! ```text
//! prompt: letters to sort      answers a, b: the word with wrong letters, a capital, closing marks      truth: utility u
//! logit = (u(a) − u(b))/τ + L·(|a| − |b|) + D·(2t − 1)·(|a| − |b|) + G·(capital(a) − capital(b))[group b] + I·cycle(a, b)
//! label ~ Bernoulli(σ(logit)), and the other one with probability `flip`
//! ```
//! Held-out comparisons are free of every fault: their better answer is the truly better one.

use std::iter;

use lapidary_core::{Item, Key, PromptText, Purpose, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};
use lapidary_reward::preferences::{utility, win_rate};
use serde_json::{Map, json};

use crate::dice::Dice;
use crate::procedural::{integer, share, split_of, whole};
use crate::registry::{Family, TaskInfo};
use crate::{Split, Task};

/// Probability that a letter of a proposed answer is the right one.
const RIGHT: f64 = 0.6;
/// Most closing marks of a proposed answer.
const MARKS: i64 = 3;
/// Raters of each group.
const RATERS: usize = 4;
/// Draws for one item until its prompt falls into the wanted split and its answers differ.
const MOST_DRAWS: u64 = 10_000;

/// The row of the registry.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "preferences",
    family: Family::Preference,
    summary: "Comparisons of two answers with a known truth, and with the faults that comparisons of people have.",
    example: "cab= → abc is better than acb!",
    answer_reward: "preferences",
    options: &[
        whole(
            "items",
            (0, 10_000_000),
            "0",
            "comparisons to train on, the same in every epoch; 0 is no end of new ones",
        ),
        whole("letters", (1, 12), "3", "letters to sort"),
        whole("alphabet", (2, 26), "8", "letters there are"),
        number(
            "temperature",
            (0.001, 100.0),
            "0.1",
            "τ: differences of utility far below it are a matter of luck, far above it are plain",
        ),
        share("flip", "0", "how often a label is turned over, whatever it is"),
        number(
            "length_bias",
            (-100.0, 100.0),
            "0",
            "L: what a character more is worth to a rater, whatever it says, in logits",
        ),
        share(
            "biased_share",
            "0.5",
            "share of comparisons by group b; it has a taste of its own where `group_bias` is not 0",
        ),
        number(
            "group_bias",
            (-100.0, 100.0),
            "0",
            "G: what a capital letter is worth to group b, in logits; the truth does not care",
        ),
        number("intransitive", (0.0, 100.0), "0", "I: `.` beats `!`, `!` beats `?`, `?` beats `.` by so many logits"),
        number("drift", (-100.0, 100.0), "0", "D: what a character more is worth moves from -D to D logits over time"),
    ],
    levels: &[],
    build: |options, seed| Ok(Box::new(Preferences::new(options, seed)?)),
};

const fn number(
    name: &'static str,
    (least, most): (f64, f64),
    default: &'static str,
    meaning: &'static str,
) -> OptionInfo {
    OptionInfo { name, kind: OptionKind::Number(least, most), default, meaning }
}

struct Preferences {
    items: Option<usize>,
    letters: usize,
    alphabet: usize,
    temperature: f64,
    flip: f64,
    biased_share: f64,
    /// Logits: per character, per capital letter in group b, per step of the cycle, per character at the end of time.
    tastes: Tastes,
    seed: u64,
}

#[derive(Clone, Copy)]
struct Tastes {
    length: f64,
    group: f64,
    cycle: f64,
    drift: f64,
}

/// A proposed answer: the word as it is written, and how it ends.
#[derive(Clone, PartialEq)]
struct Proposal {
    text: String,
    capital: bool,
    /// Which of `.`, `!` and `?` it ends with; `None` without any.
    mark: Option<usize>,
}

impl Preferences {
    fn new(options: &Options, seed: u64) -> Result<Self> {
        let real = |name: &str| options.number(name).unwrap_or_default();
        let task = Self {
            items: Some(integer(options, "items") as usize).filter(|items| *items > 0),
            letters: integer(options, "letters") as usize,
            alphabet: integer(options, "alphabet") as usize,
            temperature: real("temperature"),
            flip: real("flip"),
            biased_share: real("biased_share"),
            tastes: Tastes {
                length: real("length_bias"),
                group: real("group_bias"),
                cycle: real("intransitive"),
                drift: real("drift"),
            },
            seed,
        };
        for split in [Split::Train, Split::Test] {
            if task.find(split, 0).is_none() {
                return Err(options
                    .wrong(format!("there is no prompt for the {} split", split.name()))
                    .hint("more `letters`, or a larger `alphabet`"));
            }
        }
        Ok(task)
    }

    /// The dice of an item and the letters of its prompt.
    fn find(&self, split: Split, index: u64) -> Option<(Dice, String)> {
        let key = Key::new(self.seed, Purpose::Task).at_name(INFO.name).at(split as u64).at(index);
        (0..MOST_DRAWS).find_map(|draw| {
            let mut dice = Dice::new(key.at(draw));
            let letters: String = iter::repeat_with(|| letter(dice.below(self.alphabet))).take(self.letters).collect();
            (split_of(INFO.name, &letters) == split).then_some((dice, letters))
        })
    }

    fn propose(&self, dice: &mut Dice, word: &str) -> Proposal {
        let mut text: String = word
            .chars()
            .map(|right| match dice.chance(RIGHT) {
                true => right,
                false => letter(dice.below(self.alphabet)),
            })
            .collect();
        let capital = dice.coin();
        if capital {
            text[..1].make_ascii_uppercase();
        }
        let marks = dice.between(0, MARKS);
        let mark = dice.below(3);
        text.extend(iter::repeat_n([".", "!", "?"][mark], marks as usize));
        Proposal { text, capital, mark: (marks > 0).then_some(mark) }
    }

    /// How much a rater of group b (or a) likes the first answer better at time `time`, in logits.
    fn logit(&self, (a, b): (&Proposal, &Proposal), gap: f64, (biased, time): (bool, f64)) -> f64 {
        let tastes = self.tastes;
        let longer = a.text.len() as f64 - b.text.len() as f64;
        let capital = f64::from(u8::from(a.capital)) - f64::from(u8::from(b.capital));
        let group = if biased { tastes.group * capital } else { 0.0 };
        let cycle = tastes.cycle * cycle(a.mark, b.mark);
        gap / self.temperature + longer * (tastes.length + tastes.drift * (2.0 * time - 1.0)) + group + cycle
    }
}

fn letter(at: usize) -> char {
    char::from(b'a' + at as u8)
}

/// 1 where the first mark beats the second, −1 where it is beaten; `.` beats `!` beats `?` beats `.`.
fn cycle(a: Option<usize>, b: Option<usize>) -> f64 {
    match (a, b) {
        (Some(a), Some(b)) if (a + 1) % 3 == b => 1.0,
        (Some(a), Some(b)) if (b + 1) % 3 == a => -1.0,
        _ => 0.0,
    }
}

impl Task for Preferences {
    fn name(&self) -> &str {
        INFO.name
    }

    fn len(&self, split: Split) -> Option<usize> {
        self.items.filter(|_| split == Split::Train)
    }

    fn item(&self, split: Split, index: u64) -> Result<Item> {
        let (mut dice, letters) = self
            .find(split, index)
            .unwrap_or_else(|| unreachable!("both splits have prompts, however few letters there are"));
        let mut sorted: Vec<char> = letters.chars().collect();
        sorted.sort_unstable();
        let word: String = sorted.into_iter().collect();
        let first = self.propose(&mut dice, &word);
        let second = iter::repeat_with(|| self.propose(&mut dice, &word)).take(100).find(|other| *other != first);
        let second = second.unwrap_or_else(|| unreachable!("capitals and marks alone are eight answers"));
        let rival = self.propose(&mut dice, &word).text;
        let gap = utility(&word, &first.text) - utility(&word, &second.text);
        let time = match self.items {
            Some(items) => index as f64 / items as f64,
            None => dice.uniform(),
        };
        let (biased, rater) = (dice.chance(self.biased_share), dice.below(RATERS));
        let logit = self.logit((&first, &second), gap, (biased, time));
        let (mut wins, flipped) = (dice.chance(win_rate(logit, 1.0)), dice.chance(self.flip));
        match split {
            Split::Train => wins ^= flipped,
            Split::Test if gap == 0.0 => {}
            Split::Test => wins = gap > 0.0,
        }
        let (chosen, rejected, gap) = if wins { (first, second, gap) } else { (second, first, -gap) };
        let group = if biased { "b" } else { "a" };
        let mut metadata = Map::new();
        metadata.insert("chosen".into(), json!(chosen.text));
        metadata.insert("rejected".into(), json!(rejected.text));
        metadata.insert("source".into(), json!(group));
        metadata.insert("rater".into(), json!(format!("{group}{}", rater + 1)));
        metadata.insert("time".into(), json!(time));
        metadata.insert("true_gap".into(), json!(gap));
        metadata.insert("flipped".into(), json!(flipped && split == Split::Train));
        metadata.insert("rival".into(), json!(rival));
        metadata.insert("temperature".into(), json!(self.temperature));
        if split == Split::Test && gap == 0.0 {
            metadata.insert("label".into(), json!(0.5));
        }
        Ok(Item {
            id: format!("{}/{}/{index}", INFO.name, split.name()),
            prompt: PromptText::Text(format!("{letters}=")),
            answer: Some(word),
            completion: Some(chosen.text),
            metadata,
        })
    }

    fn answer_reward(&self) -> &'static str {
        INFO.answer_reward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskSpec, build};
    use serde_json::Value;

    fn items(options: Value, split: Split, count: u64) -> Vec<Item> {
        let mut spec = json!({"name": "preferences"});
        spec.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let task = build(&serde_json::from_value::<TaskSpec>(spec).unwrap(), 3).unwrap();
        (0..count).map(|index| task.item(split, index).unwrap()).collect()
    }

    fn text<'a>(item: &'a Item, name: &str) -> &'a str {
        item.metadata[name].as_str().unwrap()
    }

    fn gap(item: &Item) -> f64 {
        item.metadata["true_gap"].as_f64().unwrap()
    }

    /// The share of items with `keep` for which `first` holds.
    fn share_of(items: &[Item], keep: impl Fn(&Item) -> bool, first: impl Fn(&Item) -> bool) -> f64 {
        let kept: Vec<&Item> = items.iter().filter(|item| keep(item)).collect();
        assert!(kept.len() > 200, "{} items say little", kept.len());
        kept.iter().filter(|item| first(item)).count() as f64 / kept.len() as f64
    }

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 0.04, "{got} instead of {expected}");
    }

    /// σ(3.33) = 0.966 for a third of the letters at τ = 0.1, σ(1) = 0.731 for one mark.
    #[test]
    fn without_faults_the_better_answer_wins_as_bradley_and_terry_say() {
        let all = items(json!({}), Split::Train, 8000);
        let third = |item: &Item| (gap(item).abs() - 1.0 / 3.0).abs() < 1e-9;
        near(share_of(&all, third, |item| gap(item) > 0.0), 0.966);
        let tenth = |item: &Item| (gap(item).abs() - 0.1).abs() < 1e-9;
        near(share_of(&all, tenth, |item| gap(item) > 0.0), 0.731);
        assert!(
            all.iter().all(|item| item.metadata["flipped"] == false && text(item, "chosen") != text(item, "rejected"))
        );
    }

    #[test]
    fn flips_turn_labels_over_and_say_so() {
        let (plain, noisy) = (items(json!({}), Split::Train, 4000), items(json!({"flip": 0.3}), Split::Train, 4000));
        near(share_of(&noisy, |_| true, |item| item.metadata["flipped"] == true), 0.3);
        for (plain, noisy) in plain.iter().zip(&noisy) {
            let turned = text(plain, "chosen") == text(noisy, "rejected");
            assert_eq!(noisy.metadata["flipped"] == true, turned, "one label is the other one, of the same draw");
        }
        near(share_of(&noisy, |item| gap(item).abs() > 0.5, |item| gap(item) > 0.0), 0.7);
    }

    #[test]
    fn each_bias_moves_what_it_names_and_nothing_else() {
        let equal = |item: &Item| gap(item).abs() < 1e-9;
        let longer = |item: &Item| text(item, "chosen").len() > text(item, "rejected").len();
        let unequal = |item: &Item| text(item, "chosen").len() != text(item, "rejected").len();
        let all = items(json!({"length_bias": 2.0}), Split::Train, 6000);
        let before = items(json!({}), Split::Train, 6000);
        assert!(share_of(&all, unequal, longer) > share_of(&before, unequal, longer) + 0.2);
        let capital = |name: &'static str| {
            move |item: &Item| text(item, name).starts_with(|first: char| first.is_ascii_uppercase())
        };
        let differ = |item: &Item| equal(item) && capital("chosen")(item) != capital("rejected")(item);
        let all = items(json!({"group_bias": 2.0}), Split::Train, 30_000);
        near(share_of(&all, |item| differ(item) && text(item, "source") == "b", capital("chosen")), 0.881); // σ(2)
        near(share_of(&all, |item| differ(item) && text(item, "source") == "a", capital("chosen")), 0.5);
        let all = items(json!({"drift": 2.0}), Split::Train, 8000);
        let time = |item: &Item| item.metadata["time"].as_f64().unwrap();
        let early = share_of(&all, |item| unequal(item) && time(item) < 0.3, longer);
        let late = share_of(&all, |item| unequal(item) && time(item) > 0.7, longer);
        assert!(late > early + 0.3, "{early} {late}");
    }

    #[test]
    fn an_intransitive_taste_goes_round() {
        let all = items(json!({"intransitive": 3.0, "temperature": 100.0}), Split::Train, 8000);
        let end = |item: &Item, name: &str| text(item, name).chars().last().unwrap();
        for (winner, loser) in [('.', '!'), ('!', '?'), ('?', '.')] {
            let met = |item: &Item| {
                let ends = [end(item, "chosen"), end(item, "rejected")];
                ends == [winner, loser] || ends == [loser, winner]
            };
            near(share_of(&all, met, |item| end(item, "chosen") == winner), 0.952); // σ(3)
        }
    }

    #[test]
    fn held_out_comparisons_are_the_truth_and_their_prompts_are_never_trained_on() {
        let options = json!({"flip": 0.5, "length_bias": 3.0, "group_bias": 3.0, "drift": 3.0, "items": 500});
        let (train, test) = (items(options.clone(), Split::Train, 500), items(options, Split::Test, 500));
        assert!(test.iter().all(|item| gap(item) >= 0.0 && item.metadata["flipped"] == false));
        assert!(test.iter().all(|item| (gap(item) == 0.0) == (item.metadata.get("label") == Some(&json!(0.5)))));
        let prompts: std::collections::BTreeSet<String> = train.iter().map(|item| item.prompt.plain()).collect();
        assert!(test.iter().all(|item| !prompts.contains(&item.prompt.plain())));
        assert_eq!(train[499].metadata["time"], json!(499.0 / 500.0));
    }

    /// All eight prompts of three letters a and b happen to be of one split.
    #[test]
    fn options_that_leave_a_split_empty_are_refused() {
        let made = |alphabet: u64| {
            let spec = json!({"name": "preferences", "letters": 3, "alphabet": alphabet});
            build(&serde_json::from_value::<TaskSpec>(spec).unwrap(), 1)
        };
        assert!(made(2).err().unwrap().to_string().contains("no prompt for the"));
        assert!(made(3).is_ok());
    }
}
