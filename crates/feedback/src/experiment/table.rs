//! Rows of a file, one unit after another, to a table of one row per unit.

use std::collections::HashMap;

use lapidary_core::{Kind, Problem, Result};

/// More arms than this are no arms but units.
pub const MOST_ARMS: usize = 32;
/// More days or segments than this are no days and no segments.
const MOST_NAMES: usize = 1000;

/// How several rows of one unit count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// They are an error.
    One,
    /// Their outcomes are added.
    Sum,
    /// Their outcomes are averaged.
    Mean,
    /// Their largest outcome counts.
    Max,
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it was known before the experiment: then a unit's first value counts, however many rows it has.
    pub before: bool,
}

/// A row of the file.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Whose row it is.
    pub unit: &'a str,
    /// What the unit saw.
    pub arm: &'a str,
    /// A number per column; NaN where it is missing.
    pub values: &'a [f64],
    /// Day of exposure.
    pub day: Option<&'a str>,
    /// Segment of the unit.
    pub segment: Option<&'a str>,
    /// Whether the unit met what was changed.
    pub triggered: bool,
}

/// Names that are counted from 0 as they come.
#[derive(Debug, Default)]
struct Names {
    list: Vec<String>,
    index: HashMap<String, u32>,
}

impl Names {
    fn of(&mut self, name: &str) -> u32 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.list.push(name.to_string());
        self.index.insert(name.to_string(), index);
        index
    }

    /// Whether one name comes before another: numbers by size, else by their text.
    fn before(&self, a: u32, b: u32) -> bool {
        let (a, b) = (&self.list[a as usize], &self.list[b as usize]);
        match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a < b,
            _ => a < b,
        }
    }

    /// For each index the rank of its name, and the names in order: numbers by size, else by their text.
    fn ranked(self) -> (Vec<u32>, Vec<String>) {
        let number = |name: &str| name.parse::<f64>().ok().filter(|number| number.is_finite());
        let numbers: Option<Vec<f64>> = self.list.iter().map(|name| number(name)).collect();
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        match numbers {
            Some(numbers) => {
                order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]).then_with(|| self.list[a].cmp(&self.list[b])));
            }
            None => order.sort_by(|&a, &b| self.list[a].cmp(&self.list[b])),
        }
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, &index)| ranks[index] = rank as u32);
        (ranks, order.iter().map(|&index| self.list[index].clone()).collect())
    }
}

#[derive(Debug)]
struct Unit {
    arm: u32,
    two_arms: bool,
    first_row: u64,
    day: Option<u32>,
    segment: Option<u32>,
    triggered: bool,
}

/// Takes rows in any order.
#[derive(Debug)]
pub struct TableBuilder {
    columns: Vec<Column>,
    rows: Rows,
    names: Names,
    arms: Names,
    days: Names,
    segments: Names,
    units: Vec<Unit>,
    /// `values[unit · columns + column]`.
    values: Vec<f64>,
    /// How many rows gave each value, where they are averaged.
    given: Vec<u32>,
    count: u64,
}

impl TableBuilder {
    /// A table with these columns.
    pub fn new(columns: Vec<Column>, rows: Rows) -> Self {
        Self {
            columns,
            rows,
            names: Names::default(),
            arms: Names::default(),
            days: Names::default(),
            segments: Names::default(),
            units: Vec::new(),
            values: Vec::new(),
            given: Vec::new(),
            count: 0,
        }
    }

    /// One more row.
    ///
    /// # Errors
    /// `D091` for a unit's second row where only one may be, `D092` for too many arms, days or segments.
    pub fn push(&mut self, row: &Row<'_>) -> Result<()> {
        assert_eq!(row.values.len(), self.columns.len(), "a value for each column");
        self.count += 1;
        let arm = self.arms.of(row.arm);
        let day = row.day.map(|day| self.days.of(day));
        let segment = row.segment.map(|segment| self.segments.of(segment));
        self.bounded()?;
        let at = self.names.of(row.unit) as usize;
        if at == self.units.len() {
            self.units.push(Unit {
                arm,
                two_arms: false,
                first_row: self.count,
                day,
                segment,
                triggered: row.triggered,
            });
            self.values.extend_from_slice(row.values);
            self.note_given(at, row.values);
            return Ok(());
        }
        self.again(at, arm, day, segment, row)
    }

