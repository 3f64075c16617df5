//! Shaped rewards against the specification's numbers, and the properties that make them what they are.

use super::*;
use crate::estimators::{Advantage, TokenRow, Values};
use crate::testing::{close, close_rows, fixtures};
use crate::{Kl, Overrides, method};

const PAPER: EntropyCredit = EntropyCredit::PAPER;

/// Answers to one prompt: rewards, and the entropies of their tokens.
fn prompt(answers: &[(f64, &[f64])]) -> Rows {
    let verdicts: Vec<Option<f64>> = answers.iter().map(|(reward, _)| Some(*reward)).collect();
    let tokens = answers.iter().map(|(_, entropy)| TokenRow {
        places: (0..entropy.len()).collect(),
        entropy: entropy.to_vec(),
        ..TokenRow::default()
    });
    Rows { rewards: verdicts.clone(), verdicts, groups: vec![0; answers.len()], tokens: tokens.collect() }
}

/// Both prompts, one after the other.
fn both(first: Rows, second: Rows) -> Rows {
    let join = |a: Vec<Option<f64>>, b: Vec<Option<f64>>| [a, b].concat();
    let groups = first.groups.iter().copied().chain(second.groups.iter().map(|group| group + 1)).collect();
    Rows {
        verdicts: join(first.verdicts, second.verdicts),
        rewards: join(first.rewards, second.rewards),
        groups,
        tokens: first.tokens.into_iter().chain(second.tokens).collect(),
    }
}

/// The shaped rewards of GTPO, a list per row.
fn shaped(rows: &Rows, credit: &EntropyCredit) -> Vec<Vec<f64>> {
    let mut cells = Vec::new();
    for (side, row) in credit.members(rows) {
        let tokens = &rows.tokens[row];
        for (token, &place) in tokens.places.iter().enumerate() {
            let entropy = credit.held(tokens.entropy[token]);
            cells.push(Cell { row, column: place - tokens.places[0], side, entropy, shaped: 0.0 });
        }
    }
    credit.shape(rows, &mut cells);
    let mut out = vec![Vec::new(); rows.tokens.len()];
    cells.iter().for_each(|cell| out[cell.row].push(cell.shaped));
    out
}

/// Specification A, §12.4.
#[test]
fn golden_shaped_rewards() {
    let printed: [&[&[f64]]; 2] = [
        &[&[1.05, 1.1, 1.1], &[-1.022222, -1.15], &[-1.177778, -1.05, -1.1, -1.1], &[1.15]],
        &[&[1.028571, 1.1], &[1.171429, 1.1], &[-1.1, -1.1]],
    ];
    for (fixture, printed) in fixtures().iter().zip(printed) {
        close_rows(&Values::Tokens(shaped(&fixture.experience(&Kl::OFF), &PAPER)), printed, 1e-6);
    }
}

/// §4.10 (a), proposition 2.2: the shaped rewards of a column's right answers add up to (α₁+α₂)·d_t; so do the wrong
/// ones' to −(α₁+α₂)·h_t.
#[test]
fn bonuses_of_a_column_add_up() {
    for fixture in fixtures() {
        let rows = fixture.experience(&Kl::OFF);
        let rewards = shaped(&rows, &PAPER);
        let mut columns: BTreeMap<(bool, usize), Vec<f64>> = BTreeMap::new();
        for (row, shaped) in rewards.iter().enumerate() {
            for (token, reward) in shaped.iter().enumerate() {
                let place = rows.tokens[row].places[token] - rows.tokens[row].places[0];
                columns.entry((*reward > 0.0, place)).or_default().push(*reward);
            }
        }
        for ((right, place), column) in columns {
            let sign = if right { 1.0 } else { -1.0 };
            close(column.iter().sum(), sign * 1.1 * column.len() as f64, 1e-12, &format!("column {place}"));
        }
    }
}

