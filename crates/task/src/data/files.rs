//! Which files of a path are for training and which for tests.

use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};

/// Files of a data set, in the order of their names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Files {
    pub train: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
}

const ENDINGS: &[&str] = &[
    ".jsonl",
    ".jsonl.gz",
    ".ndjson",
    ".ndjson.gz",
    ".json",
    ".json.gz",
    ".parquet",
    ".jsonl.zst",
    ".csv",
    ".csv.gz",
    ".tsv",
    ".tsv.gz",
    ".arrow",
];
/// Names that mark test files, best first: where there are test files, validation files are neither.
const TEST_NAMES: &[&str] = &["test", "validation", "valid", "val", "dev", "eval"];
/// More files than this in one directory are no data set.
const MOST_FILES: usize = 10_000;

/// Looks at a file or a directory (and, as the hub ships them, its subdirectory `data`).
pub(super) fn find(path: &Path) -> Result<Files> {
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(Kind::Data, "D001", format!("there is no data at `{}`", path.display()))
                .hint("a relative path starts at the folder in which lapidary runs")
        }
        _ => Problem::io("read", path, &error),
    })?;
    if meta.is_file() {
        return Ok(Files { train: vec![path.to_path_buf()], test: Vec::new() });
    }
    let mut names = data_files(path)?;
    let inner = path.join("data");
    if names.is_empty() && inner.is_dir() {
        names = data_files(&inner)?;
    }
    sort_out(path, names)
}

fn data_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| Problem::io("list", folder, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.take(MOST_FILES) {
        let path = entry.map_err(unreadable)?.path();
        let name = file_name(&path);
        if path.is_file() && !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether a file is called `word…`, with no letter right behind the word: `train-00000.parquet`, not `training_notes.json`.
fn is_called(path: &Path, word: &str) -> bool {
    file_name(path).strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphabetic()))
}

fn sort_out(folder: &Path, found: Vec<PathBuf>) -> Result<Files> {
    let called = |word: &str| found.iter().filter(|path| is_called(path, word)).cloned().collect::<Vec<_>>();
    let mut train = called("train");
    let test = TEST_NAMES.iter().map(|word| called(word)).find(|files| !files.is_empty()).unwrap_or_default();
    if train.is_empty() && test.is_empty() && found.len() == 1 {
        train = found.clone();
    }
    if train.is_empty() {
        let names: Vec<String> = found.iter().take(12).map(|path| format!("`{}`", file_name(path))).collect();
        let names = if names.is_empty() { "no data file".to_string() } else { names.join(", ") };
        let message = format!("`{}` holds no file named train…", folder.display());
        return Err(Problem::new(Kind::Data, "D010", message)
            .why(format!("it holds {names}"))
            .hint("name one file as `path`, and another as `test_path`"));
    }
    Ok(Files { train, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|path| file_name(path)).collect()
    }

    fn sorted(list: &[&str]) -> Result<Files> {
        sort_out(Path::new("d"), list.iter().map(|name| Path::new("d").join(name)).collect())
    }

    #[test]
    fn train_and_test_files_are_told_apart_by_name() {
        let files = sorted(&["model_solutions.jsonl.gz", "test.jsonl.gz", "train.jsonl.gz"]).unwrap();
        assert_eq!(
            (names(&files.train), names(&files.test)),
            (vec!["train.jsonl.gz".into()], vec!["test.jsonl.gz".into()])
        );
        let files = sorted(&["train-00000-of-2.parquet", "train-00001-of-2.parquet", "validation-0.parquet"]).unwrap();
        assert_eq!((files.train.len(), names(&files.test)), (2, vec!["validation-0.parquet".to_string()]));
        assert_eq!(sorted(&["anything.jsonl"]).unwrap().train.len(), 1);
    }

    #[test]
    fn a_directory_without_training_files_is_refused() {
        for list in [&["a.jsonl", "b.jsonl"][..], &[], &["training_notes.json", "x.json"], &["test.jsonl"]] {
            assert_eq!(sorted(list).unwrap_err().code(), "D010", "{list:?}");
        }
        assert_eq!(find(Path::new("/nowhere/at/all")).unwrap_err().code(), "D001");
    }
}
