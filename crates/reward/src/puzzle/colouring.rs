//! `graph-color`: any colouring in which no edge joins two equal colours.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Asked, Rule, Ruling, info, whole_numbers};
use crate::registry::RewardInfo;

pub(crate) const GRAPH_COLOR: RewardInfo = info(
    "graph-color",
    "The completion gives every point a colour, and no edge joins two equal ones.",
    "1 if colouring(completion) is complete and valid else 0",
    |options| Rule { name: "graph-color", numeric: false, judge, credit }.build(options),
);

struct Graph {
    points: Vec<i64>,
    edges: Vec<(i64, i64)>,
    colours: Vec<i64>,
}

impl Graph {
    fn of(asked: &Asked<'_>) -> Option<Self> {
        let puzzle = asked.metadata.get("puzzle")?;
        let edge = |edge: &Value| match whole_numbers(Some(edge))?.as_slice() {
            [a, b] => Some((*a, *b)),
            _ => None,
        };
        Some(Self {
            points: whole_numbers(puzzle.get("vertices"))?,
            edges: puzzle.get("edges")?.as_array()?.iter().map(edge).collect::<Option<_>>()?,
            colours: whole_numbers(puzzle.get("color_options"))?,
        })
    }

    /// What is wrong with a colouring of the points.
    fn fault(&self, given: &BTreeMap<i64, i64>) -> Option<String> {
        if let Some(point) = self.points.iter().find(|point| !given.contains_key(point)) {
            return Some(format!("point {point} has no colour"));
        }
        if let Some(point) =
            self.points.iter().find(|point| given.get(point).is_none_or(|colour| !self.colours.contains(colour)))
        {
            return Some(format!("point {point} has a colour that there is not"));
        }
        let clash = self.edges.iter().find(|(a, b)| given.get(a) == given.get(b));
        clash.map(|(a, b)| format!("points {a} and {b} are joined and have one colour"))
    }
}

/// `0:1 1:2`, with commas, or as JSON `{"0": 1, "1": 2}`; `None` where a point comes twice or anything else stands there.
fn pairs(text: &str) -> Option<BTreeMap<i64, i64>> {
    let text = text.trim().trim_start_matches("json").trim();
    let text = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
    let text: String = text.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    let mut words: Vec<String> = Vec::new();
    for word in text.replace(':', " : ").split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
    {
        words.push(word.to_string());
    }
    let mut found = BTreeMap::new();
    for pair in words.chunks(3) {
        let [point, colon, colour] = pair else { return None };
        let doubled = found.insert(point.parse().ok()?, colour.parse().ok()?).is_some();
        if colon != ":" || doubled {
            return None;
        }
    }
    Some(found)
}

fn judge(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(graph) = Graph::of(asked) else { return Ruling::Unknown("the row has no `puzzle`") };
    let Some(given) = pairs(answer) else { return Ruling::Wrong("is no list of points with their colours".into()) };
    if given.len() > graph.points.len() {
        return Ruling::Wrong("colours points that there are not".into());
    }
    match graph.fault(&given) {
        None => Ruling::Right,
        Some(fault) => Ruling::Wrong(fault),
    }
}

/// 1 for a valid colouring as JSON, 0.01 for another JSON object, else 0.
fn credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let graph = Graph::of(asked)?;
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(completion) else { return Some(0.0) };
    // What is no number is no colour that there is.
    let colour =
        |value: &Value| value.as_f64().filter(|number| number.fract() == 0.0).map_or(i64::MIN, |number| number as i64);
    let given = map.iter().filter_map(|(point, value)| Some((point.parse().ok()?, colour(value)))).collect();
    Some(if graph.fault(&given).is_none() { 1.0 } else { 0.01 })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Attempt, build};

    #[test]
    fn any_valid_colouring_is_right() {
        let row = json!({"puzzle": {"vertices": [0, 1, 2], "edges": [[0, 1], [1, 2]], "color_options": [1, 2]}});
        let score = |options: serde_json::Value, completion: &str| {
            let attempt = Attempt::new("", completion, None, row.as_object().unwrap());
            build("graph-color", &options).unwrap().score(&[attempt]).remove(0).value().unwrap()
        };
        for (completion, wanted) in [
            ("#### 0:1 1:2 2:1", 1.0),
            ("0:2, 1:1, 2:2", 1.0),
            (r#"{"0": 1, "1": 2, "2": 1}"#, 1.0),
            ("0:1 1:2", 0.0),
            ("0:1 1:1 2:2", 0.0),
            ("0:1 1:3 2:1", 0.0),
            ("0:1 1:2 2:1 2:2", 0.0),
            ("0:1 1:2 2:1 3:1", 0.0),
            ("{}", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(score(json!({}), completion), wanted, "{completion}");
        }
        assert_eq!(score(json!({"compat": "reasoning_gym"}), "{}"), 0.01, "control");
    }
}
