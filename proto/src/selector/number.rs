//! Decimal numbers in selectors and in the tag values that they are compared with.
//!
//! A number is `-?digits[.digits]`, a leading `+` is read too; there are no exponents, no infinity and no NaN. Numbers
//! are compared as 64-bit floats, so integers are exact up to 2^53.

/// Bytes of a number's text: beyond any counter, timestamp or measurement, and always finite.
pub(super) const NUMBER_BYTES_MAX: usize = 64;

/// The number that `text` is, if it is one.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let decimal = match unsigned.iter().position(|&byte| byte == b'.') {
        Some(dot) => digits(&unsigned[..dot]) && digits(&unsigned[dot + 1..]),
        None => digits(unsigned),
    };
    if !decimal {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The one spelling of a number: shortest digits that read back to the same float.
pub(super) fn canonical(number: f64) -> String {
    // Adding zero turns −0 into 0.
    format!("{}", number + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_numbers() {
        for (text, number) in [("10", 10.0), ("-0.50", -0.5), ("+7", 7.0), ("007", 7.0), ("-0", 0.0)] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-", ".5", "5.", "1e3", "inf", "NaN", "0x10", "1_000", "1.2.3", " 1", "１"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[b'9'; 65]), None);
    }

    #[test]
    fn canonical_numbers_read_back() {
        for text in ["10.0", "-0", "0.1", "123456789.125", "-7.50"] {
            let number = parse(text.as_bytes()).unwrap();
            assert_eq!(parse(canonical(number).as_bytes()), Some(number));
        }
        assert_eq!(canonical(-0.0), "0");
        assert_eq!(canonical(10.0), "10");
    }
}
