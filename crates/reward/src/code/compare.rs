//! Whether what a program wrote is what was expected.

/// Exact but for spaces at line ends and empty lines at the end; the number of lines must be the same. With a tolerance, words
/// that both read as numbers may differ by `tolerance · max(1, |expected|)`.
pub(crate) fn same_output(written: &str, expected: &str, tolerance: f64) -> Result<(), String> {
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_string()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    };
    let (written, expected) = (lines(written), lines(expected));
    if written.len() != expected.len() {
        return Err(format!("{} lines instead of {}", written.len(), expected.len()));
    }
    for (at, (written, expected)) in written.iter().zip(&expected).enumerate() {
        if !same_line(written, expected, tolerance) {
            return Err(format!("line {} is not as expected", at + 1));
        }
    }
    Ok(())
}

fn same_line(written: &str, expected: &str, tolerance: f64) -> bool {
    if written == expected {
        return true;
    }
    if tolerance == 0.0 {
        return false;
    }
    let (written, expected): (Vec<&str>, Vec<&str>) =
        (written.split_whitespace().collect(), expected.split_whitespace().collect());
    let near = |(written, expected): (&&str, &&str)| {
        if written == expected {
            return true;
        }
        match (written.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(written), Ok(expected)) => (written - expected).abs() <= tolerance * expected.abs().max(1.0),
            _ => false,
        }
    };
    written.len() == expected.len() && written.iter().zip(&expected).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_must_match() {
        let same = |written, expected| same_output(written, expected, 0.0).is_ok();
        assert!(same("1\n2\n", "1\n2"));
        assert!(same("1  \r\n2\n\n\n", "1\n2"));
        // the two ways in which a comparison by `zip` is fooled
        assert!(!same("1\n", "1\n2"), "a correct beginning is not enough");
        assert!(!same("1\n2\n3\n4", "1\n2"), "nor is something more behind it");
        assert!(!same("", "1"));
        assert!(!same(" 1", "1"), "spaces in front count");
        assert!(!same("1.0", "1"));
    }

    #[test]
    fn a_tolerance_is_for_numbers_only() {
        assert!(same_output("x 1.0000005\n", "x 1", 1e-6).is_ok());
        assert!(same_output("x 1.1", "x 1", 1e-6).is_err());
        assert!(same_output("y 1", "x 1", 1e-6).is_err());
        assert!(same_output("nan", "1", 1e-6).is_err(), "not a number is near nothing");
        assert!(same_output("1000000.5", "1000000", 1e-6).is_ok());
    }
}