    fn bounded(&self) -> Result<()> {
        for (names, most, what) in [
            (&self.arms, MOST_ARMS, "arms"),
            (&self.days, MOST_NAMES, "days"),
            (&self.segments, MOST_NAMES, "segments"),
        ] {
            if names.list.len() > most {
                let shown: Vec<&str> = names.list.iter().take(4).map(String::as_str).collect();
                return Err(Problem::new(Kind::Data, "D092", format!("there are more than {most} {what}"))
                    .why(format!("they begin with {}", shown.join(", ")))
                    .hint(format!("is the column of {what} the right one?")));
            }
        }
        Ok(())
    }

    /// Another row of a unit that is there.
    fn again(&mut self, at: usize, arm: u32, day: Option<u32>, segment: Option<u32>, row: &Row<'_>) -> Result<()> {
        let width = self.columns.len();
        let (unit, values) = (&mut self.units[at], &mut self.values[at * width..(at + 1) * width]);
        // A unit that saw two arms is left out whole, so that how its rows add up does not matter.
        unit.two_arms |= unit.arm != arm;
        if self.rows == Rows::One && !unit.two_arms {
            let message = format!("the unit `{}` has the rows {} and {}", row.unit, unit.first_row, self.count);
            return Err(Problem::new(Kind::Data, "D091", message)
                .why("units are independent of each other, rows of one unit are not")
                .hint("`--rows sum` (or mean, max) makes one outcome of a unit's rows; or name another `--unit`"));
        }
        unit.triggered |= row.triggered;
        unit.day = match (unit.day, day) {
            (Some(a), Some(b)) if self.days.before(b, a) => Some(b),
            (a, b) => a.or(b),
        };
        unit.segment = unit.segment.or(segment);
        for ((old, new), column) in values.iter_mut().zip(row.values).zip(&self.columns) {
            *old = match (old.is_nan(), new.is_nan()) {
                (true, _) => *new,
                (_, true) => *old,
                _ if column.before => *old,
                _ if self.rows == Rows::Max => old.max(*new),
                _ => *old + new,
            };
        }
        self.note_given(at, row.values);
        Ok(())
    }

    fn note_given(&mut self, at: usize, values: &[f64]) {
        if self.rows == Rows::Mean {
            self.given.resize(self.units.len() * values.len(), 0);
            let given = &mut self.given[at * values.len()..(at + 1) * values.len()];
            given.iter_mut().zip(values).for_each(|(given, value)| *given += u32::from(!value.is_nan()));
        }
    }

    /// The table, with units in the order of their names: the order of rows changes no bit of a result.
    ///
    /// # Errors
    /// `D096` without a unit in one arm.
    pub fn finish(self) -> Result<Units> {
        let width = self.columns.len();
        let mut order: Vec<usize> = (0..self.units.len()).filter(|&at| !self.units[at].two_arms).collect();
        let two_arms = (self.units.len() - order.len()) as u64;
        if order.is_empty() {
            let problem = Problem::new(Kind::Data, "D096", "there is no unit to compare");
            return Err(if two_arms > 0 {
                problem
                    .why(format!("all {two_arms} units stand in two arms"))
                    .hint("is the column of units the right one?")
            } else {
                problem.hint("the file has no rows")
            });
        }
        order.sort_by(|&a, &b| self.names.list[a].cmp(&self.names.list[b]));
        let (arm_ranks, arms) = self.arms.ranked();
        let (day_ranks, days) = self.days.ranked();
        let (segment_ranks, segments) = self.segments.ranked();
        let column = |column: usize| -> Vec<f64> {
            let value = |&at: &usize| {
                let value = self.values[at * width + column];
                let averaged = self.rows == Rows::Mean && !self.columns[column].before;
                if averaged { value / f64::from(self.given[at * width + column]) } else { value }
            };
            order.iter().map(value).collect()
        };
        let values = (0..width).map(column).collect();
        let of = |&at: &usize| &self.units[at];
        Ok(Units {
            arms: order.iter().map(|at| arm_ranks[of(at).arm as usize]).collect(),
            days: order.iter().map(|at| of(at).day.map(|day| day_ranks[day as usize])).collect(),
            segments: order.iter().map(|at| of(at).segment.map(|segment| segment_ranks[segment as usize])).collect(),
            triggered: order.iter().map(|at| of(at).triggered).collect(),
            values,
            columns: self.columns.into_iter().map(|column| column.name).collect(),
            arm_names: arms,
            day_names: days,
            segment_names: segments,
            in_two_arms: two_arms,
            rows: self.count,
        })
    }
}

