//! The numbers of a run as curves under one set of names, whoever wrote them.

use std::path::PathBuf;

use serde::Serialize;

use crate::recipe::{Recipe, Rl, Stage};

/// Who wrote the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Writer {
    /// A run directory or log of Lapidary.
    Lapidary,
    /// TRL, or another trainer on Hugging Face's `Trainer`.
    Trl,
    /// verl, or a trainer with its names.
    Verl,
    /// Names that belong to none of them alone.
    Unknown,
}

/// One metric over the steps of a stage. Every value is finite; steps ascend.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name that Lapidary has for it.
    pub name: String,
    /// The name in the file.
    pub written_as: String,
    /// Step and value.
    pub points: Vec<(u64, f64)>,
}

/// Fewer points than this show no trend.
const FEWEST_POINTS: usize = 8;
/// A window is a tenth of the points, but at least so many (one outlier among three is no median) …
const SMALLEST_WINDOW: usize = 3;
/// … and at most so many: what happened within the last twenty steps counts.
const LARGEST_WINDOW: usize = 20;

impl Series {
    /// How many points the begin and the end are medians of; `None` where there are too few to tell. Evaluations are rare
    /// and each is a mean over many prompts: two of them can be compared.
    pub fn window(&self) -> Option<usize> {
        let count = self.points.len();
        match count {
            FEWEST_POINTS.. => Some((count / 10).clamp(SMALLEST_WINDOW, LARGEST_WINDOW)),
            2.. if self.name.starts_with("eval/") => Some(1),
            _ => None,
        }
    }

    /// Median of the first window.
    pub fn begin(&self) -> Option<f64> {
        Some(median(self.points[..self.window()?].iter().map(|point| point.1)))
    }

    /// Median of the last window.
    pub fn end(&self) -> Option<f64> {
        Some(median(self.points[self.points.len() - self.window()?..].iter().map(|point| point.1)))
    }

    /// The median of every run of a window's length, with the step of its middle.
    pub fn smoothed(&self) -> Vec<(u64, f64)> {
        let Some(window) = self.window() else { return Vec::new() };
        let middle = |points: &[(u64, f64)]| (points[points.len() / 2].0, median(points.iter().map(|point| point.1)));
        self.points.windows(window).map(middle).collect()
    }

    /// Standard error of the difference of two window medians, from how much neighbouring points differ: with d the median
    /// absolute difference of neighbours, σ = d / (0.6745·√2) for normal noise, and a median of w points has the standard
    /// error 1.2533·σ/√w. 0 for a noiseless series.
    pub fn noise(&self) -> f64 {
        let Some(window) = self.window() else { return 0.0 };
        if self.points.len() < FEWEST_POINTS {
            return 0.0;
        }
        let steps = self.points.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs());
        let sigma = median(steps) / (0.6745 * std::f64::consts::SQRT_2);
        1.2533 * sigma * (2.0 / window as f64).sqrt()
    }

    /// The largest absolute value.
    pub fn scale(&self) -> f64 {
        self.points.iter().map(|point| point.1.abs()).fold(0.0, f64::max)
    }

    /// The points brought to at most `bins` values, evenly over them: means, or with `peaks` the largest of each bin.
    pub fn curve(&self, bins: usize, peaks: bool) -> Vec<f64> {
        let count = self.points.len();
        let bins = bins.min(count);
        let bin = |at: usize| {
            let values = self.points[count * at / bins..count * (at + 1) / bins].iter().map(|point| point.1);
            if peaks { values.fold(f64::MIN, f64::max) } else { values.clone().sum::<f64>() / values.count() as f64 }
        };
        (0..bins).map(bin).collect()
    }
}

/// The middle value, or the mean of the two middle ones. Of nothing: 0.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => 0.5 * (values[count / 2 - 1] + values[count / 2]),
    }
}

/// A number that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotFinite {
    /// Its metric.
    pub metric: String,
    /// The first step that has it.
    pub step: u64,
    /// How many values of the metric are not finite.
    pub count: usize,
}

