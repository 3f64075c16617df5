//! What a KL term measures against: the model as it was when the stage began.

use std::sync::Arc;

use lapidary_core::{Result, Want};
use lapidary_engine::Engine;

use crate::bench::Bench;
use crate::look::in_microbatches;
use crate::rows::Rows;

/// Where the reference's numbers come from.
#[derive(Clone)]
pub(crate) enum Reference {
    /// A frozen copy of the weights.
    Frozen(Arc<dyn Engine>),
    /// The weights with their adapter switched off: what the adapter started from, without a second copy.
    WithoutAdapter,
}

impl Reference {
    /// The frozen copy, which can sample; the weights without their adapter cannot.
    pub(crate) fn engine(&self) -> Option<&dyn Engine> {
        match self {
            Reference::Frozen(engine) => Some(&**engine),
            Reference::WithoutAdapter => None,
        }
    }

    /// Fills in what the reference says of rows.
    pub(crate) fn look_back(&self, bench: &Bench<'_, '_>, rows: &mut Rows, budget: usize) -> Result<()> {
        let stats = in_microbatches(rows, budget, |tokens| match self {
            Reference::Frozen(engine) => engine.score(tokens, Want::default()),
            Reference::WithoutAdapter => bench.engine.score_base(tokens, Want::default()),
        })?;
        rows.logp_reference = Some(stats.logp);
        Ok(())
    }
}
