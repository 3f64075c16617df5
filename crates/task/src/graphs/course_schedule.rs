//! `course-schedule`: courses that need other courses.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, share, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`course_schedule`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "course-schedule",
    family: Family::Graphs,
    summary: "Say whether courses that need each other can all be taken.",
    example: "0 needs 1, 1 needs 0 → False",
    answer_reward: "course-schedule",
    options: &[
        whole("min_num_courses", (3, 60), "5", "fewest courses"),
        whole("max_num_courses", (3, 60), "10", "most courses"),
        whole("min_num_prerequisites", (1, 10), "1", "fewest courses that one needs"),
        whole("max_num_prerequisites", (1, 10), "2", "most courses that one needs"),
        whole("min_cycle_length", (3, 60), "3", "fewest courses of a circle"),
        whole("max_cycle_length", (3, 60), "5", "most courses of a circle; at most all"),
        share("p_solvable", "0.5", "probability that all can be taken"),
        STYLE,
    ],
    levels: &[
        &[("min_num_courses", "3"), ("max_num_courses", "3"), ("max_num_prerequisites", "1")],
        &[("min_num_courses", "4"), ("max_num_courses", "5"), ("max_num_prerequisites", "1")],
        &[("min_num_courses", "5"), ("max_num_courses", "8")],
        &[("min_num_courses", "9"), ("max_num_courses", "14"), ("max_num_prerequisites", "3")],
        &[
            ("min_num_courses", "18"),
            ("max_num_courses", "30"),
            ("max_num_prerequisites", "3"),
            ("max_cycle_length", "8"),
        ],
    ],
    build: |options, seed| Procedural::build(CourseSchedule::new(options)?, options, seed),
};

struct CourseSchedule {
    courses: (i64, i64),
    needs: (i64, i64),
    circle: (i64, i64),
    solvable: f64,
}

impl CourseSchedule {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            courses: options.range("min_num_courses", "max_num_courses")?,
            needs: options.range("min_num_prerequisites", "max_num_prerequisites")?,
            circle: options.range("min_cycle_length", "max_cycle_length")?,
            solvable: options.number("p_solvable").unwrap_or_default(),
        })
    }
}

/// Whether all courses can be taken: one after another, each when nothing that it needs is missing (Kahn).
fn can_finish(courses: usize, needs: &[(usize, usize)]) -> bool {
    let mut taken = vec![false; courses];
    loop {
        let ready = |course: usize| needs.iter().all(|(other, needed)| *other != course || taken[*needed]);
        match (0..courses).find(|course| !taken[*course] && ready(*course)) {
            Some(course) => taken[course] = true,
            None => return taken.iter().all(|taken| *taken),
        }
    }
}

impl Generator for CourseSchedule {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Every course but the first needs some of those before it in a drawn order; an impossible plan has a circle as well.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.courses) as usize;
        let order = dice.shuffled(&(0..count).collect::<Vec<_>>());
        let mut needs = Vec::new();
        for (at, &course) in order.iter().enumerate().skip(1) {
            let wanted = dice.within(self.needs) as usize;
            needs.extend(dice.sample(&order[..at], wanted).into_iter().map(|needed| (course, needed)));
        }
        if !dice.chance(self.solvable) {
            let length = (dice.within(self.circle) as usize).min(count);
            let circle = dice.sample(&order, length);
            needs.extend((0..length).map(|at| (circle[at], circle[(at + 1) % length])));
        }
        let mut needs = dice.shuffled(&needs);
        let listed =
            needs.iter().map(|(course, needed)| format!("{course} needs {needed}")).collect::<Vec<_>>().join(", ");
        let plain = format!(
            "There are {count} courses, 0 to {}, and some need others to be taken first: {listed}. Can all of them be taken, True or False?",
            count - 1
        );
        let ending = "End with the word after \"####\", like this: #### True";
        let terse = format!(
            "{count}:{}>",
            needs.iter().map(|(course, needed)| format!("{course}<{needed}")).collect::<Vec<_>>().join(" ")
        );
        let answer = if can_finish(count, &needs) { "True" } else { "False" };
        let question = Question::new(count + needs.len(), (plain, ending), terse, answer);
        needs.sort_unstable();
        let pairs: Vec<Vec<usize>> = needs.iter().map(|(course, needed)| vec![*course, *needed]).collect();
        Some(question.same_as(format!("{count} {needs:?}")).with("courses", count).with("prerequisites", pairs))
    }
}

#[cfg(test)]
mod tests {
    use lapidary_core::Purpose;

    use super::*;

    /// Whether any order of the courses respects what they need: all orders are tried.
    fn some_order(courses: usize, needs: &[(usize, usize)]) -> bool {
        fn go(order: &mut Vec<usize>, courses: usize, needs: &[(usize, usize)]) -> bool {
            if order.len() == courses {
                let place = |course: usize| order.iter().position(|other| *other == course);
                return needs.iter().all(|(course, needed)| place(*needed) < place(*course));
            }
            (0..courses).any(|course| {
                if order.contains(&course) {
                    return false;
                }
                order.push(course);
                let found = go(order, courses, needs);
                order.pop();
                found
            })
        }
        go(&mut Vec::new(), courses, needs)
    }

    #[test]
    fn trying_all_orders_says_the_same() {
        let mut seen = [0, 0];
        for seed in 0..300 {
            let dice = &mut Dice::new(Key::new(seed, Purpose::Task));
            let needs: Vec<(usize, usize)> = (0..5).map(|_| (dice.below(5), dice.below(5))).collect();
            let finishes = can_finish(5, &needs);
            assert_eq!(finishes, some_order(5, &needs), "{needs:?}");
            seen[usize::from(finishes)] += 1;
        }
        assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
    }
}
