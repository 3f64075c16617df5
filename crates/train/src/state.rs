//! Everything that decides the future of a run beside the weights and the optimiser.

use std::collections::BTreeMap;
use std::path::Path;

use lapidary_algo::MethodState;
use lapidary_core::{Kind, Problem, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::comparisons::ComparisonState;
use crate::curriculum::CurriculumState;
use crate::disk::{read_whole, write_whole};
use crate::fault;
use crate::health::HealthState;
use crate::hint::HintState;
use crate::interleave::InterleaveState;
use crate::levels::LevelState;
use crate::one_shot::OneShotState;
use crate::rollouts::Sampled;
use crate::sft::EarlyStopState;
use crate::temperature::TemperatureState;
use crate::watch::Warning;

/// A state is a few numbers per evaluation; this is thousands of evaluations.
const LIMIT_BYTES: u64 = 256 << 20;
const FORMAT_VERSION: u64 = 3;
const FILE: &str = "state.json";
/// A run that is warned more often has said what there is to say.
pub const WARNINGS_KEPT: usize = 100;

/// One evaluation on held-out prompts; all its answers are in `evaluations/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecord {
    /// Steps that the run had done.
    pub step: u64,
    /// The stage that had been worked on, from 1; 0 before any.
    pub stage: usize,
    /// Its name: `start`, `sft`, or the method of an rl stage.
    pub stage_name: String,
    /// Share of right answers among those judged.
    pub accuracy: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Mean score.
    pub reward: f64,
    /// Prompts asked.
    pub prompts: usize,
    /// Answers without a verdict.
    pub no_verdict: usize,
    /// Mean length of an answer, in tokens.
    pub mean_length: f64,
}

/// What a checkpoint holds beside weights and optimiser. All randomness is keyed, so no generator is among it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    /// The stage being worked on, from 0; the number of stages when all are done.
    pub stage: usize,
    /// Steps of this stage that are done.
    pub stage_step: u64,
    /// Steps of the run that are done.
    pub step: u64,
    /// Tokens learned from so far, prompts included.
    pub tokens: u64,
    /// Per task: how many of its prompts were taken. A stage goes on where the last one on the same task ended.
    pub cursors: BTreeMap<String, u64>,
    /// Groups of samples that the last step had no place for; the first of the next.
    pub surplus: Vec<Vec<Sampled>>,
    /// What is known of the difficulty of the stage's prompts.
    pub curriculum: CurriculumState,
    /// The level of the stage's task where it moves.
    pub difficulty: LevelState,
    /// The stage's sampling temperature where it moves.
    pub temperature: TemperatureState,
    /// What the stage's rewards remember, by label: the moving mean of a confidence.
    pub memory: BTreeMap<String, f64>,
    /// What the stage's method remembers: the coefficient of an adaptive KL, the updates of a critic's warm-up.
    pub method: MethodState,
    /// What a stage with hints remembers.
    pub hint: HintState,
    /// What the stage's early stop remembers.
    pub early_stop: EarlyStopState,
    /// What a one-shot stage chose and how its example came to be learned.
    pub one_shot: OneShotState,
    /// What a stage with demonstrations remembers, and its moves.
    pub interleave: InterleaveState,
    /// What a stage of comparisons remembers.
    pub comparison: ComparisonState,
    /// What the health rules remember.
    pub health: HealthState,
    /// Evaluations so far.
    pub evaluations: Vec<EvaluationRecord>,
    /// What the health rules said, at most [`WARNINGS_KEPT`] of the newest.
    pub warnings: Vec<Warning>,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Hash of the frozen reference model's manifest, while a stage uses one.
    pub reference: Option<String>,
}

