//! `gsm-symbolic`: stories of everyday sums with names and numbers drawn anew, after the idea of GSM-Symbolic
//! (arXiv 2410.05229). The stories are ours.

use lapidary_core::Key;
use lapidary_reward::options::{OptionInfo, OptionKind};

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE};
use crate::registry::{Family, TaskInfo};
use crate::words::NAMES;

/// The row of the registry. The option is reasoning-gym's (`gsm_symbolic`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "gsm-symbolic",
    family: Family::Arithmetic,
    summary: "Answer a short story of everyday sums.",
    example: "Ada has 3 boxes of 12 eggs and breaks 4. How many eggs are whole? → 32",
    answer_reward: "gsm-symbolic",
    options: &[
        OptionInfo {
            name: "difficulty",
            kind: OptionKind::Number(1.0, 1000.0),
            default: "1.0",
            meaning: "factor of the ranges that numbers are drawn from",
        },
        STYLE,
    ],
    levels: &[
        &[("difficulty", "1.0")],
        &[("difficulty", "2.0")],
        &[("difficulty", "4.0")],
        &[("difficulty", "10.0")],
        &[("difficulty", "50.0")],
    ],
    build: |options, seed| {
        Procedural::build(GsmSymbolic { difficulty: options.number("difficulty").unwrap_or(1.0) }, options, seed)
    },
};

struct GsmSymbolic {
    difficulty: f64,
}

/// What a story is told with: people, and numbers whose range grows with the difficulty.
struct Teller {
    dice: Dice,
    difficulty: f64,
    numbers: Vec<i64>,
}

impl Teller {
    /// A number from `low` to `high` times the difficulty.
    fn number(&mut self, low: i64, high: i64) -> i64 {
        let number = self.dice.between(low, (high as f64 * self.difficulty) as i64);
        self.numbers.push(number);
        number
    }

    fn people<const N: usize>(&mut self) -> [&'static str; N] {
        let mut names = self.dice.sample(NAMES, N).into_iter();
        std::array::from_fn(|_| names.next().unwrap_or("Ada"))
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.dice.below(words.len())]
    }
}

/// A story and what is asked for.
type Story = fn(&mut Teller) -> (String, i64);

const STORIES: &[Story] = &[
    eggs, savings, orchard, bakery, train, ribbon, library, garden, ages, seats, discount, paint, coins, marathon,
    choir, phone, shelves, tank, wages, stamps,
];

fn eggs(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (boxes, each) = (t.number(3, 9), t.number(6, 12));
    let broken = t.number(1, 5).min(boxes * each);
    (
        format!(
            "{who} carries {boxes} boxes with {each} eggs each and breaks {broken} eggs on the way. How many eggs are whole?"
        ),
        boxes * each - broken,
    )
}

fn savings(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (start, weekly, weeks, spent) = (t.number(10, 40), t.number(3, 12), t.number(2, 8), t.number(1, 9));
    let spent = spent.min(start);
    (
        format!(
            "{who} has {start} coins, saves {weekly} more every week for {weeks} weeks, and then spends {spent}. How many coins are left?"
        ),
        start + weekly * weeks - spent,
    )
}

fn orchard(t: &mut Teller) -> (String, i64) {
    let (rows, trees, fruit) = (t.number(2, 9), t.number(3, 9), t.number(4, 12));
    let what = t.one_of(&["apple", "pear", "plum", "cherry"]);
    (
        format!(
            "An orchard has {rows} rows of {trees} {what} trees. From every tree {fruit} baskets are picked. How many baskets are that in all?"
        ),
        rows * trees * fruit,
    )
}

fn bakery(t: &mut Teller) -> (String, i64) {
    let what = t.one_of(&["rolls", "loaves", "pretzels", "buns"]);
    let (tray, trays, left) = (t.number(6, 12), t.number(4, 9), t.number(1, 20));
    let left = left.min(tray * trays);
    (
        format!(
            "A baker takes {trays} trays with {tray} {what} each out of the oven. In the evening {left} {what} are left. How many were sold?"
        ),
        tray * trays - left,
    )
}

fn train(t: &mut Teller) -> (String, i64) {
    let (start, on, off, more) = (t.number(20, 80), t.number(5, 30), t.number(3, 20), t.number(2, 20));
    let off = off.min(start);
    (
        format!(
            "A train leaves with {start} passengers. At the first stop {on} get on and {off} get off; at the second stop {more} get on and nobody leaves. How many passengers are on board then?"
        ),
        start + on - off + more,
    )
}

fn ribbon(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (piece, pieces, rest) = (t.number(3, 15), t.number(2, 9), t.number(1, 12));
    (
        format!(
            "{who} cuts {pieces} pieces of {piece} centimetres from a ribbon, and {rest} centimetres remain. How many centimetres long was the ribbon?"
        ),
        piece * pieces + rest,
    )
}

fn library(t: &mut Teller) -> (String, i64) {
    let (shelves, each, lent, back) = (t.number(3, 9), t.number(10, 30), t.number(8, 20), t.number(1, 7));
    let lent = lent.min(shelves * each);
    let back = back.min(lent);
    (
        format!(
            "A library keeps {shelves} shelves of {each} books. {lent} books are lent out, and {back} of these come back. How many books are in the library then?"
        ),
        shelves * each - lent + back,
    )
}

fn garden(t: &mut Teller) -> (String, i64) {
    let (long, wide) = (t.number(4, 20), t.number(3, 15));
    (
        format!(
            "A garden is {long} metres long and {wide} metres wide. A fence goes once around it and leaves a gate of 2 metres open. How many metres of fence are needed?"
        ),
        2 * (long + wide) - 2,
    )
}

