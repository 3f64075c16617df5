//! What must hold for every method of the registry: derivatives, invariances, degenerate batches.

mod batches;
mod degenerate;
mod derivatives;
mod invariance;
mod one_shot;
mod reports;

use lapidary_core::{Key, Purpose, Ragged, TokenStats, Want};

use crate::correction::{Correction, Level, Opsm, OpsmLevel};
use crate::estimators::{Experience, TokenAdvantages};
use crate::loss::{LossBatch, LossOutput};
use crate::{
    Advantage, Aggregate, CorrectionMode, Denominator, Kl, KlEstimator, KlPlace, Method, Objective, OffPolicy,
    Prepared, Rejection, Surrogate,
};

const AGGREGATES: [Aggregate; 4] =
    [Aggregate::TokenMean, Aggregate::SeqMeanTokenMean, Aggregate::SeqMeanTokenSum, Aggregate::TokenSumConst];

/// A correction of every kind at once.
const CORRECTED: OffPolicy = OffPolicy {
    correction: Some(Correction {
        level: Level::Token,
        mode: CorrectionMode::Truncate,
        low: 0.0,
        high: 1.05,
        batch_normalise: true,
    }),
    rejection: Some(Rejection { level: Level::Token, low: 0.92, high: 1.09 }),
    veto: Some(0.905),
    denominator: Denominator::Remaining,
    bypass: false,
    opsm: Some(Opsm { delta: 0.05, level: OpsmLevel::Sequence }),
};

/// The defaults, and the same with every optional term on, in two ways.
fn variants(method: &Method) -> [Objective; 3] {
    let plain = (method.defaults)();
    let dual = match plain.surrogate {
        Surrogate::Clip { low, high, .. } => Surrogate::Clip { low, high, dual: Some(1.3) },
        other => other,
    };
    let kl = Kl { coefficient: 0.1, estimator: KlEstimator::K3, place: KlPlace::Loss, unbiased: false, adaptive: None };
    let full = Objective { surrogate: dual, kl, entropy_coefficient: 0.01, ..plain.clone() };
    if !plain.surrogate.uses_advantage() {
        return [plain, full.clone(), full];
    }
    let corrected = Objective { kl: Kl { unbiased: true, ..kl }, off_policy: CORRECTED, ..full.clone() };
    [plain, full, corrected]
}

fn key(case: u64) -> Key {
    Key::new(11, Purpose::Bootstrap).at(case)
}
