//! JSON in its one canonical form (RFC 8785), so that equal contents have equal hashes; and keys that hide who a user is.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical text of a value: keys in the order of their UTF-16 units, numbers as ECMAScript writes them, no spaces.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        // All JSON numbers are doubles here, so that 1, 1.0 and 1e0 are one number.
        Value::Number(number) => out.push_str(&ecmascript(number.as_f64().unwrap_or(0.0))),
        // serde_json escapes exactly what RFC 8785 §3.2.2.2 escapes, in the same way.
        other => out.push_str(&other.to_string()),
    }
}

/// A finite number as ECMAScript's `Number::toString` writes it (ECMA-262, 6.1.6.1.20).
fn ecmascript(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    // Rust's exponent form has the shortest digits that read back: d.ddde±x.
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 1; // how many digits stand before the point
    let count = digits.len() as i32;
    let text = if count <= point && point <= 21 {
        digits.clone() + &"0".repeat((point - count) as usize)
    } else if 0 < point && point <= 21 {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else {
        let sign = if point > 0 { '+' } else { '-' };
        let rest = if count > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        format!("{}{rest}e{sign}{}", &digits[..1], (point - 1).abs())
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

/// SHA-256 of the canonical text, in hexadecimal.
pub fn hash(value: &Value) -> String {
    hexadecimal(&Sha256::digest(canonical(value).as_bytes()))
}

/// `HMAC-SHA256(tenant key, user id)` in hexadecimal (RFC 2104): the key under which a user's events are stored (specification C §6.1). Who
/// does not hold the tenant's key cannot find a user by trying names.
pub fn user_key(tenant_key: &[u8], user_id: &str) -> String {
    const BLOCK: usize = 64;
    let mut block = [0u8; BLOCK];
    if tenant_key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(tenant_key));
    } else {
        block[..tenant_key.len()].copy_from_slice(tenant_key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(user_id.as_bytes()).finalize();
    hexadecimal(&Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 8785 §3.2.2 and numbers of its appendix B.
    #[test]
    fn the_standards_examples() {
        let text = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(&value), expected);
        for (number, expected) in [
            (-0.0, "0"),
            (5e-324, "5e-324"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
            (9007199254740992.0, "9007199254740992"),
            (295147905179352830000.0, "295147905179352830000"),
            (1e21, "1e+21"),
            (9.999999999999997e22, "9.999999999999997e+22"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (333333333.3333332, "333333333.3333332"),
        ] {
            assert_eq!(ecmascript(number), expected);
        }
        // By UTF-16 units U+1F600 (a surrogate pair) comes before U+FB33.
        let keys: Value = serde_json::from_str("{\"\u{fb33}\":1,\"\u{1f600}\":2,\"1\":3}").unwrap();
        assert_eq!(canonical(&keys), "{\"1\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn user_keys_are_hmacs() {
        assert_eq!(
            user_key(&[0x0b; 20], "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            user_key(b"Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            user_key(&[0xaa; 131], "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    proptest! {
        #[test]
        fn numbers_read_back_and_forms_agree(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let text = ecmascript(number);
            prop_assert_eq!(text.parse::<f64>().unwrap(), number);
            let parsed: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(canonical(&parsed), text);
        }
    }
}
