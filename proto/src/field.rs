//! Tagged fields: the body of a control frame, and the optional part of a hop header.
//!
//! A field is `number, length, value`, the first two varints. A reader skips numbers it does not
//! know, so fields can be added; a field that appears twice counts once, with its last value,
//! unless it is a list. Integers are a varint in the value; texts are UTF-8; lists are repeated
//! fields.
//!
//! Example: field 3 with the integer 300 is `03 02 41 2c`.

use crate::error::DecodeError;
use crate::varint;

/// Appends an integer field.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, number: u64, value: u64) {
    varint::put(out, number);
    varint::put(out, varint::size(value) as u64);
    varint::put(out, value);
}

/// Appends an integer field with 64 bits: fixed eight bytes, big-endian.
#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, number: u64, value: u64) {
    put_bytes(out, number, &value.to_be_bytes());
}

/// Appends a field of bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint::put(out, number);
    varint::put_prefixed(out, value);
}

/// Appends a field of text.
#[inline]
pub fn put_str(out: &mut Vec<u8>, number: u64, value: &str) {
    put_bytes(out, number, value.as_bytes());
}

/// Appends a field whose value `fill` writes, behind its length.
pub fn put_nested(out: &mut Vec<u8>, number: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut value = Vec::new();
    fill(&mut value);
    put_bytes(out, number, &value);
}

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value as an integer.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when the value is not exactly one varint.
    pub fn u64(&self, what: &'static str) -> Result<u64, DecodeError> {
        match varint::peek(self.value) {
            Some((value, size)) if size == self.value.len() => Ok(value),
            _ => Err(DecodeError::Malformed { what }),
        }
    }

    /// The value as an integer that fits 32 bits.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when the value is not exactly one varint, or larger.
    pub fn u32(&self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.u64(what)?).map_err(|_| DecodeError::Malformed { what })
    }

    /// The value as eight fixed bytes.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] for any other length.
    pub fn fixed64(&self, what: &'static str) -> Result<u64, DecodeError> {
        let raw: [u8; 8] = self.value.try_into().map_err(|_| DecodeError::Malformed { what })?;
        Ok(u64::from_be_bytes(raw))
    }

    /// The value as text of at most `max` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] above `max`, [`DecodeError::Malformed`] when it is not UTF-8.
    pub fn text(&self, max: usize, what: &'static str) -> Result<&'a str, DecodeError> {
        if self.value.len() > max {
            return Err(DecodeError::Limit { what });
        }
        std::str::from_utf8(self.value).map_err(|_| DecodeError::Malformed { what })
    }
}

/// Reads fields one after the other until the bytes end.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// All fields in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that the next field begins with.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut read = || {
            let number = varint::take(&mut self.rest)?;
            let value = varint::take_prefixed(&mut self.rest, usize::MAX, "field")?;
            Ok(Field { number, value })
        };
        let item = read();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}
