//! A control group (version 2) around a whole sandbox, where this process may make one.

use std::path::{Path, PathBuf};

use crate::Limits;

/// Where control groups of version 2 are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Makes a group below our own and sets its limits.
///
/// # Errors
/// In words: why this machine has none for us.
pub(super) fn make(name: &str, limits: &Limits) -> Result<PathBuf, String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2 here")?;
    make_below(&Path::new(MOUNT).join(own), name, limits)
}

fn make_below(parent: &Path, name: &str, limits: &Limits) -> Result<PathBuf, String> {
    let read = |file: &str| std::fs::read_to_string(parent.join(file));
    let controllers = read("cgroup.subtree_control").map_err(|_| "no cgroup v2 here".to_string())?;
    for needed in ["memory", "pids"] {
        if !controllers.split_whitespace().any(|known| known == needed) {
            return Err(format!("cgroup v2 has no `{needed}` controller for us"));
        }
    }
    let folder = parent.join(name);
    std::fs::create_dir(&folder).map_err(|error| format!("cgroup v2 is not ours: {error}"))?;
    // the tree: the program, the interpreter it was forked from, and the files in memory
    let memory = 2 * limits.memory_bytes + limits.work_bytes;
    let settings = [
        ("memory.max", memory.to_string()),
        ("memory.swap.max", "0".into()),
        ("memory.oom.group", "1".into()),
        ("pids.max", (limits.threads + 2).to_string()),
    ];
    for (file, value) in settings {
        let path = folder.join(file);
        // without swap there is no such file
        if file == "memory.swap.max" && !path.exists() {
            continue;
        }
        if let Err(error) = std::fs::write(&path, value) {
            remove(&folder);
            return Err(format!("cgroup v2 is not ours: {file}: {error}"));
        }
    }
    Ok(folder)
}

/// Moves this process into the group.
pub(super) fn join(folder: &Path) -> Result<(), String> {
    std::fs::write(folder.join("cgroup.procs"), "0").map_err(|error| format!("could not join a cgroup: {error}"))
}

/// Kills whatever is left in the group and removes it.
pub(super) fn remove(folder: &Path) {
    const TRIES: u32 = 50; // the kernel removes dead processes from a group a moment after they die
    let _ = std::fs::write(folder.join("cgroup.kill"), "1");
    for _ in 0..TRIES {
        if std::fs::remove_dir(folder).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    tracing::warn!("could not remove the cgroup {}", folder.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder stands in for the kernel's: what is tested is which files are asked and what is said.
    #[test]
    fn a_group_needs_both_controllers() {
        let folder = tempfile::tempdir().unwrap();
        let said = make_below(folder.path(), "a", &Limits::default()).unwrap_err();
        assert_eq!(said, "no cgroup v2 here");
        std::fs::write(folder.path().join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        let said = make_below(folder.path(), "a", &Limits::default()).unwrap_err();
        assert_eq!(said, "cgroup v2 has no `pids` controller for us");
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn the_limits_are_those_of_the_whole_tree() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cgroup.subtree_control"), "memory pids").unwrap();
        let limits = Limits { memory_bytes: 100, work_bytes: 7, threads: 3, ..Limits::default() };
        let group = make_below(folder.path(), "g", &limits).unwrap();
        let read = |file: &str| std::fs::read_to_string(group.join(file)).unwrap();
        assert_eq!((read("memory.max"), read("pids.max")), ("207".into(), "5".into()));
        join(&group).unwrap();
        assert_eq!(read("cgroup.procs"), "0", "0 means the process that writes");
    }
}
