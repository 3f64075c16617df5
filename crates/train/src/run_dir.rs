//! The run directory: who holds it, what lies where, and whether a recipe may continue it.
//!
//! ```text
//! recipe.toml  run.json  metrics.jsonl  events.jsonl  rollouts/  traces/  pairs/  evaluations/  checkpoints/  references/  tensorboard/  report.html
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use serde_json::json;

use crate::checkpoint::Checkpoints;
use crate::disk::{read_whole, write_whole};

/// A recipe is a page of text; nothing larger was written by us.
const RECIPE_LIMIT_BYTES: u64 = 4 << 20;
/// The file whose lock says that a process works here. It stays, empty of meaning, when nobody does.
const LOCK: &str = ".lock";
/// Everything that a run writes, and so everything that starting over removes.
const FILES: &[&str] = &["metrics.jsonl", "events.jsonl", "report.html", "run.json", "recipe.toml"];
const FOLDERS: &[&str] = &["checkpoints", "rollouts", "evaluations", "tensorboard"];
/// Folders that only some stages need, made by these.
const RARE_FOLDERS: &[&str] = &["references", REWARD_MODELS, "best", "traces", "pairs"];
/// Keys of a recipe that change no byte of metrics, rollouts or weights, so a run may be continued with other values.
const FREE_KEYS: &[&str] = &["name", "checkpoint"];

/// Where the reward models of a run are.
pub(crate) const REWARD_MODELS: &str = "reward-models";

/// Where the reward model is that stage `stage` (from 0) of the run at `run` trained.
pub(crate) fn reward_model_at(run: &Path, stage: usize) -> PathBuf {
    run.join(REWARD_MODELS).join(format!("stage-{}", stage + 1))
}

/// A run directory that this process alone may change, until dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

/// Where the run at `run` keeps the pairs of self-feedback stage `stage`, from 0.
pub(crate) fn pairs_at(run: &Path, stage: usize) -> PathBuf {
    run.join("pairs").join(format!("stage-{:02}.jsonl", stage + 1))
}

impl RunDirectory {
    /// Takes the directory (made if absent). `fresh` removes what an earlier run left. Another process on it is
    /// [`Kind::Busy`]; a recipe that differs in a key that matters is [`Kind::Usage`].
    pub fn open(path: &Path, recipe_toml: &str, seed: u64, fresh: bool) -> Result<Self> {
        fs::create_dir_all(path).map_err(|error| Problem::io("make", path, &error))?;
        let directory = Self { path: path.to_path_buf(), _lock: lock(path)? };
        let recipe_path = directory.recipe();
        let known = recipe_path.exists();
        if fresh {
            directory.clear()?;
        } else if known {
            let old = read_whole(&recipe_path, RECIPE_LIMIT_BYTES)?;
            refuse_changes(path, &String::from_utf8_lossy(&old), recipe_toml)?;
        } else if !directory.checkpoints().steps()?.is_empty() {
            return Err(Problem::new(
                Kind::Usage,
                "S004",
                format!(
                    "`{}` holds checkpoints but no recipe.toml, so nobody can tell which run they belong to",
                    path.display()
                ),
            )
            .hint("give another `--run-dir`, or start over with `--fresh`"));
        }
        for folder in FOLDERS {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(|error| Problem::io("make", &folder, &error))?;
        }
        if fresh || !known {
            write_whole(&directory.path.join("run.json"), about(seed).as_bytes())?;
        }
        // Written even if it was there: what a recipe may change freely is then up to date.
        write_whole(&recipe_path, recipe_toml.as_bytes())?;
        Ok(directory)
    }

    fn clear(&self) -> Result<()> {
        for folder in FOLDERS.iter().chain(RARE_FOLDERS) {
            let path = self.path.join(folder);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(|error| Problem::io("remove", &path, &error))?;
            }
        }
        for file in FILES {
            let path = self.path.join(file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Problem::io("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The recipe as resolved.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }
    /// One row per step and per evaluation; the same bytes for the same run.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }
    /// What happened when, and how long it took; never the same twice.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }
    /// One file of samples per rl step.
    pub fn rollouts(&self) -> PathBuf {
        self.path.join("rollouts")
    }
    /// One file of traces per self-feedback step.
    pub fn traces(&self) -> PathBuf {
        self.path.join("traces")
    }
    /// The pairs of self-feedback stage `stage`, from 0.
    pub fn pairs(&self, stage: usize) -> PathBuf {
        pairs_at(&self.path, stage)
    }
    /// One file of answers per evaluation.
    pub fn evaluations(&self) -> PathBuf {
        self.path.join("evaluations")
    }
    /// TensorBoard's event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }
    /// The page with plots.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
    /// The checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"))
    }
    /// Weights of the lowest held-out losses, by step; those that a checkpoint may still ask for.
    pub fn best(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("best"))
    }
    /// Where the reward model that stage `stage` (from 0) trained is: `reward-models/stage-2` for the second.
    pub fn reward_model(&self, stage: usize) -> PathBuf {
        reward_model_at(&self.path, stage)
    }

    /// The policy that waits while stage `stage` makes a reward model of it.
    pub fn policy(&self, stage: usize) -> PathBuf {
        self.path.join("references").join(format!("policy-{:02}", stage + 1))
    }

    /// The frozen model that stage `stage` measures its KL against.
    pub fn reference(&self, stage: usize) -> PathBuf {
        self.path.join("references").join(format!("stage-{:02}", stage + 1))
    }
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open().map_err(|error| Problem::io("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = Read::by_ref(&mut file).take(200).read_to_string(&mut holder);
            let holder = holder.lines().next().unwrap_or("").trim().to_string();
            let who = if holder.is_empty() { "another process".to_string() } else { holder };
            return Err(Problem::new(Kind::Busy, "S002", format!("`{}` is in use by {who}", directory.display()))
                .hint("wait for it, stop it, or give another `--run-dir`"));
        }
        Err(TryLockError::Error(error)) => return Err(Problem::io("lock", &path, &error)),
    }
    // The operating system drops the lock with the process, so what is written here only tells people who it is.
    let note = format!("process {}\n", std::process::id());
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(note.as_bytes())
    };
    write(&mut file).map_err(|error| Problem::io("write", &path, &error))?;
    Ok(file)
}

