//! `metrics.jsonl`: one object per row, the same bytes for the same run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use serde_json::Value;

use super::{Row, Sink};

/// A row as one line of JSON without its newline.
///
/// Keys: `step`, `stage`, `stage_name`, then the row's own in their order. A number is the shortest decimal that reads back
/// as the same f64; −0 is written as 0.
///
/// # Errors
/// `Diverged`: a number that is not finite, which JSON cannot hold and no run should go on with.
pub fn encode(row: &Row) -> Result<String> {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line =
        format!("{{\"step\":{},\"stage\":{},\"stage_name\":{}", row.step, row.stage, quoted(&row.stage_name));
    for (at, (name, value)) in row.values.iter().enumerate() {
        assert!(!row.values[..at].iter().any(|(earlier, _)| earlier == name), "metric `{name}` is given twice");
        assert!(!matches!(name.as_str(), "step" | "stage" | "stage_name"), "`{name}` is not a metric");
        if !value.is_finite() {
            return Err(Problem::new(
                Kind::Diverged,
                "N001",
                format!("metric `{name}` is {value} at step {} (stage {}, {})", row.step, row.stage, row.stage_name),
            )
            .why("a number that is not finite means that the weights or the loss have left the range of f32")
            .hint("lower `learning_rate`, set `max_grad_norm`, or go back to an earlier checkpoint"));
        }
        let value = if *value == 0.0 { 0.0 } else { *value };
        line.push_str(&format!(",{}:{value:?}", quoted(name)));
    }
    line.push('}');
    Ok(line)
}

/// The log itself. A row is one `write`, so a killed process leaves at most one torn line, which opening cuts off.
#[derive(Debug)]
pub struct JsonLines {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl JsonLines {
    /// Opens (or makes) the log and cuts it back to its first `bytes` bytes, as a checkpoint remembers them; 0 starts over.
    ///
    /// # Errors
    /// A file that cannot be opened, or one that is shorter than `bytes`: something else changed it.
    pub fn open(path: &Path, bytes: u64) -> Result<Self> {
        let open = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let held = file.metadata()?.len();
            Ok((file, held))
        };
        let (file, held) = open().map_err(|error| Problem::io("open", path, &error))?;
        if held < bytes {
            return Err(Problem::new(
                Kind::Failed,
                "S006",
                format!("`{}` holds {held} bytes, but the checkpoint was made when it held {bytes}", path.display()),
            )
            .hint("the file was changed by something else; restore it, or start over with `--fresh`"));
        }
        let mut log = Self { file, path: path.to_path_buf(), bytes };
        log.cut().map_err(|error| Problem::io("cut back", path, &error))?;
        Ok(log)
    }

    /// How many bytes the log holds: what a checkpoint remembers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes)).map(|_| ())
    }
}

impl Sink for JsonLines {
    fn name(&self) -> &'static str {
        "metrics.jsonl"
    }

    fn record(&mut self, row: &Row) -> Result<()> {
        let mut line = encode(row)?;
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.cut(); // half a line helps nobody; the write's own error is the one to report
            return Err(Problem::io("append to", &self.path, &error));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| Problem::io("flush", &self.path, &error))
    }
}

/// A row has tens of numbers; a line longer than this was not written by us.
const LINE_LIMIT_BYTES: usize = 1 << 20;

/// Reads the rows of a log. A torn last line (of a run that is going on, or was killed) is left out.
///
/// # Errors
/// `Data`: a line that is not a row, with its number.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    let mut reader = BufReader::new(file);
    let mut rows = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut reader, LINE_LIMIT_BYTES as u64);
        let read = bounded.read_until(b'\n', &mut line).map_err(|error| Problem::io("read", path, &error))?;
        if read == 0 || (line.last() != Some(&b'\n') && read < LINE_LIMIT_BYTES) {
            return Ok(rows);
        }
        rows.push(decode(&line).ok_or_else(|| {
            Problem::new(
                Kind::Data,
                "D030",
                format!("`{}` line {} is not a row of metrics", path.display(), rows.len() + 1),
            )
            .why("a row is an object with `step`, `stage`, `stage_name`, and numbers")
        })?);
    }
}

fn decode(line: &[u8]) -> Option<Row> {
    let Ok(Value::Object(object)) = serde_json::from_slice(line) else { return None };
    let mut row = Row::new(
        object.get("step")?.as_u64()?,
        usize::try_from(object.get("stage")?.as_u64()?).ok()?,
        object.get("stage_name")?.as_str()?,
    );
    for (name, value) in &object {
        if !matches!(name.as_str(), "step" | "stage" | "stage_name") {
            row.values.push((name.clone(), value.as_f64()?));
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(step: u64) -> Row {
        Row::new(step, 2, "grpo").with("reward", 0.1 + 0.2).with("kl", 1e-7).with("rewards/answer/mean", -0.0)
    }

    #[test]
    fn a_row_is_these_bytes() {
        assert_eq!(
            encode(&row(12)).unwrap(),
            r#"{"step":12,"stage":2,"stage_name":"grpo","reward":0.30000000000000004,"kl":1e-7,"rewards/answer/mean":0.0}"#
        );
    }

    #[test]
    fn what_is_not_finite_is_refused_by_name() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let problem = encode(&Row::new(3, 1, "sft").with("loss", value)).unwrap_err();
            assert_eq!((problem.kind(), problem.code()), (Kind::Diverged, "N001"));
            assert!(problem.message().contains("`loss`"), "{problem}");
        }
    }

    #[test]
    #[should_panic(expected = "given twice")]
    fn a_name_given_twice_is_a_bug() {
        let _ = encode(&row(1).with("kl", 1.0));
    }

    #[test]
    fn a_resumed_log_ends_in_the_bytes_of_one_that_was_never_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let (whole, cut) = (directory.path().join("whole"), directory.path().join("cut"));
        let mut log = JsonLines::open(&whole, 0).unwrap();
        (1..=6).for_each(|step| log.record(&row(step)).unwrap());

        let mut log = JsonLines::open(&cut, 0).unwrap();
        (1..=3).for_each(|step| log.record(&row(step)).unwrap());
        log.sync().unwrap();
        let checkpoint = log.bytes();
        log.record(&row(4)).unwrap();
        drop(log);
        OpenOptions::new().append(true).open(&cut).unwrap().write_all(b"{\"step\":5,\"st").unwrap();
        let mut log = JsonLines::open(&cut, checkpoint).unwrap();
        (4..=6).for_each(|step| log.record(&row(step)).unwrap());
        assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&cut).unwrap());

        let problem = JsonLines::open(&cut, 1 << 20).unwrap_err();
        assert_eq!(problem.code(), "S006");
    }

    #[test]
    fn rows_come_back_and_a_torn_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.jsonl");
        let mut log = JsonLines::open(&path, 0).unwrap();
        (1..=2).for_each(|step| log.record(&row(step)).unwrap());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\":3").unwrap();
        let rows = read_rows(&path).unwrap();
        assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(rows[0].get("kl"), Some(1e-7));
        std::fs::write(&path, "{\"step\":1}\n").unwrap();
        assert!(read_rows(&path).unwrap_err().message().contains("line 1"));
    }

    proptest! {
        #[test]
        fn every_finite_number_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let line = encode(&Row::new(0, 0, "start").with("x", value)).unwrap();
            prop_assert_eq!(decode(line.as_bytes()).unwrap().get("x"), Some(value));
        }
    }
}
