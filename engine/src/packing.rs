//! Bytes made smaller with Zstandard: blocks of history files, frames of links to other clusters.

use std::fmt;

use zstd::bulk::{Compressor, decompress};

/// Level of compression: the fastest of zstd's own. Higher ones gain a few percent of the bytes of
/// events, which are short and alike, for several times the work.
const LEVEL: i32 = 1;
/// Bytes below which packing is not tried: what is repeated there is less than its head takes.
const PACKED_FROM: usize = 256;

/// Packs bytes. Its memory, some hundred KiB, is made when it packs first, and used again.
#[derive(Default)]
pub(crate) struct Packer(Option<Compressor<'static>>);

impl Packer {
    /// The bytes in packed form, where that saves at least an eighth of them.
    pub(crate) fn pack(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < PACKED_FROM {
            return None;
        }
        let compressor = match &mut self.0 {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).ok()?),
        };
        // What would take more does not fit, which is an error.
        let mut packed = Vec::with_capacity(plain.len() - plain.len() / 8);
        compressor.compress_to_buffer(plain, &mut packed).ok()?;
        Some(packed)
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packer").field(&self.0.is_some()).finish()
    }
}

/// The `bytes` bytes that were packed; `None` when they are not so many, or damaged. Takes so much
/// memory whatever the packed form says, so that the caller bounds `bytes`.
pub(crate) fn unpack(packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    decompress(packed, bytes).ok().filter(|plain| plain.len() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_repeat_are_packed_and_others_are_left() {
        let mut packer = Packer::default();
        let plain = b"raid=degraded ".repeat(100);
        let packed = packer.pack(&plain).unwrap();
        assert!(packed.len() < plain.len() / 8);
        assert_eq!(unpack(&packed, plain.len()).as_deref(), Some(&plain[..]));
        assert_eq!(packer.pack(&plain), Some(packed), "it packs alike again");
        assert_eq!(packer.pack(&plain[..PACKED_FROM - 1]), None, "too few");
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        assert_eq!(packer.pack(&noise.take(4096).collect::<Vec<_>>()), None, "it saves nothing");
    }

    #[test]
    fn a_length_that_is_not_true_and_damage_are_refused() {
        let plain = vec![7; 5000];
        let packed = Packer::default().pack(&plain).unwrap();
        for bytes in [0, 4999, 5001, 1 << 20] {
            assert_eq!(unpack(&packed, bytes), None, "{bytes}");
        }
        assert_eq!(unpack(&packed[..packed.len() - 1], 5000), None);
        assert_eq!(unpack(b"no frame", 5000), None);
    }
}
