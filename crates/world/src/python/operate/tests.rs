use super::*;
use crate::python::parse;

fn value(json: &str) -> Value {
    parse(json).unwrap()
}

/// What an operation prints, or raises.
fn shown(outcome: Outcome<Value>) -> String {
    outcome.map_or_else(|raised| raised.0, |value| repr(&value))
}

#[test]
fn sums_and_differences() {
    for (a, b, total, difference) in [
        ("1", "2", "3", "-1"),
        ("1", "2.0", "3.0", "-1.0"),
        ("true", "1", "2", "0"),
        ("0.1", "0.2", "0.30000000000000004", "-0.1"),
        (
            "1",
            "\"a\"",
            "unsupported operand type(s) for +: 'int' and 'str'",
            "unsupported operand type(s) for -: 'int' and 'str'",
        ),
        (
            "\"a\"",
            "1",
            "can only concatenate str (not \"int\") to str",
            "unsupported operand type(s) for -: 'str' and 'int'",
        ),
        (
            "null",
            "{}",
            "unsupported operand type(s) for +: 'NoneType' and 'dict'",
            "unsupported operand type(s) for -: 'NoneType' and 'dict'",
        ),
    ] {
        assert_eq!(shown(add(&value(a), &value(b))), total);
        assert_eq!(shown(subtract(&value(a), &value(b))), difference);
    }
    let huge = value(&format!("1{}", "0".repeat(400)));
    assert_eq!(shown(add(&huge, &value("0.5"))), "int too large to convert to float");
    assert_eq!(shown(sum(value("[1, 2.5, true]").as_list().unwrap())), "4.5");
    assert_eq!(shown(sum(value("[\"a\"]").as_list().unwrap())), "unsupported operand type(s) for +: 'int' and 'str'");
}

#[test]
fn order() {
    let said = |a: &str, b: &str| less(&value(a), &value(b)).map_err(|raised| raised.0);
    assert_eq!(said("1", "1.5"), Ok(true));
    assert_eq!(said("9007199254740993", "9007199254740992.0"), Ok(false));
    assert_eq!(said("-2", "-1.5"), Ok(true));
    assert_eq!(said("1e400", "5"), Ok(false));
    assert_eq!(said("\"a\"", "\"b\""), Ok(true));
    assert_eq!(said("\"a\"", "1"), Err("'<' not supported between instances of 'str' and 'int'".into()));
    assert_eq!(shown(sorted(&value("[\"b\", \"a\"]"))), "['a', 'b']");
    assert_eq!(shown(sorted(&value("[1, \"a\"]"))), "'<' not supported between instances of 'str' and 'int'");
    assert_eq!(shown(sorted(&value("5"))), "'int' object is not iterable");
}

#[test]
fn containers() {
    for (container, key, found, has) in [
        ("{\"a\": 1}", "\"a\"", "1", "true"),
        ("{\"a\": 1}", "\"it's\"", "\"it's\"", "false"),
        ("{\"a\": 1}", "5", "5", "false"),
        ("{\"a\": 1}", "[1]", "unhashable type: 'list'", "unhashable type: 'list'"),
        ("[7, 8]", "1", "8", "false"),
        ("[7, 8]", "-1", "8", "false"),
        ("[7, 8]", "8", "list index out of range", "true"),
        ("[7]", "\"a\"", "list indices must be integers or slices, not str", "false"),
        ("\"abc\"", "\"b\"", "string indices must be integers, not 'str'", "true"),
        ("\"abc\"", "1", "'b'", "'in <string>' requires string as left operand, not int"),
        ("null", "1", "'NoneType' object is not subscriptable", "argument of type 'NoneType' is not iterable"),
    ] {
        let (container, key) = (value(container), value(key));
        assert_eq!(shown(item(&container, &key)), found);
        assert_eq!(contains(&container, &key).map_or_else(|raised| raised.0, |has| has.to_string()), has);
    }
    assert_eq!(length(&value("\"é漢\"")), Ok(2));
    assert_eq!(count(&value("[1, 1.0, true, \"1\"]"), &value("1")), Ok(3));
    assert_eq!(count(&value("\"aba\""), &value("\"\"")), Ok(4));
    assert_eq!(lower(&value("5")).unwrap_err().0, "'int' object has no attribute 'lower'");
}

#[test]
fn cents_are_those_of_the_exact_binary_value() {
    for (number, rounded) in
        [(2.675, 2.67), (0.125, 0.12), (0.375, 0.38), (1.005, 1.0), (0.005, 0.01), (-0.001, -0.0), (1e22, 1e22)]
    {
        assert_eq!(repr(&Value::Float(cents(number))), repr(&Value::Float(rounded)));
    }
    assert_eq!(shown(round_cents(&value("7"))), "7");
    assert!(cents(f64::INFINITY).is_infinite() && cents(f64::NAN).is_nan());
}
