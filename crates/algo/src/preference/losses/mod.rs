//! Preference losses: one file each, one line each in the registry.

mod alphapo;
mod aot;
mod aot_unpaired;
mod apo_down;
mod apo_zero;
mod bco;
mod bradley_terry;
mod cdpo;
mod cpo;
mod discopop;
mod dpo;
mod dr_dpo;
mod exo;
mod gce;
mod hinge;
mod holder;
mod ipo;
mod ipo_sum;
mod kto;
mod m_estimator;
mod nca;
mod orpo;
mod ramp;
mod rdpo;
mod reward_bce;
mod ropo;
mod sigmoid_norm;
mod simpo;
mod sppo;
mod vrpo;

/// What every loss's file says of itself with.
mod prelude {
    pub(super) use crate::methods::Suggestion;
    pub(super) use crate::preference::coupling::Coupling;
    pub(super) use crate::preference::formula::{Context, Formula, Point};
    pub(super) use crate::preference::numbers::{Number, Parameter, Range};
    pub(super) use crate::preference::row::{Choice, Learns, PreferenceLoss};
    pub(super) use crate::preference::score::Score;

    /// β where a paper says nothing else.
    pub(super) const BETA_OF_DPO: Parameter = Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "arXiv 2305.18290, app. B; TRL",
    };
    /// The learning rate where a paper says nothing else.
    pub(super) const RATE_OF_DPO: Suggestion = Suggestion {
        key: "learning_rate",
        value: 1e-6,
        source: "TRL; arXiv 2305.18290, app. B has 1e-6 for models of 2.8 B and more",
    };
}

use super::row::PreferenceLoss;

/// Every loss, in the order of the docs.
static REGISTRY: &[PreferenceLoss] = &[
    dpo::LOSS,
    cdpo::LOSS,
    rdpo::LOSS,
    ipo::LOSS,
    ipo_sum::LOSS,
    hinge::LOSS,
    ramp::LOSS,
    exo::LOSS,
    nca::LOSS,
    bco::LOSS,
    sppo::LOSS,
    apo_zero::LOSS,
    apo_down::LOSS,
    discopop::LOSS,
    ropo::LOSS,
    holder::LOSS,
    dr_dpo::LOSS,
    aot::LOSS,
    aot_unpaired::LOSS,
    gce::LOSS,
    sigmoid_norm::LOSS,
    kto::LOSS,
    orpo::LOSS,
    simpo::LOSS,
    alphapo::LOSS,
    cpo::LOSS,
    m_estimator::LOSS,
    vrpo::LOSS,
    bradley_terry::LOSS,
    reward_bce::LOSS,
];

/// All preference losses.
pub fn preference_losses() -> &'static [PreferenceLoss] {
    REGISTRY
}

/// The preference loss of that name.
pub fn preference_loss(name: &str) -> Option<&'static PreferenceLoss> {
    REGISTRY.iter().find(|loss| loss.name == name)
}