/// §4.10 (c).
#[test]
fn unsure_right_answers_get_more_and_sure_wrong_ones_lose_more() {
    let rows = prompt(&[(1.0, &[0.9]), (1.0, &[0.3]), (0.0, &[0.9]), (0.0, &[0.3])]);
    let rewards: Vec<f64> = shaped(&rows, &PAPER).concat();
    assert!(rewards[0] > rewards[1], "{rewards:?}");
    assert!(rewards[3] < rewards[2], "{rewards:?}");
}

/// §4.10 (d): only relations of entropies count.
#[test]
fn the_scale_of_entropies_does_not_matter() {
    for mean in [EntropyMean::Arithmetic, EntropyMean::Geometric] {
        let credit = EntropyCredit { mean, ..PAPER };
        for fixture in fixtures() {
            let rows = fixture.experience(&Kl::OFF);
            let mut scaled = rows.clone();
            scaled.tokens.iter_mut().for_each(|row| row.entropy.iter_mut().for_each(|entropy| *entropy *= 7.0));
            for (a, b) in shaped(&rows, &credit).concat().iter().zip(shaped(&scaled, &credit).concat()) {
                close(*a, b, 1e-12, "scaled");
            }
        }
    }
}

/// §4.10 (e): the loss has no derivative by the entropies that credit was given by; only an entropy bonus has one.
#[test]
fn no_gradient_flows_through_entropy() {
    for name in ["gtpo", "grpo_s", "gtpo_article"] {
        let objective = (method(name).unwrap().defaults)();
        let fixture = &fixtures()[0];
        let (rows, normaliser) = fixture.prepare(&objective);
        assert!(rows.iter().all(|row| objective.row(row, &normaliser).by_entropy.iter().all(|&slope| slope == 0.0)));
        assert!(!objective.want().entropy && objective.needs().entropy);
    }
}

/// §4.8: right answers alone; without the skip, differences of entropy become ±1, with it nothing is learned.
#[test]
fn a_group_that_is_all_right_gets_nothing_unless_asked() {
    let rows = prompt(&[(1.0, &[0.5, 0.5]), (1.0, &[1.0, 1.0])]);
    let kept = EntropyCredit { skip_one_sided: false, ..PAPER };
    for normalise in [Normalise::ZeroFilled, Normalise::Subset] {
        let kept = EntropyCredit { normalise, ..kept };
        close_rows(&Advantage::EntropyTokens(kept).estimate(&rows).values, &[&[-1.0; 2], &[1.0; 2]], 1e-6);
        let sequences = Advantage::EntropySequences(kept).estimate(&rows);
        close(sequences.row(0, 1)[0], -1.0, 1e-6, "GRPO-S");
        close(sequences.row(1, 1)[0], 1.0, 1e-6, "GRPO-S");
    }
    for advantage in [Advantage::EntropyTokens(PAPER), Advantage::EntropySequences(PAPER)] {
        for reward in [1.0, 0.0] {
            let rows = prompt(&[(reward, &[0.5, 0.5]), (reward, &[1.0, 1.0])]);
            let estimate = advantage.estimate(&rows);
            assert!((0..2).all(|row| estimate.row(row, 2) == [0.0, 0.0]), "{advantage:?}");
        }
    }
}

/// §12.4: shaped per group, standardised over the batch {F1, a group that is all right}: there is no baseline per prompt.
#[test]
fn golden_batch_scope() {
    let batch = EntropyCredit { scope: Scope::Batch, skip_one_sided: false, ..PAPER };
    let rows = both(fixtures()[0].experience(&Kl::OFF), prompt(&[(1.0, &[0.5, 0.5]), (1.0, &[1.0, 1.0])]));
    close_rows(
        &Advantage::EntropyTokens(batch).estimate(&rows).values,
        &[
            &[0.773294, 0.865041, 0.865041],
            &[-1.009742, -1.243991],
            &[-1.294914, -1.060666, -1.152328, -1.152328],
            &[0.956788],
            &[0.803877; 2],
            &[0.926206; 2],
        ],
        1e-6,
    );
}

