//! Events to labels (specification C §5.3): final states after maturity windows, whatever the order in which events came.

use std::collections::BTreeMap;

use lapidary_statistics::Comoments;
use serde::Serialize;

use crate::event::{Dwell, Event, Impression, Op, Payload, ReactionKind};
use crate::prior::sigmoid;

const HOUR_MS: i64 = 3600 * 1000;
/// Milliseconds an answer must have been visible to count as seen.
pub const SEEN_MS: u64 = 1000;
/// How far the watermark is behind the latest arrival: what comes later corrects the next snapshot.
pub const LATENESS_MS: i64 = 48 * HOUR_MS;

/// How long after its impression each signal of an answer counts, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    /// Reactions and copies.
    pub reaction_ms: i64,
    /// Regenerate, and edit and send again.
    pub regenerate_ms: i64,
    /// Shares.
    pub share_ms: i64,
}

impl Default for Windows {
    /// 24 hours, 10 minutes, 7 days.
    fn default() -> Self {
        Self { reaction_ms: 24 * HOUR_MS, regenerate_ms: 10 * 60 * 1000, share_ms: 7 * 24 * HOUR_MS }
    }
}

/// How long an answer of some tokens is usually looked at: `ln seconds = a + b·ln tokens`, with residual deviation s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DwellModel {
    /// a.
    pub intercept: f64,
    /// b.
    pub slope: f64,
    /// s, above 0.
    pub deviation: f64,
}

impl DwellModel {
    /// `z = (ln seconds − (a + b·ln tokens))/s`: raw dwell would reward verbosity. `None` without a second or a token.
    pub fn residual(&self, seconds: f64, tokens: u32) -> Option<f64> {
        let usual = self.intercept + self.slope * f64::from(tokens).ln();
        (seconds > 0.0 && tokens > 0).then(|| (seconds.ln() - usual) / self.deviation)
    }

    /// Least squares on `(seconds, tokens)`. `None` with fewer than three answers, one length, or no deviation.
    pub fn fit(dwells: &[(f64, u32)]) -> Option<Self> {
        let sound = dwells.iter().filter(|(seconds, tokens)| *seconds > 0.0 && *tokens > 0);
        let m = Comoments::of(sound.map(|(seconds, tokens)| (f64::from(*tokens).ln(), seconds.ln())));
        if m.x.count < 3 || m.x.squares <= 0.0 {
            return None;
        }
        let slope = m.products / m.x.squares;
        let deviation = ((m.y.squares - slope * m.products).max(0.0) / (m.x.count - 2) as f64).sqrt();
        (deviation > 0.0).then_some(Self { intercept: m.y.mean - slope * m.x.mean, slope, deviation })
    }
}

/// The labels of one answer that was seen. A head that is null has not matured, or nothing is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Tenant.
    pub tenant: String,
    /// The answer.
    pub response_id: String,
    /// Who saw it.
    pub user_key: String,
    /// When, in milliseconds since 1970.
    pub seen_at_ms: i64,
    /// Which weights answered.
    pub policy_version: String,
    /// Probability of the arm.
    pub assignment_prob: f64,
    /// Position among the shown answers.
    pub position: u32,
    /// Love or like at the end of the window: 1, else 0. Silence is 0: right for a rate of love, not for satisfaction
    /// ([`crate::positive_unlabelled`]).
    pub love: Option<u8>,
    /// Dislike or report at the end of the window.
    pub dislike: Option<u8>,
    /// Reported: also for safety.
    pub report: Option<u8>,
    /// Replaced or asked again within its window: negative for the replaced answer.
    pub replaced: Option<u8>,
    /// Copied.
    pub copied: Option<u8>,
    /// Shared.
    pub shared: Option<u8>,
    /// `σ(z)` of the dwell residual.
    pub dwell: Option<f64>,
}

/// The watermark of what was received: labels whose windows end before it are closed. `None` without events.
pub fn watermark(events: &[Event]) -> Option<i64> {
    events.iter().map(|event| event.received_at_ms).max().map(|latest| latest - LATENESS_MS)
}

