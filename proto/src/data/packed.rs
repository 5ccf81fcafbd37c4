//! Frames of a link between clusters that are packed together.

use super::kind;
use crate::error::DecodeError;
use crate::limits::{PACKED_PLAIN_BYTES_MAX, PACKED_RATIO_MAX};
use crate::varint;

/// Frames of a publish stream in packed form: `plain bytes, length, packed bytes, padding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Bytes of the frames before they were packed.
    pub plain_bytes: usize,
    /// The frames as one frame of zstd (RFC 8878).
    pub packed: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Appends a frame that holds these. What packs better than
    /// [`PACKED_RATIO_MAX`] is filled up with zeros, so that nobody makes a reader unpack much for
    /// few bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = varint::size(self.plain_bytes as u64) + varint::size(self.packed.len() as u64);
        let body = (head + self.packed.len()).max(self.plain_bytes.div_ceil(PACKED_RATIO_MAX));
        varint::put(out, kind::PACKED);
        varint::put(out, body as u64);
        let end = out.len() + body;
        varint::put(out, self.plain_bytes as u64);
        varint::put_prefixed(out, self.packed);
        out.resize(end, 0);
    }

    pub(super) fn decode(mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let ratio_bytes = body.len().saturating_mul(PACKED_RATIO_MAX);
        let plain_bytes = usize::try_from(varint::take(&mut body)?)
            .ok()
            .filter(|&bytes| bytes <= PACKED_PLAIN_BYTES_MAX.min(ratio_bytes))
            .ok_or(DecodeError::Limit { what: "packed frames" })?;
        let packed = varint::take_prefixed(&mut body, PACKED_PLAIN_BYTES_MAX, "packed frames")?;
        Ok(Self { plain_bytes, packed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataFrame, FRAME_BYTES_MAX, decode};
    use crate::frame;

    fn encoded(packed: &Packed<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packed.encode(&mut out);
        out
    }

    #[test]
    fn it_is_read_as_it_was_written_whatever_it_is_filled_up_with() {
        for plain_bytes in [0, 300, PACKED_RATIO_MAX * 40, PACKED_PLAIN_BYTES_MAX] {
            let packed = Packed { plain_bytes, packed: b"some packed bytes" };
            let out = encoded(&packed);
            let (kind, body, taken) = frame::split(&out, FRAME_BYTES_MAX).unwrap().unwrap();
            assert_eq!(taken, out.len());
            assert_eq!(decode(kind, body), Ok(DataFrame::Packed(packed)));
            assert!(out.len() >= plain_bytes / PACKED_RATIO_MAX);
        }
    }

    #[test]
    fn one_that_would_unpack_to_too_much_is_refused() {
        let refused = |plain_bytes: u64, body_bytes: usize| {
            let mut body = Vec::new();
            varint::put(&mut body, plain_bytes);
            varint::put_prefixed(&mut body, b"packed");
            body.resize(body_bytes.max(body.len()), 0);
            decode(kind::PACKED, &body).is_err()
        };
        assert!(refused(PACKED_PLAIN_BYTES_MAX as u64 + 1, 1 << 20));
        assert!(refused((PACKED_RATIO_MAX * 100) as u64 + 1, 100), "more than its bytes pay for");
        assert!(!refused((PACKED_RATIO_MAX * 100) as u64, 100));
    }
}
