//! Preference losses: functions of how likely two answers are (or what a reward head says of them), and of who won.
//!
//! ```text
//! score s = logp − logp_ref | …   reward r = β·s   L = Σ_k weight_k · mean_i loss_k(r_w, r_l; label, margin)
//! ```
//! One file each under `losses/`, one line each in the registry; every loss that sees a margin alone also trains a reward
//! model, whose head says `r` itself. A loss is answered with its derivative by each row's log-probability sum, from which
//! the token gradients follow ([`Preference::token_loss`]), or by each row's reward ([`Preference::reward_loss`]).
//!
//! Losses that couple the pairs of a batch ([`Coupling`]) are asked once for the whole optimiser step
//! ([`Preference::prepare`]); after that every loss is a sum over examples and may be cut into micro-batches anywhere.
//!
//! ```
//! use lapidary_algo::{Answer, Pair, PreferenceOverrides, PreferenceState, preference_loss};
//! let dpo = preference_loss("dpo").expect("registered").policy(&PreferenceOverrides::default()).expect("vetted");
//! let answers = [Answer::new(-10.0, -11.5, 10), Answer::new(-9.0, -8.5, 8)]; // log-ratios 1.5 and −0.5
//! let examples = [Pair::new(0, 1).into()];
//! let prepared = dpo.prepare(&answers, &examples, &[], &PreferenceState::default(), 0.0);
//! let output = dpo.loss(&answers, &examples, 0, &prepared);
//! assert!((output.loss - 0.598139).abs() < 1e-6);
//! ```

mod choices;
mod coupling;
mod example;
mod formula;
mod loss;
mod losses;
mod metrics;
mod numbers;
pub(crate) mod numeric;
mod page;
mod plot;
#[cfg(test)]
mod properties;
mod pull;
mod resolve;
mod rewards;
mod robust;
mod row;
mod score;
#[cfg(test)]
mod testing;
mod tokens;
mod unfit;

pub use choices::{Choices, Divergence, Rho, RhoOn, Shift, Ties, Weighting};
pub use coupling::{Coupling, PreferencePrepared, PreferenceState};
pub use example::{Auxiliary, Example, Label, Pair, Single, Synthetic, Useless, useless};
pub use formula::{Formula, PairTerm, Point};
pub use loss::PreferenceOutput;
pub use losses::{preference_loss, preference_losses};
pub use metrics::{PreferenceMetrics, preference_metric, preference_metrics};
pub use numbers::{Number, Numbers, Parameter, PreferenceOverrides, Range};
pub use page::preference_page;
pub use plot::preference_plot;
pub use resolve::{Preference, PreferenceNeeds};
pub use rewards::RewardOutput;
pub use robust::{Drpo, DrpoOutput, DrpoSample, clipped, fold_of, symmetrised};
pub use row::{Learns, PreferenceLoss};
pub use score::{Answer, Score};
pub use tokens::{PreferenceBatch, PreferenceTokenOutput, wpo_log_weight};
pub use unfit::Unfit;