/// §12.4: mean entropies and shaped rewards of whole answers.
#[test]
fn golden_shaped_rewards_of_answers() {
    let entropies = [[1.166667, 0.6, 0.55, 1.5].as_slice(), &[0.6, 1.25, 0.65]];
    let printed = [[1.0875, -1.095652, -1.104348, 1.1125].as_slice(), &[1.064865, 1.135135, -1.1]];
    for (at, fixture) in fixtures().iter().enumerate() {
        let rows = fixture.experience(&Kl::OFF);
        let mut cells: Vec<Cell> = PAPER
            .members(&rows)
            .into_iter()
            .map(|(side, row)| Cell {
                row,
                column: 0,
                side,
                entropy: PAPER.average(&rows.tokens[row].entropy),
                shaped: 0.0,
            })
            .collect();
        PAPER.shape(&rows, &mut cells);
        for cell in cells {
            close(cell.entropy, entropies[at][cell.row], 1e-6, "Ĥ");
            close(cell.shaped, printed[at][cell.row], 1e-6, "r̂");
        }
    }
}

/// Proposition 2.2 without any entropy: every right answer gets the same share, not none.
#[test]
fn a_column_without_entropy_shares_equally() {
    let rows = prompt(&[(1.0, &[0.0, 0.2]), (1.0, &[0.0]), (0.0, &[0.3])]);
    assert_eq!(shaped(&rows, &PAPER), [vec![1.1, 1.1], vec![1.1], vec![-1.1]]);
}

/// §4.8: a certain token of a wrong answer takes the whole column, at most α₂·h_t; the floor tames it and is counted.
#[test]
fn the_floor_bounds_certain_tokens_of_wrong_answers() {
    let rows = prompt(&[(1.0, &[0.5]), (0.0, &[0.0]), (0.0, &[0.4]), (0.0, &[0.4])]);
    let paper = shaped(&rows, &PAPER).concat();
    close(paper[1], -1.0 - 0.1 * 3.0, 1e-5, "all of the column");
    let sane = shaped(&rows, &EntropyCredit { floor: 0.2, ..PAPER }).concat();
    close(sane[1], -1.0 - 0.1 * 3.0 * 5.0 / 10.0, 1e-12, "1/0.2 of 1/0.2 + 2/0.4");
    let metrics = Advantage::EntropyTokens(PAPER).estimate(&rows).metrics;
    let named = |name: &str| metrics.iter().find(|metric| metric.0 == name).unwrap().1;
    assert_eq!(named("entropy_credit/frac_clamped"), 0.25);
    close(named("entropy_credit/bonus_max"), 0.3, 1e-5, "largest");
    assert!(named("entropy_credit/advantage_success") > 0.0 && named("entropy_credit/advantage_failure") < 0.0);
    assert_eq!(
        [0.0, 0.4, 0.5].to_vec(),
        ["p10", "p50", "p90"].map(|at| named(&format!("entropy_credit/entropy_{at}")))
    );
}

/// Entropies from the clamp that a public re-implementation takes literally: hardly a difference is left.
#[test]
fn a_literal_clamp_of_entropy_erases_the_signal() {
    let rows = prompt(&[(1.0, &[2.0]), (1.0, &[0.01]), (0.0, &[1.0])]);
    let free = shaped(&rows, &PAPER).concat();
    let clamped = shaped(&rows, &EntropyCredit { clamp: Some((0.2, 0.28)), ..PAPER }).concat();
    close(free[0] - free[1], 0.1 * 2.0 * (2.0 - 0.01) / 2.01, 1e-12, "free");
    close(clamped[0] - clamped[1], 0.1 * 2.0 * 0.08 / 0.48, 1e-12, "clamped");
}

/// Appendix C by hand: entropies 0.5 and 2 have a geometric mean of 1; of a column with one answer it is that answer's.
#[test]
fn the_geometric_mean_by_hand() {
    let geometric = EntropyCredit { mean: EntropyMean::Geometric, ..PAPER };
    let rows = prompt(&[(1.0, &[0.5, 0.7]), (1.0, &[2.0]), (0.0, &[0.5]), (0.0, &[2.0])]);
    let got = shaped(&rows, &geometric);
    for (got, expected) in got.concat().iter().zip([1.05, 1.1, 1.2, -1.2, -1.05]) {
        close(*got, expected, 1e-12, "geometric");
    }
    close(geometric.average(&[0.5, 2.0]), 1.0, 1e-12, "Ĥ");
    close(geometric.average(&[0.0, 1.0]), 1e-3, 1e-12, "of the floor and 1");
}