/// A run as the rules see it: the curves of one stage and what is known around them.
#[derive(Clone, Debug)]
pub struct History {
    /// Where it was read.
    pub path: PathBuf,
    /// Who wrote it.
    pub writer: Writer,
    /// The curves, sorted by name.
    pub series: Vec<Series>,
    /// Metrics with values that are not finite.
    pub not_finite: Vec<NotFinite>,
    /// The recipe and which of its stages is looked at (from 0), for a run of ours.
    pub stage: Option<(Recipe, usize)>,
    /// Steps of the run before that stage.
    pub steps_before: u64,
    /// Steps and directories of the checkpoints, ascending.
    pub checkpoints: Vec<(u64, PathBuf)>,
    /// Why the run stopped by itself, with the step.
    pub failed: Option<(u64, String)>,
    /// An answer of the last step with saved rollouts.
    pub sample: Option<SampleSeen>,
}

/// One saved answer: what a table of numbers cannot show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleSeen {
    /// Its step.
    pub step: u64,
    /// The end of its prompt.
    pub prompt: String,
    /// What the model wrote.
    pub completion: String,
    /// What it was worth; `None` without a verdict.
    pub reward: Option<f32>,
}

impl History {
    /// A history of nothing but curves.
    pub fn of(path: impl Into<PathBuf>, writer: Writer, series: Vec<Series>) -> Self {
        Self {
            path: path.into(),
            writer,
            series,
            not_finite: Vec::new(),
            stage: None,
            steps_before: 0,
            checkpoints: Vec::new(),
            failed: None,
            sample: None,
        }
    }

    /// The curve of that name.
    pub fn get(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// The rl stage that is looked at, for a run of ours.
    pub fn rl(&self) -> Option<&Rl> {
        match self.stage.as_ref().and_then(|(recipe, at)| recipe.stages.get(*at)) {
            Some(Stage::Rl(rl)) => Some(rl),
            _ => None,
        }
    }

    /// First and last step that has a number.
    pub fn steps(&self) -> Option<(u64, u64)> {
        let first = self.series.iter().filter_map(|series| Some(series.points.first()?.0)).min()?;
        let last = self.series.iter().filter_map(|series| Some(series.points.last()?.0)).max()?;
        Some((first, last))
    }

    /// Whether any curve is long enough to show a trend.
    pub fn tells(&self) -> bool {
        self.series.iter().any(|series| series.points.len() >= FEWEST_POINTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: impl IntoIterator<Item = f64>) -> Series {
        let points = values.into_iter().enumerate().map(|(at, value)| (at as u64 + 1, value)).collect();
        Series { name: name.into(), written_as: name.into(), points }
    }

    #[test]
    fn begin_and_end_are_medians_of_windows() {
        let curve = series("reward", (1..=40).map(f64::from));
        assert_eq!((curve.window(), curve.begin(), curve.end()), (Some(4), Some(2.5), Some(38.5)));
        let short = series("reward", (1..=7).map(f64::from));
        assert_eq!((short.window(), short.end()), (None, None));
        let rare = series("eval/accuracy", [0.1, 0.7]);
        assert_eq!((rare.window(), rare.begin(), rare.end()), (Some(1), Some(0.1), Some(0.7)));
        assert_eq!(series("x", vec![1.0; 1000]).window(), Some(20));
    }

    #[test]
    fn noise_is_that_of_neighbours() {
        // Neighbours differ by 1: σ = 1/(0.6745·√2) = 1.04837; windows of 3: 1.2533·1.04837·√(2/3) = 1.07282.
        let saw = series("reward", (0..20).map(|at| f64::from(at % 2)));
        assert!((saw.noise() - 1.07282).abs() < 1e-4, "{}", saw.noise());
        assert_eq!(series("reward", vec![3.0; 20]).noise(), 0.0);
    }

    #[test]
    fn curves_keep_means_or_peaks() {
        let curve = series("x", [1.0, 3.0, 5.0, 70.0]);
        assert_eq!(curve.curve(2, false), [2.0, 37.5]);
        assert_eq!(curve.curve(2, true), [3.0, 70.0]);
        assert_eq!(curve.curve(9, false), [1.0, 3.0, 5.0, 70.0]);
    }
}
