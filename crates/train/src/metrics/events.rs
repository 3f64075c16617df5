//! Reads the scalars of TensorBoard event files, whoever wrote them. The format is described in [`super::tensorboard`].
//!
//! Of a value, `simple_value` (field 2) and the float, double or raw content of a scalar tensor (field 8) are read; images,
//! histograms and texts are passed over. Every checksum is compared.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};

use super::tensorboard::masked_crc32c;
use crate::disk::read_whole;

/// An event file of a long run with images has hundreds of megabytes; scalars alone a few.
const FILE_LIMIT_BYTES: u64 = 2 << 30;
/// Length, its checksum, and the checksum of the data.
const FRAME_BYTES: usize = 8 + 4 + 4;
/// `DataType` of a tensor.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 2;

/// A scalar of an event file.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// Its step.
    pub step: u64,
    /// Its name.
    pub tag: String,
    /// Its value, which may be NaN.
    pub value: f64,
}

/// Reads files of one run in the order given (TensorBoard's is that of their names). Where a launch began anew
/// (`session_log` START), what earlier files say of later steps is dropped.
///
/// A torn last record (of a run that is going on, or was killed) is left out.
///
/// # Errors
/// `D070` (data): a checksum that is not right, with the file and the byte; a file that is no event file.
pub fn read_events(files: &[impl AsRef<Path>]) -> Result<Vec<Scalar>> {
    let mut scalars: Vec<Scalar> = Vec::new();
    for file in files {
        let path = file.as_ref();
        let bytes = read_whole(path, FILE_LIMIT_BYTES)?;
        let broken = |at: usize, why: &str| {
            Problem::new(Kind::Data, "D070", format!("`{}` is not a sound TensorBoard event file", path.display()))
                .why(format!("at byte {at}: {why}"))
                .hint("copy the file again, or read the run's JSONL instead")
        };
        let mut at = 0;
        while bytes.len() - at >= FRAME_BYTES {
            let length = &bytes[at..at + 8];
            if bytes[at + 8..at + 12] != masked_crc32c(length) {
                return Err(broken(at, "the checksum of a record's length is not right"));
            }
            let length = length.iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
            let room = bytes.len() - at - FRAME_BYTES;
            let Some(length) = usize::try_from(length).ok().filter(|length| *length <= room) else { break };
            let data = &bytes[at + 12..at + 12 + length];
            if bytes[at + 12 + length..at + FRAME_BYTES + length] != masked_crc32c(data) {
                return Err(broken(at, "the checksum of a record is not right"));
            }
            match event(data).ok_or_else(|| broken(at, "a record is not an event"))? {
                Event::Restart(step) => scalars.retain(|scalar| scalar.step < step),
                Event::Scalars(more) => scalars.extend(more),
            }
            at += FRAME_BYTES + length;
        }
    }
    Ok(scalars)
}

enum Event {
    Scalars(Vec<Scalar>),
    Restart(u64),
}

