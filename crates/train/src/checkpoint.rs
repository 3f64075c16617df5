//! Checkpoints that are whole and verified, or do not exist.
//!
//! ```text
//! .tmp-step-000100/ ─▶ files, each fsynced ─▶ manifest.json (size and BLAKE3 of each, and its own) ─▶ fsync of the folders
//!                   ─▶ rename to step-000100 ─▶ fsync of the parent ─▶ the oldest leave
//! ```
//! The rename is the commit. Reading starts from the manifest: a file that it does not name, or that differs by one bit,
//! makes the checkpoint invalid, and the next older one is used.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use serde::{Deserialize, Serialize};

use crate::disk::{guarded, read_whole, require_space, sync_directory};

/// What a manifest calls itself.
const FORMAT: &str = "lapidary-checkpoint";
/// The newest format that this version reads and writes.
const VERSION: u32 = 1;
/// No manifest is larger: it would name hundreds of thousands of files.
const MANIFEST_LIMIT_BYTES: u64 = 16 << 20;
/// Folders in a checkpoint are nested at most so deep.
const DEPTH_LIMIT: usize = 4;
const MANIFEST: &str = "manifest.json";
const TEMPORARY: &str = ".tmp-";
const PREFIX: &str = "step-";

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Relative, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash, in hexadecimal.
    pub blake3: String,
}

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `lapidary-checkpoint`.
    pub format: String,
    /// Of the format.
    pub version: u32,
    /// Steps that the run had done.
    pub step: u64,
    /// Every file but this one, sorted by path.
    pub files: Vec<ManifestFile>,
    /// Hash of this manifest with this field empty.
    pub blake3: String,
}

impl Manifest {
    fn hash(&self) -> Result<String> {
        let bare = Manifest { blake3: String::new(), ..self.clone() };
        Ok(blake3::hash(&to_json(&bare)?).to_hex().to_string())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn to_json(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(manifest)
        .map_err(|error| Problem::new(Kind::Failed, "S001", format!("could not write a manifest: {error}")))
}

/// A checkpoint that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its folder's name.
    pub name: String,
    /// What is wrong with it, naming the file.
    pub reason: String,
}

/// What a search for a checkpoint found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Step of the newest valid one.
    pub step: Option<u64>,
    /// Newer ones that had to be passed over for it.
    pub skipped: Vec<Skipped>,
}

/// The checkpoints of a run: `checkpoints/step-000100`, ….
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
}

impl Checkpoints {
    /// The checkpoints in `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where the checkpoint of a step lies.
    pub fn path_of(&self, step: u64) -> PathBuf {
        self.directory.join(format!("{PREFIX}{step:06}"))
    }

    /// Steps for which a folder exists, newest first; says nothing about their validity.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> =
            self.names()?.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Problem::io("list", &self.directory, &error)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<std::io::Result<_>>().map_err(|error| Problem::io("list", &self.directory, &error))
    }

    /// The newest valid checkpoint, and those that had to be passed over for it.
    pub fn newest_valid(&self) -> Result<Found> {
        let mut skipped = Vec::new();
        for step in self.steps()? {
            match verify(&self.path_of(step)) {
                Ok(manifest) if manifest.step == step => return Ok(Found { step: Some(step), skipped }),
                Ok(manifest) => {
                    let reason = format!("its manifest is that of step {}", manifest.step);
                    skipped.push(Skipped { name: format!("{PREFIX}{step:06}"), reason });
                }
                Err(reason) => skipped.push(Skipped { name: format!("{PREFIX}{step:06}"), reason }),
            }
        }
        Ok(Found { step: None, skipped })
    }

    /// Commits a checkpoint: `write` fills the folder that it is given. `expected_bytes` must be free before anything is
    /// written. A checkpoint of this step that is already there is replaced: it was found invalid.
    pub fn commit(&self, step: u64, expected_bytes: u64, write: impl FnOnce(&Path) -> Result<()>) -> Result<Manifest> {
        fs::create_dir_all(&self.directory).map_err(|error| Problem::io("make", &self.directory, &error))?;
        require_space(&self.directory, expected_bytes, "a checkpoint")?;
        commit_directory(&self.path_of(step), step, write)
    }

    /// Removes all but the newest `keep` (at least one) checkpoints.
    pub fn prune(&self, keep: usize) -> Result<()> {
        for step in self.steps()?.into_iter().skip(keep.max(1)) {
            retire(&self.path_of(step))?;
        }
        Ok(())
    }

    /// Removes those older than the newest at or before `step`.
    pub(crate) fn prune_before(&self, step: u64) -> Result<()> {
        for old in self.steps()?.into_iter().filter(|known| *known <= step).skip(1) {
            retire(&self.path_of(old))?;
        }
        Ok(())
    }

    /// Takes a checkpoint that cannot be used out of the way without losing it: `rejected-step-000100`.
    pub fn set_aside(&self, name: &str) -> Result<()> {
        let (from, to) = (self.directory.join(name), self.directory.join(format!("rejected-{name}")));
        let move_it = || {
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            fs::rename(&from, &to)
        };
        move_it().map_err(|error| Problem::io("set aside", &from, &error))
    }

    /// Removes what a killed process left half written or half removed.
    pub fn remove_stale(&self) -> Result<usize> {
        let stale: Vec<String> = self.names()?.into_iter().filter(|name| name.starts_with(TEMPORARY)).collect();
        for name in &stale {
            let path = self.directory.join(name);
            fs::remove_dir_all(&path).map_err(|error| Problem::io("remove", &path, &error))?;
        }
        Ok(stale.len())
    }
}

