//! How far a receiver's stream may run ahead of its reader's host: `stream_ahead`.
//!
//! What was encoded for a stream is beyond every overflow policy, so it is kept short: bytes that
//! were encoded and that the reader's host has not acknowledged are at most about `clamp(2 ×
//! congestion window, min, max)`. Twice the window, because one window is on its way and the next
//! has to be there when it is acknowledged; more would only wait, and grow old. What exceeds it
//! stays in the receiver's queue. What the host has acknowledged and its application not yet taken
//! is not seen here: the receiver's grant bounds that.
//!
//! Nobody is asked how much that is. A transport lets go of bytes when they are acknowledged
//! ([`Transport::write`](crate::transport::Transport::write)), so each buffer counts itself in when
//! it is made and out when its last reference goes. A receiver that waits for room is put on a list
//! by the buffer that makes it: no polling, one addition and one subtraction for each buffer.
//!
//! The counters are atomic because [`Bytes`] may travel between threads; one core's do not.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::core::slot::ReceiverSlot;

/// Receivers whose streams have room again. Each is listed once, so it is bounded by the receivers.
#[derive(Debug, Default)]
pub(in crate::core) struct Wakes {
    any: AtomicBool,
    slots: Mutex<Vec<ReceiverSlot>>,
}

impl Wakes {
    pub(in crate::core) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The list, which begins anew.
    pub(in crate::core) fn take(&self) -> Vec<ReceiverSlot> {
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, slot: ReceiverSlot) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.any.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Meter {
    /// Bytes of buffers that the transport has not let go.
    held: AtomicUsize,
    /// Somebody waits until `held` is at most this.
    waits: AtomicBool,
    wake_at: AtomicUsize,
    slot: AtomicU32,
    wakes: Arc<Wakes>,
}

/// A buffer that counts itself.
struct Held<B: AsRef<[u8]>> {
    bytes: B,
    meter: Arc<Meter>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl<B: AsRef<[u8]>> Drop for Held<B> {
    fn drop(&mut self) {
        let Meter { held, waits, wake_at, slot, wakes } = &*self.meter;
        let bytes = self.as_ref().len();
        let before = held.fetch_sub(bytes, Ordering::Relaxed);
        let left = before.saturating_sub(bytes);
        if left <= wake_at.load(Ordering::Relaxed) && waits.swap(false, Ordering::Relaxed) {
            wakes.push(slot.load(Ordering::Relaxed));
        }
    }
}

/// What one stream holds ahead of its reader's host, and how much it may.
#[derive(Debug)]
pub(in crate::core) struct Ahead {
    meter: Arc<Meter>,
    /// Bytes, at most.
    max: usize,
    /// Bytes of one buffer: at least, where half of `max` allows it, and at most.
    buffer_min: usize,
    buffer_max: usize,
}

impl Ahead {
    /// Nothing yet; `max` bytes until told otherwise, in buffers of `buffer_min` to `buffer_max`.
    pub(in crate::core) fn new(max: usize, buffer_min: usize, buffer_max: usize, wakes: Arc<Wakes>) -> Self {
        let meter = Meter {
            held: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            wake_at: AtomicUsize::new(0),
            slot: AtomicU32::new(0),
            wakes,
        };
        Self { meter: Arc::new(meter), max, buffer_min, buffer_max }
    }

    pub(in crate::core) const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Bytes that the transport has not let go.
    pub(in crate::core) fn held(&self) -> usize {
        self.meter.held.load(Ordering::Relaxed)
    }

    /// Bytes that the next buffer may have. At most half of what may be ahead, so that one buffer
    /// is filled while another is acknowledged; a transport lets go of whole buffers.
    pub(in crate::core) fn room(&self) -> usize {
        let buffer = self.buffer_max.min(self.max / 4).max(self.buffer_min.min(self.max / 2));
        buffer.min(self.max.saturating_sub(self.held()))
    }

    /// Makes a buffer for the transport, and counts it until the transport lets it go.
    pub(in crate::core) fn hold<B: AsRef<[u8]> + Send + 'static>(&self, bytes: B) -> Bytes {
        self.meter.held.fetch_add(bytes.as_ref().len(), Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, meter: Arc::clone(&self.meter) })
    }

    /// Lists `slot` in the [`Wakes`] when there is room for a buffer.
    pub(in crate::core) fn wait(&self, slot: ReceiverSlot) {
        let wake_at = self.max / 4 * 3;
        if self.held() > wake_at {
            self.meter.wake_at.store(wake_at, Ordering::Relaxed);
            self.meter.slot.store(slot, Ordering::Relaxed);
            self.meter.waits.store(true, Ordering::Relaxed);
        }
    }
}
