//! How far a receiver's stream may run ahead of its reader's host: `stream_ahead`.
//!
//! No overflow policy reaches what was encoded for a stream, so that the outlet keeps it short:
//! bytes that are encoded and that the reader's host has not acknowledged are at most about
//! `clamp(2 × congestion window, min, max)`. It is twice the window because one window is on its
//! way while the next has to be there when it is acknowledged; more would only wait, and grow old.
//! The rest stays in the receiver's queue. Bytes that the host has acknowledged and its application
//! has not taken are bounded by the receiver's grant instead.
//!
//! The buffers count themselves. A transport drops bytes when they are acknowledged
//! ([`Transport::write`](crate::transport::Transport::write)), so each buffer adds itself to the
//! count when it is made and leaves it with its last reference. The buffer that makes room puts the
//! receiver that waits for it on a list: no polling, one addition and one subtraction for each
//! buffer.
//!
//! The counters are atomic because [`Bytes`] may travel between threads; those of one core do not.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::core::slot::ReceiverSlot;

/// Receivers whose streams have room again, each once: at most as many as there are receivers.
#[derive(Debug, Default)]
pub(in crate::core) struct Wakes {
    any: AtomicBool,
    slots: Mutex<Vec<ReceiverSlot>>,
}

impl Wakes {
    pub(in crate::core) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Takes the list, and leaves it empty.
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
    /// Bytes of buffers that the transport holds.
    held: AtomicUsize,
    /// Whether a receiver waits until `held` is at most this.
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

/// Bytes that one stream holds ahead of its reader's host, and their bound.
#[derive(Debug)]
pub(in crate::core) struct Ahead {
    meter: Arc<Meter>,
    /// Most bytes ahead.
    max: usize,
    /// Bytes of one buffer: the least, where half of `max` allows it, and the most.
    buffer_min: usize,
    buffer_max: usize,
}

impl Ahead {
    /// A stream without buffers: at most `max` bytes ahead, in buffers of `buffer_min` to
    /// `buffer_max` bytes.
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

    /// Bytes that the transport holds.
    pub(in crate::core) fn held(&self) -> usize {
        self.meter.held.load(Ordering::Relaxed)
    }

    /// Bytes that the next buffer may have: at most half of `max`, because a transport drops whole
    /// buffers, and one is filled while another is acknowledged.
    pub(in crate::core) fn room(&self) -> usize {
        let buffer = self.buffer_max.min(self.max / 4).max(self.buffer_min.min(self.max / 2));
        buffer.min(self.max.saturating_sub(self.held()))
    }

    /// Makes a buffer for the transport that counts itself until the transport drops it.
    pub(in crate::core) fn hold<B: AsRef<[u8]> + Send + 'static>(&self, bytes: B) -> Bytes {
        self.meter.held.fetch_add(bytes.as_ref().len(), Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, meter: Arc::clone(&self.meter) })
    }

    /// Puts `slot` on the list of [`Wakes`] when there is room for a buffer. Says whether there is
    /// none now.
    pub(in crate::core) fn wait(&self, slot: ReceiverSlot) -> bool {
        let wake_at = self.max / 4 * 3;
        let waits = self.held() > wake_at;
        if waits {
            self.meter.wake_at.store(wake_at, Ordering::Relaxed);
            self.meter.slot.store(slot, Ordering::Relaxed);
            self.meter.waits.store(true, Ordering::Relaxed);
        }
        waits
    }
}
