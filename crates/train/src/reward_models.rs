//! Reward `model`: a trained reward model asked about answers.
//!
//! ```text
//! prompt and answer as text ─▶ its own tokenizer ─▶ head at the last token ─▶ scale ─▶ clip ─▶ − penalty where cut off
//! ```
//! The text is what crosses, so that the reward model may be of another family than the policy. Equal answers get equal bits,
//! in any batch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use lapidary_core::{Kind, Message, Problem, PromptText, Result, Role, TokenBatch, Verdict, Want};
use lapidary_engine::Engine;
use lapidary_engine::native::Native;
use lapidary_reward::options::Options;
use lapidary_reward::{Attempt, Reward, install_reward_models};
use lapidary_text::Tokenizer;

use crate::comparisons::RewardStatistics;
use crate::disk::read_whole;
use crate::model::{Opened, open};
use crate::run_dir::REWARD_MODELS;

/// What a reward model is known by, beside its weights.
pub(crate) const ABOUT: &str = "reward_model.json";
/// It holds six numbers.
const ABOUT_LIMIT_BYTES: u64 = 1 << 20;
/// Answers that are asked about at once.
const AT_ONCE: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Lets rewards open reward models, which compute on so many threads (0: one per core).
pub fn install(threads: usize) {
    THREADS.store(threads, Ordering::Relaxed);
    install_reward_models(build);
}

/// How the head's number becomes a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Raw,
    Centred,
    Standardised,
    Probability,
}

/// A reward model as a reward.
struct ModelReward {
    path: PathBuf,
    scale: Scale,
    clip: f64,
    missing_end: f64,
    opened: OnceLock<Result<Arc<Judge>>>,
}

/// What is at hand of a reward model.
struct Judge {
    native: Native,
    tokenizer: Tokenizer,
    about: Option<RewardStatistics>,
}

fn build(options: &Options) -> Result<Box<dyn Reward>> {
    let path = PathBuf::from(options.text("model").unwrap_or_default());
    let scale = match options.text("scale") {
        Some("centred") => Scale::Centred,
        Some("standardised") => Scale::Standardised,
        Some("probability") => Scale::Probability,
        _ => Scale::Raw,
    };
    let number = |name: &str| options.number(name).unwrap_or(0.0);
    let (clip, missing_end) = (number("clip"), number("missing_end"));
    let reward = ModelReward { path, scale, clip, missing_end, opened: OnceLock::new() };
    // One that an earlier stage of the run is yet to make is opened when it is first asked.
    if !reward.is_promised() {
        reward.judge().map_err(|problem| problem.clone())?;
    }
    Ok(Box::new(reward))
}

impl ModelReward {
    fn is_promised(&self) -> bool {
        let parent = self.path.parent().and_then(Path::file_name);
        parent.is_some_and(|name| name == REWARD_MODELS) && !self.path.exists()
    }

    fn judge(&self) -> std::result::Result<&Arc<Judge>, &Problem> {
        let open = || {
            let judge = Judge::open(&self.path)?;
            let needs = matches!(self.scale, Scale::Centred | Scale::Standardised);
            if needs && judge.about.is_none_or(|about| about.deviation <= 0.0) {
                return Err(Problem::new(
                    Kind::Model,
                    "M051",
                    format!("`{}` does not say what its rewards look like", self.path.display()),
                )
                .why(format!("`scale` needs the mean and spread of held-out rewards, which {ABOUT} holds"))
                .hint("train it with held-out comparisons, or set `scale = \"raw\"`"));
            }
            Ok(judge)
        };
        self.opened.get_or_init(open).as_ref()
    }

    fn scaled(&self, raw: f64, about: Option<&RewardStatistics>) -> f64 {
        let [mean, deviation] = about.map_or([0.0, 1.0], |about| [about.mean, about.deviation]);
        let scaled = match self.scale {
            Scale::Raw => raw,
            Scale::Centred => raw - mean,
            Scale::Standardised => (raw - mean) / deviation,
            Scale::Probability => 1.0 / (1.0 + (-raw).exp()),
        };
        if self.clip > 0.0 { scaled.clamp(-self.clip, self.clip) } else { scaled }
    }

    fn verdict(&self, attempt: &Attempt<'_>, raw: f32, about: Option<&RewardStatistics>) -> Verdict {
        if !raw.is_finite() {
            return Verdict::none(format!("the reward model says {raw}"));
        }
        let cut = if attempt.truncated { self.missing_end } else { 0.0 };
        Verdict::score((self.scaled(f64::from(raw), about) - cut) as f32, format!("the head says {raw}"))
    }
}

