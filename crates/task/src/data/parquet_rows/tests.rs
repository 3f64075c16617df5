use std::path::PathBuf;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde_json::json;

use super::*;

enum Cells {
    Text(Vec<String>),
    Fixed(Vec<[u8; 12]>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Truth(Vec<bool>),
}
use Cells::*;

fn text(words: &[&str]) -> Cells {
    Text(words.iter().map(|word| word.to_string()).collect())
}

/// A column: its cells, then the definition and repetition level of each place (empty where all are required).
type Column = (Cells, &'static [i16], &'static [i16]);

fn write(path: &Path, schema: &str, compression: Compression, dictionary: bool, columns: &[Column]) {
    let properties =
        WriterProperties::builder().set_dictionary_enabled(dictionary).set_compression(compression).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (cells, definition, repetition) in columns {
        let levels = |levels: &'static [i16]| (!levels.is_empty()).then_some(levels);
        let (definition, repetition) = (levels(definition), levels(repetition));
        let mut column = group.next_column().unwrap().unwrap();
        let written = match cells {
            Text(cells) => {
                let cells: Vec<ByteArray> = cells.iter().map(|cell| ByteArray::from(cell.as_str())).collect();
                column.typed::<ByteArrayType>().write_batch(&cells, definition, repetition)
            }
            Fixed(cells) => {
                let cells: Vec<FixedLenByteArray> =
                    cells.iter().map(|cell| ByteArray::from(cell.to_vec()).into()).collect();
                column.typed::<FixedLenByteArrayType>().write_batch(&cells, definition, repetition)
            }
            Int(cells) => column.typed::<Int32Type>().write_batch(cells, definition, repetition),
            Long(cells) => column.typed::<Int64Type>().write_batch(cells, definition, repetition),
            Float(cells) => column.typed::<FloatType>().write_batch(cells, definition, repetition),
            Double(cells) => column.typed::<DoubleType>().write_batch(cells, definition, repetition),
            Truth(cells) => column.typed::<BoolType>().write_batch(cells, definition, repetition),
        };
        written.unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

const EVERYTHING: &str = "message m {
    optional group messages (LIST) { repeated group list { optional group element {
        optional binary role (UTF8); optional binary content (UTF8);
    } } }
    optional group reward_model { optional binary ground_truth (UTF8); }
    optional group counts (MAP) { repeated group key_value { required binary key (UTF8); optional int32 value; } }
    required int32 n;
    required int64 big (UINT_64);
    required float f;
    required double x;
    optional boolean yes;
    optional int64 nothing;
    required int32 price (DECIMAL(5, 2));
    required int32 whole (DECIMAL(5, 0));
    required int32 day (DATE);
    required binary raw;
    required fixed_len_byte_array(12) wait (INTERVAL);
}";

/// Three rows of every kind of column.
fn everything(path: &Path, compression: Compression) {
    let columns: Vec<Column> = vec![
        (text(&["system", "user"]), &[4, 4, 1, 0], &[0, 1, 0, 0]),
        (text(&["Be brief."]), &[4, 3, 1, 0], &[0, 1, 0, 0]),
        (text(&["72"]), &[2, 1, 0], &[]),
        (text(&["a", "b"]), &[2, 2, 1, 0], &[0, 1, 0, 0]),
        (Int(vec![7]), &[3, 2, 1, 0], &[0, 1, 0, 0]),
        (Int(vec![-1, 2, 3]), &[], &[]),
        (Long(vec![-1, 2, 3]), &[], &[]),
        (Float(vec![0.5, 1.0, f32::NAN]), &[], &[]),
        (Double(vec![0.1, 1e300, f64::INFINITY]), &[], &[]),
        (Truth(vec![true, false]), &[1, 1, 0], &[]),
        (Long(vec![]), &[0, 0, 0], &[]),
        (Int(vec![150, -5, 0]), &[], &[]),
        (Int(vec![150, -5, 0]), &[], &[]),
        (Int(vec![0, 19_723, -1]), &[], &[]),
        (text(&["é", "", "plain"]), &[], &[]),
        (Fixed(vec![[0; 12]; 3]), &[], &[]),
    ];
    write(path, EVERYTHING, compression, true, &columns);
}

fn codecs() -> [Compression; 4] {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, Compression::GZIP(Default::default())]
}

#[test]
fn every_kind_of_column_becomes_its_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let expected = json!([
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": null}],
         "reward_model": {"ground_truth": "72"}, "counts": {"a": 7, "b": null}, "n": -1, "big": u64::MAX, "f": 0.5,
         "x": 0.1, "yes": true, "nothing": null, "price": "1.50", "whole": "150", "day": "1970-01-01", "raw": "é"},
        {"messages": [], "reward_model": {"ground_truth": null}, "counts": {}, "n": 2, "big": 2, "f": 1.0, "x": 1e300,
         "yes": false, "nothing": null, "price": "-0.05", "whole": "-5", "day": "2024-01-01", "raw": ""},
        {"messages": null, "reward_model": null, "counts": null, "n": 3, "big": 3, "f": null, "x": null,
         "yes": null, "nothing": null, "price": "0.00", "whole": "0", "day": "1969-12-31", "raw": "plain"},
    ]);
    for compression in codecs() {
        everything(&path, compression);
        let mut rows = Vec::new();
        read(&path, &mut |row| {
            rows.push(Value::Object(row.columns));
            Ok(true)
        })
        .unwrap();
        assert_eq!(Value::from(rows), expected, "{compression}");
    }
}

