//! When reinforcement learning gives way to demonstrations: detectors, and the state machine that combines them.
//!
//! ReLIFT's paper (arXiv 2506.07527) switches when enough unsolved questions wait in the buffer; the article behind this project
//! names three signals: a plateau, a knowledge gap, a distribution shift. Here both are signals of one machine:
//!
//! ```text
//! rl ─▶ sft   when the policy is satisfied, the last phase is `cooldown` steps away, enough demonstrations wait, budget is left
//! sft ─▶ rl   after the updates of the phase; detectors start counting anew
//! ```
//! Everything here is pure: numbers in, decisions out.

mod gap;
mod plateau;
mod shift;

use serde::{Deserialize, Serialize};

pub use gap::{GapRule, GapState, Gaps, KeyState, probability_below};
pub use plateau::{Delta, PlateauRule, PlateauState};
pub use shift::{Input, Mark, ShiftRule, ShiftState, js, kl, psi};

/// How signals combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SwitchPolicy {
    /// The buffer holds enough demonstrations: the paper's rule.
    #[default]
    Buffer,
    /// Any signal fires.
    Any,
    /// Every detector fires.
    All,
    /// The weights of the signals that fire reach the threshold.
    Weighted,
}

/// A reason to switch; the bit it has in `switch/signals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The buffer holds as many demonstrations as a phase takes.
    Buffer = 1,
    /// A metric no longer improves.
    Plateau = 2,
    /// A kind of question is not answered.
    Gap = 4,
    /// Training runs away from held-out accuracy.
    ShiftGap = 8,
    /// The questions have changed.
    ShiftInput = 16,
    /// The policy has left the demonstrations.
    ShiftPolicy = 32,
}

impl Reason {
    /// Its name in events and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Buffer => "buffer",
            Reason::Plateau => "plateau",
            Reason::Gap => "gap",
            Reason::ShiftGap => "shift_gap",
            Reason::ShiftInput => "shift_input",
            Reason::ShiftPolicy => "shift_policy",
        }
    }
}

/// One of the things that can fire: the buffer, or a detector with all its monitors.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// What fires now; empty where nothing does.
    pub reasons: Vec<Reason>,
    /// Its weight under [`SwitchPolicy::Weighted`].
    pub weight: f64,
}

impl Signal {
    /// Of those, the reasons that hold.
    pub fn of(weight: f64, reasons: &[(Reason, bool)]) -> Self {
        Self { reasons: reasons.iter().filter(|(_, fires)| *fires).map(|(reason, _)| *reason).collect(), weight }
    }

    fn fires(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// When the machine moves.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineRule {
    /// How signals combine.
    pub policy: SwitchPolicy,
    /// Sum of weights that is enough, with [`SwitchPolicy::Weighted`].
    pub threshold: f64,
    /// Steps from one supervised phase to the next, at least.
    pub cooldown: u64,
    /// Demonstrations that must wait.
    pub min_buffer: usize,
    /// Supervised updates in the stage; `None` has no limit.
    pub budget: Option<u64>,
}

/// What a stage is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Learning from rewards.
    #[default]
    Rl,
    /// Learning from demonstrations.
    Sft,
}

/// Where the machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What the stage is doing.
    pub mode: Mode,
    /// Step of the last supervised phase.
    pub last_phase: Option<u64>,
    /// Supervised phases so far.
    pub phases: u64,
    /// Supervised updates so far.
    pub updates: u64,
}

/// Why the machine stays in reinforcement learning although its policy is satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The last phase was too few steps ago.
    Cooldown,
    /// Too few demonstrations wait.
    Buffer,
    /// The stage has had all its supervised updates.
    Budget,
}

/// What the machine does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The policy is not satisfied.
    Stay,
    /// It is, but something else is not.
    Hold(Held),
    /// Demonstrations are learned, for these reasons.
    Switch(Vec<Reason>),
}

/// Whether signals satisfy a policy. Without signals none does.
pub fn satisfied(rule: &MachineRule, signals: &[Signal]) -> bool {
    let mut fired = signals.iter().filter(|signal| signal.fires());
    match rule.policy {
        SwitchPolicy::Buffer | SwitchPolicy::Any => fired.next().is_some(),
        SwitchPolicy::All => !signals.is_empty() && signals.iter().all(Signal::fires),
        // Sums of decimals are not decimals: reaching the threshold exactly is enough.
        SwitchPolicy::Weighted => {
            let sum: f64 = fired.map(|signal| signal.weight).sum();
            sum > 0.0 && sum >= rule.threshold - 1e-12
        }
    }
}

