//! Units that contradict each other.

/// Units of one kind that are not each other, with their other names. Anything else may stand behind a number.
const UNITS: &[&[&str]] = &[
    &["mm", "millimeter", "millimetre"],
    &["cm", "centimeter", "centimetre"],
    &["m", "meter", "metre"],
    &["km", "kilometer", "kilometre"],
    &["in", "inch", "inche"],
    &["ft", "foot", "feet"],
    &["yd", "yard"],
    &["mi", "mile"],
    &["mg", "milligram"],
    &["g", "gram"],
    &["kg", "kilogram"],
    &["lb", "pound"],
    &["oz", "ounce"],
    &["ml", "milliliter"],
    &["l", "liter", "litre"],
    &["s", "sec", "second"],
    &["min", "minute"],
    &["h", "hr", "hour"],
    &["day"],
    &["week"],
    &["month"],
    &["year", "yr"],
    &["cent", "¢"],
    &["dollar", "$", "usd"],
    &["euro", "eur"],
    &["pound sterling", "gbp"],
    &["yen", "jpy"],
    &["°", "degree"],
    &["rad", "radian"],
    &["mph"],
    &["am", "a.m"],
    &["pm", "p.m"],
];

/// The unit under one name and its power, where it is known.
fn known(unit: &str) -> Option<(usize, u32)> {
    let (mut rest, mut power) = (unit.trim(), 1);
    for (word, exponent) in [("square ", 2), ("sq ", 2), ("sq. ", 2), ("cubic ", 3), ("cu ", 3)] {
        if let Some(after) = rest.strip_prefix(word) {
            (rest, power) = (after, exponent);
        }
    }
    if let Some((name, exponent)) = rest.split_once('^') {
        (rest, power) = (name, exponent.parse().ok()?);
    }
    let name = rest.trim().trim_end_matches('.');
    let single = name.strip_suffix('s').filter(|single| !single.is_empty()).unwrap_or(name);
    let row = UNITS.iter().position(|names| names.contains(&name) || names.contains(&single))?;
    Some((row, power))
}

/// Whether a unit is known.
pub(crate) fn is_known(unit: &str) -> bool {
    known(unit).is_some()
}

/// Whether both units are known and differ: 5 cm is not 5 m, 5 cm² is not 5 cm³, but 5 apples may be 5 pieces.
pub(crate) fn conflict(a: &str, b: &str) -> bool {
    matches!((known(a), known(b)), (Some(a), Some(b)) if a != b)
}

#[cfg(test)]
mod tests {
    use super::conflict;

    #[test]
    fn known_units_contradict_and_others_do_not() {
        for (a, b, contradict) in [
            ("cm", "m", true),
            ("cm", "centimeters", false),
            ("inches^2", "square inches", false),
            ("cm^2", "cm^3", true),
            ("cents", "dollars", true),
            ("apples", "pieces", false),
            ("hours", "hr", false),
            ("a.m.", "p.m.", true),
        ] {
            assert_eq!(conflict(a, b), contradict, "{a} {b}");
        }
    }
}