/// Writes a verified folder at `path` by one rename.
pub(crate) fn commit_directory(path: &Path, step: u64, write: impl FnOnce(&Path) -> Result<()>) -> Result<Manifest> {
    let temporary = beside(path, "");
    let committed = fill(&temporary, path, step, write);
    if committed.is_err() {
        // A full disk should not stay full of what nobody will read; if this fails too, the next start removes it.
        let _ = fs::remove_dir_all(&temporary);
    }
    committed
}

fn fill(temporary: &Path, path: &Path, step: u64, write: impl FnOnce(&Path) -> Result<()>) -> Result<Manifest> {
    if temporary.exists() {
        fs::remove_dir_all(temporary).map_err(|error| Problem::io("remove", temporary, &error))?;
    }
    guarded("checkpoint.begin", "make", temporary, || fs::create_dir_all(temporary))?;
    write(temporary)?;
    guarded("checkpoint.write", "write", temporary, || Ok(()))?;
    let mut files = Vec::new();
    let mut folders = Vec::new();
    collect(temporary, "", 0, &mut files, &mut folders).map_err(|error| Problem::io("read", temporary, &error))?;
    let mut manifest =
        Manifest { format: FORMAT.to_string(), version: VERSION, step, files: Vec::new(), blake3: String::new() };
    for name in files {
        manifest.files.push(sync_and_hash(temporary, name)?);
    }
    manifest.blake3 = manifest.hash()?;
    let manifest_path = temporary.join(MANIFEST);
    let json = to_json(&manifest)?;
    guarded("checkpoint.manifest", "write", &manifest_path, || {
        let mut file = File::create(&manifest_path)?;
        file.write_all(&json)?;
        file.sync_all()
    })?;
    for folder in folders.iter().map(|folder| temporary.join(folder)).chain([temporary.to_path_buf()]) {
        guarded("checkpoint.fsync_directory", "flush", &folder, || sync_directory(&folder))?;
    }
    if path.exists() {
        retire(path)?;
    }
    guarded("checkpoint.rename", "rename", temporary, || fs::rename(temporary, path))?;
    let parent = path.parent().unwrap_or(Path::new("."));
    guarded("checkpoint.fsync_parent", "flush", parent, || sync_directory(parent))?;
    Ok(manifest)
}

fn beside(path: &Path, tag: &str) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!("{TEMPORARY}{tag}{name}"))
}

/// Takes a folder out of sight by one rename, then removes it.
fn retire(path: &Path) -> Result<()> {
    let gone = beside(path, "old-");
    if gone.exists() {
        fs::remove_dir_all(&gone).map_err(|error| Problem::io("remove", &gone, &error))?;
    }
    guarded("checkpoint.prune", "rename", path, || fs::rename(path, &gone))?;
    guarded("checkpoint.prune", "remove", &gone, || fs::remove_dir_all(&gone))
}

fn sync_and_hash(root: &Path, name: String) -> Result<ManifestFile> {
    let path = root.join(&name);
    // Opened for writing because some systems flush only what was opened so.
    guarded("checkpoint.fsync", "flush", &path, || fs::OpenOptions::new().append(true).open(&path)?.sync_all())?;
    let (bytes, blake3) = hash_file(&path).map_err(|error| Problem::io("read", &path, &error))?;
    Ok(ManifestFile { path: name, bytes, blake3 })
}

fn hash_file(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Names of all files (sorted) and folders below `root`. Anything that is neither is an error: a link could lead anywhere.
fn collect(
    root: &Path,
    under: &str,
    depth: usize,
    files: &mut Vec<String>,
    folders: &mut Vec<String>,
) -> std::io::Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(std::io::Error::other(format!("`{under}` is nested deeper than {DEPTH_LIMIT}")));
    }
    let mut entries = fs::read_dir(root.join(under))?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if under.is_empty() { name } else { format!("{under}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            folders.push(name.clone());
            collect(root, &name, depth + 1, files, folders)?;
        } else if kind.is_file() {
            files.push(name);
        } else {
            return Err(std::io::Error::other(format!("`{name}` is neither a file nor a folder")));
        }
    }
    Ok(())
}

