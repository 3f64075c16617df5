//! Rows of a Parquet file as JSON values, with bounds on what they unpack to.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use lapidary_core::{Kind, Problem, Result, catch_panic};
use parquet::basic::{ConvertedType, Repetition};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result as Read};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::{RowIter, TreeBuilder};
use parquet::record::{Field, Row as Record};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};
use serde_json::{Map, Value};

use super::row::{Origin, Row};

/// What a file may unpack to, in bytes.
struct Bounds {
    row_group: i64,
    file: i64,
    rows: usize,
}
/// Writers make row groups of 128 MiB. All rows together are bounded too, because a dictionary can repeat one long text at
/// no cost in the file, and lists one item.
const BOUNDS: Bounds = Bounds { row_group: 512 << 20, file: 8 << 30, rows: 8 << 30 };
/// Rows of a column that are unpacked at a time.
const BATCH: usize = 256;
/// Deepest nesting of lists and structs; what lies deeper is null.
const DEEPEST: usize = 32;
/// Deepest nesting of a schema, which spends three levels on a list of structs. The reader recurses over it.
const DEEPEST_SCHEMA: usize = 3 * DEEPEST;

pub(super) fn read(path: &Path, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    read_within(path, &BOUNDS, take)
}

fn read_within(path: &Path, bounds: &Bounds, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    let file = sound(path, || SerializedFileReader::new(file))?;
    check_size(path, bounds, file.metadata())?;
    let schema = sound(path, || readable(file.metadata().file_metadata().schema()))?;
    let mut number = 0;
    let mut bytes = 0;
    for index in 0..file.num_row_groups() {
        let mut records = sound(path, || {
            let group = Group(file.get_row_group(index)?);
            TreeBuilder::new().with_batch_size(BATCH).as_iter(schema.clone(), &group)
        })?;
        while let Some(columns) =
            sound(path, || Ok(records.next().transpose()?.map(|record| object(&record, 0, &mut bytes))))?
        {
            if bytes > bounds.rows {
                return Err(too_large(path, "its rows", bounds.rows as i64));
            }
            number += 1;
            if !take(Row { columns, origin: Origin::Row { path: path.to_path_buf(), number } })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One step of the reader. It is not ours and asserts what a damaged file can break: that is a problem of the file.
fn sound<T>(path: &Path, step: impl FnOnce() -> Read<T>) -> Result<T> {
    match catch_panic(step) {
        Ok(read) => read.map_err(|error| broken(path, &error)),
        Err(_) => Err(broken(path, &"reading it broke the reader")),
    }
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Problem {
    // The reader quotes whole cells.
    let why: String = error.to_string().chars().take(200).collect();
    Problem::new(Kind::Data, "D008", format!("`{}` is not a sound Parquet file: {why}", path.display()))
        .hint("the file is damaged or was not downloaded to its end")
}

fn too_large(path: &Path, what: &str, most: i64) -> Problem {
    let message = format!("`{}`: {what} unpack to more than {most} bytes", path.display());
    Problem::new(Kind::Data, "D009", message).hint("split the file, or write it with smaller row groups")
}

/// Sizes as the file declares them, before anything is unpacked. A page that unpacks to more than it declares is an error
/// of the reader; a column with more values than it declares is one of [`Pages`].
fn check_size(path: &Path, bounds: &Bounds, metadata: &ParquetMetaData) -> Result<()> {
    let mut total = 0i64;
    for group in metadata.row_groups() {
        let columns = group.columns().iter().fold(0i64, |sum, column| sum.saturating_add(column.uncompressed_size()));
        let size = group.total_byte_size().max(columns);
        if size > bounds.row_group {
            return Err(too_large(path, "a row group", bounds.row_group));
        }
        total = total.saturating_add(size);
        // One row may hold every item of its row group.
        let lists = group.columns().iter().filter(|column| column.column_descr().max_rep_level() > 0);
        let items = lists.fold(0i64, |sum, column| sum.saturating_add(column.num_values()));
        if items.saturating_mul(size_of::<Field>() as i64) > bounds.rows as i64 {
            return Err(too_large(path, "the lists of a row group", bounds.rows as i64));
        }
    }
    if total > bounds.file { Err(too_large(path, "all row groups", bounds.file)) } else { Ok(()) }
}

/// The schema without the columns that the reader cannot assemble and would panic on.
fn readable(schema: &Type) -> Read<SchemaDescPtr> {
    let columns: Vec<_> = schema.get_fields().iter().filter(|field| is_readable(field, 0)).cloned().collect();
    if columns.is_empty() {
        return Err(ParquetError::General("it has no column that can be read".to_string()));
    }
    let kept = Type::group_type_builder(schema.name()).with_fields(columns).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(kept))))
}

fn is_readable(field: &Type, depth: usize) -> bool {
    let info = field.get_basic_info();
    if depth > DEEPEST_SCHEMA || !info.has_repetition() {
        return false;
    }
    let kind = info.converted_type();
    if field.is_primitive() {
        return kind != ConvertedType::INTERVAL;
    }
    let inner = field.get_fields();
    let repeated = inner.first().filter(|first| {
        inner.len() == 1
            && first.get_basic_info().has_repetition()
            && first.get_basic_info().repetition() == Repetition::REPEATED
    });
    let shape = match kind {
        ConvertedType::LIST => repeated.is_some(),
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
            repeated.is_some_and(|entry| entry.is_group() && (1..=2).contains(&entry.get_fields().len()))
        }
        _ => !inner.is_empty(),
    };
    shape && inner.iter().all(|field| is_readable(field, depth + 1))
}