fn ages(t: &mut Teller) -> (String, i64) {
    let [young, old] = t.people();
    let (age, years) = (t.number(3, 12), t.number(1, 9));
    let times = t.dice.between(2, 4);
    (
        format!(
            "{young} is {age} years old, and {old} is {times} times as old. How old will both be together in {years} years?"
        ),
        age + age * times + 2 * years,
    )
}

fn seats(t: &mut Teller) -> (String, i64) {
    let (rows, each, taken) = (t.number(4, 12), t.number(6, 20), t.number(5, 20));
    let taken = taken.min(rows * each);
    (
        format!(
            "A hall has {rows} rows of {each} seats, of which {taken} are taken. How many guests can still sit down?"
        ),
        rows * each - taken,
    )
}

fn discount(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (price, count) = (t.number(2, 12) * 10, t.number(2, 6));
    let off = *t.dice.pick(&[10, 20, 30, 50]);
    let what = t.one_of(&["lamps", "chairs", "coats", "bags"]);
    (
        format!(
            "{who} buys {count} {what} that cost {price} euros each, and pays {off} percent less than that. How many euros does {who} pay?"
        ),
        count * price * (100 - off) / 100,
    )
}

fn paint(t: &mut Teller) -> (String, i64) {
    let (walls, per, coats, in_stock) = (t.number(3, 8), t.number(2, 6), t.number(1, 3), t.number(1, 6));
    let needed = walls * per * coats;
    let in_stock = in_stock.min(needed);
    (
        format!(
            "One coat of paint on one wall takes {per} litres. {walls} walls get {coats} coats each, and {in_stock} litres are in the cellar. How many litres must be bought?"
        ),
        needed - in_stock,
    )
}

fn coins(t: &mut Teller) -> (String, i64) {
    let [rich, poor] = t.people();
    let (has, more) = (t.number(5, 30), t.number(2, 20));
    (
        format!(
            "{poor} has {has} marbles. {rich} has {more} more than twice as many. How many marbles do they have together?"
        ),
        has + 2 * has + more,
    )
}

fn marathon(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (days, each, extra) = (t.number(3, 9), t.number(4, 15), t.number(1, 5));
    (
        format!(
            "{who} runs {each} kilometres a day for {days} days, then rests, and then runs {days} days more with {extra} kilometres more each day. How many kilometres are that in all?"
        ),
        days * each + days * (each + extra),
    )
}

fn choir(t: &mut Teller) -> (String, i64) {
    let (group, groups, ill) = (t.number(2, 9), t.number(3, 8), t.number(1, 6));
    let ill = ill.min(group * groups);
    (
        format!(
            "A choir stands in {groups} groups of {group} singers, but {ill} are ill today. Every singer who is there brings 2 guests. How many guests come?"
        ),
        (group * groups - ill) * 2,
    )
}

fn phone(t: &mut Teller) -> (String, i64) {
    let (fee, price, calls) = (t.number(5, 20), t.number(2, 9), t.number(3, 15));
    (
        format!(
            "A telephone costs {fee} cents a day and {price} cents for every call. What do 2 days with {calls} calls in all cost, in cents?"
        ),
        2 * fee + price * calls,
    )
}

fn shelves(t: &mut Teller) -> (String, i64) {
    let (each, count) = (t.number(3, 12), t.number(2, 9));
    let over = t.number(1, 9) % each;
    (
        format!(
            "Books fill {count} shelves with {each} books each, and {over} books lie on the floor. Half the filled shelves, rounded down, are emptied and their books given away. How many books remain?"
        ),
        each * (count - count / 2) + over,
    )
}

fn tank(t: &mut Teller) -> (String, i64) {
    let (start, inflow, outflow, minutes) = (t.number(50, 99), t.number(5, 12), t.number(1, 4), t.number(3, 9));
    let outflow = outflow.min(inflow);
    (
        format!(
            "A tank holds {start} litres. Every minute {inflow} litres flow in and {outflow} flow out. How many litres does it hold after {minutes} minutes?"
        ),
        start + (inflow - outflow) * minutes,
    )
}

fn wages(t: &mut Teller) -> (String, i64) {
    let [who] = t.people();
    let (pay, hours, days) = (t.number(8, 20), t.number(2, 8), t.number(2, 6));
    (
        format!(
            "{who} earns {pay} euros an hour and works {hours} hours on each of {days} days. On the last day every hour counts double. How many euros does {who} earn?"
        ),
        pay * hours * days + pay * hours,
    )
}

fn stamps(t: &mut Teller) -> (String, i64) {
    let [one, two, three] = t.people();
    let (first, second, share) = (t.number(4, 20), t.number(4, 20), t.number(1, 6));
    let share = share.min(first).min(second);
    (
        format!(
            "{one} has {first} stamps and {two} has {second}. Both give {share} stamps to {three}, who has none. How many stamps do {one} and {two} have left together?"
        ),
        first + second - 2 * share,
    )
}

impl Generator for GsmSymbolic {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let mut teller = Teller { dice: Dice::new(key), difficulty: self.difficulty, numbers: Vec::new() };
        let story = *teller.dice.pick(STORIES);
        let (text, answer) = story(&mut teller);
        let size = teller.numbers.iter().map(|number| number.unsigned_abs() as usize).sum();
        let question = Question::new(size, (&*text, NUMBER), format!("{text} "), answer.to_string());
        Some(question.same_as(text).with("answer_value", answer))
    }
}
