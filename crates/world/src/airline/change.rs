//! Changing what is booked, and compensation.

use crate::python::{
    Raised, Value, add, contains, item, iterate, length, less, multiply, negate, subtract, subtract_in_place, sum, text,
};
use crate::records::{Records, append, field, set};
use crate::retail::{refuse, shown};
use crate::tool::Arguments;

use super::book::PER_BAG;
use super::offer;

type Answer = Result<Value, Raised>;

/// The numbers of the certificates: the published tasks send at most three to a user.
const CERTIFICATES: [&str; 3] = ["certificate_3221322", "certificate_3221323", "certificate_3221324"];

fn payment(id: Value, amount: Value) -> Value {
    Value::dict([("payment_id", id), ("amount", amount)])
}

pub(super) fn cancel(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let id = arguments.get("reservation_id");
    let Some(mut reservation) = records.find("reservations", id)? else { return refuse("reservation not found") };
    let mut refunds = Vec::new();
    for paid in iterate(&field(&reservation, "payment_history")?)? {
        refunds.push(payment(field(&paid, "payment_id")?, negate(&field(&paid, "amount")?)?));
    }
    append(&mut reservation, "payment_history", refunds);
    set(&mut reservation, [("status", Value::str("cancelled"))]);
    records.put("reservations", id, reservation.clone());
    Ok(Value::str(text(&reservation)))
}

pub(super) fn certificate(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, amount) = (arguments.get("user_id"), arguments.get("amount"));
    let Some(mut user) = records.find("users", id)? else { return refuse("user not found") };
    let methods = field(&user, "payment_methods")?;
    // a fourth certificate is neither sent nor refused: as published, nothing is answered
    let Some(number) = CERTIFICATES.into_iter().find(|number| methods.get(number).is_none()) else {
        return Ok(Value::None);
    };
    let certificate =
        Value::dict([("source", Value::str("certificate")), ("amount", amount.clone()), ("id", Value::str(number))]);
    if let Some(methods) = user.get_mut("payment_methods") {
        set(methods, [(number, certificate)]);
    }
    records.put("users", id, user);
    Ok(Value::str(format!("Certificate {number} added to user {} with amount {}.", shown(id), shown(amount))))
}

/// Charges a reservation's user, or says why not; a certificate pays for no change.
fn charge(
    records: &mut Records,
    reservation: &Value,
    payment_id: &Value,
    total: &Value,
) -> Result<Option<&'static str>, Raised> {
    let user_id = field(reservation, "user_id")?;
    let mut user = records.get("users", &user_id)?;
    let methods = field(&user, "payment_methods")?;
    if !contains(&methods, payment_id)? {
        return Ok(Some("payment method not found"));
    }
    let mut method = item(&methods, payment_id)?;
    let source = field(&method, "source")?;
    if source == Value::str("certificate") {
        return Ok(Some("certificate cannot be used to update reservation"));
    }
    if source != Value::str("gift_card") {
        return Ok(None);
    }
    let balance = field(&method, "amount")?;
    if less(&balance, total)? {
        return Ok(Some("gift card balance is not enough"));
    }
    set(&mut method, [("amount", subtract_in_place(&balance, total)?)]);
    if let (Some(methods), Value::Str(id)) = (user.get_mut("payment_methods").and_then(Value::as_dict_mut), payment_id)
    {
        methods.insert(id.clone(), method);
    }
    records.put("users", &user_id, user);
    Ok(None)
}

/// Notes a payment in the history, unless nothing was paid.
fn note(reservation: &mut Value, payment_id: &Value, total: Value) {
    if total != Value::int(0) {
        append(reservation, "payment_history", [payment(payment_id.clone(), total)]);
    }
}

pub(super) fn bags(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, payment_id) = (arguments.get("reservation_id"), arguments.get("payment_id"));
    let (bags, paid) = (arguments.get("total_baggages"), arguments.get("nonfree_baggages"));
    let Some(mut reservation) = records.find("reservations", id)? else { return refuse("reservation not found") };
    let more = subtract(paid, &field(&reservation, "nonfree_baggages")?)?;
    let zero = Value::int(0);
    let total = multiply(PER_BAG, if less(&zero, &more)? { &more } else { &zero })?;
    if let Some(refusal) = charge(records, &reservation, payment_id, &total)? {
        return refuse(refusal);
    }
    set(&mut reservation, [("total_baggages", bags.clone()), ("nonfree_baggages", paid.clone())]);
    note(&mut reservation, payment_id, total);
    records.put("reservations", id, reservation.clone());
    Ok(Value::str(text(&reservation)))
}

/// The flight of the reservation that stays as it is, at the price it was booked for.
fn kept(reservation: &Value, flight: &Value, cabin: &Value) -> Result<Option<Value>, Raised> {
    for booked in iterate(&field(reservation, "flights")?)? {
        if field(&booked, "flight_number")? == field(flight, "flight_number")?
            && field(&booked, "date")? == field(flight, "date")?
            && *cabin == field(reservation, "cabin")?
        {
            return Ok(Some(booked));
        }
    }
    Ok(None)
}

pub(super) fn flights(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, cabin, payment_id) =
        (arguments.get("reservation_id"), arguments.get("cabin"), arguments.get("payment_id"));
    let Some(mut reservation) = records.find("reservations", id)? else { return refuse("reservation not found") };
    let passengers = field(&reservation, "passengers")?;
    let heads = length(&passengers)? as i64;
    let mut flights = Vec::new();
    let mut total = Value::int(0);
    for mut flight in iterate(arguments.get("flights"))? {
        let found = match kept(&reservation, &flight, cabin)? {
            Some(booked) => booked,
            None => match offer(records, &flight, cabin, &passengers)? {
                Ok(offer) => offer,
                Err(refusal) => return refuse(&refusal),
            },
        };
        let price = field(&found, "price")?;
        total = add(&total, &multiply(heads, &price)?)?;
        set(
            &mut flight,
            [("price", price), ("origin", field(&found, "origin")?), ("destination", field(&found, "destination")?)],
        );
        flights.push(flight);
    }
    let mut before = Vec::new();
    for booked in iterate(&field(&reservation, "flights")?)? {
        before.push(field(&booked, "price")?);
    }
    total = subtract(&total, &multiply(heads, &sum(&before)?)?)?;
    if let Some(refusal) = charge(records, &reservation, payment_id, &total)? {
        return refuse(refusal);
    }
    set(&mut reservation, [("flights", Value::list(flights))]);
    note(&mut reservation, payment_id, total);
    records.put("reservations", id, reservation.clone());
    Ok(Value::str(text(&reservation)))
}

pub(super) fn passengers(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (id, passengers) = (arguments.get("reservation_id"), arguments.get("passengers"));
    let Some(mut reservation) = records.find("reservations", id)? else { return refuse("reservation not found") };
    if length(passengers)? != length(&field(&reservation, "passengers")?)? {
        return refuse("number of passengers does not match");
    }
    set(&mut reservation, [("passengers", passengers.clone())]);
    records.put("reservations", id, reservation.clone());
    Ok(Value::str(text(&reservation)))
}
