//! Payloads in fewer bytes: zstd, one payload at a time.
//!
//! Each payload is compressed by itself, because records are read, given up and lost by themselves:
//! none may need another one to be read. What is kept is a zstd frame (RFC 8878) without its magic
//! number, its size and its checksum: the record has the size and a checksum. Both contexts, and
//! the buffers, are made when they are needed first, and used again for each event.

use std::fmt;

use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, FrameFormat};

/// Smaller payloads stay as they are: there is little to find in them, and less to win.
pub(super) const PACK_BYTES_MIN: usize = 256;
/// The fastest of zstd's usual levels: one event on its way is what it costs.
const LEVEL: i32 = 1;

/// The largest frame that is worth it: an eighth must be won.
const fn frame_bytes_max(payload: usize) -> usize {
    payload - payload / 8
}

/// Compresses payloads.
#[derive(Default)]
pub(super) struct Packer {
    context: Option<CCtx<'static>>,
    frame: Vec<u8>,
    /// Bytes of the last payload's frame, where it is worth it.
    packed: Option<usize>,
}

impl Packer {
    /// Compresses `payload`, where that is `allowed` and shrinks it by an eighth at least.
    pub(super) fn pack(&mut self, payload: &[u8], allowed: bool) {
        let is_worth_a_try = allowed && (PACK_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload.len());
        self.packed = if is_worth_a_try { self.compress(payload) } else { None };
    }

    /// The frame of the payload that was compressed last; `None` when it is to stay as it is.
    pub(super) fn frame(&self) -> Option<&[u8]> {
        self.frame.get(..self.packed?)
    }

    /// Bytes of the frame. A frame that does not fit is an error of zstd's, before all of the
    /// payload is looked at.
    fn compress(&mut self, payload: &[u8]) -> Option<usize> {
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(compressing()?),
        };
        let most = frame_bytes_max(payload.len());
        if self.frame.len() < most {
            self.frame.resize(most, 0);
        }
        context.compress2(&mut self.frame[..most], payload).ok()
    }
}

/// `None` when there is no memory for it: then payloads stay as they are.
fn compressing() -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).ok()?;
    }
    Some(context)
}

/// Gives payloads back.
#[derive(Default)]
pub(super) struct Unpacker {
    context: Option<DCtx<'static>>,
    payload: Vec<u8>,
}

impl Unpacker {
    /// The payload of `bytes` bytes that `frame` stands for; `None` when it is not that. However
    /// the frame lies, no more than `bytes` are written, and no more than an event may have are
    /// held.
    pub(super) fn unpack(&mut self, frame: &[u8], bytes: usize) -> Option<&[u8]> {
        if bytes > PAYLOAD_BYTES_MAX {
            return None;
        }
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(decompressing()?),
        };
        if self.payload.len() < bytes {
            self.payload.resize(bytes, 0);
        }
        let payload = &mut self.payload[..bytes];
        let read = context.decompress(payload, frame).ok()?;
        (read == bytes).then_some(&self.payload[..bytes])
    }
}

fn decompressing() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::Format(FrameFormat::Magicless)).ok()?;
    Some(context)
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("packed", &self.packed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("buffer", &self.payload.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without a pattern.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        (0..bytes).map(step).collect()
    }

    #[test]
    fn payloads_come_back_as_they_were() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        for bytes in [256, 257, 5000, 1 << 20, 300, 131_073] {
            let payload: Vec<u8> = b"GET /health 200 ".iter().copied().cycle().take(bytes).collect();
            packer.pack(&payload, true);
            let frame = packer.frame().unwrap();
            assert!(frame.len() < bytes / 4, "{bytes}: {}", frame.len());
            assert_eq!(unpacker.unpack(frame, bytes), Some(&payload[..]));
        }
    }

    #[test]
    fn what_is_small_or_does_not_shrink_by_an_eighth_stays() {
        let mut packer = Packer::default();
        packer.pack(&[0; PACK_BYTES_MIN], true);
        assert!(packer.frame().is_some());
        packer.pack(&[0; PACK_BYTES_MIN - 1], true);
        assert_eq!(packer.frame(), None);
        packer.pack(&[0; PACK_BYTES_MIN], false);
        assert_eq!(packer.frame(), None, "the setting says so");
        for bytes in [256, 4096, 1 << 20] {
            packer.pack(&noise(bytes), true);
            assert_eq!(packer.frame(), None);
            // A tenth of it could be won.
            let mut payload = noise(bytes);
            payload[..bytes / 10].fill(0);
            packer.pack(&payload, true);
            assert_eq!(packer.frame(), None);
            payload[..bytes / 3].fill(0);
            packer.pack(&payload, true);
            assert!(packer.frame().is_some_and(|frame| frame.len() <= bytes - bytes / 8));
        }
    }

    #[test]
    fn sizes_that_lie_and_frames_that_are_none_give_nothing_and_hold_little() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let payload = vec![b'x'; 1000];
        packer.pack(&payload, true);
        let frame = packer.frame().unwrap().to_vec();
        for lie in [0, 1, 999, 1001, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, usize::MAX] {
            assert_eq!(unpacker.unpack(&frame, lie), None, "{lie}");
        }
        assert!(unpacker.payload.len() <= PAYLOAD_BYTES_MAX);
        for cut in 0..frame.len() {
            assert_eq!(unpacker.unpack(&frame[..cut], 1000), None, "{cut}");
        }
        for bytes in 0..64 {
            assert_eq!(unpacker.unpack(&noise(bytes), 1000), None);
        }
        assert_eq!(unpacker.unpack(&frame, 1000), Some(&payload[..]), "and the next one is read");
    }

    #[test]
    fn contexts_are_made_once() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let mut held = None;
        for round in 0..100_u8 {
            let payload = vec![round; 4000 - usize::from(round)];
            packer.pack(&payload, true);
            let frame = packer.frame().unwrap();
            assert_eq!(unpacker.unpack(frame, payload.len()), Some(&payload[..]));
            let now = (
                packer.context.as_ref().map(CCtx::sizeof),
                packer.frame.capacity(),
                unpacker.context.as_ref().map(DCtx::sizeof),
                unpacker.payload.capacity(),
            );
            assert_eq!(*held.get_or_insert(now), now);
        }
    }
}