/// Checks every byte of a committed folder against its manifest; the error is a reason for people.
pub fn verify(path: &Path) -> Result<Manifest, String> {
    let manifest_path = path.join(MANIFEST);
    let kind = fs::symlink_metadata(&manifest_path).map_err(|_| format!("{MANIFEST} is missing"))?;
    if !kind.is_file() {
        return Err(format!("{MANIFEST} is not a plain file"));
    }
    let bytes = read_whole(&manifest_path, MANIFEST_LIMIT_BYTES).map_err(|problem| problem.message().to_string())?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| format!("{MANIFEST} cannot be read: {error}"))?;
    if manifest.format != FORMAT || manifest.version == 0 || manifest.version > VERSION {
        return Err(format!(
            "{MANIFEST} says `{}` version {}, this program reads `{FORMAT}` up to version {VERSION}",
            manifest.format, manifest.version
        ));
    }
    // Compared as bytes too, so that nothing can hide in what the reader of JSON ignores.
    let canonical = to_json(&manifest).map_err(|problem| problem.to_string())?;
    if bytes != canonical || manifest.hash().map_err(|problem| problem.to_string())? != manifest.blake3 {
        return Err(format!("{MANIFEST} does not match its own hash"));
    }
    verify_files(path, &manifest)?;
    Ok(manifest)
}

