//! Numbers, texts and binary data of a packet (MQTT 5, section 1.5).

use bytes::{Buf, Bytes};

use super::wrong::Wrong;

/// Bytes that a variable byte integer has at most.
pub(super) const VARINT_BYTES_MAX: usize = 4;

/// The rest of a packet, field by field. Slices share its memory.
#[derive(Debug)]
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Wrong> {
        self.0.try_get_u8().map_err(|_| Wrong::Malformed("it ends early"))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Wrong> {
        self.0.try_get_u16().map_err(|_| Wrong::Malformed("it ends early"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Wrong> {
        self.0.try_get_u32().map_err(|_| Wrong::Malformed("it ends early"))
    }

    pub(super) fn varint(&mut self) -> Result<u32, Wrong> {
        match varint(&self.0)? {
            Some((value, bytes)) => {
                self.0.advance(bytes);
                Ok(value)
            }
            None => Err(Wrong::Malformed("it ends early")),
        }
    }

    /// The next `bytes` bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Result<Self, Wrong> {
        if bytes > self.0.len() {
            return Err(Wrong::Malformed("it ends early"));
        }
        Ok(Self(self.0.split_to(bytes)))
    }

    pub(super) fn binary(&mut self) -> Result<Bytes, Wrong> {
        let bytes = self.u16()?;
        Ok(self.take(usize::from(bytes))?.0)
    }

    /// UTF-8 without U+0000.
    pub(super) fn text(&mut self) -> Result<String, Wrong> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(Wrong::Malformed("a text is not UTF-8 without U+0000")),
        }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }
}

/// A variable byte integer at the beginning, and how many bytes it has; `None` if it ends early.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Wrong> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() >= VARINT_BYTES_MAX {
        Err(Wrong::Malformed("a length has more than four bytes"))
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounds of MQTT 5, table 1-1.
    #[test]
    fn lengths_have_one_to_four_bytes() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0x7f], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xff, 0xff, 0xff, 0x7f], 268_435_455),
        ] {
            assert_eq!(varint(bytes), Ok(Some((value, bytes.len()))));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
        assert!(varint(&[0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
    }
}
