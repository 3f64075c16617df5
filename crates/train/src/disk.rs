//! Writing so that a power cut finds either the old bytes or the new ones.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use lapidary_core::{Kind, Problem, Result};

use crate::fault;

/// Bytes that must stay free beside what is about to be written: room for logs until the next look.
pub(crate) const RESERVE_BYTES: u64 = 4 << 20;

/// Runs an operation of the operating system behind a fault point.
pub(crate) fn guarded<T>(
    point: &str,
    doing: &str,
    path: &Path,
    operation: impl FnOnce() -> std::io::Result<T>,
) -> Result<T> {
    fault::pass(point).and_then(|()| operation()).map_err(|error| Problem::io(doing, path, &error))
}

/// Makes a directory's entries durable. On systems that cannot open a directory this does nothing.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Writes a file whole: temporary name, fsync, rename, fsync of the directory.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), sync_directory)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Problem::io("write", path, &error)
    })
}

/// Reads a whole file, at most `limit` bytes.
pub(crate) fn read_whole(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Problem::io("read", path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(Problem::new(Kind::Data, "I003", format!("`{}` is larger than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// Refuses when fewer than `needed` bytes (and the reserve) are free where `path` lies. Unknown free space passes.
pub(crate) fn require_space(path: &Path, needed: u64, what: &str) -> Result<()> {
    match fs4::available_space(path) {
        Ok(free) if free < needed + RESERVE_BYTES => Err(Problem::new(
            Kind::Busy,
            "I002",
            format!(
                "not enough space for {what} in `{}`: {} are needed, {} are free",
                path.display(),
                human_bytes(needed + RESERVE_BYTES),
                human_bytes(free)
            ),
        )
        .hint("free some space and run the same command again: nothing that was saved is lost")),
        _ => Ok(()),
    }
}

/// `1.2 GB`, `34 MB`, `560 B`: powers of ten, as disks are sold.
pub fn human_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        _ => (1e9, "GB"),
    };
    let value = bytes as f64 / unit;
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

/// A log that grows by whole lines.
///
/// A line is one `write` call, so a killed process leaves at most one torn line at the end, which opening cuts off.
pub(crate) struct LineLog {
    file: File,
    path: std::path::PathBuf,
    bytes: u64,
}

impl LineLog {
    /// Opens (or makes) the log and drops a torn last line.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut log = Self::open_as_it_is(path)?;
        let whole = log.end_of_last_line().map_err(|error| Problem::io("read", path, &error))?;
        log.cut(whole)?;
        Ok(log)
    }

    fn open_as_it_is(path: &Path) -> Result<Self> {
        let open = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|error| Problem::io("open", path, &error))?;
        Ok(Self { file, path: path.to_path_buf(), bytes })
    }

    fn end_of_last_line(&mut self) -> std::io::Result<u64> {
        const BLOCK: u64 = 64 << 10;
        let mut end = self.bytes;
        while end > 0 {
            let start = end.saturating_sub(BLOCK);
            let mut block = vec![0; (end - start) as usize];
            self.file.seek(SeekFrom::Start(start))?;
            self.file.read_exact(&mut block)?;
            if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }

    fn cut(&mut self, bytes: u64) -> Result<()> {
        let cut = |file: &mut File| {
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(bytes))
        };
        cut(&mut self.file).map_err(|error| Problem::io("cut back", &self.path, &error))?;
        self.bytes = bytes;
        Ok(())
    }

    /// Appends one line. After a failed write the log is cut back to what it held.
    pub(crate) fn append(&mut self, line: &str) -> Result<()> {
        debug_assert!(!line.contains('\n'), "one line at a time");
        let text = format!("{line}\n");
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            let _ = self.cut(self.bytes);
            return Err(Problem::io("append to", &self.path, &error));
        }
        self.bytes += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let mut log = LineLog::open(&path).unwrap();
        log.append("1").unwrap();
        log.append("2").unwrap();
        drop(log);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"st").unwrap();
        LineLog::open(&path).unwrap().append("3").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn space_that_cannot_exist_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(require_space(directory.path(), 1 << 60, "a checkpoint").unwrap_err().kind(), Kind::Busy);
        assert!(require_space(directory.path(), 0, "a checkpoint").is_ok());
        assert_eq!(
            [human_bytes(560), human_bytes(1_234_000), human_bytes(52_000_000_000)],
            ["560 B", "1.2 MB", "52 GB"]
        );
    }
}
