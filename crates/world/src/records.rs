//! The tables of a world, and the two ways to read its rules.

use crate::python::{Dict, Raised, Value, contains, item};

/// How the published rules are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As published, byte for byte, with its quirks: what scores are compared under.
    #[default]
    Compat,
    /// With the quirks mended: what to train on. See `docs/environments.md`.
    Fixed,
}

impl Mode {
    /// The mode of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "compat" => Some(Mode::Compat),
            "fixed" => Some(Mode::Fixed),
            _ => None,
        }
    }
}

/// A database: tables of records by id. A clone costs nothing until one of the two is written to.
#[derive(Clone, Debug)]
pub struct Records {
    tables: Value,
    mode: Mode,
}

/// `value[key]`, with Python's exception where there is none.
pub(crate) fn field(value: &Value, key: &str) -> Result<Value, Raised> {
    item(value, &Value::str(key))
}

impl Records {
    /// A database whose tools follow `mode`.
    pub fn new(tables: Value, mode: Mode) -> Self {
        Self { tables, mode }
    }

    /// All tables.
    pub fn tables(&self) -> &Value {
        &self.tables
    }

    /// How the rules are read.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A table; one that is not there is empty.
    pub(crate) fn table(&self, name: &str) -> Value {
        self.tables.get(name).cloned().unwrap_or_else(|| Value::dict([]))
    }

    /// The record under an id.
    ///
    /// # Errors
    /// The id can be no key.
    pub(crate) fn find(&self, table: &str, id: &Value) -> Result<Option<Value>, Raised> {
        let table = self.table(table);
        Ok(if contains(&table, id)? { Some(item(&table, id)?) } else { None })
    }

    /// The record under an id; [`Records::find`] for an id that stands in another record.
    pub(crate) fn get(&self, table: &str, id: &Value) -> Result<Value, Raised> {
        item(&self.table(table), id)
    }

    /// Writes a record.
    pub(crate) fn put(&mut self, table: &str, id: &Value, record: Value) {
        let table = self.tables.get_mut(table).and_then(Value::as_dict_mut);
        if let (Some(table), Value::Str(id)) = (table, id) {
            table.insert(id.clone(), record);
        }
    }

    /// Changes a part of a record in place: `change(record[key])`.
    pub(crate) fn change(&mut self, table: &str, id: &Value, key: &str, change: impl FnOnce(&mut Value)) {
        let table = self.tables.get_mut(table).and_then(Value::as_dict_mut);
        let record = table.zip(id.as_str()).and_then(|(table, id)| table.get_mut(id));
        if let Some(part) = record.and_then(|record| record.get_mut(key)) {
            change(part);
        }
    }
}

/// Sets fields of a record, in this order.
pub(crate) fn set<const N: usize>(record: &mut Value, fields: [(&str, Value); N]) {
    if let Some(dict) = record.as_dict_mut() {
        for (key, value) in fields {
            set_field(dict, key, value);
        }
    }
}

fn set_field(dict: &mut Dict, key: &str, value: Value) {
    match dict.get_mut(key) {
        Some(old) => *old = value,
        None => {
            dict.insert(key.into(), value);
        }
    }
}

/// Appends to a list in a record.
pub(crate) fn append(record: &mut Value, key: &str, values: impl IntoIterator<Item = Value>) {
    if let Some(list) = record.get_mut(key).and_then(Value::as_list_mut) {
        list.extend(values);
    }
}