/// The labels of all answers that were seen for a second with consent to training, by tenant and answer. A pure function of the *set* of
/// events: their order and repetition change no byte.
///
/// Of each kind of event of an answer the one with the largest `(occurred_at, event_id)` within its window counts, so that a reaction that was
/// taken back in time is none, and one that was taken back later still is one.
pub fn labels(events: &[Event], windows: &Windows, dwell: Option<&DwellModel>, watermark_ms: i64) -> Vec<Label> {
    let mut answers: BTreeMap<(&str, &str), Ordered> = BTreeMap::new();
    for event in events {
        if let Some(response) = &event.response_id {
            let of = answers.entry((&event.tenant, response)).or_default();
            let slot = of.entry((event.occurred_at_ms, &event.event_id)).or_insert(event);
            // One id with two contents was a conflict at the door; which stays must not depend on the order.
            if format!("{event:?}") < format!("{slot:?}") {
                *slot = event;
            }
        }
    }
    answers.into_values().filter_map(|of| label(&of, windows, dwell, watermark_ms)).collect()
}

/// The events of an answer by `(occurred_at, event_id)`.
type Ordered<'a> = BTreeMap<(i64, &'a str), &'a Event>;

fn label(events: &Ordered<'_>, windows: &Windows, dwell: Option<&DwellModel>, watermark_ms: i64) -> Option<Label> {
    let (event, seen) = events.values().find_map(|event| match &event.payload {
        Payload::Impression(seen) if seen.visible_ms >= SEEN_MS && event.consent_training => Some((*event, seen)),
        _ => None,
    })?;
    let start = event.occurred_at_ms;
    // What happened within a window, in order; `None` while the window is open.
    let within = |window: i64| -> Option<Vec<&Payload>> {
        let end = start.saturating_add(window);
        let inside =
            events.values().filter(|event| (start..=end).contains(&event.occurred_at_ms)).map(|event| &event.payload);
        (end <= watermark_ms).then(|| inside.collect())
    };
    let state = |kind: ReactionKind| -> Option<u8> {
        let last = within(windows.reaction_ms)?.into_iter().rev().find_map(|payload| match payload {
            Payload::Reaction(reaction) if reaction.kind == kind => Some(reaction.op),
            _ => None,
        });
        Some(u8::from(last == Some(Op::Set)))
    };
    let any =
        |window: i64, holds: fn(&Payload) -> bool| within(window).map(|inside| u8::from(inside.into_iter().any(holds)));
    let either = |a: ReactionKind, b: ReactionKind| state(a).zip(state(b)).map(|(a, b)| a | b);
    Some(Label {
        tenant: event.tenant.clone(),
        response_id: event.response_id.clone().unwrap_or_default(),
        user_key: event.user_key.clone(),
        seen_at_ms: start,
        policy_version: seen.policy_version.clone(),
        assignment_prob: seen.assignment_prob,
        position: seen.position,
        love: either(ReactionKind::Love, ReactionKind::Like),
        dislike: either(ReactionKind::Dislike, ReactionKind::Report),
        report: state(ReactionKind::Report),
        replaced: any(windows.regenerate_ms, |payload| matches!(payload, Payload::Regenerate(_) | Payload::Edit)),
        copied: any(windows.reaction_ms, |payload| matches!(payload, Payload::Copy(_))),
        shared: any(windows.share_ms, |payload| matches!(payload, Payload::Share(_))),
        dwell: dwell.zip(within(windows.reaction_ms)).and_then(|(model, inside)| dwelt(model, seen, &inside)),
    })
}

/// The label of the last dwell: its active time, because an idle screen is looked at by nobody.
fn dwelt(model: &DwellModel, seen: &Impression, inside: &[&Payload]) -> Option<f64> {
    let Dwell { active_ms, .. } = inside.iter().rev().find_map(|payload| match payload {
        Payload::Dwell(dwell) => Some(dwell),
        _ => None,
    })?;
    model.residual(*active_ms as f64 / 1000.0, seen.completion_tokens).map(sigmoid)
}

/// Signals fused to one logit `b₀ + Σ w_k·s_k`; weights come from regressing a long-term outcome on signals over past arms, not from taste.
pub fn fused(bias: f64, weights: &[f64], signals: &[f64]) -> f64 {
    assert_eq!(weights.len(), signals.len(), "a signal for each weight");
    bias + weights.iter().zip(signals).map(|(weight, signal)| weight * signal).sum::<f64>()
}

