//! A stage that learns from the pairs of an earlier stage, before these are written.

use std::sync::Arc;

use lapidary_core::{Item, Kind, Problem, Result};
use lapidary_task::{Split, Task};

use crate::bench::Bench;
use crate::prompts::Prompts;
use crate::recipe::TaskChoice;
use crate::reference::Reference;
use crate::stage::{StepReport, Work};
use crate::state::RunState;

/// Stands for the work of such a stage until the stage begins.
pub(crate) struct Waiting {
    prompts: Prompts,
}

impl Waiting {
    pub(crate) fn new(choice: &TaskChoice, seed: u64) -> Self {
        let name = format!("pairs of stage {}", choice.pairs.map_or(0, |stage| stage + 1));
        Self { prompts: Prompts::over(Arc::new(Unwritten { name }), choice, "unwritten", seed) }
    }
}

impl Work for Waiting {
    fn step(&mut self, _: &mut Bench<'_, '_>, _: &mut RunState) -> Result<StepReport> {
        unreachable!("a stage is made ready before its first step")
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn set_reference(&mut self, _: Reference) {}
}

/// Pairs of which nothing is known but whose they will be.
struct Unwritten {
    name: String,
}

impl Task for Unwritten {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self, _: Split) -> Option<usize> {
        None
    }

    fn item(&self, _: Split, _: u64) -> Result<Item> {
        Err(Problem::new(Kind::Usage, "D049", format!("the {} are not written yet", self.name)))
    }

    fn answer_reward(&self) -> &'static str {
        "answer"
    }
}
