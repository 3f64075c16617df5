//! M-estimator: a robust function over a pair's loss or residual.
//!
//! ```text
//! on the loss:      L = ρ_c( −ln σ(m) ),         dL/dm = ρ′_c(ℓ)·(σ(m) − y)
//! on the residual:  L = ρ_c( σ(m) − y ),         dL/dm = ρ′_c(e)·σ(m)σ(−m)
//! ```
//! The article's form of robust RLHF (Σ ρ(ℓ) over pairs). Scale: fixed, or times the median absolute deviation (Huber 1981). Functions that let
//! go are not convex, so the first steps learn with the plain logistic loss.

use super::prelude::*;
use crate::methods::Source;
use crate::preference::choices::RhoOn;
use crate::preference::formula::Compared;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "m_estimator",
    title: "M-estimator (robust function of the loss)",
    paper: "the article; Huber 1964; scales as Huber 1981",
    equation: "L = ρ_c(−ln σ(h))   or   L = ρ_c(σ(h) − y)",
    when: "To reproduce the article, or to choose how fast contradicted pairs lose their pull.",
    differs: "Huber on the loss, which the article names, damps the easy pairs and leaves flipped labels at full weight: a contradicted pair has a large loss, where Huber is linear. Welsch and Tukey let go of it.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Labelled(at),
    coupling: Coupling::Scale,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::RhoScale,
            default: 1.0,
            range: Range::Above(0.0),
            source: "the scale of a loss of 1 nat; Tukey 2, GCE 0.7",
        },
        Parameter {
            number: Number::RhoMad,
            default: 0.0,
            range: Range::AtLeast(0.0),
            source: "off; 1.4826 makes it a standard deviation of normal inputs",
        },
        Parameter {
            number: Number::RhoKeep,
            default: 0.75,
            range: Range::AboveTo(0.0, 1.0),
            source: "a quarter of the labels may be wrong",
        },
        Parameter {
            number: Number::RhoWarmup,
            default: 0.15,
            range: Range::Within(0.0, 1.0),
            source: "10 to 20 % of the steps: until the pairs have an order",
        },
    ],
    sources: &[
        Source { key: "rho", source: "lets go of contradicted pairs; the article has `huber`, which does not" },
        Source { key: "rho_on", source: "the article" },
    ],
    suggestions: &[RATE_OF_DPO],
    choice: Some(Choice::Rho),
};

