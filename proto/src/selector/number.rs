//! Decimal numbers in selectors and in the tag values that they are compared with.
//!
//! A number is `[+-] digits [. digits] [e [+-] digits]`; digits may be absent on one side of the
//! dot. There is no infinity and no NaN. Numbers are compared digit by digit, so every comparison
//! is exact: nanosecond times and 64-bit ids beside each other, fractions beside integers, `1e3`
//! beside `1000`.
//!
//! ```text
//! −12.50e1  =  −0.125 × 10^3      negative, digits 1 2 5, point 3
//! ```
//!
//! Two numbers of one sign are ordered by `point`, then by their digits as text. Reading one costs
//! a walk over its text, and so does comparing it; nothing is copied.

use std::cmp::Ordering;

/// Digits of a number between its first and its last that is not 0: more than any counter, time or
/// measurement has.
const DIGITS_MAX: usize = 64;

/// Largest exponent, in both directions, of a number written as `d.ddd × 10^n`: nine digits.
const EXPONENT_MAX: i64 = 999_999_999;

/// A number, as digits of the text that it was read from.
///
/// Its amount is `0.digits × 10^point`, where the digits are `whole` followed by `part`. They
/// neither begin nor end with 0, so that equal numbers have equal digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    part: &'a [u8],
    point: i64,
}

/// The number that `text` is, if it is one.
pub(super) fn parse(text: &[u8]) -> Option<Decimal<'_>> {
    let negative = text.first() == Some(&b'-');
    let unsigned = unsigned(text);
    let (significand, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, part) = match significand.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&significand[..dot], &significand[dot + 1..]),
        None => (significand, &[][..]),
    };
    if whole.len() + part.len() == 0 || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let mut whole = without_leading_zeros(whole);
    let mut part = without_trailing_zeros(part);
    let mut point = exponent.saturating_add(count(whole));
    if whole.is_empty() {
        let rest = without_leading_zeros(part);
        point = point.saturating_sub(count(part) - count(rest));
        part = rest;
    } else if part.is_empty() {
        whole = without_trailing_zeros(whole);
    }
    if whole.len() + part.len() == 0 {
        return Some(Decimal { negative: false, whole, part, point: 0 });
    }
    let in_bounds = whole.len() + part.len() <= DIGITS_MAX && (point - 1).abs() <= EXPONENT_MAX;
    in_bounds.then_some(Decimal { negative, whole, part, point })
}

/// The number behind an `e`; far beyond [`EXPONENT_MAX`] it may be another that is, too.
fn exponent(text: &[u8]) -> Option<i64> {
    let digits = unsigned(text);
    if digits.is_empty() || !are_digits(digits) {
        return None;
    }
    let amount =
        digits.iter().fold(0_i64, |amount, digit| (amount * 10 + i64::from(digit - b'0')).min(1 << 40));
    Some(if text.first() == Some(&b'-') { -amount } else { amount })
}

fn unsigned(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text)
}

fn are_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|&&digit| digit == b'0').count()..]
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    &digits[..digits.len() - digits.iter().rev().take_while(|&&digit| digit == b'0').count()]
}

