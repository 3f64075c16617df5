//! TAU-bench retail: orders, products and users of a shop, and its sixteen tools.
//!
//! Yao et al. 2024, "τ-bench". Checks come in the published order, because the first that fails is what the agent reads.

mod delivered;
mod look;
mod pending;

use crate::python::{Raised, Value, contains, count, iterate};
use crate::records::{Records, field};
use crate::tool::{CALCULATE, Kind, Parameter, THINK, TRANSFER, Tool, parameter};

pub(crate) use look::{record, user as look_at_user};
pub(crate) use pending::shown;

const ORDER: Parameter = parameter("order_id", Kind::Text, "the order's id with its `#`: #W0000001");
const METHOD: Parameter =
    parameter("payment_method_id", Kind::Text, "the id of a payment method of the user's profile");
const ITEMS: Parameter =
    parameter("item_ids", Kind::Texts, "the ids of the items; one that is meant twice stands twice");
const NEW_ITEMS: Parameter =
    parameter("new_item_ids", Kind::Texts, "the ids of the items that take their place, in the same order");
const USER: Parameter = parameter("user_id", Kind::Text, "the user's id");
const ADDRESS: [Parameter; 6] = [
    parameter("address1", Kind::Text, "street and number"),
    parameter("address2", Kind::Text, "flat or floor, may be empty"),
    parameter("city", Kind::Text, "the city"),
    parameter("state", Kind::Text, "the state, two letters"),
    parameter("country", Kind::Text, "the country"),
    parameter("zip", Kind::Text, "the zip code"),
];

const fn tool(
    name: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    writes: bool,
    call: crate::tool::Call,
) -> Tool {
    Tool { name, summary, parameters, writes, ends: false, call }
}

/// The tools of a shop.
pub(crate) const TOOLS: &[Tool] = &[
    CALCULATE,
    tool(
        "cancel_pending_order",
        "Cancel an order that is still pending; what was paid is refunded.",
        &[
            ORDER,
            parameter("reason", Kind::Choice(&["no longer needed", "ordered by mistake"]), "why the user cancels"),
        ],
        true,
        pending::cancel,
    ),
    tool(
        "exchange_delivered_order_items",
        "Exchange items of a delivered order for other items of the same product. Works once per order.",
        &[ORDER, ITEMS, NEW_ITEMS, METHOD],
        true,
        delivered::exchange,
    ),
    tool(
        "find_user_id_by_email",
        "Look up a user's id by email.",
        &[parameter("email", Kind::Text, "the email")],
        false,
        look::by_email,
    ),
    tool(
        "find_user_id_by_name_zip",
        "Look up a user's id by name and zip code.",
        &[
            parameter("first_name", Kind::Text, "the first name"),
            parameter("last_name", Kind::Text, "the last name"),
            parameter("zip", Kind::Text, "the zip code"),
        ],
        false,
        look::by_name_zip,
    ),
    tool("get_order_details", "Show an order.", &[ORDER], false, look::order),
    tool(
        "get_product_details",
        "Show a product and its items.",
        &[parameter("product_id", Kind::Text, "the product's id, which is not an item's id")],
        false,
        look::product,
    ),
    tool("get_user_details", "Show a user's profile and the ids of their orders.", &[USER], false, look::user),
    tool("list_all_product_types", "List the names and ids of all products.", &[], false, look::products),
    tool(
        "modify_pending_order_address",
        "Change the address of a pending order.",
        &[ORDER, ADDRESS[0], ADDRESS[1], ADDRESS[2], ADDRESS[3], ADDRESS[4], ADDRESS[5]],
        true,
        pending::address,
    ),
    tool(
        "modify_pending_order_items",
        "Swap items of a pending order for other items of the same product. Works once per order.",
        &[ORDER, ITEMS, NEW_ITEMS, METHOD],
        true,
        pending::items,
    ),
    tool(
        "modify_pending_order_payment",
        "Change how a pending order is paid.",
        &[ORDER, METHOD],
        true,
        pending::payment,
    ),
    tool(
        "modify_user_address",
        "Change a user's default address.",
        &[USER, ADDRESS[0], ADDRESS[1], ADDRESS[2], ADDRESS[3], ADDRESS[4], ADDRESS[5]],
        true,
        pending::user_address,
    ),
    tool(
        "return_delivered_order_items",
        "Return items of a delivered order. Works once per order.",
        &[ORDER, ITEMS, METHOD],
        true,
        delivered::give_back,
    ),
    THINK,
    TRANSFER,
];

/// A refusal: what a tool answers instead of doing something.
pub(crate) fn refuse(words: &str) -> Result<Value, Raised> {
    Ok(Value::str(format!("Error: {words}")))
}

/// The first of `asked` that is asked for more often than the order holds it.
fn not_in_order(order: &Value, asked: &Value) -> Result<Option<Value>, Raised> {
    let mut held = Vec::new();
    for item in iterate(&field(order, "items")?)? {
        held.push(field(&item, "item_id")?);
    }
    let held = Value::list(held);
    for id in iterate(asked)? {
        if count(asked, &id)? > count(&held, &id)? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The first item of the order with this id: its place and itself.
fn item_of(order: &Value, id: &Value) -> Result<(usize, Value), Raised> {
    for (place, item) in iterate(&field(order, "items")?)?.into_iter().enumerate() {
        if field(&item, "item_id")? == *id {
            return Ok((place, item));
        }
    }
    Err(Raised("list index out of range".into()))
}

/// The item that may take another's place: of its product, and available.
fn replacement(records: &Records, item: &Value, id: &Value) -> Result<Option<Value>, Raised> {
    let product = records.get("products", &field(item, "product_id")?)?;
    let variants = field(&product, "variants")?;
    if !contains(&variants, id)? {
        return Ok(None);
    }
    let variant = crate::python::item(&variants, id)?;
    Ok(field(&variant, "available")?.truth().then_some(variant))
}

/// The payment methods of the user who ordered.
fn methods(records: &Records, order: &Value) -> Result<Value, Raised> {
    field(&records.get("users", &field(order, "user_id")?)?, "payment_methods")
}

fn is_gift_card(method: &Value) -> Result<bool, Raised> {
    Ok(field(method, "source")? == Value::str("gift_card"))
}
