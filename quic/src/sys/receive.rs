//! Memory that the kernel fills again and again, and that is handed over without a copy.

use bytes::BytesMut;

/// A buffer of fixed size, all of which can be written. What was handed over is a part of the same allocation; once nobody
/// holds any of it, the next use takes the allocation back, and until then a new one takes its place.
#[derive(Debug)]
pub(crate) struct ReceiveBuffer {
    /// All bytes of its allocation were initialised when that was made, by [`Self::new`] or [`Self::as_mut_slice`].
    buffer: BytesMut,
    size: usize,
}

impl ReceiveBuffer {
    pub(crate) fn new(size: usize) -> Self {
        Self { buffer: BytesMut::zeroed(size), size }
    }

    /// All of it, to be written.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.buffer.len() < self.size {
            self.buffer.clear();
            if self.buffer.try_reclaim(self.size) {
                // SAFETY: the capacity is at least `size`, as was just made sure of. The allocation is the one that was made with
                // all its bytes initialised, since reclaiming never allocates; and bytes once initialised remain so.
                unsafe { self.buffer.set_len(self.size) };
            } else {
                self.buffer = BytesMut::zeroed(self.size);
            }
        }
        &mut self.buffer
    }

    /// The first `len` bytes, at most all: they are the taker's from here on.
    pub(crate) fn hand_over(&mut self, len: usize) -> BytesMut {
        self.buffer.split_to(len.min(self.buffer.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_holds_it_and_replaced_while_somebody_does() {
        let mut buffer = ReceiveBuffer::new(100);
        let place = buffer.as_mut_slice().as_ptr();
        for (round, len) in [10, 100, 99].into_iter().enumerate() {
            buffer.as_mut_slice().fill(round as u8);
            let taken = buffer.hand_over(len);
            assert_eq!(&taken[..], &vec![round as u8; len]);
            drop(taken);
            assert_eq!((buffer.as_mut_slice().as_ptr(), buffer.as_mut_slice().len()), (place, 100));
        }
        let held = buffer.hand_over(50).freeze();
        assert_ne!(buffer.as_mut_slice().as_ptr(), place);
        buffer.as_mut_slice().fill(7);
        assert_eq!(&held[..], &[2; 50]);
        assert_eq!(buffer.as_mut_slice().len(), 100);
    }
}
