//! Page: the documentation of preference losses, made from the registry so that it cannot disagree with the code.

use std::fmt::Write;

use super::coupling::Coupling;
use super::losses::preference_losses;
use super::metrics::preference_metrics;
use super::numbers::{Parameter, PreferenceOverrides};
use super::pull::{STANDS, pulls};
use super::resolve::Preference;
use super::row::{Learns, OF_POLICIES, OF_REWARDS, PreferenceLoss};
use crate::overrides::InvalidSetting;
use crate::page::shown;

const HEAD: &str = "# Preference losses

<!-- Made from the registry in `crates/algo`; its tests say how to renew it. -->

A preference loss looks at two answers to one prompt, of which one was preferred (or at one answer that was liked or not).

```text
l = logp − logp_ref      score s = l | l/n | logp/n | …      reward r = β·s      margin h = r_w − r_l − m
L = Σ_k weight_k · mean_i w_i·loss_k(r_w, r_l, label) + nll_coefficient · mean_i −logp_w/n_w
```

A **label** is a probability p that the chosen answer is better: `p·loss + (1 − p)·loss with the sides exchanged`; a tie is ½
(`bradley_terry` knows two models of ties). A **margin** m is by how much the chosen is to win. Losses of the margin alone also train
a reward model, whose head says r itself (β is 1; `center_rewards` adds `c·mean (r_w + r_l)²`).

Pairs whose answers are the same tokens or empty teach nothing and must be dropped. Prompts must be cut alike in both rows.

## How hard a pair pulls

![pull over margin](preference-losses.svg)

`−∂L/∂h` in rewards, at `r_w = h/2`, `r_l = −h/2`. Only losses whose pull goes to 0 on the left forget flipped labels; they are
not convex, so a run should begin with a convex one. A pull below 0 says that the margin has a goal which is exceeded. Losses of the
whole batch (`dr_dpo`, `aot`, `aot_unpaired`) are shown a step of these three pairs; KTO and BCO have their zero at 0. `vrpo` pulls as
its `primary_loss` times how far ĝ is from the label, in both directions.

";

const SETTINGS: &str = "## What all losses share

- `mix = { dpo = 0.8, bco = 0.2 }` minimises a weighted sum (MPO, arXiv 2411.10442, has these with `nll_coefficient = 1`). Every loss of a mix keeps
  its own vetted numbers; a number that is given is every loss's that reads it.
- `f_divergence` (losses of the difference of two log-ratios): `reverse_kl` s = l · `forward_kl` s = −e^(−l) · `js_divergence` s = ln σ(l) ·
  `alpha_divergence` s = e^((α−1)l)/(α−1) with `f_alpha`. Exponents are held at 80.
- `ld_alpha` weighs the tokens beyond the length of the shorter answer (LD-DPO), in sums only.
- `weighting = \"wpo_greedy\"` weighs a pair by `min(1, ∏ (π(y_t)/max_v π(v))^(1/n))` of both answers, held (WPO); `\"wpo_plain\"` without the
  alignment. The paper's sampled alignment divides by `Σ_v π(v)²`, which no engine reports: `wpo_log_weight` computes it from given numbers.
- `nll_coefficient` keeps chosen answers likely (RPO, CPO, ORPO).
";

const BATCHES: &str = "
## Losses of the whole batch

A micro-batch cannot say what its part of these is. The step is scored once with the weights as they are, `prepare` makes the statistics,
and with those the loss is a sum again: any cut into micro-batches has the same gradient. What a run remembers (BCO's δ, the M-estimator's
scale) is in `PreferenceState`, part of the checkpoint.

| loss | why | fewest examples in a step |
|---|---|---|
";

const DEBIASING: &str = "
## Data of `vrpo`

For each prompt `2m` answers are sampled from the reference (temperature 1, same template, pairs of equal answers dropped), and ĝ is asked about
the labelled pair and the m synthetic ones. ĝ must be a probability (`symmetrised` averages over both orders of showing), come from a model
that was not trained on the same prompts (`fold_of`), and is held in `[auxiliary_clip, 1 − auxiliary_clip]`. Prompts without labels may be
added: they enter the synthetic term alone. What is exact about it, as tests in `robust/theory.rs`: with the logistic loss the labelled
term is `−(z − ĝ)·h`, linear and unbounded below, so a guard is compulsory; with m = 1 and the perfect ĝ the variance is that of maximum
likelihood, so nothing is gained; n·Cov on three answers (π_ref = .5, .3, .2; P(1≻2) = P(2≻3) = .8, P(1≻3) = .55):

| estimate | trace of n·Cov |
|---|---|
| maximum likelihood, or m = 1 with the true ĝ, or ĝ of the fitted model | 38.23 |
| true ĝ, m = 8 | 32.60 |
| true ĝ, m = ∞ | 31.79 |
| ĝ = ½, m = 1 | 41.29 |
| ĝ = ½, m = ∞ | 37.92 |

`Drpo` is its sibling on the policy's value (arXiv 2506.01183): `−clip(π/π_ref)·(z − ĝ)·logπ(y₁) − mean (ĝ* − ½)·logπ(y*) + β·KL`.
";

