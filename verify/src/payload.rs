//! Payloads that name their event and carry a checksum, so that a receiver can tell what it got.
//!
//! ```text
//! checksum (8)   emitter (4)   n (8)   scheduled time, ns (8)   text   filler '.' up to the chosen size
//! ```
//!
//! Integers are little-endian; the checksum is XXH3-64 of everything behind it. The text is what
//! payload patterns see. Encoding fills a buffer of the caller, decoding borrows: neither
//! allocates.

use xxhash_rust::xxh3::xxh3_64;

/// Smallest payload, in bytes: the head without text and filler.
pub const PAYLOAD_BYTES_MIN: usize = 28;

const CHECKSUM_BYTES: usize = 8;
/// Where the last word of eight bytes ends that has a part of the head.
const HEAD_WORDS_END: usize = 32;
const FILLER: u8 = b'.';

/// What a payload says about its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The emitter's number in its workload.
    pub emitter: u32,
    /// Gapless per emitter, from 0.
    pub n: u64,
    /// When the event was to be published, in ns of the caller's clock: latency counts from here.
    pub scheduled_ns: u64,
}

/// Why a payload could not be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The payload is smaller than its head and text; nothing was written.
    #[error("a payload of {bytes} bytes does not hold the {needed} that are needed")]
    TooSmall {
        /// Its size.
        bytes: usize,
        /// The size that would do.
        needed: usize,
    },
    /// The checksum is not that of the bytes.
    #[error("the payload's checksum does not match")]
    Checksum,
}

impl Stamp {
    /// Fills all of `out` with the payload of this event.
    ///
    /// # Errors
    /// [`PayloadError::TooSmall`] when `out` does not hold head and text.
    #[inline]
    pub fn encode(self, text: &[u8], out: &mut [u8]) -> Result<(), PayloadError> {
        let (bytes, needed) = (out.len(), PAYLOAD_BYTES_MIN + text.len());
        if bytes < needed {
            return Err(PayloadError::TooSmall { bytes, needed });
        }
        out[PAYLOAD_BYTES_MIN..needed].copy_from_slice(text);
        out[needed..].fill(FILLER);
        self.stamp_again(out)
    }

    /// Makes a payload that was encoded before that of this event: text and filler stay.
    ///
    /// # Errors
    /// [`PayloadError::TooSmall`] when `out` does not hold the head.
    #[inline(always)]
    pub fn stamp_again(self, out: &mut [u8]) -> Result<(), PayloadError> {
        if out.len() < PAYLOAD_BYTES_MIN {
            return Err(PayloadError::TooSmall { bytes: out.len(), needed: PAYLOAD_BYTES_MIN });
        }
        let Self { emitter, n, scheduled_ns } = self;
        if let Some(head) = out.first_chunk_mut::<HEAD_WORDS_END>() {
            // Written as the checksum reads it, by eight bytes: a processor that reads what several
            // writes have left waits until all writes before them are in the cache.
            let behind = u32::from_le_bytes([head[28], head[29], head[30], head[31]]);
            let words = [
                u64::from(emitter) | n << 32,
                n >> 32 | scheduled_ns << 32,
                scheduled_ns >> 32 | u64::from(behind) << 32,
            ];
            for (place, word) in head[CHECKSUM_BYTES..].chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        } else {
            out[8..12].copy_from_slice(&emitter.to_le_bytes());
            out[12..20].copy_from_slice(&n.to_le_bytes());
            out[20..28].copy_from_slice(&scheduled_ns.to_le_bytes());
        }
        let checksum = xxh3_64(&out[CHECKSUM_BYTES..]);
        out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// Reads a payload and checks it.
    ///
    /// # Errors
    /// [`PayloadError`] when it is too small or its checksum does not match.
    #[inline]
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let Some((head, _)) = payload.split_first_chunk::<PAYLOAD_BYTES_MIN>() else {
            return Err(PayloadError::TooSmall { bytes: payload.len(), needed: PAYLOAD_BYTES_MIN });
        };
        if xxh3_64(&payload[CHECKSUM_BYTES..]) != long(head, 0) {
            return Err(PayloadError::Checksum);
        }
        let emitter = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        Ok(Self { emitter, n: long(head, 12), scheduled_ns: long(head, 20) })
    }
}

/// Eight bytes of the head, little-endian.
#[inline]
fn long(head: &[u8; PAYLOAD_BYTES_MIN], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { emitter: 99_999, n: 1 << 40, scheduled_ns: 1_700_000_000_000_000_000 };

    #[test]
    fn what_was_written_reads_back_at_every_size() {
        for size in [PAYLOAD_BYTES_MIN + 4, PAYLOAD_BYTES_MIN + 5, 64, 128, 1000] {
            let mut payload = vec![0xff; size];
            STAMP.encode(b"RAID", &mut payload).unwrap();
            assert_eq!(Stamp::decode(&payload), Ok(STAMP));
            assert_eq!(&payload[PAYLOAD_BYTES_MIN..PAYLOAD_BYTES_MIN + 4], b"RAID");
        }
    }

    #[test]
    fn a_payload_that_is_stamped_again_is_that_of_the_next_event() {
        let mut payload = [0; 64];
        Stamp { n: 0, ..STAMP }.encode(b"RAID", &mut payload).unwrap();
        STAMP.stamp_again(&mut payload).unwrap();
        let mut afresh = [0; 64];
        STAMP.encode(b"RAID", &mut afresh).unwrap();
        assert_eq!(payload, afresh);
        assert!(STAMP.stamp_again(&mut payload[..PAYLOAD_BYTES_MIN - 1]).is_err());
        let mut small = [0; PAYLOAD_BYTES_MIN + 3];
        STAMP.encode(b"abc", &mut small).unwrap();
        assert_eq!((Stamp::decode(&small), &small[PAYLOAD_BYTES_MIN..]), (Ok(STAMP), &b"abc"[..]));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut payload = [0; 40];
        STAMP.encode(b"", &mut payload).unwrap();
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::decode(&damaged), Err(PayloadError::Checksum), "bit {bit}");
        }
        assert_eq!(Stamp::decode(&payload[..39]), Err(PayloadError::Checksum));
    }

    #[test]
    fn too_small_buffers_are_refused() {
        assert_eq!(
            STAMP.encode(b"text", &mut [0; 31]),
            Err(PayloadError::TooSmall { bytes: 31, needed: 32 })
        );
        assert_eq!(Stamp::decode(&[0; 27]), Err(PayloadError::TooSmall { bytes: 27, needed: 28 }));
    }
}
