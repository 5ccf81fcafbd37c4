//! The mailboxes between two cores: batches of runs, messages about them on the way back, and
//! packets that reached the wrong core.

use millrace_engine::message::{CoreIndex, ToSibling};
use millrace_mailbox::{Inbox, Outbox};
use millrace_quic::ForeignSegment;

/// Most batches that wait in one mailbox; each is at most an outbox of the engine (128 KiB).
pub(crate) const BATCHES_MAX: usize = 64;
/// Most messages on the way back that wait in one ring. Few, because further ones wait at the core
/// that sends them.
pub(crate) const WORDS_MAX: usize = 16;
/// Most foreign segments that wait in one mailbox: two full receive batches.
pub(crate) const SEGMENTS_MAX: usize = 4096;

/// The mailboxes between two cores, as one of them has them.
#[derive(Debug)]
pub(crate) struct Sibling {
    pub(crate) core: CoreIndex,
    /// The way back, which the sibling reads before batches.
    pub(crate) words_out: Outbox<ToSibling>,
    pub(crate) words_in: Inbox<ToSibling>,
    pub(crate) batches_out: Outbox<Vec<u8>>,
    pub(crate) batches_in: Inbox<Vec<u8>>,
    pub(crate) segments_out: Outbox<ForeignSegment>,
    pub(crate) segments_in: Inbox<ForeignSegment>,
}