/// A field of a protocol-buffer message.
enum Field<'a> {
    Integer(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

/// The fields of a message; `None` where it is not one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn variable(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The next field and its number; `Some(None)` at the end.
    fn next(&mut self) -> Option<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.variable()?;
        let field = match key & 7 {
            0 => Field::Integer(self.variable()?),
            1 => Field::Eight(self.take(8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(self.variable()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Four(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some(Some((key >> 3, field)))
    }
}

fn event(data: &[u8]) -> Option<Event> {
    let (mut step, mut restart, mut values) = (0, false, Vec::new());
    let mut fields = Fields(data);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (2, Field::Integer(value)) => step = value,
            (5, Field::Bytes(summary)) => summary_values(summary, &mut values)?,
            (7, Field::Bytes(log)) => restart = starts(log)?,
            _ => {}
        }
    }
    if restart {
        return Some(Event::Restart(step));
    }
    Some(Event::Scalars(values.into_iter().map(|(tag, value)| Scalar { step, tag, value }).collect()))
}

/// `session_log { status = START (1) }`.
fn starts(log: &[u8]) -> Option<bool> {
    let mut fields = Fields(log);
    let mut starts = false;
    while let Some((number, field)) = fields.next()? {
        starts |= matches!((number, field), (1, Field::Integer(1)));
    }
    Some(starts)
}

fn summary_values(summary: &[u8], out: &mut Vec<(String, f64)>) -> Option<()> {
    let mut fields = Fields(summary);
    while let Some((number, field)) = fields.next()? {
        let (1, Field::Bytes(value)) = (number, field) else { continue };
        let (mut tag, mut number, mut fields) = (None, None, Fields(value));
        while let Some((at, field)) = fields.next()? {
            match (at, field) {
                (1, Field::Bytes(text)) => tag = Some(String::from_utf8_lossy(text).into_owned()),
                (2, Field::Four(bytes)) => number = Some(f64::from(f32::from_le_bytes(bytes))),
                (8, Field::Bytes(tensor)) => number = scalar_tensor(tensor)?,
                _ => {}
            }
        }
        out.extend(tag.zip(number));
    }
    Some(())
}

/// The value of a `TensorProto` that holds one float or double; `Some(None)` for any other.
fn scalar_tensor(tensor: &[u8]) -> Option<Option<f64>> {
    let (mut kind, mut content, mut value) = (0, None, None);
    let mut fields = Fields(tensor);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Integer(integer)) => kind = integer,
            (4, Field::Bytes(bytes)) => content = Some(bytes),
            (5, Field::Four(bytes)) => value = Some(f64::from(f32::from_le_bytes(bytes))),
            (5, Field::Bytes(bytes)) => value = bytes.try_into().ok().map(|four| f64::from(f32::from_le_bytes(four))),
            (6, Field::Eight(bytes)) => value = Some(f64::from_le_bytes(bytes)),
            (6, Field::Bytes(bytes)) => value = bytes.try_into().ok().map(f64::from_le_bytes),
            _ => {}
        }
    }
    let content = match (kind, content) {
        (FLOAT, Some(bytes)) => bytes.try_into().ok().map(|four| f64::from(f32::from_le_bytes(four))),
        (DOUBLE, Some(bytes)) => bytes.try_into().ok().map(f64::from_le_bytes),
        _ => None,
    };
    Some(value.or(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Row, Sink, TensorBoard};

    fn files(directory: &Path) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Two launches: steps 1 to 5, then again from 4 on.
    fn written() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for done in [0, 3] {
            let mut board = TensorBoard::open(directory.path(), done).unwrap();
            for step in done + 1..=done + 5 {
                let row = Row::new(step, 1, "grpo").with("reward", step as f64 + done as f64 / 10.0).with("kl", 0.25);
                board.record(&row).unwrap();
            }
        }
        directory
    }

    #[test]
    fn what_our_writer_writes_comes_back_and_a_restart_hides_what_was_before() {
        let directory = written();
        let scalars = read_events(&files(directory.path())).unwrap();
        let rewards: Vec<_> = scalars.iter().filter(|it| it.tag == "reward").map(|it| (it.step, it.value)).collect();
        let expected = [1.0, 2.0, 3.0, 4.3, 5.3, 6.3, 7.3, 8.3].map(|value| f64::from(value as f32));
        assert_eq!(rewards, (1..=8).zip(expected).collect::<Vec<_>>());
        assert_eq!(scalars.len(), 16);
    }

    #[test]
    fn a_torn_end_is_left_out_and_a_flipped_bit_is_found() {
        let directory = written();
        let path = files(directory.path()).remove(0);
        let bytes = std::fs::read(&path).unwrap();
        let torn = directory.path().join("torn");
        for length in [0, 5, bytes.len() - 1, bytes.len() - 40] {
            std::fs::write(&torn, &bytes[..length]).unwrap();
            assert!(read_events(&[&torn]).unwrap().len() < 10, "{length} bytes");
        }
        let mut found = 0;
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&torn, &flipped).unwrap();
            match read_events(&[&torn]) {
                Err(problem) => {
                    assert_eq!(problem.code(), "D070");
                    found += 1;
                }
                Ok(_) => panic!("bit {bit} is not noticed"),
            }
        }
        assert!(found > 300, "{found}");
    }

    #[test]
    fn a_scalar_may_be_a_tensor() {
        // Event { step = 7, summary { value { tag = "t", tensor { dtype = DT_FLOAT, float_val = 0.25 } } } }, and with content.
        let with = |tensor: &[u8]| {
            let value = [&[0x0A, 1, b't', 0x42, tensor.len() as u8], tensor].concat();
            let summary = [&[0x0A, value.len() as u8], value.as_slice()].concat();
            [&[16, 7, 0x2A, summary.len() as u8], summary.as_slice()].concat()
        };
        let of = |data: &[u8]| match event(data).unwrap() {
            Event::Scalars(scalars) => scalars,
            Event::Restart(_) => panic!("no restart"),
        };
        let expected = vec![Scalar { step: 7, tag: "t".into(), value: 0.25 }];
        assert_eq!(of(&with(&[8, 1, 0x2D, 0, 0, 0x80, 0x3E])), expected);
        assert_eq!(of(&with(&[8, 1, 0x22, 4, 0, 0, 0x80, 0x3E])), expected);
        assert_eq!(of(&with(&[8, 7, 0x22, 2, b'h', b'i'])), []);
        assert!(event(&[0x2A, 200]).is_none(), "a message that ends early");
    }
}
