//! Tools that only look.

use crate::python::{Raised, Value, iterate, lower, text};
use crate::records::{Records, field};
use crate::tool::Arguments;

use super::refuse;

type Answer = Result<Value, Raised>;

/// A record as JSON, or that there is none.
pub(crate) fn record(records: &Records, table: &str, id: &Value, missing: &str) -> Answer {
    match records.find(table, id)? {
        Some(record) => Ok(Value::str(text(&record))),
        None => refuse(missing),
    }
}

pub(super) fn order(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    record(records, "orders", arguments.get("order_id"), "order not found")
}

pub(super) fn product(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    record(records, "products", arguments.get("product_id"), "product not found")
}

pub(crate) fn user(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    record(records, "users", arguments.get("user_id"), "user not found")
}

/// The names of the products with their ids, by name.
pub(super) fn products(records: &mut Records, _: &Arguments<'_>) -> Answer {
    let mut names = crate::python::Dict::new();
    for product in table_records(records, "products") {
        if let Value::Str(name) = field(&product, "name")? {
            names.insert(name, field(&product, "product_id")?);
        }
    }
    names.sort_unstable_keys();
    Ok(Value::str(text(&Value::Dict(names.into()))))
}

pub(super) fn by_email(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let email = arguments.get("email");
    for (id, user) in users(records) {
        if lower(&field(&user, "email")?)? == lower(email)? {
            return Ok(id);
        }
    }
    refuse("user not found")
}

pub(super) fn by_name_zip(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let same = |known: &Value, given: &str| Ok::<bool, Raised>(lower(known)? == lower(arguments.get(given))?);
    for (id, user) in users(records) {
        let name = field(&user, "name")?;
        if same(&field(&name, "first_name")?, "first_name")?
            && same(&field(&name, "last_name")?, "last_name")?
            && field(&field(&user, "address")?, "zip")? == *arguments.get("zip")
        {
            return Ok(id);
        }
    }
    refuse("user not found")
}

fn users(records: &Records) -> Vec<(Value, Value)> {
    let users = records.table("users");
    let pairs = users.as_dict().into_iter().flatten();
    pairs.map(|(id, user)| (Value::Str(id.clone()), user.clone())).collect()
}

fn table_records(records: &Records, table: &str) -> Vec<Value> {
    let table = records.table(table);
    let ids = iterate(&table).unwrap_or_default();
    ids.iter().filter_map(|id| id.as_str().and_then(|id| table.get(id)).cloned()).collect()
}
