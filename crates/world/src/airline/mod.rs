//! TAU-bench airline: flights, reservations and users, and its fourteen tools.
//!
//! Yao et al. 2024, "τ-bench". The tools do not check the policy (who may cancel, which bags are free): keeping to it is the task.

mod book;
mod change;
mod look;

use crate::python::{Raised, Value, contains, item};
use crate::records::{Records, field};
use crate::tool::{CALCULATE, Kind, Parameter, THINK, TRANSFER, Tool, parameter};

const FLIGHTS: Kind = Kind::Tables(&[("flight_number", Kind::Text), ("date", Kind::Text)]);
const PASSENGERS: Kind = Kind::Tables(&[("first_name", Kind::Text), ("last_name", Kind::Text), ("dob", Kind::Text)]);
const CABIN: Parameter =
    parameter("cabin", Kind::Choice(&["basic_economy", "economy", "business"]), "the cabin, the same on all flights");
const USER: Parameter = parameter("user_id", Kind::Text, "the user's id");
const RESERVATION: Parameter = parameter("reservation_id", Kind::Text, "the reservation's id");
const PAYMENT: Parameter = parameter("payment_id", Kind::Text, "the id of a payment method of the user's profile");
const ORIGIN: Parameter = parameter("origin", Kind::Text, "the airport to start from, three letters");
const DESTINATION: Parameter = parameter("destination", Kind::Text, "the airport to go to, three letters");
const DATE: Parameter = parameter("date", Kind::Text, "the day: 2024-05-01");
const BAGS: [Parameter; 2] = [
    parameter("total_baggages", Kind::Integer, "checked bags in all"),
    parameter("nonfree_baggages", Kind::Integer, "how many of them are paid for"),
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

/// The tools of an airline.
pub(crate) const TOOLS: &[Tool] = &[
    tool(
        "book_reservation",
        "Book flights.",
        &[
            USER,
            ORIGIN,
            DESTINATION,
            parameter("flight_type", Kind::Choice(&["one_way", "round_trip"]), "there, or there and back"),
            CABIN,
            parameter("flights", FLIGHTS, "the flights in order"),
            parameter("passengers", PASSENGERS, "who flies"),
            parameter(
                "payment_methods",
                Kind::Tables(&[("payment_id", Kind::Text), ("amount", Kind::Number)]),
                "what is paid with what; the amounts must add up to the price",
            ),
            BAGS[0],
            BAGS[1],
            parameter("insurance", Kind::Choice(&["yes", "no"]), "whether to insure all passengers"),
        ],
        true,
        book::book,
    ),
    CALCULATE,
    tool(
        "cancel_reservation",
        "Cancel a whole reservation; what was paid is refunded.",
        &[RESERVATION],
        true,
        change::cancel,
    ),
    tool("get_reservation_details", "Show a reservation.", &[RESERVATION], false, look::reservation),
    tool(
        "get_user_details",
        "Show a user's profile and the ids of their reservations.",
        &[USER],
        false,
        crate::retail::look_at_user,
    ),
    tool("list_all_airports", "List the airports and their cities.", &[], false, look::airports),
    tool(
        "search_direct_flight",
        "Find flights of a day between two airports.",
        &[ORIGIN, DESTINATION, DATE],
        false,
        look::direct,
    ),
    tool(
        "search_onestop_flight",
        "Find pairs of flights of a day between two airports with one stop.",
        &[ORIGIN, DESTINATION, DATE],
        false,
        look::one_stop,
    ),
    tool(
        "send_certificate",
        "Send a user a certificate as compensation.",
        &[USER, parameter("amount", Kind::Number, "what it is worth")],
        true,
        change::certificate,
    ),
    THINK,
    TRANSFER,
    tool(
        "update_reservation_baggages",
        "Change how many bags a reservation has.",
        &[RESERVATION, BAGS[0], BAGS[1], PAYMENT],
        true,
        change::bags,
    ),
    tool(
        "update_reservation_flights",
        "Change the flights or the cabin of a reservation.",
        &[
            RESERVATION,
            CABIN,
            parameter("flights", FLIGHTS, "all flights of the reservation, also those that stay"),
            PAYMENT,
        ],
        true,
        change::flights,
    ),
    tool(
        "update_reservation_passengers",
        "Change who flies; the number of passengers stays.",
        &[RESERVATION, parameter("passengers", PASSENGERS, "all passengers")],
        true,
        change::passengers,
    ),
];

/// The price and the ends of a flight that can be booked for so many, or the refusal.
fn offer(
    records: &Records,
    flight: &Value,
    cabin: &Value,
    passengers: &Value,
) -> Result<Result<Value, String>, Raised> {
    let number = field(flight, "flight_number")?;
    let shown = crate::retail::shown(&number);
    let Some(found) = records.find("flights", &number)? else { return Ok(Err(format!("flight {shown} not found"))) };
    let (day, dates) = (field(flight, "date")?, field(&found, "dates")?);
    let day_shown = crate::retail::shown(&day);
    if !contains(&dates, &day)? {
        return Ok(Err(format!("flight {shown} not found on date {day_shown}")));
    }
    let day = item(&dates, &day)?;
    if field(&day, "status")? != Value::str("available") {
        return Ok(Err(format!("flight {shown} not available on date {day_shown}")));
    }
    let seats = item(&field(&day, "available_seats")?, cabin)?;
    if crate::python::less(&seats, &Value::int(crate::python::length(passengers)? as i64))? {
        return Ok(Err(format!("not enough seats on flight {shown}")));
    }
    let price = item(&field(&day, "prices")?, cabin)?;
    Ok(Ok(Value::dict([
        ("price", price),
        ("origin", field(&found, "origin")?),
        ("destination", field(&found, "destination")?),
    ])))
}
