//! What connects two cores: batches of runs, words about them on the way back, and packets that
//! reached the wrong core.

use millrace_engine::message::{CoreIndex, ToSibling};
use millrace_mailbox::{Inbox, Outbox};
use millrace_quic::ForeignSegment;

/// Batches that wait in one mailbox, at most; each is at most an outbox of the engine (128 KiB).
pub(crate) const BATCHES_MAX: usize = 64;
/// Words about what was handed over that wait in one ring, at most: few, because what finds no room
/// waits at the core that says it.
pub(crate) const WORDS_MAX: usize = 16;
/// Foreign segments that wait in one mailbox: two full receive batches.
pub(crate) const SEGMENTS_MAX: usize = 4096;

/// What connects two cores, seen from one.
#[derive(Debug)]
pub(crate) struct Sibling {
    pub(crate) core: CoreIndex,
    /// The way back, beside the batches and read before them.
    pub(crate) words_out: Outbox<ToSibling>,
    pub(crate) words_in: Inbox<ToSibling>,
    pub(crate) batches_out: Outbox<Vec<u8>>,
    pub(crate) batches_in: Inbox<Vec<u8>>,
    pub(crate) segments_out: Outbox<ForeignSegment>,
    pub(crate) segments_in: Inbox<ForeignSegment>,
}