fn count(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

impl Decimal<'_> {
    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.part).copied()
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.part.is_empty()
    }

    /// Compares amounts without their signs.
    fn cmp_amount(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits())),
        }
    }

    /// Compares the numbers, exactly.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.cmp_amount(other),
            (true, true) => other.cmp_amount(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }

    /// The one spelling of the number.
    ///
    /// Amounts from 10^-6 to below 10^21 are written without exponent, as JavaScript does; others
    /// as `d.ddde-n`.
    pub(super) fn canonical(&self) -> String {
        let mut digits: String = self.digits().map(char::from).collect();
        let length = count(self.whole) + count(self.part);
        let zeros = |count: i64| std::iter::repeat_n('0', usize::try_from(count).unwrap_or(0));
        let text = match self.point {
            _ if digits.is_empty() => "0".to_owned(),
            point @ 1..=21 if point >= length => {
                digits.extend(zeros(point - length));
                digits
            }
            point @ 1..=21 => {
                digits.insert(usize::try_from(point).unwrap_or(0), '.');
                digits
            }
            point @ -5..=0 => format!("0.{}{digits}", zeros(-point).collect::<String>()),
            point => {
                if length > 1 {
                    digits.insert(1, '.');
                }
                format!("{digits}e{}", point - 1)
            }
        };
        if self.negative { format!("-{text}") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        parse(text.as_bytes()).map(|number| number.canonical())
    }

    fn compare(a: &str, b: &str) -> Ordering {
        parse(a.as_bytes()).unwrap().cmp(&parse(b.as_bytes()).unwrap())
    }

    #[test]
    fn each_number_has_one_spelling() {
        for (text, expected) in [
            ("10", "10"),
            ("-0.50", "-0.5"),
            ("+7", "7"),
            ("007", "7"),
            ("-0", "0"),
            ("-0.000e-5", "0"),
            ("0e999999999999", "0"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1E+03", "1000"),
            ("12.50e1", "125"),
            ("12.5e-1", "1.25"),
            ("0.00000123e6", "1.23"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("100000000000000000000", "100000000000000000000"),
            ("1000000000000000000000", "1e21"),
            ("1234567890123456789012.5", "1.2345678901234567890125e21"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1e999999999", "1e999999999"),
            ("0.1e-999999998", "1e-999999999"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
            assert_eq!(canonical(expected).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_decimal_is_no_number() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "-.",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e1.5",
            "--1",
            "+-1",
            "inf",
            "-inf",
            "Infinity",
            "NaN",
            "nan",
            "0x10",
            "1_000",
            "1,000",
            "1.2.3",
            " 1",
            "1 ",
            "１",
            "1e1000000000",
            "10e999999999",
            "1e-1000000000",
            "1e99999999999999999999",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert!(parse(&[b'9'; 64]).is_some());
        assert!(parse(&[b'9'; 65]).is_none());
        assert_eq!(
            canonical(&format!("{}1{}", "0".repeat(100), "0".repeat(20))).as_deref(),
            Some("100000000000000000000")
        );
    }

    #[test]
    fn neighbours_that_a_float_cannot_tell_apart_are_in_order() {
        for (less, greater) in [
            ("9007199254740992", "9007199254740993"),
            ("1732759051123456788", "1732759051123456789"),
            ("9223372036854775806", "9223372036854775807"),
            ("18446744073709551614", "18446744073709551615"),
            ("-9007199254740993", "-9007199254740992"),
            ("9007199254740992", "9007199254740992.5"),
            ("0.1", "0.10000000000000000000000000000001"),
            ("1e400", "1.0000000000000000000000001e400"),
            ("1e-401", "1e-400"),
            ("-1e400", "-1e-400"),
            ("-1e-400", "0"),
            ("-1", "-0.9"),
            ("2", "10"),
        ] {
            assert_eq!(compare(less, greater), Ordering::Less, "{less} {greater}");
            assert_eq!(compare(greater, less), Ordering::Greater, "{less} {greater}");
        }
        for (a, b) in [("1e3", "1000"), ("-0", "0"), ("1.0", "1"), (".5", "0.50"), ("0e5", "0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        /// Thousandths that fit 128 bits: as integers they are the oracle.
        #[test]
        fn order_agrees_with_that_of_integers(
            a in any::<i64>(), b in any::<i64>(), near in -2i64..3, shifts in (0usize..4, 0usize..4),
        ) {
            let spell = |number: i64, shift: usize| match shift {
                0 => number.to_string(),
                1 => format!("{number}e0"),
                2 => format!("{number}000e-3"),
                _ => format!("{number}.000"),
            };
            for other in [b, a.saturating_add(near)] {
                let (x, y) = (spell(a, shifts.0), spell(other, shifts.1));
                prop_assert_eq!(compare(&x, &y), a.cmp(&other), "{} {}", x, y);
            }
        }

        #[test]
        fn canonical_text_reads_back_to_the_same_number(text in "[+-]?[0-9]{0,30}\\.?[0-9]{0,30}([eE][+-]?[0-9]{1,10})?") {
            if let Some(number) = parse(text.as_bytes()) {
                let one = number.canonical();
                let again = parse(one.as_bytes()).unwrap();
                prop_assert_eq!(number.cmp(&again), Ordering::Equal);
                prop_assert_eq!(again.canonical(), one);
            }
        }
    }
}