fn verify_files(path: &Path, manifest: &Manifest) -> Result<(), String> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    collect(path, "", 0, &mut files, &mut folders).map_err(|error| error.to_string())?;
    files.retain(|name| name != MANIFEST);
    let mut expected: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    expected.sort_unstable();
    files.sort_unstable();
    if let Some(missing) = expected.iter().find(|name| files.binary_search_by(|file| file.as_str().cmp(name)).is_err())
    {
        return Err(format!("{missing} is missing"));
    }
    if let Some(extra) = files.iter().find(|name| expected.binary_search(&name.as_str()).is_err()) {
        return Err(format!("{extra} is not in {MANIFEST}"));
    }
    // From here on every name of the manifest was found by walking the folder, so none can point outside it.
    for file in &manifest.files {
        let size = fs::metadata(path.join(&file.path)).map_err(|error| format!("{}: {error}", file.path))?.len();
        if size != file.bytes {
            return Err(format!("{} holds {size} bytes instead of {}", file.path, file.bytes));
        }
        let (_, hash) = hash_file(&path.join(&file.path)).map_err(|error| format!("{}: {error}", file.path))?;
        if hash != file.blake3 {
            return Err(format!("{} does not match its hash", file.path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{self, Action};
    use lapidary_core::{Key, Purpose};

    fn write(step: u64) -> impl FnOnce(&Path) -> Result<()> {
        move |path| {
            fs::write(path.join("model.safetensors"), vec![step as u8; 300]).unwrap();
            fs::create_dir(path.join("state")).unwrap();
            fs::write(path.join("state/state.json"), format!("{{\"step\":{step}}}")).unwrap();
            Ok(())
        }
    }

    fn saved(steps: &[u64]) -> (tempfile::TempDir, Checkpoints) {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(directory.path().join("checkpoints"));
        for &step in steps {
            checkpoints.commit(step, 400, write(step)).unwrap();
        }
        (directory, checkpoints)
    }

    fn newest(checkpoints: &Checkpoints) -> Option<u64> {
        checkpoints.newest_valid().unwrap().step
    }

    #[test]
    fn the_newest_is_found_and_the_oldest_leave() {
        let (_directory, checkpoints) = saved(&[5, 10, 15]);
        assert_eq!(newest(&checkpoints), Some(15));
        checkpoints.prune(2).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [15, 10]);
        assert_eq!(verify(&checkpoints.path_of(10)).unwrap().bytes(), 300 + 11);
    }

    /// RELIABILITY C7: every mutant is detected, and the previous checkpoint is used.
    #[test]
    fn any_changed_bit_or_length_is_detected() {
        let (_directory, checkpoints) = saved(&[1, 2]);
        let root = checkpoints.path_of(2);
        let mut mutants = 0;
        for name in ["model.safetensors", "state/state.json", MANIFEST] {
            let path = root.join(name);
            let good = fs::read(&path).unwrap();
            let check = |bytes: &[u8], what: &str| {
                fs::write(&path, bytes).unwrap();
                let Found { step, skipped } = checkpoints.newest_valid().unwrap();
                assert_eq!(step, Some(1), "{name}: {what} went unnoticed");
                let about = if name == MANIFEST { MANIFEST } else { name };
                assert!(skipped[0].reason.contains(about) || name == MANIFEST, "{}", skipped[0].reason);
            };
            for trial in 0..200 {
                let key = Key::new(trial, Purpose::Bootstrap).at_name(name);
                let mut bytes = good.clone();
                bytes[key.at(0).below(good.len() as u64) as usize] ^= 1 << key.at(1).below(8);
                check(&bytes, "a flipped bit");
                mutants += 1;
            }
            for length in [0, 1, 8, good.len() / 2, good.len() - 1] {
                check(&good[..length], "a truncation");
                mutants += 1;
            }
            check(&[good.as_slice(), b"\n "].concat(), "an appended byte");
            fs::write(&path, &good).unwrap();
        }
        assert_eq!(mutants, 615);
        assert_eq!(newest(&checkpoints), Some(2), "the control: unchanged bytes are valid");
    }

    #[test]
    fn files_that_come_or_go_and_links_are_detected() {
        let (directory, checkpoints) = saved(&[1, 2]);
        let root = checkpoints.path_of(2);
        fs::write(root.join("model.safetensors.index.json"), "{}").unwrap();
        let Found { skipped, .. } = checkpoints.newest_valid().unwrap();
        assert!(skipped[0].reason.contains("index.json is not in"), "{}", skipped[0].reason);
        fs::remove_file(root.join("model.safetensors.index.json")).unwrap();
        let moved = directory.path().join("elsewhere");
        fs::rename(root.join("model.safetensors"), &moved).unwrap();
        assert_eq!(verify(&root).unwrap_err(), "model.safetensors is missing");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&moved, root.join("model.safetensors")).unwrap();
            assert!(verify(&root).unwrap_err().contains("neither a file nor a folder"));
        }
        fs::rename(checkpoints.path_of(1), checkpoints.path_of(7)).unwrap();
        let Found { step, skipped } = checkpoints.newest_valid().unwrap();
        assert!(step.is_none());
        assert!(skipped[0].reason.contains("that of step 1"), "{}", skipped[0].reason);
    }

    #[test]
    fn a_newer_format_and_paths_that_lead_outside_are_refused() {
        let (_directory, checkpoints) = saved(&[3]);
        let good = verify(&checkpoints.path_of(3)).unwrap();
        let refuse = |mut manifest: Manifest| {
            manifest.blake3 = manifest.hash().unwrap();
            fs::write(checkpoints.path_of(3).join(MANIFEST), to_json(&manifest).unwrap()).unwrap();
            verify(&checkpoints.path_of(3)).unwrap_err()
        };
        assert!(refuse(Manifest { version: 2, ..good.clone() }).contains("version 2"));
        let mut outside = good;
        outside.files[0].path = "../../../etc/hostname".into();
        assert!(refuse(outside).contains("is missing"));
    }

    /// RELIABILITY C5, C6: at whichever operation the disk fails, the previous checkpoint stays and no rubbish remains.
    #[test]
    fn a_fault_at_any_operation_leaves_the_previous_checkpoint() {
        for point in fault::POINTS.iter().filter(|point| point.starts_with("checkpoint.")) {
            for nth in 1.. {
                let (_directory, checkpoints) = saved(&[1, 2]);
                fault::arm(point, nth, Action::Full);
                let outcome = checkpoints.commit(3, 400, write(3)).and_then(|_| checkpoints.prune(1));
                let passed = fault::disarm()[0];
                if passed < nth {
                    assert!(outcome.is_ok() && nth > 1, "{point} is never passed");
                    break;
                }
                assert_eq!(outcome.unwrap_err().kind(), Kind::Busy, "{point}:{nth}");
                checkpoints.remove_stale().unwrap();
                let committed = matches!(*point, "checkpoint.fsync_parent" | "checkpoint.prune");
                assert_eq!(newest(&checkpoints), Some(if committed { 3 } else { 2 }), "{point}:{nth}");
                assert!(checkpoints.names().unwrap().iter().all(|name| name.starts_with(PREFIX)));
                checkpoints.commit(3, 400, write(3)).unwrap();
                assert_eq!(newest(&checkpoints), Some(3), "{point}:{nth} after space is freed");
            }
        }
    }

    #[test]
    fn a_full_disk_is_said_before_anything_is_written() {
        let (_directory, checkpoints) = saved(&[1]);
        let problem = checkpoints.commit(2, 1 << 60, |_| panic!("must not be written")).unwrap_err();
        assert_eq!((problem.kind(), problem.code()), (Kind::Busy, "I002"));
        assert_eq!(newest(&checkpoints), Some(1));
    }
}
