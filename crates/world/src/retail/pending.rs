//! Orders that are not on their way yet: cancel, and change address, payment or items.

use crate::python::{
    Raised, Value, add, add_in_place, contains, item, iterate, length, less, round_cents, subtract, subtract_in_place,
    text,
};
use crate::records::{Records, append, field, set};
use crate::tool::Arguments;

use super::{is_gift_card, item_of, methods, not_in_order, refuse, replacement};

type Answer = Result<Value, Raised>;

fn is_pending(order: &Value) -> Result<bool, Raised> {
    Ok(field(order, "status")? == Value::str("pending"))
}

fn transaction(kind: &str, amount: Value, method: Value) -> Value {
    Value::dict([("transaction_type", Value::str(kind)), ("amount", amount), ("payment_method_id", method)])
}

/// Adds to the balance of a gift card of the user who ordered, rounded to cents.
fn credit(records: &mut Records, order: &Value, method: &Value, amount: &Value, back: bool) -> Result<(), Raised> {
    let user = field(order, "user_id")?;
    let mut card = item(&methods(records, order)?, method)?;
    let balance = field(&card, "balance")?;
    let balance = if back { add_in_place(&balance, amount)? } else { subtract_in_place(&balance, amount)? };
    set(&mut card, [("balance", round_cents(&balance)?)]);
    records.change("users", &user, "payment_methods", |methods| {
        if let (Some(methods), Value::Str(id)) = (methods.as_dict_mut(), method) {
            methods.insert(id.clone(), card);
        }
    });
    Ok(())
}

pub(super) fn cancel(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, reason) = (arguments.get("order_id"), arguments.get("reason"));
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_pending(&order)? {
        return refuse("non-pending order cannot be cancelled");
    }
    if *reason != Value::str("no longer needed") && *reason != Value::str("ordered by mistake") {
        return refuse("invalid reason");
    }
    let mut refunds = Vec::new();
    for payment in iterate(&field(&order, "payment_history")?)? {
        let (method, amount) = (field(&payment, "payment_method_id")?, field(&payment, "amount")?);
        refunds.push(transaction("refund", amount.clone(), method.clone()));
        if contains(&method, &Value::str("gift_card"))? {
            credit(records, &order, &method, &amount, true)?;
        }
    }
    set(&mut order, [("status", Value::str("cancelled")), ("cancel_reason", reason.clone())]);
    append(&mut order, "payment_history", refunds);
    records.put("orders", id, order.clone());
    Ok(Value::str(text(&order)))
}

fn address_of(arguments: &Arguments<'_>) -> Value {
    let part = |name: &'static str| (name, arguments.get(name).clone());
    Value::dict(["address1", "address2", "city", "state", "country", "zip"].map(part))
}

pub(super) fn address(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let id = arguments.get("order_id");
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_pending(&order)? {
        return refuse("non-pending order cannot be modified");
    }
    set(&mut order, [("address", address_of(arguments))]);
    records.put("orders", id, order.clone());
    Ok(Value::str(text(&order)))
}

pub(super) fn user_address(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let id = arguments.get("user_id");
    let Some(mut user) = records.find("users", id)? else { return refuse("user not found") };
    set(&mut user, [("address", address_of(arguments))]);
    records.put("users", id, user.clone());
    Ok(Value::str(text(&user)))
}

pub(super) fn payment(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, new) = (arguments.get("order_id"), arguments.get("payment_method_id"));
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_pending(&order)? {
        return refuse("non-pending order cannot be modified");
    }
    let methods = methods(records, &order)?;
    if !contains(&methods, new)? {
        return refuse("payment method not found");
    }
    let history = field(&order, "payment_history")?;
    let first = || item(&history, &Value::int(0));
    if length(&history)? > 1 || field(&first()?, "transaction_type")? != Value::str("payment") {
        return refuse("there should be exactly one payment for a pending order");
    }
    let (old, amount) = (field(&first()?, "payment_method_id")?, field(&first()?, "amount")?);
    if old == *new {
        return refuse("the new payment method should be different from the current one");
    }
    let method = item(&methods, new)?;
    let gift_card = is_gift_card(&method)?;
    if gift_card && less(&field(&method, "balance")?, &amount)? {
        return refuse("insufficient gift card balance to pay for the order");
    }
    append(
        &mut order,
        "payment_history",
        [transaction("payment", amount.clone(), new.clone()), transaction("refund", amount.clone(), old.clone())],
    );
    records.put("orders", id, order.clone());
    if gift_card {
        credit(records, &order, new, &amount, false)?;
    }
    if contains(&old, &Value::str("gift_card"))? {
        credit(records, &order, &old, &amount, true)?;
    }
    Ok(Value::str(text(&order)))
}

/// What the new items cost more than the old ones, or the refusal.
///
/// The sum is left unrounded: that is the published rule, and a hash depends on its last bit.
pub(super) fn difference(
    records: &Records,
    order: &Value,
    old: &Value,
    new: &Value,
) -> Result<Result<Value, String>, Raised> {
    let mut difference = Value::int(0);
    for (old, new) in iterate(old)?.iter().zip(iterate(new)?) {
        let (_, item) = item_of(order, old)?;
        let Some(variant) = replacement(records, &item, &new)? else {
            return Ok(Err(format!("new item {} not found or available", shown(&new))));
        };
        let more = subtract(&field(&variant, "price")?, &field(&item, "price")?)?;
        difference = add(&difference, &more)?;
    }
    Ok(Ok(difference))
}

/// `str(value)`, as it stands in a message.
pub(crate) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| crate::python::repr(value), str::to_string)
}

pub(super) fn items(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, old, new) = (arguments.get("order_id"), arguments.get("item_ids"), arguments.get("new_item_ids"));
    let method_id = arguments.get("payment_method_id");
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_pending(&order)? {
        return refuse("non-pending order cannot be modified");
    }
    if let Some(missing) = not_in_order(&order, old)? {
        return refuse(&format!("{} not found", shown(&missing)));
    }
    if length(old)? != length(new)? {
        return refuse("the number of items to be exchanged should match");
    }
    let difference = match difference(records, &order, old, new)? {
        Ok(difference) => difference,
        Err(refusal) => return refuse(&refusal),
    };
    let methods = methods(records, &order)?;
    if !contains(&methods, method_id)? {
        return refuse("payment method not found");
    }
    let method = item(&methods, method_id)?;
    let gift_card = is_gift_card(&method)?;
    if gift_card && less(&field(&method, "balance")?, &difference)? {
        return refuse("insufficient gift card balance to pay for the new item");
    }
    let more = less(&Value::int(0), &difference)?;
    let amount = if more { difference.clone() } else { subtract(&Value::int(0), &difference)? };
    append(
        &mut order,
        "payment_history",
        [transaction(if more { "payment" } else { "refund" }, amount, method_id.clone())],
    );
    if gift_card {
        credit(records, &order, method_id, &difference, false)?;
    }
    for (old, new) in iterate(old)?.iter().zip(iterate(new)?) {
        let (place, mut item) = item_of(&order, old)?;
        if let Some(variant) = replacement(records, &item, &new)? {
            set(
                &mut item,
                [("item_id", new), ("price", field(&variant, "price")?), ("options", field(&variant, "options")?)],
            );
        }
        if let Some(items) = order.get_mut("items").and_then(Value::as_list_mut) {
            items[place] = item;
        }
    }
    set(&mut order, [("status", Value::str("pending (item modified)"))]);
    records.put("orders", id, order.clone());
    Ok(Value::str(text(&order)))
}
