//! A run on its way to one location, and what becomes of it there.

use std::cell::Cell;

use bytes::Bytes;
use millrace_proto::data::flag;
use millrace_proto::run::RunBody;
use millrace_proto::table::Memo;
use millrace_proto::{PublisherKey, TagSetRef};

use crate::history::Place;
use crate::ledger::{EntryId, Span};
use crate::message::CoreIndex;
use crate::routes::TagId;

/// A bit of a copy's flags within its core, beside those of the wire: it comes from history.
pub(super) const REPLAYED: u64 = 1 << 8;

/// The copy of a run for one location.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOut<'a> {
    pub(super) tag: TagId,
    /// Where the route keeps the number of its tag set on a receiver's stream.
    pub(super) number: Option<&'a Cell<Memo>>,
    pub(super) tags: TagSetRef<'a>,
    pub(super) publisher: PublisherKey,
    pub(super) flags: u64,
    /// Optional fields of the hop header that do not depend on the stream, encoded. In the queue of
    /// a receiver that shares its stream: the receiver's target.
    pub(super) fields: &'a [u8],
    pub(super) body: &'a [u8],
    /// The buffer that the body lies in, if an outlet may keep it instead of copying the body.
    pub(super) buffer: Option<&'a Bytes>,
    pub(super) events: u64,
    /// The sibling core that handed it over, and that is told when a receiver here does not get it.
    pub(super) from: Option<CoreIndex>,
    /// The ledger's entry, if its publisher asks how the run ends and this copy is one of its legs.
    pub(super) entry: Option<EntryId>,
    /// Where it stands in what its owner has routed, where that is told.
    pub(super) place: Option<&'a Place>,
}

impl RunOut<'_> {
    /// Its flags on a receiver's own stream: a run that is sent again may be a duplicate.
    #[inline]
    pub(super) const fn own_flags(&self) -> u64 {
        self.flags | if self.flags & flag::RESENT == 0 { 0 } else { flag::MAYBE_DUPLICATE }
    }

    /// Its events.
    pub(super) fn span(&self) -> Span {
        // The body was parsed when it came.
        let (first, count) =
            RunBody::parse_head(self.body).map_or((0, 0), |body| (body.first_seq(), body.count()));
        Span { first, events: u32::try_from(count).unwrap_or(0) }
    }
}

/// What became of a copy of a run at one location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The location has written or queued it.
    Kept,
    /// The queue is full, and by its policy newer runs give way.
    Refused,
    /// The queue is full, though publishers are held back for it: it is to come again.
    Busy,
    /// The run is larger than the whole queue; a gap stands for it.
    TooLarge,
}