/// A row group whose columns hold no more values than they declare.
struct Group<'a>(Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, index: usize) -> Read<Box<dyn PageReader>> {
        let left = self.metadata().column(index).num_values();
        Ok(Box::new(Pages { inner: self.0.get_column_page_reader(index)?, left }))
    }

    fn get_column_bloom_filter(&self, index: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(index)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Read<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// The pages of a column. Each says itself how many values it holds, and two bytes are enough for any number of nulls or
/// repetitions: `left` is what the column may still hold.
struct Pages {
    inner: Box<dyn PageReader>,
    left: i64,
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Read<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(Page::DataPage { num_values, .. } | Page::DataPageV2 { num_values, .. }) = &page {
            self.left -= i64::from(*num_values);
            if self.left < 0 {
                return Err(ParquetError::General("a column holds more values than it declares".to_string()));
            }
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Read<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Read<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Read<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for Pages {
    type Item = Read<Page>;

    fn next(&mut self) -> Option<Read<Page>> {
        self.get_next_page().transpose()
    }
}

fn object(record: &Record, depth: usize, bytes: &mut usize) -> Map<String, Value> {
    let mut columns = Map::new();
    for (name, field) in record.get_column_iter() {
        *bytes += name.len();
        columns.insert(name.clone(), value(field, depth, bytes));
    }
    columns
}

/// One cell. What JSON has no word for (dates, decimals) becomes its text; what has no text becomes null. Adds what the
/// value occupies to `bytes`.
fn value(field: &Field, depth: usize, bytes: &mut usize) -> Value {
    *bytes += size_of::<Value>();
    if depth > DEEPEST {
        return Value::Null;
    }
    let value = match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => (*truth).into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => number.to_f64().into(),
        Field::Float(number) => f64::from(*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Str(text) => text.as_str().into(),
        // Old writers do not say that their bytes are text.
        Field::Bytes(raw) => std::str::from_utf8(raw.data()).map_or(Value::Null, Value::from),
        // The reader's text of a whole number ends in a point.
        Field::Decimal(_) => field.to_string().trim_end_matches('.').into(),
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => field.to_string().into(),
        Field::Group(record) => Value::Object(object(record, depth + 1, bytes)),
        Field::ListInternal(list) => list.elements().iter().map(|item| value(item, depth + 1, bytes)).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            Value::Object(entries.map(|(key, item)| (name(key, bytes), value(item, depth + 1, bytes))).collect())
        }
    };
    *bytes += value.as_str().map_or(0, str::len);
    value
}

/// A key of a map: its text, or what JSON writes for it.
fn name(key: &Field, bytes: &mut usize) -> String {
    match value(key, DEEPEST, bytes) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