impl Judge {
    /// Opens a reward model, or takes the one that is open already.
    fn open(path: &Path) -> Result<Arc<Self>> {
        static OPEN: OnceLock<Mutex<HashMap<PathBuf, Weak<Judge>>>> = OnceLock::new();
        let mut all = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let key = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if let Some(judge) = all.get(&key).and_then(Weak::upgrade) {
            return Ok(judge);
        }
        let judge = Arc::new(Self::read(path)?);
        all.insert(key, Arc::downgrade(&judge));
        Ok(judge)
    }

    fn read(path: &Path) -> Result<Self> {
        let named = |problem: Problem| problem.context(format!("the reward model `{}`", path.display()));
        if !path.is_dir() {
            return Err(Problem::new(Kind::Model, "M001", format!("there is no reward model `{}`", path.display()))
                .hint("name the directory of one: `reward-models/stage-N` of a run, or `…ForSequenceClassification` with one label"));
        }
        let Opened { native, tokenizer } =
            open(&path.to_string_lossy(), None, 0, THREADS.load(Ordering::Relaxed)).map_err(named)?;
        if !native.model().reward_head {
            return Err(Problem::new(Kind::Model, "M052", format!("`{}` has no reward head", path.display()))
                .why("it is a model that predicts tokens")
                .hint("train it in a stage of kind `reward-model`; a run keeps the result in `reward-models/`"));
        }
        let tokenizer = tokenizer.map_or_else(|| Tokenizer::from_directory(path), Ok).map_err(named)?;
        let file = path.join(ABOUT);
        let about = file.exists().then(|| read_whole(&file, ABOUT_LIMIT_BYTES)).transpose()?;
        let about = about.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(|error| {
            Problem::new(Kind::Model, "M051", format!("`{}` cannot be read: {error}", file.display()))
        })?;
        Ok(Self { native, tokenizer, about })
    }

    /// Prompt, answer and end as the model was taught them; no end where the answer was cut off.
    fn tokens(&self, attempt: &Attempt<'_>) -> Result<Vec<u32>> {
        let plain = || match self.tokenizer.chat_template() {
            // As data sets put a question.
            Some(_) => PromptText::Messages(vec![Message::new(Role::User, attempt.prompt)]),
            None => PromptText::Text(attempt.prompt.to_string()),
        };
        let asked = attempt.asked.cloned().unwrap_or_else(plain);
        let mut tokens = self.tokenizer.encode_example(&asked, attempt.completion)?.tokens;
        if attempt.truncated {
            tokens.pop();
        }
        let (length, context) = (tokens.len(), self.native.model().context);
        if length > context || tokens.is_empty() {
            return Err(Problem::new(
                Kind::Data,
                "D041",
                format!("{length} tokens with the prompt, and the reward model's context is {context}"),
            ));
        }
        Ok(tokens)
    }