/// Columns by place in the answer (an environment's words counted), or by place among the trained tokens.
#[test]
fn a_token_after_a_tools_words_is_lined_up_as_asked() {
    let mut rows = prompt(&[(1.0, &[0.5, 1.5]), (1.0, &[0.5, 0.5]), (0.0, &[1.0, 1.0])]);
    rows.tokens[0].places = vec![3, 7];
    let bonus = |position| {
        let credit = EntropyCredit { position, normalise: Normalise::Joint, ..PAPER };
        let estimate = Advantage::EntropyTokens(credit).estimate(&rows);
        (estimate.row(0, 2)[1], estimate.row(1, 2)[1])
    };
    let (alone, other) = bonus(EntropyPosition::Response);
    close(alone, other, 1e-12, "each alone in its column, whatever its entropy");
    let (more, less) = bonus(EntropyPosition::Trained);
    assert!(more > less, "side by side, 1.5 against 0.5");
}

/// Rewards that are not 0 or 1 are split by a threshold; a penalty for length lowers a right answer's reward, and never
/// makes it wrong.
#[test]
fn a_penalty_does_not_turn_a_right_answer_into_a_wrong_one() {
    let mut rows = prompt(&[(1.0, &[0.5]), (1.0, &[0.5]), (0.2, &[0.5])]);
    rows.rewards[0] = Some(0.4);
    assert_eq!(shaped(&rows, &PAPER), [[0.5], [1.1], [-1.1]]);
    let low = EntropyCredit { success_above: 0.1, skip_one_sided: false, ..PAPER };
    for (got, expected) in shaped(&rows, &low).concat().iter().zip([0.5, 1.1, 0.3]) {
        close(*got, expected, 1e-12, "all above the threshold keep their own rewards");
    }
}

/// §4.8, n = 0 or m = 0 inside a batch: the empty set contributes nothing, and the other group is as if alone.
#[test]
fn a_skipped_group_leaves_the_others_alone() {
    let one_sided = prompt(&[(0.0, &[0.5, 0.5]), (0.0, &[1.0, 1.0])]);
    for scope in [Scope::Group, Scope::Batch] {
        for advantage in [Advantage::EntropyTokens, Advantage::EntropySequences] {
            let advantage = advantage(EntropyCredit { scope, ..PAPER });
            let alone = fixtures()[0].experience(&Kl::OFF);
            let joined = both(alone.clone(), one_sided.clone());
            let (alone, joined) = (advantage.estimate(&alone), advantage.estimate(&joined));
            for (row, length) in [3, 2, 4, 1].into_iter().enumerate() {
                assert_eq!(alone.row(row, length), joined.row(row, length));
            }
            assert_eq!((joined.row(4, 2), joined.row(5, 2)), (vec![0.0; 2], vec![0.0; 2]));
        }
    }
}

/// GRPO's standard recipe knobs reach the estimator.
#[test]
fn all_modes_run_from_a_recipe() {
    for json in [
        r#"{"entropy_normalise":"subset","entropy_scope":"batch","entropy_mean":"geometric","std_ddof":1}"#,
        r#"{"entropy_normalise":"joint","entropy_position":"trained","entropy_floor":1e-3}"#,
    ] {
        let overrides: Overrides = serde_json::from_str(json).unwrap();
        let objective = (method("gtpo").unwrap().defaults)().with(&overrides).unwrap();
        for fixture in fixtures() {
            let estimate = objective.advantage.estimate(&fixture.experience(&Kl::OFF));
            let Values::Tokens(rows) = estimate.values else { panic!("one per token") };
            assert!(rows.iter().flatten().all(|advantage| advantage.is_finite()));
        }
    }
}
