//! Rows of a Parquet file as JSON values, with bounds on what they unpack to.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, StructArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use lapidary_core::{Kind, Problem, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value};

use super::row::{Origin, Row};

/// What a file may unpack to, in bytes.
struct Bounds {
    row_group: i64,
    file: i64,
    rows: usize,
}
/// Writers make row groups of 128 MiB. All rows together are bounded too, because a dictionary can repeat one long text at
/// no cost in the file.
const BOUNDS: Bounds = Bounds { row_group: 512 << 20, file: 8 << 30, rows: 8 << 30 };
/// Rows that are unpacked at a time.
const BATCH: usize = 256;
/// Deepest nesting of lists and structs.
const DEEPEST: usize = 32;

pub(super) fn read(path: &Path, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    read_within(path, &BOUNDS, take)
}

fn read_within(path: &Path, bounds: &Bounds, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| broken(path, &error))?;
    check_size(path, bounds, builder.metadata())?;
    let reader = builder.with_batch_size(BATCH).build().map_err(|error| broken(path, &error))?;
    let mut number = 0;
    let mut text = 0;
    for batch in reader {
        let batch = StructArray::from(batch.map_err(|error| broken(path, &error))?);
        text += batch.get_array_memory_size();
        if text > bounds.rows {
            return Err(too_large(path, "its rows", bounds.rows as i64));
        }
        for index in 0..batch.len() {
            number += 1;
            let columns = object(&batch, index, 0);
            if !take(Row { columns, origin: Origin::Row { path: path.to_path_buf(), number } })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::Data, "D008", format!("`{}` is not a sound Parquet file: {error}", path.display()))
        .hint("the file is damaged or was not downloaded to its end")
}

fn too_large(path: &Path, what: &str, most: i64) -> Problem {
    let message = format!("`{}`: {what} unpack to more than {most} bytes", path.display());
    Problem::new(Kind::Data, "D009", message).hint("split the file, or write it with smaller row groups")
}

/// Sizes as the file declares them, before anything is unpacked. A page that unpacks to more than it declares is an error
/// of the reader.
fn check_size(path: &Path, bounds: &Bounds, metadata: &ParquetMetaData) -> Result<()> {
    let mut total = 0i64;
    for group in metadata.row_groups() {
        let columns = group.columns().iter().fold(0i64, |sum, column| sum.saturating_add(column.uncompressed_size()));
        let size = group.total_byte_size().max(columns);
        if size > bounds.row_group {
            return Err(too_large(path, "a row group", bounds.row_group));
        }
        total = total.saturating_add(size);
    }
    if total > bounds.file { Err(too_large(path, "all row groups", bounds.file)) } else { Ok(()) }
}

fn object(array: &StructArray, index: usize, depth: usize) -> Map<String, Value> {
    let names = array.fields().iter().map(|field| field.name().clone());
    names.zip(array.columns().iter().map(|column| value(column, index, depth))).collect()
}

/// One cell. What JSON has no word for (dates, decimals) becomes its text; what has no text becomes null.
fn value(array: &dyn Array, index: usize, depth: usize) -> Value {
    if depth > DEEPEST || array.is_null(index) {
        return Value::Null;
    }
    let list = |items: &dyn Array| (0..items.len()).map(|at| value(items, at, depth + 1)).collect::<Vec<_>>();
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(index).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(index).into(),
        DataType::Utf8View => array.as_string_view().value(index).into(),
        DataType::Boolean => array.as_boolean().value(index).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(index).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(index).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(index).into(),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(index)).into(),
        DataType::Struct(_) => Value::Object(object(array.as_struct(), index, depth + 1)),
        DataType::List(_) => Value::Array(list(&array.as_list::<i32>().value(index))),
        DataType::LargeList(_) => Value::Array(list(&array.as_list::<i64>().value(index))),
        DataType::Dictionary(_, inner) => cast(array, index, inner, depth),
        small if small.is_integer() => cast(array, index, &DataType::Int64, depth),
        _ => cast(array, index, &DataType::Utf8, depth),
    }
}

fn cast(array: &dyn Array, index: usize, to: &DataType, depth: usize) -> Value {
    let one = array.slice(index, 1);
    arrow::compute::cast(&one, to).map_or(Value::Null, |cast| value(&cast, 0, depth + 1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn written(folder: &Path, texts: &[String], dictionary: bool) -> std::path::PathBuf {
        let path = folder.join("x.parquet");
        let count = Int32Array::from_iter_values(0..texts.len() as i32);
        let columns: [(&str, ArrayRef); 2] =
            [("prompt", Arc::new(StringArray::from_iter_values(texts))), ("n", Arc::new(count))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
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
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), &["a".to_string()], false);
        let bytes = std::fs::read(&path).unwrap();
        for broken in [&bytes[..bytes.len() / 2], &bytes[..3], &[], b"PAR1 this is no parquet file PAR1"] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(counted(&path, &BOUNDS).unwrap_err().code(), "D008");
        }
    }
}