    /// What the head says of answers; why not, where it cannot be asked.
    fn rewards(&self, attempts: &[Attempt<'_>]) -> Vec<Result<f32>> {
        let rows: Vec<Result<Vec<u32>>> = attempts.iter().map(|attempt| self.tokens(attempt)).collect();
        let mut batch = TokenBatch::default();
        rows.iter().flatten().for_each(|tokens| batch.push(tokens, &vec![false; tokens.len()], 1.0));
        let want = Want { reward: true, ..Want::default() };
        let said = self.native.score(&batch, want).map(|stats| stats.reward.unwrap_or_default());
        let mut next = 0;
        let one = |row: Result<Vec<u32>>| {
            row?;
            next += 1;
            said.as_ref().map(|said| said[next - 1]).map_err(|problem| problem.clone())
        };
        rows.into_iter().map(one).collect()
    }
}

impl Reward for ModelReward {
    fn name(&self) -> &str {
        "model"
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = match self.judge() {
            Ok(judge) => judge,
            Err(problem) => return vec![Verdict::none(problem.to_string()); attempts.len()],
        };
        let mut out = Vec::with_capacity(attempts.len());
        for some in attempts.chunks(AT_ONCE) {
            let verdict = |(attempt, said): (&Attempt<'_>, Result<f32>)| match said {
                Ok(raw) => self.verdict(attempt, raw, judge.about.as_ref()),
                Err(problem) => Verdict::none(problem.message()),
            };
            out.extend(some.iter().zip(judge.rewards(some)).map(verdict));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use serde_json::{Map, json};

    /// A saved reward model of the preset, and its own rewards of two answers.
    fn saved(folder: &Path, about: Option<RewardStatistics>) -> Vec<f32> {
        let Opened { mut native, tokenizer } = model::open("tiny", None, 3, 1).unwrap();
        native.add_reward_head(5);
        native.save_reward_model(folder).unwrap();
        let tokenizer = tokenizer.unwrap();
        tokenizer.save(folder).unwrap();
        if let Some(about) = about {
            std::fs::write(folder.join(ABOUT), serde_json::to_vec(&about).unwrap()).unwrap();
        }
        let mut batch = TokenBatch::default();
        for answer in ["yes", "no"] {
            let tokens = tokenizer.encode_example(&PromptText::Text("so?".into()), answer).unwrap().tokens;
            batch.push(&tokens, &vec![false; tokens.len()], 1.0);
        }
        native.score(&batch, Want { reward: true, ..Want::default() }).unwrap().reward.unwrap()
    }

    fn about() -> RewardStatistics {
        RewardStatistics { examples: 9, mean: 0.5, deviation: 2.0, accuracy: None, ece: None, length_correlation: None }
    }

    fn scores(folder: &Path, options: serde_json::Value, truncated: bool) -> Vec<f32> {
        install(1);
        let mut options = options;
        options["model"] = json!(folder);
        let reward = lapidary_reward::build("model", &options).unwrap();
        let metadata = Map::new();
        let attempts = ["yes", "no"].map(|text| Attempt { truncated, ..Attempt::new("so?", text, None, &metadata) });
        let together: Vec<f32> = reward.score(&attempts).iter().map(|verdict| verdict.value().unwrap()).collect();
        let alone: Vec<f32> = attempts.iter().map(|one| reward.score(&[*one])[0].value().unwrap()).collect();
        assert_eq!(together, alone, "a batch changes no bit");
        together
    }

    #[test]
    fn it_says_what_the_head_says_scaled_and_clipped() {
        let folder = tempfile::tempdir().unwrap();
        let raw = saved(folder.path(), Some(about()));
        assert!(raw[0] != raw[1]);
        assert_eq!(scores(folder.path(), json!({}), false), raw);
        let mapped = |map: fn(f64) -> f64| raw.iter().map(|r| map(f64::from(*r)) as f32).collect::<Vec<f32>>();
        assert_eq!(scores(folder.path(), json!({"scale": "centred"}), false), mapped(|r| r - 0.5));
        assert_eq!(scores(folder.path(), json!({"scale": "standardised"}), false), mapped(|r| (r - 0.5) / 2.0));
        assert_eq!(scores(folder.path(), json!({"scale": "probability"}), false), mapped(|r| 1.0 / (1.0 + (-r).exp())));
        assert_eq!(scores(folder.path(), json!({"clip": 1e-4}), false), mapped(|r| r.clamp(-1e-4, 1e-4)));
        // What is cut off is read without its end, and may cost something.
        let cut = scores(folder.path(), json!({}), true);
        assert_ne!(cut, raw);
        let costs = scores(folder.path(), json!({"missing_end": 1.5}), true);
        assert_eq!(costs, cut.iter().map(|r| (f64::from(*r) - 1.5) as f32).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_reward_model_is_refused_before_anything_is_asked() {
        install(1);
        let folder = tempfile::tempdir().unwrap();
        let Opened { native, tokenizer } = model::open("tiny", None, 3, 1).unwrap();
        native.save_model(folder.path()).unwrap();
        tokenizer.unwrap().save(folder.path()).unwrap();
        let build = |options| lapidary_reward::build("model", &options).err().map(|problem| problem.code());
        assert_eq!(build(json!({"model": folder.path()})), Some("M052"));
        assert_eq!(build(json!({"model": folder.path().join("nothing")})), Some("M001"));
        let other = tempfile::tempdir().unwrap();
        saved(other.path(), None);
        assert_eq!(build(json!({"model": other.path(), "scale": "centred"})), Some("M051"));
        assert_eq!(build(json!({"model": other.path()})), None);
        // One that a stage is yet to make is waited for.
        assert_eq!(build(json!({"model": other.path().join("reward-models/stage-2")})), None);
    }

    #[test]
    fn an_answer_that_does_not_fit_gets_no_verdict() {
        install(1);
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), None);
        let reward = lapidary_reward::build("model", &json!({"model": folder.path()})).unwrap();
        let (metadata, long) = (Map::new(), "a".repeat(300));
        let attempts = [&*long, "fits"].map(|text| Attempt::new("so?", text, None, &metadata));
        let verdicts = reward.score(&attempts);
        assert!(verdicts[0].value().is_none() && verdicts[0].reason().contains("context is 256"), "{verdicts:?}");
        assert!(verdicts[1].value().is_some());
    }
}