/// The page of preference losses: `docs/preference-losses.md`.
pub fn preference_page() -> String {
    let mut page = HEAD.to_string();
    pull_table(&mut page);
    page.push('\n');
    page.push_str(SETTINGS);
    page.push_str("\n| key | default | may be | source |\n|---|---|---|---|\n");
    OF_POLICIES.iter().chain(OF_REWARDS).for_each(|parameter| row(&mut page, parameter));
    page.push_str(BATCHES);
    // Writing to a string cannot fail.
    for loss in preference_losses().iter().filter(|loss| loss.coupling != Coupling::None) {
        let (why, fewest) = (loss.coupling.why().unwrap_or_default(), loss.coupling.min_examples());
        let _ = writeln!(page, "| `{}` | {why} | {fewest} |", loss.name);
    }
    page.push_str(DEBIASING);
    page.push_str("\n## The losses\n\n| loss | what it is | trains | when to use it |\n|---|---|---|---|\n");
    for loss in preference_losses() {
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {2} | {3} |", loss.name, loss.title, trains(loss), loss.when);
    }
    preference_losses().iter().for_each(|loss| section(&mut page, loss));
    metrics(&mut page);
    page
}

fn pull_table(page: &mut String) {
    page.push_str("| loss | contradicted, h = −3 | uncertain, h = 0 | easy, h = 3 |\n|---|---|---|---|\n");
    for loss in preference_losses().iter().filter(|loss| loss.choice != Some(super::row::Choice::Primary)) {
        let Ok(preference) = resolved(loss) else { continue };
        let cells: Vec<String> = pulls(&preference, &STANDS).into_iter().map(short).collect();
        let _ = writeln!(page, "| `{}` | {} |", loss.name, cells.join(" | "));
    }
}

/// Three digits after the point, none where they say nothing.
fn short(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded == 0.0 { "0".into() } else { rounded.to_string().replace('-', "−") }
}

fn trains(loss: &PreferenceLoss) -> &'static str {
    match (loss.learns, loss.unpaired) {
        (Learns::Policy, false) => "policy",
        (Learns::Policy, true) => "policy, single answers too",
        (Learns::Reward, false) => "reward model",
        (Learns::Reward, true) => "reward model, single answers too",
        (Learns::Either, _) => "policy, reward model",
    }
}

fn section(page: &mut String, loss: &'static PreferenceLoss) {
    let _ = write!(
        page,
        "\n### {}\n\n**{}** · {}\n\n```text\n{}\n```\n\n{} {}\n\n| key | default | may be | source |\n|---|---|---|---|\n",
        loss.name, loss.title, loss.paper, loss.equation, loss.when, loss.differs
    );
    loss.parameters.iter().for_each(|parameter| row(page, parameter));
    if let Ok(preference) = resolved(loss) {
        let settings = preference.settings();
        for source in loss.sources {
            let value = settings.choice(source.key).unwrap_or_default();
            let _ = writeln!(page, "| `{}` | `\"{value}\"` | a name | {} |", source.key, source.source);
        }
    }
    for suggestion in loss.suggestions {
        let _ = writeln!(
            page,
            "| `{}` (stage) | `{}` | – | {} |",
            suggestion.key,
            shown(suggestion.value),
            suggestion.source
        );
    }
}

fn row(page: &mut String, parameter: &Parameter) {
    let (key, default) = (parameter.number.key(), shown(parameter.default));
    let _ = writeln!(page, "| `{key}` | `{default}` | {} | {} |", parameter.range, parameter.source);
}

/// The loss as it comes: for a policy where it can teach one.
fn resolved(loss: &'static PreferenceLoss) -> Result<Preference, InvalidSetting> {
    let plain = PreferenceOverrides::default();
    if loss.teaches(Learns::Policy) { loss.policy(&plain) } else { loss.reward(&plain) }
}

fn metrics(page: &mut String) {
    page.push_str("\n## Metrics\n\n| metric | what it is | good | bad |\n|---|---|---|---|\n");
    for metric in preference_metrics() {
        let cells = [metric.what, metric.good, metric.bad].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| `{}` | {} |", metric.name, cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preference::preference_plot;
    use crate::preference::testing::policy;
    use crate::testing::close;

    fn docs() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// Run with `LAPIDARY_RENEW=1` to write page and plot anew.
    #[test]
    fn the_page_and_the_plot_in_the_docs_are_those_of_the_registry() {
        for (name, made) in [("preference-losses.md", preference_page()), ("preference-losses.svg", preference_plot())]
        {
            let path = docs().join(name);
            if std::env::var_os("LAPIDARY_RENEW").is_some() {
                std::fs::write(&path, &made).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
            assert!(written == made, "{} is stale: LAPIDARY_RENEW=1 cargo test -p lapidary-algo", path.display());
        }
        let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
        assert!(summary.contains("(preference-losses.md)"));
    }

    /// The table of specification C §2: dpo, ropo (α = 14) and holder (γ = 2) at −3, 0 and 3.
    #[test]
    fn the_table_has_the_specifications_numbers() {
        let table = [
            ("dpo", [0.952574, 0.5, 0.047426]),
            ("ropo", [0.394501, 0.995556, 0.169219]),
            ("holder", [0.258205, 0.75, 0.012855]),
        ];
        for (name, expected) in table {
            for (got, expected) in pulls(&policy(name, "{}"), &STANDS).into_iter().zip(expected) {
                close(got, expected, 1e-6, name);
            }
        }
        let page = preference_page();
        assert!(page.contains("| `dpo` | 0.953 | 0.5 | 0.047 |") && page.contains("| `ramp` | 0 | 1 | 0 |"));
        // Dr. DPO in a step of the three: the easy pair weighs most, the contradicted least.
        let [contradicted, uncertain, easy] = pulls(&policy("dr_dpo", "{}"), &STANDS)[..] else { panic!() };
        assert!(contradicted < 0.953 * 0.2 && uncertain < 0.5 * 1.05 && easy > 0.047);
    }

    #[test]
    fn a_plot_is_whole() {
        let plot = preference_plot();
        assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"));
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        assert!(plot.matches("<polyline").count() >= 20);
    }
}
