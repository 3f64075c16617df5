//! Orders that have arrived: return items, or exchange them.

use crate::python::{Raised, Value, contains, item, iterate, length, less, round_cents, sorted, text};
use crate::records::{Mode, Records, field, set};
use crate::tool::Arguments;

use super::pending::{difference, shown};
use super::{is_gift_card, methods, not_in_order, refuse};

type Answer = Result<Value, Raised>;

fn is_delivered(order: &Value) -> Result<bool, Raised> {
    Ok(field(order, "status")? == Value::str("delivered"))
}

pub(super) fn give_back(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, asked) = (arguments.get("order_id"), arguments.get("item_ids"));
    let method = arguments.get("payment_method_id");
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_delivered(&order)? {
        return refuse("non-delivered order cannot be returned");
    }
    if !contains(&methods(records, &order)?, method)? {
        return refuse("payment method not found");
    }
    if !contains(method, &Value::str("gift_card"))? {
        let first = item(&field(&order, "payment_history")?, &Value::int(0))?;
        if field(&first, "payment_method_id")? != *method {
            return refuse("payment method should be either the original payment method or a gift card");
        }
    }
    if not_in_order(&order, asked)?.is_some() {
        return refuse("some item not found");
    }
    set(
        &mut order,
        [
            ("status", Value::str("return requested")),
            ("return_items", sorted(asked)?),
            ("return_payment_method_id", method.clone()),
        ],
    );
    records.put("orders", id, order.clone());
    Ok(Value::str(text(&order)))
}

pub(super) fn exchange(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, old, new) = (arguments.get("order_id"), arguments.get("item_ids"), arguments.get("new_item_ids"));
    let method_id = arguments.get("payment_method_id");
    let Some(mut order) = records.find("orders", id)? else { return refuse("order not found") };
    if !is_delivered(&order)? {
        return refuse("non-delivered order cannot be exchanged");
    }
    if let Some(missing) = not_in_order(&order, old)? {
        return refuse(&format!("{} not found", shown(&missing)));
    }
    if length(old)? != length(new)? {
        return refuse("the number of items to be exchanged should match");
    }
    let difference = match difference(records, &order, old, new)? {
        Ok(difference) => round_cents(&difference)?,
        Err(refusal) => return refuse(&refusal),
    };
    let methods = methods(records, &order)?;
    if !contains(&methods, method_id)? {
        return refuse("payment method not found");
    }
    let method = item(&methods, method_id)?;
    if is_gift_card(&method)? && less(&field(&method, "balance")?, &difference)? {
        return refuse("insufficient gift card balance to pay for the price difference");
    }
    let (old, new) = in_order(records.mode(), old, new)?;
    set(
        &mut order,
        [
            ("status", Value::str("exchange requested")),
            ("exchange_items", old),
            ("exchange_new_items", new),
            ("exchange_payment_method_id", method_id.clone()),
            ("exchange_price_difference", difference),
        ],
    );
    records.put("orders", id, order.clone());
    Ok(Value::str(text(&order)))
}

/// The two lists as they are recorded. As published each is sorted alone, which forgets what is exchanged for what; mended, they are
/// sorted as pairs.
fn in_order(mode: Mode, old: &Value, new: &Value) -> Result<(Value, Value), Raised> {
    if mode == Mode::Compat {
        return Ok((sorted(old)?, sorted(new)?));
    }
    let pairs = iterate(old)?.into_iter().zip(iterate(new)?).map(|(old, new)| Value::list([old, new]));
    let pairs = iterate(&sorted(&Value::list(pairs))?)?;
    let side = |side: i64| pairs.iter().map(|pair| item(pair, &Value::int(side))).collect::<Result<Vec<_>, _>>();
    Ok((Value::list(side(0)?), Value::list(side(1)?)))
}
