//! Studies: does a method do, at our scale, what its paper claims?
//!
//! ```text
//! study file ─▶ one start per seed ─▶ every arm from that start ─▶ measures ─▶ paired differences ─▶ verdicts, page
//! ```
//! A study is a TOML file: its arms, task, budget, measures and claims. Arms of a seed start from the same weights and read the
//! same prompts in the same order, so a difference is the method's. A claim that does not hold is printed as such.

mod page;
mod plot;
mod runs;
mod verdict;

use lapidary_core::{Kind, Problem, Result};
use serde::Deserialize;

pub use page::{Circumstances, page, terminal};
pub use plot::{curves, forest};
pub use runs::{ArmRun, Heard, Plan, run};
pub use verdict::{Difference, Findings, Holds, Judgement};

/// Seeds below which an interval says next to nothing.
pub const LEAST_SEEDS: u64 = 5;

const STUDIES: &[(&str, &str)] = &[
    ("gspo", include_str!("studies/gspo.toml")),
    ("gtpo", include_str!("studies/gtpo.toml")),
    ("mgrpo", include_str!("studies/mgrpo.toml")),
    ("one-shot-rlvr", include_str!("studies/one-shot-rlvr.toml")),
    ("one-shot-ablations", include_str!("studies/one-shot-ablations.toml")),
    ("uft", include_str!("studies/uft.toml")),
    ("relift", include_str!("studies/relift.toml")),
    ("rlsf", include_str!("studies/rlsf.toml")),
    ("rlsf-paper", include_str!("studies/rlsf-paper.toml")),
];

/// Names of the studies that come with the program.
pub fn names() -> Vec<&'static str> {
    STUDIES.iter().map(|(name, _)| *name).collect()
}

/// The name of what comes before the arms.
const START: &str = "start";

/// A study as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name: that of the method.
    pub name: String,
    /// A heading.
    pub title: String,
    /// Where the claim was published.
    pub paper: String,
    /// What is asked, in a few sentences.
    pub question: String,
    /// The arm that the others are compared with.
    pub baseline: String,
    /// Recipe of what comes before every arm of a seed.
    pub start: String,
    /// Recipe of an arm, before its overrides; its model is the start's checkpoint.
    pub recipe: String,
    /// What is compared.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
    /// What is measured of every run.
    #[serde(rename = "measure")]
    pub measures: Vec<Measure>,
    /// What must be seen.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
    /// Metrics that are drawn over the steps.
    pub curves: Vec<String>,
    /// A metric whose last value is a step (0: none): drawn as a line across the curves of its arm.
    pub mark: Option<String>,
}

/// One way of training.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// A short name.
    pub name: String,
    /// What is different about it.
    pub about: String,
    /// The arm's own recipe, where it is more than an override of the study's.
    pub recipe: Option<String>,
    /// Overrides of the recipe, as `--set` takes them. `{run.NAME}` in them is the directory of another arm's run of the same
    /// seed (or of `start`), which is done before this one.
    pub set: Vec<String>,
}

impl Arm {
    /// The runs that its overrides name.
    fn mentions(&self) -> impl Iterator<Item = &str> {
        let names = |set: &'_ String| -> Vec<std::ops::Range<usize>> {
            let opens = set.match_indices("{run.").map(|(at, open)| at + open.len());
            opens.filter_map(|from| Some(from..from + set[from..].find('}')?)).collect()
        };
        self.set.iter().flat_map(move |set| names(set).into_iter().map(move |range| &set[range]))
    }
}

/// A number of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// A short name.
    pub name: String,
    /// A few words.
    pub title: String,
    /// A metric of `metrics.jsonl`, or `pass@k` of the last evaluation.
    pub metric: String,
    /// What is made of its rows.
    pub take: Take,
}

/// How the rows of a metric become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The mean over all steps.
    Mean,
    /// The mean over the last quarter of the steps.
    Tail,
    /// The largest.
    Max,
    /// The last: for evaluations.
    Last,
}

/// What a measure must show of an arm against another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The claim in words.
    pub text: String,
    /// The arm it is about.
    pub arm: String,
    /// The arm it is compared with; the baseline by default.
    pub against: Option<String>,
    /// The measure.
    pub measure: String,
    /// The measure of the arm that it is compared with; the same by default.
    pub against_measure: Option<String>,
    /// What the difference must be.
    pub is: Relation,
    /// How much worse still counts as equal; only with `at_least` and `at_most`.
    #[serde(default)]
    pub margin: f64,
}

impl Claim {
    /// What is compared with what.
    pub(crate) fn pair(&self, baseline: &str) -> [String; 2] {
        let against = self.against.as_deref().unwrap_or(baseline);
        match &self.against_measure {
            None => [self.arm.clone(), against.to_string()],
            Some(other) => [format!("{} ({})", self.arm, self.measure), format!("{against} ({other})")],
        }
    }
}

/// What a paired difference must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Above 0.
    Higher,
    /// Below 0.
    Lower,
    /// Not below −margin.
    AtLeast,
    /// Not above margin.
    AtMost,
}

