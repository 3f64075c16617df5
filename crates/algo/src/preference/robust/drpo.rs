//! DRPO: a doubly robust estimate of the policy's value (Xu et al. 2025, arXiv 2506.01183).
//!
//! ```text
//! L = −clip(π/π_ref, 1/c, c)_held · (z − ĝ(y₁,y₂)) · logπ(y₁) − mean_{y*~π} (ĝ(y*,y₂) − b)·logπ(y*) + β·KL
//! ```
//! Right if either ĝ or the sampling policy is. The two branches of its authors' code disagree about the baseline b: ½
//! ([`Drpo::centred`]) or 0; both have the same mean gradient, because `E_π ∇logπ = 0`, but without b the second term pushes
//! every sample up and has the larger variance. The KL is the caller's ([`crate::KlEstimator`], k3, per token), as its
//! gradient is not a function of these sums.

/// The numbers of DRPO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drpo {
    /// c: the held ratio lies in `[1/c, c]`.
    pub clip: f64,
    /// Whether ½ is subtracted from ĝ of the sampled answers.
    pub centred: bool,
    /// β of the KL to the reference.
    pub kl_coefficient: f64,
}

impl Default for Drpo {
    /// The authors' HH configuration: c = 2.5, β = 0.04; centred, for its variance.
    fn default() -> Self {
        Self { clip: 2.5, centred: true, kl_coefficient: 0.04 }
    }
}

/// One labelled comparison, with answers that the policy has just written to the same prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct DrpoSample {
    /// `logπ(y₁)`, summed over tokens.
    pub logp: f64,
    /// `logπ_ref(y₁)`.
    pub logp_reference: f64,
    /// z: 1 where y₁ won, or the probability of it.
    pub label: f64,
    /// ĝ(y₁, y₂).
    pub preference: f64,
    /// `(logπ(y*), ĝ(y*, y₂))` of each answer sampled from the policy.
    pub sampled: Vec<(f64, f64)>,
    /// KL to the reference, as the caller estimates it.
    pub kl: f64,
}

/// Loss of a comparison and its derivatives.
#[derive(Clone, Debug, PartialEq)]
pub struct DrpoOutput {
    /// The loss, the KL term included.
    pub loss: f64,
    /// By `logπ(y₁)`.
    pub by_logp: f64,
    /// By each `logπ(y*)`.
    pub by_sampled: Vec<f64>,
    /// By [`DrpoSample::kl`].
    pub by_kl: f64,
}

impl Drpo {
    /// Loss of one comparison and its derivatives; the ratio and every ĝ are held.
    pub fn at(&self, sample: &DrpoSample) -> DrpoOutput {
        assert!(self.clip >= 1.0, "clip is at least 1, got {}", self.clip);
        let limit = self.clip.ln();
        let ratio = (sample.logp - sample.logp_reference).clamp(-limit, limit).exp();
        let by_logp = -ratio * (sample.label - sample.preference);
        let baseline = if self.centred { 0.5 } else { 0.0 };
        let count = sample.sampled.len().max(1) as f64;
        let by_sampled: Vec<f64> = sample.sampled.iter().map(|(_, g)| -(g - baseline) / count).collect();
        let direct: f64 = sample.sampled.iter().zip(&by_sampled).map(|((logp, _), slope)| slope * logp).sum();
        let loss = by_logp * sample.logp + direct + self.kl_coefficient * sample.kl;
        DrpoOutput { loss, by_logp, by_sampled, by_kl: self.kl_coefficient }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    fn sample() -> DrpoSample {
        let sampled = vec![(-10.0, 0.6), (-11.0, 0.45)];
        DrpoSample { logp: -12.0, logp_reference: -12.5, label: 1.0, preference: 0.7, sampled, kl: 0.8 }
    }

    /// Specification C §4.10, with both baselines.
    #[test]
    fn goldens() {
        let plain = Drpo { centred: false, ..Drpo::default() };
        close(plain.at(&sample()).loss, 11.442397, 1e-6, "without a baseline");
        close(Drpo::default().at(&sample()).loss, 6.192397, 1e-6, "centred");
        close(plain.at(&sample()).by_logp, -1.648721 * 0.3, 1e-6, "ratio times residual");
        let [first, second] = plain.at(&sample()).by_sampled[..] else { panic!("two") };
        close(first, -0.3, 1e-12, "first sample");
        close(second, -0.225, 1e-12, "second sample");
    }

    /// The derivative is that of the loss with its ratio held.
    #[test]
    fn the_ratio_is_held_and_clipped() {
        let far = DrpoSample { logp: 1e4, logp_reference: -1e4, ..sample() };
        close(Drpo::default().at(&far).by_logp, -2.5 * 0.3, 1e-12, "clipped above");
        let near = DrpoSample { logp: -1e4, logp_reference: 1e4, ..sample() };
        close(Drpo::default().at(&near).by_logp, -0.3 / 2.5, 1e-12, "clipped below");
        let base = Drpo::default();
        let step = 1e-6;
        let moved = |change: &dyn Fn(&mut DrpoSample, f64)| {
            let [up, down] = [step, -step].map(|step| {
                let mut sample = sample();
                change(&mut sample, step);
                base.at(&sample).loss
            });
            (up - down) / (2.0 * step)
        };
        // Both sums move: the ratio stays.
        let by_logp = moved(&|sample, step| {
            sample.logp += step;
            sample.logp_reference += step;
        });
        close(base.at(&sample()).by_logp, by_logp, 1e-8, "by logπ(y₁)");
        let by_sample = moved(&|sample, step| sample.sampled[1].0 += step);
        close(base.at(&sample()).by_sampled[1], by_sample, 1e-8, "by logπ(y*)");
    }

    /// On average over `y* ~ π` the baseline changes nothing: `Σ_y π(y)·½·∇logπ(y) = 0`.
    #[test]
    fn the_baseline_has_no_mean_gradient() {
        let logits = [0.3, -0.4, 1.1];
        let total: f64 = logits.iter().map(|x: &f64| x.exp()).sum();
        let policy: Vec<f64> = logits.iter().map(|x| x.exp() / total).collect();
        let judged = [0.2, 0.9, 0.55];
        let gradient = |centred: bool| -> Vec<f64> {
            let drpo = Drpo { centred, ..Drpo::default() };
            (0..3)
                .map(|parameter| {
                    (0..3)
                        .map(|y: usize| {
                            let sampled = vec![(policy[y].ln(), judged[y])];
                            let slope = drpo.at(&DrpoSample { sampled, ..sample() }).by_sampled[0];
                            policy[y] * slope * (f64::from(y == parameter) - policy[parameter])
                        })
                        .sum()
                })
                .collect()
        };
        for (centred, plain) in gradient(true).iter().zip(gradient(false)) {
            close(*centred, plain, 1e-15, "mean gradient");
        }
    }
}