fn at(compared: Compared, context: &Context<'_>) -> Point {
    let margin = compared.difference - compared.margin;
    let label = compared.label.probability();
    let residual = if label == 1.0 { -sigmoid(-margin) } else { sigmoid(margin) - label };
    let inner = match (context.plain, context.choices.rho_on) {
        (false, RhoOn::Residual) => Point { value: residual, slope: sigmoid(margin) * sigmoid(-margin) },
        _ if label == 1.0 => Point { value: softplus(-margin), slope: residual },
        _ => Point { value: label * softplus(-margin) + (1.0 - label) * softplus(margin), slope: residual },
    };
    if context.plain {
        return inner;
    }
    let robust = context.choices.rho.at(inner.value, context.scale);
    Point { value: robust.value, slope: robust.slope * inner.slope }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Label, Pair, PreferenceState};
    use crate::testing::close;

    /// Margins 2, ½, −½, −4 of specification C §4.11.
    const MARGINS: [f64; 4] = [2.0, 0.5, -0.5, -4.0];

    fn losses(json: &str) -> Vec<f64> {
        let loss = |margin: &f64| {
            let (answers, examples) = answers_of_margins(&[*margin], 0.1);
            step(&policy("m_estimator", json), &answers, &examples).loss
        };
        MARGINS.iter().map(loss).collect()
    }

    #[test]
    fn goldens_on_the_loss() {
        let table = [
            ("huber", 1.0, [0.008055, 0.112374, 0.474413, 3.518150], 1.028248),
            ("pseudo_huber", 1.0, [0.008023, 0.106684, 0.396004, 3.140716], 0.912857),
            ("cauchy", 1.0, [0.007991, 0.101368, 0.333614, 1.420869], 0.465960),
            ("welsch", 1.0, [0.007991, 0.100642, 0.306402, 0.500000], 0.228759),
            ("tukey", 2.0, [0.008023, 0.106179, 0.370777, 0.666667], 0.287911),
            ("geman_mcclure", 1.0, [0.007928, 0.091753, 0.243435, 0.470838], 0.203488),
            ("gce", 0.7, [0.121453, 0.403440, 0.706173, 1.342797], 0.643466),
            ("ramp", 1.0, [0.126928, 0.474077, 0.974077, 1.0], 0.643771),
        ];
        for (rho, scale, each, mean) in table {
            let json = format!("{{\"rho\":\"{rho}\",\"rho_scale\":{scale}}}");
            for (got, expected) in losses(&json).iter().zip(each) {
                close(*got, expected, 1e-6, rho);
            }
            let (answers, examples) = answers_of_margins(&MARGINS, 0.1);
            close(step(&policy("m_estimator", &json), &answers, &examples).loss, mean, 1e-6, rho);
            // The table's scales are the defaults.
            assert_eq!(losses(&json), losses(&format!("{{\"rho\":\"{rho}\"}}")), "{rho}");
        }
        let (answers, examples) = answers_of_margins(&MARGINS, 0.1);
        let trimmed = policy("m_estimator", r#"{"rho":"trimmed","rho_keep":0.75}"#);
        close(step(&trimmed, &answers, &examples).loss, 0.525027, 1e-6, "trimmed");
    }

    /// Labels 1, 0.7, 1, 1: residuals −0.119203, −0.077541, −0.622459, −0.982014.
    #[test]
    fn goldens_on_the_residual() {
        let (answers, mut examples) = answers_of_margins(&MARGINS, 0.1);
        examples[1] = Pair { label: Label::Prefer(0.7), ..Pair::new(2, 3) }.into();
        let huber = policy("m_estimator", r#"{"rho":"huber","rho_on":"residual","rho_scale":0.5}"#);
        close(step(&huber, &answers, &examples).loss, 0.140587, 1e-6, "mean");
    }

    /// Huber on the loss damps easy pairs and leaves the outlier at full weight; functions that let go do not.
    #[test]
    fn the_articles_huber_does_not_resist_flips() {
        let slopes = |json: &str| MARGINS.map(|margin| -pull(&policy("m_estimator", json), margin));
        let table = [
            (r#"{"rho":"huber"}"#, [-0.015130, -0.178983, -0.606323, -0.982014]),
            (r#"{"rho":"welsch"}"#, [-0.014888, -0.142957, -0.234766, 0.0]),
            (r#"{"rho":"tukey"}"#, [-0.015009, -0.159435, -0.352792, 0.0]),
            (r#"{"rho_warmup":1}"#, [-0.119203, -0.377541, -0.622459, -0.982014]),
        ];
        for (json, expected) in table {
            let got = match json.contains("warmup") {
                true => MARGINS.map(|margin| -pull(&policy("dpo", "{}"), margin)),
                false => slopes(json),
            };
            for (got, expected) in got.into_iter().zip(expected) {
                close(got, expected, 1e-6, json);
            }
        }
    }

    /// During the warm-up it is DPO, bit for bit; after it, it is not.
    #[test]
    fn it_starts_plain() {
        let robust = policy("m_estimator", r#"{"rho_warmup":0.2}"#);
        let (answers, examples) = answers_of_margins(&MARGINS, 0.1);
        let at = |progress: f64| {
            let prepared = robust.prepare(&answers, &examples, &[], &PreferenceState::default(), progress);
            robust.loss(&answers, &examples, 0, &prepared)
        };
        let plain = step(&policy("dpo", "{}"), &answers, &examples);
        assert_eq!((at(0.0).loss, at(0.19).by_logp), (plain.loss, plain.by_logp.clone()));
        assert!(at(0.2).loss != plain.loss);
    }

    /// Losses ℓ of the four margins: median 0.724077, deviations 0.25, 0.25, 0.597149, 3.294073 → MAD 0.423575.
    #[test]
    fn the_scale_follows_the_spread_of_the_losses() {
        let robust = policy("m_estimator", r#"{"rho":"welsch","rho_mad":2}"#);
        let (answers, examples) = answers_of_margins(&MARGINS, 0.1);
        let first = robust.prepare(&answers, &examples, &[], &PreferenceState::default(), 1.0);
        close(first.next.deviation.unwrap(), 0.423575, 1e-6, "MAD");
        let fixed = policy("m_estimator", &format!("{{\"rho_scale\":{}}}", 2.0 * first.next.deviation.unwrap()));
        let loss = robust.loss(&answers, &examples, 0, &first).loss;
        close(loss, step(&fixed, &answers, &examples).loss, 1e-15, "c = 2·MAD");
        // A second step on other pairs moves the average by a tenth.
        let (calm, examples) = answers_of_margins(&[1.0, 1.0, 1.0, 1.0], 0.1);
        let second = robust.prepare(&calm, &examples, &[], &first.next, 1.0);
        close(second.next.deviation.unwrap(), 0.9 * first.next.deviation.unwrap(), 1e-12, "moving average");
        // All alike from the start: no division by 0.
        let alone = robust.prepare(&calm, &examples, &[], &PreferenceState::default(), 1.0);
        assert!(robust.loss(&calm, &examples, 0, &alone).loss.is_finite());
    }
}
