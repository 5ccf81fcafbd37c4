//! Variable-length integers of QUIC (RFC 9000 §16): 1, 2, 4 or 8 bytes, the two top bits of the
//! first tell which.
//!
//! `37` is `25`, `15293` is `7b bd`. Values reach 2^62 − 1. Longer encodings than necessary are
//! read; only [`put_wide`] writes them.

use crate::error::DecodeError;

/// Largest value that a varint holds.
pub const MAX: u64 = (1 << 62) - 1;

/// Bytes that `value` takes: 1, 2, 4 or 8.
#[inline]
#[must_use]
pub const fn size(value: u64) -> usize {
    if value < 1 << 6 {
        1
    } else if value < 1 << 14 {
        2
    } else if value < 1 << 30 {
        4
    } else {
        8
    }
}

/// Appends `value`. Values above [`MAX`] are a bug of the caller: they are written as [`MAX`].
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each arm has as many bits as `size` says the value needs"
)]
pub fn put(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX, "a varint holds 62 bits");
    match size(value) {
        1 => out.push(value as u8 & 0x3f),
        2 => out.extend_from_slice(&((value as u16) | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&((value as u32) | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value.min(MAX) | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends `value` in eight bytes, however few hold it: readers take the same number, and who looks
/// at the form as well learns one thing more. As [`put`] for values above [`MAX`].
pub fn put_wide(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX, "a varint holds 62 bits");
    out.extend_from_slice(&(value.min(MAX) | !MAX).to_be_bytes());
}

/// The encoding of `value`: this many of these bytes. As [`put`] for values above [`MAX`].
#[inline]
#[must_use]
pub const fn encoded(value: u64) -> ([u8; 8], usize) {
    debug_assert!(value <= MAX, "a varint holds 62 bits");
    let value = if value > MAX { MAX } else { value };
    let size = size(value);
    let length_bits = (size.trailing_zeros() as u64) << 62;
    ((value << (64 - 8 * size) | length_bits).to_be_bytes(), size)
}

/// Reads a varint at the start of `bytes`: its value and its size, or `None` when bytes are
/// missing.
#[inline(always)]
#[must_use]
pub fn peek(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 1 << 6 {
        return Some((u64::from(first), 1));
    }
    // Eight bytes are there nearly always, and no branch depends on the size then.
    let Some(eight) = bytes.first_chunk::<8>() else { return peek_short(bytes) };
    let raw = u64::from_be_bytes(*eight);
    let size = 1 << (raw >> 62);
    Some(((raw & MAX) >> (64 - 8 * size), size))
}

/// [`peek`] where fewer than eight bytes are left.
fn peek_short(bytes: &[u8]) -> Option<(u64, usize)> {
    let size = 1 << (*bytes.first()? >> 6);
    let mut eight = [0; 8];
    eight.get_mut(..size)?.copy_from_slice(bytes.get(..size)?);
    Some(((u64::from_be_bytes(eight) & MAX) >> (64 - 8 * size), size))
}

/// Bytes that [`Gathered`] appends as one block.
const AT_ONCE: usize = 16;

/// A few varints, gathered before they are appended: room is made once, not for each. Holds `BYTES`
/// bytes, eight for each.
#[derive(Debug)]
pub(crate) struct Gathered<const BYTES: usize> {
    bytes: [u8; BYTES],
    len: usize,
}

impl<const BYTES: usize> Default for Gathered<BYTES> {
    #[inline]
    fn default() -> Self {
        Self { bytes: [0; BYTES], len: 0 }
    }
}

impl<const BYTES: usize> Gathered<BYTES> {
    /// Adds `value`, one of at most `BYTES / 8`.
    #[inline]
    pub(crate) fn put(&mut self, value: u64) {
        if let Ok(small @ 0..0x40) = u8::try_from(value)
            && let Some(place) = self.bytes.get_mut(self.len)
        {
            *place = small;
            self.len += 1;
            return;
        }
        let (bytes, size) = encoded(value);
        if let Some(place) = self.bytes.get_mut(self.len..self.len + 8) {
            place.copy_from_slice(&bytes);
            self.len += size;
        } else {
            debug_assert!(false, "there is room for eight bytes of each value");
        }
    }

    /// Adds up to four bytes as they are, which cost more to append by themselves. Returns whether
    /// it did.
    #[inline]
    pub(crate) fn put_few(&mut self, bytes: &[u8]) -> bool {
        let Some(places) = self.bytes.get_mut(self.len..self.len + 4).filter(|_| bytes.len() <= 4) else {
            return false;
        };
        for (place, &byte) in places.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.len += bytes.len();
        true
    }

    /// What was gathered.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// How many bytes were gathered.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Appends what was gathered. Where there is room, a few bytes are appended as one block of a
    /// fixed size, which is then cut, because that is two moves, and a copy of any length is a
    /// call.
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self.bytes.first_chunk::<AT_ONCE>() {
            Some(block) if self.len <= AT_ONCE && out.capacity() - out.len() >= AT_ONCE => {
                let end = out.len() + self.len;
                out.extend_from_slice(block);
                out.truncate(end);
            }
            _ => self.append_long(out),
        }
    }

    #[cold]
    #[inline(never)]
    fn append_long(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes());
    }
}

/// Takes a varint off the front of `bytes`.
///
/// # Errors
/// [`DecodeError::Truncated`] when bytes are missing; `bytes` is unchanged then.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let (value, size) = peek(bytes).ok_or(DecodeError::Truncated)?;
    *bytes = &bytes[size..];
    Ok(value)
}

/// Takes `len` bytes off the front of `bytes`.
///
/// # Errors
/// [`DecodeError::Truncated`] when bytes are missing; `bytes` is unchanged then.
#[inline]
pub fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (head, tail) = bytes.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *bytes = tail;
    Ok(head)
}

/// Takes a length of at most `max` off the front of `bytes`, then as many bytes.
///
/// # Errors
/// [`DecodeError::Truncated`] when bytes are missing, [`DecodeError::Limit`] (naming `what`) above
/// `max`.
#[inline]
pub fn take_prefixed<'a>(
    bytes: &mut &'a [u8],
    max: usize,
    what: &'static str,
) -> Result<&'a [u8], DecodeError> {
    let len = take(bytes)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= max).ok_or(DecodeError::Limit { what })?;
    take_bytes(bytes, len)
}

/// Appends `bytes` behind their length.
#[inline]
pub fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_read_back() {
        for (hex, value) in [
            (&[0x25u8][..], 37u64),
            (&[0x40, 0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(peek(hex), Some((value, hex.len())));
            for cut in 0..hex.len() {
                assert_eq!(peek(&hex[..cut]), None);
            }
        }
    }

    #[test]
    fn gathered_values_are_appended_as_if_each_were_put() {
        for values in [&[][..], &[1], &[7, 300, 70_000], &[MAX, 1, 2, 3], &[MAX; 4]] {
            let mut gathered = Gathered::<{ 4 * 8 }>::default();
            values.iter().for_each(|&value| gathered.put(value));
            // Behind something, with room for a block and without.
            for room in [0, gathered.len(), AT_ONCE, 64] {
                let (mut out, mut expected) = (Vec::with_capacity(3 + room), vec![9; 3]);
                out.extend_from_slice(&[9; 3]);
                gathered.append_to(&mut out);
                values.iter().for_each(|&value| put(&mut expected, value));
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn written_values_read_back_in_the_shortest_form() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), size(value));
            assert_eq!(peek(&out), Some((value, out.len())));
        }
    }
}
