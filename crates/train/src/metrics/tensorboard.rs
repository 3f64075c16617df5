//! TensorBoard event files, written without TensorFlow.
//!
//! A file is a sequence of records: length (u64, little endian), masked CRC-32C of the length, data, masked CRC-32C of the
//! data. Data is a protocol-buffer `Event { wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7 }`; a
//! scalar is `Summary { value = 1: { tag = 1, simple_value = 2 } }`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lapidary_core::{Problem, Result};

use super::{Row, Sink};

/// How many launches in the same second of the same process get a file each.
const NAME_ATTEMPTS: u32 = 1000;

/// One event file: one launch of a run.
pub struct TensorBoard {
    file: BufWriter<File>,
    path: PathBuf,
    clock: fn() -> f64,
}

impl TensorBoard {
    /// Starts a new event file in `directory`. TensorBoard joins the files of all launches.
    ///
    /// `done` is the number of steps that the run had done: what earlier launches wrote beyond it is hidden by TensorBoard
    /// from here on (they were killed after their last checkpoint).
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn open(directory: &Path, done: u64) -> Result<Self> {
        Self::open_at(directory, done, unix_seconds, &host())
    }

    fn open_at(directory: &Path, done: u64, clock: fn() -> f64, host: &str) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Problem::io("make", directory, &error))?;
        let seconds = clock() as u64;
        let process = std::process::id();
        let mut attempt = 0;
        let (file, path) = loop {
            // TensorBoard reads files in the order of their names, so the second comes first, zero-padded.
            let path = directory.join(format!("events.out.tfevents.{seconds:010}.{host}.{process}.{attempt}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < NAME_ATTEMPTS => {
                    attempt += 1
                }
                Err(error) => return Err(Problem::io("make", &path, &error)),
            }
        };
        let mut board = Self { file: BufWriter::new(file), path, clock };
        let wall = clock();
        board.write(|out| {
            write_record(out, &version_event(wall))?;
            if done > 0 { write_record(out, &session_start_event(wall, done + 1)) } else { Ok(()) }
        })?;
        Ok(board)
    }

    fn write(&mut self, act: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
        act(&mut self.file)
            .and_then(|()| self.file.flush())
            .map_err(|error| Problem::io("append to", &self.path, &error))
    }
}

impl Sink for TensorBoard {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn record(&mut self, row: &Row) -> Result<()> {
        let wall = (self.clock)();
        self.write(|out| write_record(out, &scalars_event(wall, row)))
    }

    fn sync(&mut self) -> Result<()> {
        self.write(|_| Ok(()))
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The machine's name with nothing in it that a file name cannot hold.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.unwrap_or_default().trim().chars().filter(|&c| plain(c)).take(64).collect();
    if name.is_empty() { "host".to_string() } else { name }
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), a bit at a time: event files are kilobytes.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

/// TFRecord's mask, which keeps a checksum of data that holds checksums from being one of them.
pub(super) fn masked_crc32c(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

fn write_record(out: &mut impl Write, data: &[u8]) -> std::io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc32c(&length))?;
    out.write_all(data)?;
    out.write_all(&masked_crc32c(data))
}

/// A protocol-buffer message being written; fields below 16 have one-byte keys.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u8, wire: u8) {
        debug_assert!(field < 16, "field {field} needs a longer key");
        self.0.push(field << 3 | wire);
    }
    fn variable(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
    fn integer(mut self, field: u8, value: u64) -> Self {
        self.key(field, 0);
        self.variable(value);
        self
    }
    fn double(mut self, field: u8, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }
    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.key(field, 2);
        self.variable(value.len() as u64);
        self.0.extend(value);
        self
    }
    fn float(mut self, field: u8, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }
}

fn event(wall: f64, step: u64) -> Message {
    Message::default().double(1, wall).integer(2, step)
}

/// The first record of every file.
fn version_event(wall: f64) -> Vec<u8> {
    Message::default().double(1, wall).bytes(3, b"brain.Event:2").0
}

/// `session_log { status = START }`: events of other files at this step or later are obsolete.
fn session_start_event(wall: f64, step: u64) -> Vec<u8> {
    event(wall, step).bytes(7, &Message::default().integer(1, 1).0).0
}

fn scalars_event(wall: f64, row: &Row) -> Vec<u8> {
    let summary = row.values.iter().fold(Message::default(), |summary, (name, value)| {
        summary.bytes(1, &Message::default().bytes(1, name.as_bytes()).float(2, *value as f32).0)
    });
    event(wall, row.step).bytes(5, &summary.0).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    #[test]
    fn a_record_is_these_bytes() {
        // wall 1.5 = 0x3FF8…, step 300 = AC 02, summary { value { tag "r", simple_value 0.25 = 00 00 80 3E } }.
        let data = scalars_event(1.5, &Row::new(300, 1, "grpo").with("r", 0.25));
        let golden =
            [9, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 16, 0xAC, 2, 0x2A, 10, 0x0A, 8, 0x0A, 1, b'r', 0x15, 0, 0, 0x80, 0x3E];
        assert_eq!(data, golden);
        let mut out = Vec::new();
        write_record(&mut out, b"abc").unwrap();
        assert_eq!(out.len(), 8 + 4 + 3 + 4);
        assert_eq!(out[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_launch_has_its_own_file_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let clock = || 1.7e9;
        for done in [0, 3] {
            let mut board = TensorBoard::open_at(directory.path(), done, clock, "h").unwrap();
            for step in done + 1..=done + 5 {
                board.record(&Row::new(step, 1, "grpo").with("reward", step as f64)).unwrap();
            }
        }
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let process = std::process::id();
        let expected = [0, 1].map(|n| format!("events.out.tfevents.1700000000.h.{process}.{n}"));
        assert_eq!(names, expected);
        if let Ok(kept) = std::env::var("LAPIDARY_KEEP_EVENTS") {
            // For a look with Python's own reader: EventAccumulator(kept).Scalars("reward").
            fs::create_dir_all(&kept).unwrap();
            names.iter().for_each(|name| drop(fs::copy(directory.path().join(name), Path::new(&kept).join(name))));
        }
    }
}
