//! Booking.

use crate::python::{
    Raised, Value, add_in_place, contains, item, iterate, length, less, multiply, subtract_in_place, sum, text,
};
use crate::records::{Records, append, field, set};
use crate::retail::{refuse, shown};
use crate::tool::Arguments;

use super::offer;

type Answer = Result<Value, Raised>;

/// When everything in this world happens.
const NOW: &str = "2024-05-15T15:00:00";
/// The ids that bookings get: the published tasks make at most three.
const IDS: [&str; 3] = ["HATHAT", "HATHAU", "HATHAV"];
const INSURANCE_PER_PASSENGER: i64 = 30;
/// What a bag costs beyond the free ones.
pub(super) const PER_BAG: i64 = 50;

pub(super) fn book(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let user_id = arguments.get("user_id");
    let Some(user) = records.find("users", user_id)? else { return refuse("user not found") };
    let passengers = arguments.get("passengers");
    let mut flights = Vec::new();
    let mut total = Value::int(0);
    for mut flight in iterate(arguments.get("flights"))? {
        let offer = match offer(records, &flight, arguments.get("cabin"), passengers)? {
            Ok(offer) => offer,
            Err(refusal) => return refuse(&refusal),
        };
        let price = field(&offer, "price")?;
        set(
            &mut flight,
            [
                ("price", price.clone()),
                ("origin", field(&offer, "origin")?),
                ("destination", field(&offer, "destination")?),
            ],
        );
        total = add_in_place(&total, &multiply(length(passengers)? as i64, &price)?)?;
        flights.push(flight);
    }
    if *arguments.get("insurance") == Value::str("yes") {
        total = add_in_place(&total, &Value::int(INSURANCE_PER_PASSENGER * length(passengers)? as i64))?;
    }
    total = add_in_place(&total, &multiply(PER_BAG, arguments.get("nonfree_baggages"))?)?;
    let payments = arguments.get("payment_methods");
    if let Some(refusal) = unpaid(&user, payments, &total)? {
        return refuse(&refusal);
    }
    pay(records, user_id, payments)?;
    let given = |name: &'static str| (name, arguments.get(name).clone());
    let taken = records.table("reservations");
    let free = |id: &&str| taken.get(id).is_none();
    let id = Value::str(IDS[..2].iter().find(|id| free(id)).unwrap_or(&IDS[2]));
    let reservation = Value::dict([
        ("reservation_id", id.clone()),
        given("user_id"),
        given("origin"),
        given("destination"),
        given("flight_type"),
        given("cabin"),
        ("flights", Value::list(flights)),
        given("passengers"),
        ("payment_history", payments.clone()),
        ("created_at", Value::str(NOW)),
        given("total_baggages"),
        given("nonfree_baggages"),
        given("insurance"),
    ]);
    records.put("reservations", &id, reservation.clone());
    let mut user = records.get("users", user_id)?;
    append(&mut user, "reservations", [id]);
    records.put("users", user_id, user);
    Ok(Value::str(text(&reservation)))
}

fn spends(method: &Value) -> Result<bool, Raised> {
    let source = field(method, "source")?;
    Ok(source == Value::str("gift_card") || source == Value::str("certificate"))
}

/// Why the payments do not pay the price.
fn unpaid(user: &Value, payments: &Value, total: &Value) -> Result<Option<String>, Raised> {
    let methods = field(user, "payment_methods")?;
    let mut amounts = Vec::new();
    for payment in iterate(payments)? {
        let (id, amount) = (field(&payment, "payment_id")?, field(&payment, "amount")?);
        if !contains(&methods, &id)? {
            return Ok(Some(format!("payment method {} not found", shown(&id))));
        }
        let method = item(&methods, &id)?;
        if spends(&method)? && less(&field(&method, "amount")?, &amount)? {
            return Ok(Some(format!("not enough balance in payment method {}", shown(&id))));
        }
        amounts.push(amount);
    }
    let paid = sum(&amounts)?;
    if paid == *total {
        return Ok(None);
    }
    Ok(Some(format!("payment amount does not add up, total price is {}, but paid {}", shown(total), shown(&paid))))
}

/// Takes the amounts from gift cards; a certificate is used up. A certificate named twice is gone when its second turn comes, and what
/// happened before stays: so it is published.
fn pay(records: &mut Records, user_id: &Value, payments: &Value) -> Result<(), Raised> {
    for payment in iterate(payments)? {
        let (id, amount) = (field(&payment, "payment_id")?, field(&payment, "amount")?);
        let mut user = records.get("users", user_id)?;
        let mut method = item(&field(&user, "payment_methods")?, &id)?;
        let source = field(&method, "source")?;
        let Some(methods) = user.get_mut("payment_methods").and_then(Value::as_dict_mut) else { continue };
        let Value::Str(id) = &id else { continue };
        if source == Value::str("gift_card") {
            let left = subtract_in_place(&field(&method, "amount")?, &amount)?;
            set(&mut method, [("amount", left)]);
            methods.insert(id.clone(), method);
        } else if source == Value::str("certificate") {
            methods.shift_remove(id);
        }
        records.put("users", user_id, user);
    }
    Ok(())
}
