//! What a list of rewards asks of the model, of the group, and of the run's memory.

use std::collections::BTreeMap;

use crate::intrinsic::Reads;
use crate::{Attempt, Mix};

impl Mix {
    /// What its parts want to know of the tokens, one entry per view.
    pub fn reads(&self) -> Vec<Reads> {
        let mut all: Vec<Reads> = Vec::new();
        for reads in self.parts().iter().filter_map(|part| part.reward.reads()) {
            match all.iter_mut().find(|known| known.view == reads.view) {
                None => all.push(reads),
                Some(known) => {
                    known.want.entropy |= reads.want.entropy;
                    known.want.top |= reads.want.top;
                    known.want.mean_nll |= reads.want.mean_nll;
                    known.least_kl = known.least_kl.max(reads.least_kl);
                }
            }
        }
        all
    }

    /// Samples of a prompt that vote, where a part holds a vote; 0 leaves it to those that are learned from.
    pub fn votes(&self) -> Option<usize> {
        self.parts().iter().filter_map(|part| part.reward.votes()).max()
    }

    /// The label of the part that holds a vote.
    pub fn voting(&self) -> Option<&str> {
        self.parts().iter().find(|part| part.reward.votes().is_some()).map(|part| part.settings.label.as_str())
    }

    /// Gives every part what the run remembers of it, by label.
    pub fn recall(&mut self, memory: &BTreeMap<String, f64>) {
        for part in self.parts_mut() {
            part.reward.recall(memory.get(&part.settings.label).copied());
        }
    }

    /// What the run is to remember after these attempts, by label.
    pub fn remember(&self, attempts: &[Attempt<'_>]) -> BTreeMap<String, f64> {
        let part = |part: &crate::Part| Some((part.settings.label.clone(), part.reward.remember(attempts)?));
        self.parts().iter().filter_map(part).collect()
    }
}
