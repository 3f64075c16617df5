//! A stage's method, the settings put over its defaults, and whether they fit the rest of the stage.

use lapidary_algo::{Advantage, Method, MethodKind, Objective, Overrides, method, methods};
use lapidary_core::{Kind, Problem, Result};
use serde::Deserialize;

use super::check::{Checker, refused};
use super::names;
use super::nearest::listed;
use super::tree::{Node, Tree, Value};

/// The tables of a stage that carry the name of a method.
pub(super) type Settings = Vec<(&'static str, Overrides)>;

/// Takes `[stage.<method>]` out of every stage of the tree: the names are the registry's, so no struct can list them.
pub(super) fn take(root: &mut Node, tree: &Tree) -> Result<Vec<Settings>> {
    let Value::Table(entries) = &mut root.value else { return Ok(Vec::new()) };
    let Some((_, Node { value: Value::List(stages), .. })) = entries.iter_mut().find(|(key, _)| key == "stage") else {
        return Ok(Vec::new());
    };
    let mut all = Vec::with_capacity(stages.len());
    for (at, stage) in stages.iter_mut().enumerate() {
        let mut settings = Settings::new();
        for name in names::methods() {
            if let Some(node) = stage.take(name) {
                let given = Overrides::deserialize(&node)
                    .map_err(|refusal| refused(tree, refusal, &format!("stage.{}.{name}", at + 1)))?;
                settings.push((name, given));
            }
        }
        all.push(settings);
    }
    Ok(all)
}

impl Checker<'_> {
    /// The method of an rl stage.
    pub(super) fn method(&self, name: Option<String>) -> Result<&'static Method> {
        let rewarded = |method: &&Method| method.kind != MethodKind::Supervised;
        let known: Vec<&str> = methods().iter().filter(rewarded).map(|method| method.name).collect();
        let name = name.ok_or_else(|| {
            self.missing("method")
                .hint(format!("choose one of {}; see `lapidary methods`", listed(known.iter().copied())))
        })?;
        match method(&name) {
            Some(method) if rewarded(&method) => Ok(method),
            Some(_) => Err(self
                .wrong_value(
                    "R016",
                    "method",
                    format!("`{name}` does not learn from rewards"),
                    "in a stage of kind `rl`",
                )
                .hint(format!(
                    "make the stage `kind = \"{name}\"` without a `method`, or choose one of {}",
                    listed(known.iter().copied())
                ))),
            None => Err(self.unknown("R010", "method", "method", &name, &known)),
        }
    }

    /// The method's defaults with the stage's settings put over them.
    pub(super) fn objective(&self, name: &str, settings: &Settings) -> Result<Objective> {
        let Some(method) = method(name) else { unreachable!("`{name}` was looked up in the registry") };
        if let Some((other, _)) = settings.iter().find(|(other, _)| *other != name) {
            let place = self.tree.key_place(&self.path(other), format!("this stage uses `{name}`"));
            return Err(Problem::new(Kind::Usage, "R018", format!("settings of `{other}` in a stage of `{name}`"))
                .at(place)
                .why("they would have no effect")
                .hint(format!("rename the table to `[stage.{name}]`, or remove it")));
        }
        let defaults = (method.defaults)();
        let Some((_, given)) = settings.first() else { return Ok(defaults) };
        defaults.with(given).map_err(|invalid| {
            let key = format!("{name}.{}", invalid.key);
            self.wrong_value(
                "R017",
                &key,
                format!("`{}` cannot be {}", invalid.key, invalid.got),
                format!("expected {}", invalid.expected),
            )
        })
    }

    /// A baseline made of the group's other answers needs a group.
    pub(super) fn group_size(&self, method: &Method, objective: &Objective, samples: usize) -> Result<()> {
        let why = match objective.advantage {
            Advantage::GroupMean
            | Advantage::GroupZscore { .. }
            | Advantage::BatchZscore { .. }
            | Advantage::WhitenedGroupMean => "advantage = reward − group mean; with one sample the mean is the reward",
            Advantage::EntropyTokens(_) | Advantage::EntropySequences(_) => {
                "credit by entropy compares right and wrong answers of a group; one sample is all right or all wrong"
            }
            Advantage::LeaveOneOut => {
                "advantage = reward − mean of the other samples; with one sample there is no other"
            }
            Advantage::Raw
            | Advantage::BatchMean
            | Advantage::WhitenedReturn { .. }
            | Advantage::Gae { .. }
            | Advantage::EntropyShare => return Ok(()),
        };
        let least = match method.kind {
            MethodKind::Group { min_samples } => min_samples.max(2),
            MethodKind::Single | MethodKind::Supervised => 2,
        };
        if samples >= least {
            return Ok(());
        }
        let place = self.tree.value_place(&self.path("method"), "");
        let label =
            format!("must be {least} or more for method `{}` ({}:{})", method.name, place.path.display(), place.line);
        Err(self
            .wrong_value(
                "R014",
                "samples_per_prompt",
                format!("group size {samples} makes every advantage of `{}` zero", method.name),
                label,
            )
            .why(why)
            .hint("set `samples_per_prompt = 8`, or use `method = \"reinforce\"`, which has no group baseline"))
    }
}