impl RunState {
    /// Writes `state.json` into an existing directory.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.to_map()?).map_err(|error| broken(&error))?;
        write_whole(&directory.join(FILE), &text)
    }

    /// Reads what [`RunState::save`] wrote.
    pub fn load(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let bytes = read_whole(&path, LIMIT_BYTES)?;
        let map = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
        Self::from_map(map).map_err(|problem| problem.context(format!("`{}`", path.display())))
    }

    /// Names every field once, without `..`: a new field that is not saved does not compile.
    #[deny(unused_variables)]
    fn to_map(&self) -> Result<Map<String, Value>> {
        let RunState {
            stage,
            stage_step,
            step,
            tokens,
            cursors,
            surplus,
            curriculum,
            difficulty,
            temperature,
            memory,
            method,
            hint,
            early_stop,
            one_shot,
            interleave,
            comparison,
            health,
            evaluations,
            warnings,
            metrics_bytes,
            reference,
        } = self;
        let mut map = Map::new();
        map.insert("format".into(), FORMAT_VERSION.into());
        put(&mut map, "stage", stage)?;
        put(&mut map, "stage_step", stage_step)?;
        put(&mut map, "step", step)?;
        put(&mut map, "tokens", tokens)?;
        put(&mut map, "cursors", cursors)?;
        put(&mut map, "surplus", surplus)?;
        put(&mut map, "curriculum", curriculum)?;
        put(&mut map, "difficulty", difficulty)?;
        put(&mut map, "temperature", temperature)?;
        put(&mut map, "memory", memory)?;
        put(&mut map, "method", method)?;
        put(&mut map, "hint", hint)?;
        put(&mut map, "early_stop", early_stop)?;
        put(&mut map, "one_shot", one_shot)?;
        put(&mut map, "interleave", &interleave.remembered())?;
        put(&mut map, "comparison", comparison)?;
        put(&mut map, "health", health)?;
        put(&mut map, "evaluations", evaluations)?;
        put(&mut map, "warnings", warnings)?;
        put(&mut map, "metrics_bytes", metrics_bytes)?;
        put(&mut map, "reference", reference)?;
        Ok(map)
    }

    fn from_map(mut map: Map<String, Value>) -> Result<Self> {
        let format: u64 = take(&mut map, "format")?;
        if format != FORMAT_VERSION {
            return Err(Problem::new(
                Kind::Model,
                "S005",
                format!("the state has format {format}; this program reads format {FORMAT_VERSION}"),
            ));
        }
        let state = RunState {
            stage: take(&mut map, "stage")?,
            stage_step: take(&mut map, "stage_step")?,
            step: take(&mut map, "step")?,
            tokens: take(&mut map, "tokens")?,
            cursors: take(&mut map, "cursors")?,
            surplus: take(&mut map, "surplus")?,
            curriculum: take(&mut map, "curriculum")?,
            difficulty: take(&mut map, "difficulty")?,
            temperature: take(&mut map, "temperature")?,
            memory: take(&mut map, "memory")?,
            method: take(&mut map, "method")?,
            hint: take(&mut map, "hint")?,
            early_stop: take(&mut map, "early_stop")?,
            one_shot: take(&mut map, "one_shot")?,
            interleave: take(&mut map, "interleave")?,
            comparison: take(&mut map, "comparison")?,
            health: take(&mut map, "health")?,
            evaluations: take(&mut map, "evaluations")?,
            warnings: take(&mut map, "warnings")?,
            metrics_bytes: take(&mut map, "metrics_bytes")?,
            reference: take(&mut map, "reference")?,
        };
        match map.keys().next() {
            Some(name) => Err(Problem::new(Kind::Model, "S005", format!("the state has an unknown field `{name}`"))),
            None => Ok(state),
        }
    }
}

fn put<T: Serialize + Default>(map: &mut Map<String, Value>, name: &str, value: &T) -> Result<()> {
    let forgotten = T::default();
    let value = if fault::omits(name) { &forgotten } else { value };
    map.insert(name.to_string(), serde_json::to_value(value).map_err(|error| broken(&error))?);
    Ok(())
}

fn take<T: DeserializeOwned>(map: &mut Map<String, Value>, name: &str) -> Result<T> {
    let value = map
        .shift_remove(name)
        .ok_or_else(|| Problem::new(Kind::Model, "S005", format!("the state has no field `{name}`")))?;
    serde_json::from_value(value).map_err(|error| broken(&error).context(format!("field `{name}`")))
}