impl Study {
    /// A study that comes with the program.
    ///
    /// # Errors
    /// `Usage`: there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let known = names();
        match STUDIES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => Err(Problem::new(Kind::Usage, "R025", format!("there is no study `{name}`"))
                .hint(format!("studies are `{}`; a study of your own is a TOML file", known.join("`, `")))),
        }
    }

    /// Reads a study; every name that it mentions must be there.
    ///
    /// # Errors
    /// `Usage`: not a study.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Problem::new(Kind::Usage, "R026", format!("not a study: {what}"));
        let study: Study = toml::from_str(text).map_err(|error| wrong(error.message().to_string()))?;
        let arm = |name: &str| study.arms.iter().any(|arm| arm.name == name);
        let measure = |name: &str| study.measures.iter().any(|measure| measure.name == name);
        if !arm(&study.baseline) {
            return Err(wrong(format!("the baseline `{}` is no arm", study.baseline)));
        }
        let mut names: Vec<&str> = study.arms.iter().map(|arm| arm.name.as_str()).chain([START]).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong(format!("two runs are called `{}` (what comes before the arms is `{START}`)", twice[0])));
        }
        for claim in &study.claims {
            let named = [Some(&claim.arm), claim.against.as_ref()].into_iter().flatten().find(|name| !arm(name));
            if let Some(name) = named {
                return Err(wrong(format!("a claim is about `{name}`, which is no arm")));
            }
            let measured = [Some(&claim.measure), claim.against_measure.as_ref()];
            if let Some(name) = measured.into_iter().flatten().find(|name| !measure(name)) {
                return Err(wrong(format!("a claim is about `{name}`, which is not measured")));
            }
        }
        study.waves()?;
        Ok(study)
    }

    /// The arms in the order in which they can be run: each wave needs runs of the waves before it only.
    ///
    /// # Errors
    /// `Usage`: an arm needs a run that is none, or that needs its own.
    fn waves(&self) -> Result<Vec<Vec<usize>>> {
        let wrong = |what: String| Problem::new(Kind::Usage, "R026", format!("not a study: {what}"));
        let mut waves: Vec<Vec<usize>> = Vec::new();
        let mut left: Vec<usize> = (0..self.arms.len()).collect();
        while !left.is_empty() {
            let done = |name: &str| name == START || waves.iter().flatten().any(|&arm| self.arms[arm].name == name);
            let waits = |arm: &usize| self.arms[*arm].mentions().find(|name| !done(name));
            let ready: Vec<usize> = left.iter().copied().filter(|arm| waits(arm).is_none()).collect();
            if ready.is_empty() {
                let stuck = left.iter().find_map(|arm| Some((*arm, waits(arm)?)));
                let stuck = stuck.map(|(arm, name)| {
                    format!("arm `{}` waits for `{name}`, which is never done", self.arms[arm].name)
                });
                return Err(wrong(stuck.unwrap_or_default()));
            }
            left.retain(|arm| !ready.contains(arm));
            waves.push(ready);
        }
        Ok(waves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_study_is_sound_and_has_recipes_for_all_arms() {
        for name in names() {
            let study = Study::named(name).unwrap();
            assert_eq!(study.name, name);
            assert!(study.arms.len() >= 2 && !study.claims.is_empty());
            runs::start_recipe(&study, 1).unwrap();
            for arm in &study.arms {
                let place = |name: &str| format!("runs/{name}-1").into();
                let recipe = runs::arm_recipe(&study, arm, 1, "some/checkpoint", &place).unwrap();
                assert!(!recipe.stages.is_empty(), "{}", arm.name);
            }
        }
    }

    /// An arm that names another's run comes after it, whatever their order; a circle is refused.
    #[test]
    fn arms_wait_for_the_runs_that_they_name() {
        let arms = |sets: &[&str]| {
            let mut study = Study::named("gtpo").unwrap();
            study.arms = sets
                .iter()
                .enumerate()
                .map(|(at, set)| Arm {
                    name: format!("a{at}"),
                    about: String::new(),
                    recipe: None,
                    set: vec![set.to_string()],
                })
                .collect();
            study
        };
        let set = "stage.rl.one_shot.run=\"{run.a1}\"";
        let study = arms(&[set, "seed=1", "name=\"{run.a0}-{run.a1}-{run.start}\""]);
        assert_eq!(study.waves().unwrap(), [vec![1], vec![0], vec![2]]);
        assert_eq!(study.arms[2].mentions().collect::<Vec<_>>(), ["a0", "a1", "start"]);
        let circle = arms(&["name={run.a1}", "name={run.a0}"]).waves().unwrap_err();
        assert!(circle.message().contains("arm `a0` waits for `a1`"), "{circle}");
        assert_eq!(arms(&["name={run.absent}"]).waves().unwrap_err().code(), "R026");
        assert_eq!(arms(&["name={run.a0"]).waves().unwrap(), [vec![0]], "not closed, so no name");
    }

    #[test]
    fn names_that_are_nowhere_are_refused() {
        let text = STUDIES[0].1.replace("baseline = \"grpo\"", "baseline = \"grop\"");
        assert!(Study::parse(&text).unwrap_err().message().contains("`grop` is no arm"));
        for (from, to) in [
            ("name = \"gspo\"\nabout", "name = \"grpo\"\nabout"),
            ("name = \"gspo\"\nabout", "name = \"start\"\nabout"),
        ] {
            let twice = Study::parse(&STUDIES[0].1.replace(from, to)).unwrap_err();
            assert!(twice.message().contains("two runs are called"), "{twice}");
        }
        assert_eq!(Study::named("gpso").unwrap_err().code(), "R025");
    }
}
