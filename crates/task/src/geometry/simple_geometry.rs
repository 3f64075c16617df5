//! `simple-geometry`: the last angle of a polygon.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`simple_geometry`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "simple-geometry",
    family: Family::Geometry,
    summary: "Find the last interior angle of a convex polygon.",
    example: "triangle with 60 and 70 degrees → 50",
    answer_reward: "simple-geometry",
    options: &[
        whole("min_sides", (3, 60), "3", "fewest corners"),
        whole("max_sides", (3, 60), "6", "most corners"),
        whole("min_angle", (1, 179), "10", "smallest angle given, in degrees"),
        whole("max_angle", (1, 179), "170", "largest angle given, in degrees"),
        STYLE,
    ],
    levels: &[
        &[("max_sides", "3")],
        &[("max_sides", "4")],
        &[("min_sides", "4"), ("max_sides", "6")],
        &[("min_sides", "6"), ("max_sides", "9")],
        &[("min_sides", "10"), ("max_sides", "16")],
    ],
    build: |options, seed| Procedural::build(SimpleGeometry::new(options)?, options, seed),
};

struct SimpleGeometry {
    sides: (i64, i64),
    angle: (i64, i64),
}

impl SimpleGeometry {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { sides: options.range("min_sides", "max_sides")?, angle: options.range("min_angle", "max_angle")? })
    }
}

impl Generator for SimpleGeometry {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// The angle that is asked for is a convex one: above 0 and below 180 degrees.
    /// The angles given are drawn one by one, each from what leaves the others room.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let sides = dice.within(self.sides);
        let (least, most) = self.angle;
        let mut left = 180 * (sides - 2);
        let mut angles = Vec::new();
        for after in (0..sides - 1).rev() {
            // `after` more angles of the range and a last one of 1…179 follow.
            let low = least.max(left - most * after - 179);
            let high = most.min(left - least * after - 1);
            if low > high {
                return None;
            }
            let angle = dice.between(low, high);
            left -= angle;
            angles.push(angle);
        }
        let angles = dice.shuffled(&angles);
        let listed = angles.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let plain = format!(
            "All interior angles but one of a convex polygon with {sides} corners are, in degrees: {listed}. How many degrees is the last one?"
        );
        let terse = format!("{sides} corners {}=", listed.replace(", ", " "));
        let question = Question::new(sides as usize, (plain, NUMBER), terse, left.to_string());
        let mut sorted = angles.clone();
        sorted.sort_unstable();
        Some(question.same_as(format!("{sides} {sorted:?}")).with("n_sides", sides).with("known_angles", angles))
    }
}