fn about(seed: u64) -> String {
    let value = json!({
        "lapidary": env!("CARGO_PKG_VERSION"),
        "seed": seed,
        "host": hostname(),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "cores": std::thread::available_parallelism().map(|n| n.get()).unwrap_or(0),
        "started": crate::watch::unix_seconds(),
        "command": std::env::args().collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn hostname() -> String {
    let read = |path: &str| fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
    name.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_default().trim().to_string()
}

fn refuse_changes(path: &Path, old: &str, new: &str) -> Result<()> {
    let parse = |text: &str| text.parse::<toml::Table>().map(toml::Value::Table);
    let Ok(old) = parse(old) else {
        return Err(Problem::new(Kind::Usage, "S004", format!("`{}/recipe.toml` cannot be read", path.display()))
            .hint("restore it, or start over with `--fresh`"));
    };
    let Ok(new) = parse(new) else {
        return Err(Problem::new(Kind::Usage, "S004", "the resolved recipe is not TOML"));
    };
    let mut changes = Vec::new();
    differences("", Some(&old), Some(&new), &mut changes);
    changes.retain(|change| !FREE_KEYS.iter().any(|free| change.key.split(['.', '[']).next() == Some(free)));
    if changes.is_empty() {
        return Ok(());
    }
    let problem = Problem::new(
        Kind::Usage,
        "S003",
        format!("`{}` was started with another recipe; {} differ", path.display(), count(changes.len(), "key")),
    );
    let problem = changes.iter().fold(problem, |problem, change| {
        problem.why(format!("`{}` was {}, is now {}", change.key, change.old, change.new))
    });
    Err(problem.hint("give another `--run-dir`, or start over with `--fresh`"))
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

struct Change {
    key: String,
    old: String,
    new: String,
}

fn differences(key: &str, old: Option<&toml::Value>, new: Option<&toml::Value>, out: &mut Vec<Change>) {
    use toml::Value::{Array, Table};
    match (old, new) {
        (Some(Table(old)), Some(Table(new))) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&key, old.get(name), new.get(name), out);
            }
        }
        (Some(Array(old)), Some(Array(new))) if old.iter().chain(new).any(|value| value.is_table()) => {
            for at in 0..old.len().max(new.len()) {
                differences(&format!("{key}[{at}]"), old.get(at), new.get(at), out);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let text = |value: Option<&toml::Value>| value.map_or("absent".to_string(), |value| format!("`{value}`"));
            out.push(Change { key: key.to_string(), old: text(old), new: text(new) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "seed = 1\nname = \"a\"\n[[stage]]\nkind = \"rl\"\nsteps = 3\n[checkpoint]\nevery = 2\n";

    #[test]
    fn a_second_process_is_told_who_holds_it_and_the_lock_goes_with_the_holder() {
        let temporary = tempfile::tempdir().unwrap();
        let held = RunDirectory::open(temporary.path(), RECIPE, 1, false).unwrap();
        let started = std::time::Instant::now();
        let problem = RunDirectory::open(temporary.path(), RECIPE, 1, false).unwrap_err();
        assert!(started.elapsed().as_secs() < 1);
        assert_eq!(problem.kind(), Kind::Busy);
        assert!(problem.message().contains(&format!("process {}", std::process::id())), "{problem}");
        assert!(RunDirectory::open(temporary.path(), RECIPE, 1, true).is_err(), "--fresh is no way around a lock");
        drop(held);
        RunDirectory::open(temporary.path(), RECIPE, 1, false).unwrap();
    }

    #[test]
    fn a_changed_recipe_is_refused_with_its_keys_unless_it_changes_no_byte() {
        let temporary = tempfile::tempdir().unwrap();
        let open = |recipe: &str, fresh| RunDirectory::open(temporary.path(), recipe, 1, fresh);
        open(RECIPE, false).unwrap();
        open(&RECIPE.replace("every = 2", "every = 9").replace("\"a\"", "\"b\""), false).unwrap();
        let changed = RECIPE.replace("steps = 3", "steps = 4").replace("seed = 1\n", "");
        let problem = open(&changed, false).unwrap_err();
        assert_eq!((problem.kind(), problem.code()), (Kind::Usage, "S003"));
        assert_eq!(problem.reasons(), ["`seed` was `1`, is now absent", "`stage[0].steps` was `3`, is now `4`"]);
        fs::write(temporary.path().join("metrics.jsonl"), "old").unwrap();
        fs::write(temporary.path().join("mine.txt"), "not ours").unwrap();
        open(&changed, true).unwrap();
        assert!(!temporary.path().join("metrics.jsonl").exists());
        assert!(temporary.path().join("mine.txt").exists(), "only what a run wrote is removed");
    }
}