impl Machine {
    /// Decides after `step`, with `waiting` demonstrations in the buffer.
    pub fn decide(&self, rule: &MachineRule, step: u64, waiting: usize, signals: &[Signal]) -> Decision {
        assert_eq!(self.mode, Mode::Rl, "a phase ends before the next decision");
        if !satisfied(rule, signals) {
            return Decision::Stay;
        }
        if self.last_phase.is_some_and(|last| step - last < rule.cooldown) {
            return Decision::Hold(Held::Cooldown);
        }
        if waiting < rule.min_buffer.max(1) {
            return Decision::Hold(Held::Buffer);
        }
        if self.left(rule) == Some(0) {
            return Decision::Hold(Held::Budget);
        }
        Decision::Switch(signals.iter().flat_map(|signal| signal.reasons.iter().copied()).collect())
    }

    /// Supervised updates that are left; `None` has no limit.
    pub fn left(&self, rule: &MachineRule) -> Option<u64> {
        rule.budget.map(|budget| budget.saturating_sub(self.updates))
    }

    /// Goes over to demonstrations.
    pub fn begin(&mut self, step: u64) {
        assert_eq!(self.mode, Mode::Rl, "a phase begins from reinforcement learning");
        (self.mode, self.last_phase) = (Mode::Sft, Some(step));
        self.phases += 1;
    }

    /// Goes back, after so many updates.
    pub fn end(&mut self, updates: u64) {
        assert_eq!(self.mode, Mode::Sft, "only a phase can end");
        self.mode = Mode::Rl;
        self.updates += updates;
    }
}

/// A move of the machine: an event of the run, a line of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// Step of the run.
    pub step: u64,
    /// What the stage does from now on.
    pub to: Mode,
    /// Why, by name.
    pub reasons: Vec<String>,
    /// The same as bits.
    pub mask: u64,
    /// Demonstrations that wait.
    pub buffer: usize,
    /// What was seen: the numbers of the detectors, or of the phase that ends.
    pub metrics: Vec<(String, f64)>,
}

/// The bits of reasons.
pub fn mask(reasons: &[Reason]) -> u64 {
    reasons.iter().fold(0, |mask, reason| mask | u64::from(*reason as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(policy: SwitchPolicy) -> MachineRule {
        MachineRule { policy, threshold: 1.0, cooldown: 10, min_buffer: 4, budget: Some(3) }
    }

    fn signals(fired: [bool; 3]) -> Vec<Signal> {
        vec![
            Signal::of(0.3, &[(Reason::Plateau, fired[0])]),
            Signal::of(0.7, &[(Reason::Gap, fired[1])]),
            Signal::of(
                0.6,
                &[(Reason::ShiftGap, fired[2]), (Reason::ShiftInput, fired[2]), (Reason::ShiftPolicy, false)],
            ),
        ]
    }

    #[test]
    fn policies_combine_signals() {
        let table = [
            // (fired, any, all, weighted)
            ([false, false, false], false, false, false),
            ([true, false, false], true, false, false),
            ([false, true, false], true, false, false),
            ([true, true, false], true, false, true), // 0.3 + 0.7 reach 1.0 exactly
            ([true, false, true], true, false, false), // a detector weighs once, however many of its monitors fire
            ([false, true, true], true, false, true),
            ([true, true, true], true, true, true),
        ];
        for (fired, any, all, weighted) in table {
            let found = [SwitchPolicy::Any, SwitchPolicy::All, SwitchPolicy::Weighted]
                .map(|policy| satisfied(&rule(policy), &signals(fired)));
            assert_eq!(found, [any, all, weighted], "{fired:?}");
        }
        assert!(!satisfied(&rule(SwitchPolicy::All), &[]), "nothing is not everything");
    }

    #[test]
    fn cooldown_buffer_and_budget_hold_it_back() {
        let rule = rule(SwitchPolicy::Any);
        let fired = signals([true, false, true]);
        let mut machine = Machine::default();
        assert_eq!(machine.decide(&rule, 1, 9, &signals([false; 3])), Decision::Stay);
        assert_eq!(machine.decide(&rule, 1, 3, &fired), Decision::Hold(Held::Buffer));
        let reasons = vec![Reason::Plateau, Reason::ShiftGap, Reason::ShiftInput];
        assert_eq!(
            machine.decide(&rule, 1, 4, &fired),
            Decision::Switch(reasons.clone()),
            "the first may come at once"
        );
        assert_eq!(mask(&reasons), 2 + 8 + 16);
        machine.begin(1);
        assert_eq!(machine.mode, Mode::Sft);
        machine.end(2);
        assert_eq!(machine.decide(&rule, 10, 9, &fired), Decision::Hold(Held::Cooldown));
        assert!(matches!(machine.decide(&rule, 11, 9, &fired), Decision::Switch(_)));
        machine.begin(11);
        machine.end(1);
        assert_eq!(machine.decide(&rule, 30, 9, &fired), Decision::Hold(Held::Budget));
        assert_eq!((machine.phases, machine.updates, machine.left(&rule)), (2, 3, Some(0)));
    }

    #[test]
    #[should_panic(expected = "only a phase can end")]
    fn a_phase_that_never_began_cannot_end() {
        Machine::default().end(1);
    }
}
