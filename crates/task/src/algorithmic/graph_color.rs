//! `graph-color`: colours for the points of a graph, so that no line joins equal ones.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;
use serde_json::json;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, integer, share, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`graph_color`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "graph-color",
    family: Family::Algorithmic,
    summary: "Colour a graph so that no edge joins two equal colours.",
    example: "0-1, 1-2 with 2 colours → 0:1 1:2 2:1",
    answer_reward: "graph-color",
    options: &[
        whole("num_colors", (1, 20), "3", "colours"),
        whole("min_num_vertices", (1, 60), "10", "fewest points"),
        whole("max_num_vertices", (1, 60), "10", "most points"),
        share(
            "edge_probability",
            "0.1",
            "probability of an edge between two points that the solution colours differently",
        ),
        STYLE,
    ],
    levels: &[
        &[("min_num_vertices", "4"), ("max_num_vertices", "4"), ("edge_probability", "0.5")],
        &[("min_num_vertices", "5"), ("max_num_vertices", "6"), ("edge_probability", "0.4")],
        &[("min_num_vertices", "7"), ("max_num_vertices", "9"), ("edge_probability", "0.4")],
        &[("min_num_vertices", "10"), ("max_num_vertices", "12"), ("edge_probability", "0.4")],
        &[("min_num_vertices", "15"), ("max_num_vertices", "20"), ("edge_probability", "0.4")],
    ],
    build: |options, seed| Procedural::build(GraphColor::new(options)?, options, seed),
};

struct GraphColor {
    colours: i64,
    points: (i64, i64),
    edge: f64,
}

impl GraphColor {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            colours: integer(options, "num_colors"),
            points: options.range("min_num_vertices", "max_num_vertices")?,
            edge: options.number("edge_probability").unwrap_or_default(),
        })
    }
}

impl Generator for GraphColor {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Made from a colouring, so that there always is one; at least one edge where there can be one.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let points = dice.within(self.points) as usize;
        let colours: Vec<i64> = (0..points).map(|_| dice.between(1, self.colours)).collect();
        let pairs = (0..points).flat_map(|a| (a + 1..points).map(move |b| (a, b)));
        let edges: Vec<(usize, usize)> =
            pairs.filter(|&(a, b)| colours[a] != colours[b] && dice.chance(self.edge)).collect();
        if edges.is_empty() && points > 1 {
            return None;
        }
        let listed = edges.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(", ");
        let plain = format!(
            "A graph has the points 0 to {} and the edges {listed}. Give every point one of the colours 1 to {}, so that no edge joins \
             two points of the same colour.",
            points - 1,
            self.colours
        );
        let ending = "End with point:colour pairs after \"####\", like this: #### 0:1 1:2 2:1";
        let answer =
            colours.iter().enumerate().map(|(point, colour)| format!("{point}:{colour}")).collect::<Vec<_>>().join(" ");
        let terse = format!("{points};{};{}>", listed.replace(", ", " "), self.colours);
        let options: Vec<i64> = (1..=self.colours).collect();
        let puzzle = json!({
            "vertices": (0..points).collect::<Vec<_>>(),
            "edges": edges,
            "num_colors": self.colours,
            "color_options": options,
        });
        Some(Question::new(points, (plain, ending), terse, answer).with("puzzle", puzzle))
    }
}