/// Credit of a return visit for the last answers of a user, the latest first: γ^k for the k-th before it, together 1. Low weight: it is a
/// metric of users first.
pub fn return_credit(gamma: f64, answers: usize) -> Vec<f64> {
    let powers: Vec<f64> = (0..answers).map(|k| gamma.powi(k as i32)).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Copied, Reaction, Regenerate, Sampling, Shared};
    use lapidary_core::{Key, Purpose};
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;
    const LATER: i64 = 30 * 24 * HOUR_MS;

    fn event(at: i64, id: u32, response: &str, payload: Payload) -> Event {
        Event {
            event_id: format!("{id:08}"),
            occurred_at_ms: at,
            received_at_ms: at + 10,
            tenant: "t".into(),
            user_key: "u".into(),
            session_id: "s".into(),
            conversation_id: "c".into(),
            turn_index: 0,
            response_id: Some(response.into()),
            consent_training: true,
            consent_analytics: true,
            payload,
        }
    }

    fn seen(visible_ms: u64) -> Payload {
        Payload::Impression(Impression {
            policy_version: "v1".into(),
            experiment_id: None,
            arm: None,
            assignment_prob: 0.5,
            position: 0,
            n_shown: 1,
            visible_ms,
            prompt_tokens: 10,
            completion_tokens: 180,
            sampling: Sampling { temperature: 1.0, top_p: 1.0, seed: None },
            seq_logprob: -20.0,
        })
    }

    fn reaction(kind: ReactionKind, op: Op) -> Payload {
        Payload::Reaction(Reaction { kind, op, reason: None })
    }

    fn one(events: &[Event], watermark: i64) -> Label {
        labels(events, &Windows::default(), None, watermark).remove(0)
    }

    /// Specification C §5.3.
    #[test]
    fn goldens() {
        let model = DwellModel { intercept: 0.5, slope: 0.6, deviation: 0.8 };
        assert!((model.residual(42.0, 180).unwrap() - 0.152369).abs() < 1e-6);
        let z = fused(-1.0, &[2.0, 0.8, -1.5, 0.4], &[1.0, 1.0, 1.0, 0.0]);
        assert!((z - 0.3).abs() < 1e-12 && (sigmoid(z) - 0.574443).abs() < 1e-6);
        assert_eq!((model.residual(0.0, 5), model.residual(1.0, 0)), (None, None));
        let credit = return_credit(0.5, 3);
        assert!((credit[0] - 4.0 / 7.0).abs() < 1e-12 && (credit[2] - 1.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_dwell_model_is_found_again() {
        let key = Key::new(1, Purpose::Task);
        let dwells: Vec<(f64, u32)> = (0..5000)
            .map(|i| {
                let tokens = 10 + key.at(i).at(0).below(500) as u32;
                ((0.5 + 0.6 * f64::from(tokens).ln() + 0.8 * key.at(i).at(1).normal()).exp(), tokens)
            })
            .collect();
        let model = DwellModel::fit(&dwells).unwrap();
        assert!((model.slope - 0.6).abs() < 0.04 && (model.deviation - 0.8).abs() < 0.03, "{model:?}");
        assert_eq!((DwellModel::fit(&dwells[..2]), DwellModel::fit(&[(1.0, 5); 9])), (None, None));
    }

    #[test]
    fn the_state_at_maturity_counts() {
        let set = |at| event(at, 1, "r", reaction(ReactionKind::Love, Op::Set));
        let unset = |at| event(at, 2, "r", reaction(ReactionKind::Love, Op::Unset));
        let first = event(0, 0, "r", seen(2000));
        let love = |events: &[Event]| one(events, LATER).love;
        assert_eq!(love(&[first.clone(), set(MINUTE)]), Some(1));
        assert_eq!(love(&[first.clone(), set(MINUTE), unset(2 * MINUTE)]), Some(0));
        assert_eq!(love(std::slice::from_ref(&first)), Some(0));
        // Taken back after the window: at maturity it was set. Set after the window: it was not.
        assert_eq!(love(&[first.clone(), set(MINUTE), unset(25 * HOUR_MS)]), Some(1));
        assert_eq!(love(&[first.clone(), set(25 * HOUR_MS)]), Some(0));
        // The window is open: nothing is said yet, though the short one of regenerate is over.
        let early = one(&[first.clone(), set(MINUTE)], HOUR_MS);
        assert_eq!((early.love, early.replaced, early.shared), (None, Some(0), None));
        // A like counts, a dislike is another head, and a report is both.
        let other = one(&[first, event(5, 3, "r", reaction(ReactionKind::Report, Op::Set))], LATER);
        assert_eq!((other.love, other.dislike, other.report), (Some(0), Some(1), Some(1)));
    }

    #[test]
    fn signals_have_their_windows() {
        let first = event(0, 0, "r", seen(2000));
        let replaced = |at| {
            let again = Payload::Regenerate(Regenerate { new_response_id: "q".into() });
            one(&[first.clone(), event(at, 1, "r", again)], LATER).replaced
        };
        assert_eq!((replaced(9 * MINUTE), replaced(11 * MINUTE)), (Some(1), Some(0)));
        let shared = Payload::Share(Shared { channel: "mail".into() });
        let late = one(
            &[
                first.clone(),
                event(6 * 24 * HOUR_MS, 1, "r", shared),
                event(1, 2, "r", Payload::Copy(Copied { chars: 9 })),
            ],
            LATER,
        );
        assert_eq!((late.shared, late.copied), (Some(1), Some(1)));
        let dwell = Payload::Dwell(Dwell { visible_ms: 90_000, active_ms: 42_000, scroll_depth: 1.0 });
        let model = DwellModel { intercept: 0.5, slope: 0.6, deviation: 0.8 };
        let with = labels(&[first, event(50_000, 1, "r", dwell)], &Windows::default(), Some(&model), LATER);
        assert!((with[0].dwell.unwrap() - sigmoid(0.152369)).abs() < 1e-6);
    }

    #[test]
    fn what_was_not_seen_or_not_allowed_is_no_row() {
        let of = |events: &[Event]| labels(events, &Windows::default(), None, LATER).len();
        assert_eq!(of(&[event(0, 0, "r", seen(999))]), 0);
        assert_eq!(of(&[event(0, 0, "r", reaction(ReactionKind::Love, Op::Set))]), 0);
        assert_eq!(of(&[Event { consent_training: false, ..event(0, 0, "r", seen(5000)) }]), 0);
        assert_eq!(of(&[event(0, 0, "r", seen(5000))]), 1);
        assert_eq!(watermark(&[event(LATENESS_MS, 0, "r", seen(1))]), Some(10));
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let payload = prop_oneof![
            (500u64..3000).prop_map(seen),
            (0u8..4, any::<bool>()).prop_map(|(kind, set)| {
                let kinds = [ReactionKind::Love, ReactionKind::Like, ReactionKind::Dislike, ReactionKind::Report];
                reaction(kinds[kind as usize], if set { Op::Set } else { Op::Unset })
            }),
            Just(Payload::Edit),
            (0u64..9).prop_map(|chars| Payload::Copy(Copied { chars })),
        ];
        (0i64..30 * HOUR_MS, 0u32..1000, 0u8..3, payload)
            .prop_map(|(at, id, response, payload)| event(at, id, &format!("r{response}"), payload))
    }

    proptest! {
        /// Any permutation and duplication of events gives the same labels, byte for byte.
        #[test]
        fn order_and_repetition_change_nothing(events in prop::collection::vec(any_event(), 1..40), seed in any::<u64>()) {
            let bytes = |events: &[Event]| serde_json::to_string(&labels(events, &Windows::default(), None, 50 * HOUR_MS)).unwrap();
            let key = Key::new(seed, Purpose::Shuffle);
            let mut shuffled: Vec<Event> = key.permutation(events.len()).iter().map(|&at| events[at].clone()).collect();
            for copy in 0..10 {
                let at = key.at(copy).below(events.len() as u64) as usize;
                shuffled.insert(key.at(copy).at(1).below(shuffled.len() as u64) as usize, events[at].clone());
            }
            prop_assert_eq!(bytes(&events), bytes(&shuffled));
        }
    }
}
