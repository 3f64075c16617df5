//! Tools that only look.

use crate::python::{Raised, Value, contains, item, text};
use crate::records::{Mode, Records, field, set};
use crate::tool::Arguments;

type Answer = Result<Value, Raised>;

const AIRPORTS: [(&str, &str); 20] = [
    ("SFO", "San Francisco"),
    ("JFK", "New York"),
    ("LAX", "Los Angeles"),
    ("ORD", "Chicago"),
    ("DFW", "Dallas"),
    ("DEN", "Denver"),
    ("SEA", "Seattle"),
    ("ATL", "Atlanta"),
    ("MIA", "Miami"),
    ("BOS", "Boston"),
    ("PHX", "Phoenix"),
    ("IAH", "Houston"),
    ("LAS", "Las Vegas"),
    ("MCO", "Orlando"),
    ("EWR", "Newark"),
    ("CLT", "Charlotte"),
    ("MSP", "Minneapolis"),
    ("DTW", "Detroit"),
    ("PHL", "Philadelphia"),
    ("LGA", "LaGuardia"),
];

pub(super) fn airports(_: &mut Records, _: &Arguments<'_>) -> Answer {
    Ok(Value::str(text(&Value::dict(AIRPORTS.map(|(code, city)| (code, Value::str(city)))))))
}

/// As published, a reservation that is not there is a user who is not there.
pub(super) fn reservation(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let missing = match records.mode() {
        Mode::Compat => "user not found",
        Mode::Fixed => "reservation not found",
    };
    crate::retail::record(records, "reservations", arguments.get("reservation_id"), missing)
}

/// The flights of a world, in the order of its file.
fn all(records: &Records) -> Vec<Value> {
    records.table("flights").as_dict().map(|flights| flights.values().cloned().collect()).unwrap_or_default()
}

/// The flight as a search shows it on a day: its times, and the seats and prices of the day; nothing where it cannot be booked.
fn on_day(flight: &Value, day: &Value) -> Result<Option<Value>, Raised> {
    let dates = field(flight, "dates")?;
    if !contains(&dates, day)? {
        return Ok(None);
    }
    let day = item(&dates, day)?;
    if field(&day, "status")? != Value::str("available") {
        return Ok(None);
    }
    let mut shown = flight.clone();
    if let Some(dict) = shown.as_dict_mut() {
        dict.shift_remove("dates");
    }
    fill(&mut shown, &day);
    Ok(Some(shown))
}

/// `shown.update(day)`.
fn fill(shown: &mut Value, day: &Value) {
    if let Some(dict) = shown.as_dict_mut() {
        dict.extend(day.as_dict().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
}

pub(super) fn direct(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let mut found = Vec::new();
    for flight in all(records) {
        if field(&flight, "origin")? == *arguments.get("origin")
            && field(&flight, "destination")? == *arguments.get("destination")
        {
            found.extend(on_day(&flight, arguments.get("date"))?);
        }
    }
    Ok(Value::str(text(&Value::list(found))))
}

/// The day on which the second flight starts. As published, an arrival after midnight always leads to the same month's next day of May 2024.
fn second_day(first: &Value, day: &Value) -> Result<Value, Raised> {
    let arrival = field(first, "scheduled_arrival_time_est")?;
    if !contains(&arrival, &Value::str("+1"))? {
        return Ok(day.clone());
    }
    let tail: String = match day {
        Value::Str(day) => day.chars().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect(),
        other => return item(other, &Value::None),
    };
    match tail.trim().parse::<i64>() {
        Ok(day) => Ok(Value::str(format!("2024-05-{}", day + 1))),
        Err(_) => {
            Err(Raised(format!("invalid literal for int() with base 10: {}", crate::python::repr(&Value::str(tail)))))
        }
    }
}

pub(super) fn one_stop(records: &mut Records, arguments: &Arguments<'_>) -> Answer {
    let (origin, destination, day) = (arguments.get("origin"), arguments.get("destination"), arguments.get("date"));
    let flights = all(records);
    let mut found = Vec::new();
    for first in &flights {
        if field(first, "origin")? != *origin {
            continue;
        }
        for second in &flights {
            if field(second, "destination")? != *destination || field(first, "destination")? != field(second, "origin")?
            {
                continue;
            }
            let later = second_day(first, day)?;
            let (arrival, departure) =
                (field(first, "scheduled_arrival_time_est")?, field(second, "scheduled_departure_time_est")?);
            if crate::python::less(&departure, &arrival)? {
                continue;
            }
            if let (Some(mut one), Some(mut two)) = (on_day(first, day)?, on_day(second, &later)?) {
                if records.mode() == Mode::Compat {
                    // as published, the second flight's seats and prices are those of the day of the first
                    fill(&mut two, &item(&field(second, "dates")?, day)?);
                }
                set(&mut one, [("date", day.clone())]);
                set(&mut two, [("date", later)]);
                found.push(Value::list([one, two]));
            }
        }
    }
    Ok(Value::str(text(&Value::list(found))))
}
