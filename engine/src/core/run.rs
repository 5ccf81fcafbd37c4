//! A run on its way to one location, and what becomes of it there.

use std::cell::Cell;

use bytes::Bytes;
use millrace_proto::data::flag;
use millrace_proto::run::RunBody;
use millrace_proto::table::Memo;
use millrace_proto::{PublisherKey, TagSetRef};

use crate::ledger::{EntryId, Span};
use crate::message::CoreIndex;
use crate::routes::TagId;

/// The copy of a run for one location.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOut<'a> {
    pub(super) tag: TagId,
    /// Where the number of its tag set on a receiver's stream is kept, if anywhere.
    pub(super) number: Option<&'a Cell<Memo>>,
    pub(super) tags: TagSetRef<'a>,
    pub(super) publisher: PublisherKey,
    pub(super) flags: u64,
    /// Optional fields of the hop header that do not depend on the stream, encoded; in the queue of
    /// a receiver that shares its stream, its target.
    pub(super) fields: &'a [u8],
    pub(super) body: &'a [u8],
    /// The buffer that the body lies in, if it may be kept instead of copied.
    pub(super) buffer: Option<&'a Bytes>,
    pub(super) events: u64,
    /// The sibling core that handed it over: it is told when a receiver here does not get the run.
    pub(super) from: Option<CoreIndex>,
    /// The ledger's entry of a run whose publisher wants to be told, while this copy is a leg of
    /// it.
    pub(super) entry: Option<EntryId>,
}

impl RunOut<'_> {
    /// Its flags on a receiver's own stream: a run that was sent before may be a duplicate.
    #[inline]
    pub(super) const fn own_flags(&self) -> u64 {
        self.flags | if self.flags & flag::RESENT == 0 { 0 } else { flag::MAYBE_DUPLICATE }
    }

    /// Its events.
    pub(super) fn span(&self) -> Span {
        // A body that was read before.
        let (first, count) =
            RunBody::parse_head(self.body).map_or((0, 0), |body| (body.first_seq(), body.count()));
        Span { first, events: u32::try_from(count).unwrap_or(0) }
    }
}

/// What became of a leg: of the copy of a run for one location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written or queued.
    Kept,
    /// The queue is full, and newer runs give way by its policy.
    Refused,
    /// It is larger than the whole queue; a gap stands for it.
    TooLarge,
}