fn written(folder: &Path, texts: &[String], dictionary: bool) -> PathBuf {
    let path = folder.join("x.parquet");
    let schema = "message m { required binary prompt (UTF8); required int32 n; }";
    let count = Int((0..texts.len() as i32).collect());
    let zstd = Compression::ZSTD(ZstdLevel::default());
    write(&path, schema, zstd, dictionary, &[(Text(texts.to_vec()), &[], &[]), (count, &[], &[])]);
    path
}

fn counted(path: &Path, bounds: &Bounds) -> Result<usize> {
    let mut count = 0;
    read_within(path, bounds, &mut |row| {
        assert_eq!(row.columns["n"], Value::from(count));
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

#[test]
fn rows_come_in_order_and_what_unpacks_too_large_is_refused_before_or_while_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let texts = vec!["a".repeat(10_000); 1000];
    let plain = written(folder.path(), &texts, false);
    assert!(std::fs::metadata(&plain).unwrap().len() < 100_000, "the file itself is small");
    assert_eq!(counted(&plain, &BOUNDS).unwrap(), 1000);
    let small = Bounds { row_group: 1 << 20, ..BOUNDS };
    assert_eq!(counted(&plain, &small).unwrap_err().code(), "D009");
    let small = Bounds { file: 1 << 20, ..BOUNDS };
    assert_eq!(counted(&plain, &small).unwrap_err().code(), "D009");
    let repeated = written(folder.path(), &texts, true);
    let small = Bounds { row_group: 1 << 20, file: 1 << 20, rows: 1 << 20 };
    assert_eq!(
        counted(&repeated, &small).unwrap_err().code(),
        "D009",
        "a dictionary declares little and unpacks to much"
    );
    assert_eq!(counted(&repeated, &BOUNDS).unwrap(), 1000);
}

#[test]
fn a_list_is_refused_before_its_items_are_read() {
    static PRESENT: [i16; 5000] = [1; 5000];
    static SAME_ROW: [i16; 5000] = {
        let mut levels = [1; 5000];
        levels[0] = 0;
        levels
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let items = Int(vec![0; 5000]);
    write(&path, "message m { repeated int32 n; }", Compression::SNAPPY, true, &[(items, &PRESENT, &SAME_ROW)]);
    assert!(std::fs::metadata(&path).unwrap().len() < 1000, "nothing is stored for an item");
    let mut taken = Vec::new();
    let mut take = |row: Row| {
        taken.push(row.columns["n"].as_array().unwrap().len());
        Ok(true)
    };
    let small = Bounds { rows: 100_000, ..BOUNDS };
    let problem = read_within(&path, &small, &mut take).unwrap_err();
    assert!(problem.code() == "D009" && problem.message().contains("the lists of a row group"), "{problem}");
    read(&path, &mut take).unwrap();
    assert_eq!(taken, [5000]);
    let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let pages = |left| Pages { inner: file.get_row_group(0).unwrap().get_column_page_reader(0).unwrap(), left };
    assert!(pages(5000).all(|page| page.is_ok()));
    assert!(pages(4999).any(|page| page.is_err()), "a column declares how many values it holds");
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &["a".to_string()], false);
    let bytes = std::fs::read(&path).unwrap();
    for broken in [&bytes[..bytes.len() / 2], &bytes[..3], &[], b"PAR1 this is no parquet file PAR1"] {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(counted(&path, &BOUNDS).unwrap_err().code(), "D008");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// Whatever bytes are changed, reading ends in rows or in a problem of the file.
    #[test]
    fn no_damage_breaks_the_program(codec in 0..4usize, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        everything(&path, codecs()[codec]);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        let bounds = Bounds { row_group: 1 << 20, file: 1 << 20, rows: 1 << 20 };
        if let Err(problem) = read_within(&path, &bounds, &mut |_| Ok(true)) {
            prop_assert!(["D008", "D009"].contains(&problem.code()), "{problem}");
        }
    }
}