/// One row per unit, in the order of their names.
#[derive(Clone, Debug)]
pub struct Units {
    /// Names of the arms, in order.
    pub arm_names: Vec<String>,
    /// Names of the days, in order.
    pub day_names: Vec<String>,
    /// Names of the segments, in order.
    pub segment_names: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Arm of each unit.
    pub arms: Vec<u32>,
    /// Day of each unit.
    pub days: Vec<Option<u32>>,
    /// Segment of each unit.
    pub segments: Vec<Option<u32>>,
    /// Whether each unit met what was changed.
    pub triggered: Vec<bool>,
    /// `values[column][unit]`; NaN where missing.
    pub values: Vec<Vec<f64>>,
    /// Units that stood in two arms and are not here.
    pub in_two_arms: u64,
    /// Rows that were read.
    pub rows: u64,
}

impl Units {
    /// Places of the units of an arm for which something holds.
    pub fn of_arm(&self, arm: u32, keep: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.arms.len()).filter(|&unit| self.arms[unit] == arm && keep(unit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(unit: &'a str, arm: &'a str, values: &'a [f64]) -> Row<'a> {
        Row { unit, arm, values, day: None, segment: None, triggered: true }
    }

    fn columns(names: &[(&str, bool)]) -> Vec<Column> {
        names.iter().map(|(name, before)| Column { name: name.to_string(), before: *before }).collect()
    }

    #[test]
    fn rows_of_a_unit_are_refused_or_joined() {
        let built = |rows: Rows| -> Result<Units> {
            let mut table = TableBuilder::new(columns(&[("y", false), ("x", true)]), rows);
            for (unit, arm, y, x) in [("u2", "b", 1.0, 5.0), ("u1", "a", 4.0, f64::NAN), ("u2", "b", 3.0, 9.0)] {
                table.push(&row(unit, arm, &[y, x]))?;
            }
            table.finish()
        };
        let problem = built(Rows::One).unwrap_err();
        assert_eq!((problem.code(), problem.message()), ("D091", "the unit `u2` has the rows 1 and 3"));
        for (rows, expected) in [(Rows::Sum, 4.0), (Rows::Mean, 2.0), (Rows::Max, 3.0)] {
            let units = built(rows).unwrap();
            // u1 comes first by name; the covariate is the first value that is there.
            assert_eq!((units.values[0][1], units.values[1][1]), (expected, 5.0));
            assert!(units.values[1][0].is_nan() && units.values[0][0] == 4.0);
            assert_eq!((units.arm_names.join(","), units.arms), ("a,b".to_string(), vec![0, 1]));
        }
    }

    #[test]
    fn a_unit_in_two_arms_is_left_out_and_counted() {
        let mut table = TableBuilder::new(columns(&[("y", false)]), Rows::One);
        for (unit, arm) in [("u1", "a"), ("u2", "a"), ("u1", "b"), ("u1", "a"), ("u3", "b")] {
            table.push(&row(unit, arm, &[1.0])).unwrap();
        }
        let units = table.finish().unwrap();
        assert_eq!((units.in_two_arms, units.arms.len(), units.rows), (1, 2, 5));
        let empty = TableBuilder::new(Vec::new(), Rows::One).finish().unwrap_err();
        assert_eq!(empty.code(), "D096");
    }

    #[test]
    fn a_column_of_users_is_no_column_of_arms() {
        let mut table = TableBuilder::new(Vec::new(), Rows::One);
        let names: Vec<String> = (0..40).map(|i| format!("u{i}")).collect();
        let problem = names.iter().find_map(|name| table.push(&row(name, name, &[])).err()).unwrap();
        assert_eq!(problem.code(), "D092");
        assert!(problem.advice().unwrap().contains("arms"), "{problem}");
    }

    #[test]
    fn days_that_are_numbers_come_by_size() {
        let mut table = TableBuilder::new(Vec::new(), Rows::One);
        for (unit, day) in [("a", "10"), ("b", "9"), ("c", "-1")] {
            table.push(&Row { day: Some(day), ..row(unit, "x", &[]) }).unwrap();
        }
        let units = table.finish().unwrap();
        assert_eq!(units.day_names, ["-1", "9", "10"]);
        assert_eq!(units.days, [Some(2), Some(1), Some(0)]);
    }
}
