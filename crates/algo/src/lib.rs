//! Pure objectives: a method is four choices and a few numbers.
//!
//! ```text
//! advantage × ratio × surrogate × aggregate   (+ KL to a reference, + entropy bonus)
//! ```
//! Every loss here is a function of per-token quantities of sampled tokens, so a loss is answered as a number together
//! with its closed-form derivative by each log-probability and entropy ([`Objective::loss`]); no tensor is ever seen.
//! Storage is `f32`, arithmetic is `f64`. There are no files, clocks, threads or random numbers in this crate.
//!
//! The methods are rows of a registry ([`methods()`]), one file each under `methods/`.
//!
//! ```
//! use lapidary_algo::method;
//! let grpo = method("grpo").expect("registered");
//! let objective = (grpo.defaults)();
//! // Four answers to one prompt, two of them right.
//! let rewards = [Some(1.0), Some(0.0), Some(0.0), Some(1.0)];
//! let advantages = objective.advantages(&lapidary_algo::Experience::of_rewards(&rewards, &[0, 0, 0, 0]))?;
//! assert!((advantages.mean_of(0) - 0.866024).abs() < 1e-6);
//! # Ok::<(), lapidary_core::Problem>(())
//! ```

// Golden numbers are written as the specification prints them, roots and e among them.
#![cfg_attr(test, allow(clippy::approx_constant))]

mod aggregate;
mod correction;
mod critic;
mod estimators;
mod kl;
mod loss;
mod metrics;
mod objective;
mod overrides;
mod page;
#[cfg(test)]
mod properties;
mod ratio;
mod shaping;
mod state;
mod surrogate;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod verl;

pub mod methods;
pub mod preference;

pub use aggregate::{Aggregate, Normaliser};
pub use correction::{Correction, CorrectionMode, Denominator, Level, OffPolicy, Opsm, OpsmLevel, Rejection};
pub use critic::Critic;
pub use estimators::{
    Advantage, Advantages, EntropyCredit, EntropyMean, EntropyPosition, Experience, Normalise, RowAdvantage, Scope,
    TokenAdvantages, rewards_vary,
};
pub use kl::{AdaptiveKl, Kl, KlEstimator, KlPlace};
pub use loss::{LossBatch, LossOutput};
pub use methods::{Method, MethodKind, Source, method, methods};
pub use metrics::{LossMetrics, Metric, metric, metrics};
pub use objective::{Needs, Objective, Prepared};
pub use overrides::{AdvantageName, InvalidSetting, LevelName, Overrides, SurrogateName};
pub use page::methods_page;
pub use preference::{
    Answer, Auxiliary, Example, Label, Pair, Preference, PreferenceBatch, PreferenceLoss, PreferenceOverrides,
    PreferenceState, Single, Synthetic, preference_loss, preference_losses,
};
pub use ratio::Ratio;
pub use shaping::{GroupOverlong, Overlong, overlong_penalty};
pub use state::MethodState;
pub use surrogate::Surrogate;