fn broken(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Model, "S005", format!("a state that cannot be read or written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::RewardStatistics;
    use crate::curriculum::Difficulty;
    use crate::switch::{Mark, PlateauState, ShiftState, Transition};
    use crate::trend::Trend;
    use lapidary_algo::PreferenceState;
    use lapidary_core::{PromptText, Rollout, StopReason, TokenRole, Verdict};
    use proptest::prelude::*;
    use serde_json::json;

    fn evaluations() -> impl Strategy<Value = Vec<EvaluationRecord>> {
        let one = (any::<u64>(), 0usize..4, 0.0f64..1.0, "[ -~é]{0,12}").prop_map(|(step, stage, accuracy, name)| {
            EvaluationRecord {
                step,
                stage,
                stage_name: name,
                accuracy,
                low: accuracy / 3.0,
                high: 1.0,
                reward: accuracy - 7.1,
                prompts: stage * 7,
                no_verdict: stage,
                mean_length: accuracy * 77.7,
            }
        });
        prop::collection::vec(one, 0..4)
    }

    /// A sample whose numbers have no short decimal.
    fn sampled(number: f32) -> Sampled {
        Sampled {
            id: "é".into(),
            rollout: Rollout {
                prompt: 3,
                sample: 1,
                tokens: vec![1, 5],
                roles: vec![TokenRole::Prompt, TokenRole::Policy],
                logp: vec![0.0, -number / 3.0],
                temperature: number + 0.1,
                weights: 12,
                stop: StopReason::Eos,
                support: Some([vec![], vec![4, 5]].into_iter().collect()),
                routing: Some(vec![0, u16::MAX]),
            },
            prompt_text: PromptText::Text("1+1=".into()),
            completion: "2".into(),
            answer: None,
            metadata: serde_json::Map::new(),
            verdict: Verdict::score(number / 7.0, "equal"),
            rewards: Map::from_iter([("answer".to_string(), json!(number / 7.0))]),
            length_penalty: f64::from(number) / 9.0,
            advantage: Some(number / 11.0),
            readings: Vec::new(),
        }
    }

    proptest! {
        /// RELIABILITY §5.1: `load(save(s)) == s`.
        #[test]
        fn what_is_saved_comes_back(
            numbers in any::<[u64; 4]>(),
            stage in 0usize..9,
            cursors in prop::collection::btree_map("[a-z]{1,9}", any::<u64>(), 0..4),
            evaluations in evaluations(),
            health in any::<(u64, u64)>(),
            entropy in 0.0f64..10.0,
            reference in prop::option::of("[0-9a-f]{8}"),
        ) {
            let [stage_step, step, tokens, metrics_bytes] = numbers;
            let health = HealthState {
                steps: health.0,
                first_length: entropy * 3.0,
                reward: entropy / 7.0,
                best_reward: entropy / 3.0,
                holding: [("entropy".to_string(), health.1)].into(),
            };
            let warnings = vec![Warning {
                step,
                rule: "entropy".into(),
                seen: "a".into(),
                cause: "b".into(),
                knob: "c".into(),
            }];
            let surplus = vec![vec![sampled(entropy as f32)]; stage];
            let trend = Trend { recent: vec![entropy / 3.0; stage] };
            let item = Difficulty { tried: step, right: 1, rate: entropy / 7.0, hard: stage > 1, taken: tokens };
            let curriculum =
                CurriculumState { pool: vec![item; stage], hard: stage > 2, gave_up: stage > 3, trend: trend.clone() };
            let temperature = TemperatureState { current: (stage > 0).then_some(entropy as f32 / 3.0), trend };
            let difficulty = LevelState { level: step, recent: vec![(step, tokens); stage] };
            let method = MethodState { kl_coefficient: (stage > 0).then_some(entropy / 3.0), updates: step };
            let early_stop = EarlyStopState {
                best: (stage > 0).then_some(entropy / 7.0),
                best_step: step,
                waited: tokens,
                weights: reference.clone(),
            };
            let one_shot = OneShotState {
                chosen: (stage > 0).then(|| "é".to_string()),
                saturation_step: (stage > 1).then_some(step),
                at_saturation: (stage > 2).then_some(entropy / 7.0),
                best: entropy / 3.0,
                latest: entropy / 9.0,
            };
            let memory = [("confidence".to_string(), entropy / 3.0)].into();
            let hint = HintState { success: (stage > 1).then_some(entropy / 13.0) };
            let interleave = InterleaveState {
                asked: step,
                evaluated: (stage > 0).then_some(tokens),
                used: (0..stage).map(|at| at.to_string()).collect(),
                plateau: PlateauState { best: (stage > 1).then_some(entropy / 3.0), smoothed: None, bad: step, looks: step },
                shift: ShiftState {
                    reference: vec![Mark::Length(step), Mark::Category("é".into())],
                    first_tokens: vec![entropy as f32 / 3.0],
                    ..ShiftState::default()
                },
                transitions: vec![Transition { step, metrics: vec![("a".into(), entropy / 7.0)], ..Transition::default() }],
                ..InterleaveState::default()
            };
            let comparison = ComparisonState {
                preference: PreferenceState { reward_mean: entropy / 7.0, rewards: entropy, deviation: Some(entropy / 3.0) },
                rewards: (stage > 1).then_some(RewardStatistics {
                    examples: step,
                    mean: entropy / 9.0,
                    deviation: entropy,
                    accuracy: None,
                    ece: Some(entropy / 3.0),
                    length_correlation: None,
                }),
                policy: reference.clone(),
            };
            let state = RunState {
                comparison, hint, memory, method, early_stop, one_shot, interleave,
                warnings, stage, stage_step, step, tokens, cursors, surplus, curriculum, difficulty, temperature, health,
                evaluations,
                metrics_bytes, reference,
            };
            let directory = tempfile::tempdir().unwrap();
            state.save(directory.path()).unwrap();
            prop_assert_eq!(RunState::load(directory.path()).unwrap(), state);
        }
    }

    #[test]
    fn a_field_that_is_missing_or_unknown_is_refused() {
        let mut map = RunState::default().to_map().unwrap();
        map.insert("extra".into(), 1.into());
        assert!(RunState::from_map(map.clone()).unwrap_err().message().contains("unknown field `extra`"));
        map.shift_remove("extra");
        map.shift_remove("cursors");
        assert!(RunState::from_map(map).unwrap_err().message().contains("no field `cursors`"));
    }

    #[test]
    fn an_omitted_field_is_forgotten() {
        let state = RunState { step: 7, tokens: 9, ..RunState::default() };
        fault::arm_omission("step");
        let map = state.to_map().unwrap();
        fault::disarm();
        let back = RunState::from_map(map).unwrap();
        assert_eq!((back.step, back.tokens), (0, 9));
    }
}
