//! What delivery streams give: runs, gaps and ends, in their order.

use millrace_proto::data::{Gap, HopHeader, ReceiverEnd, Target, flag, target_flag};
use millrace_proto::run::{Events, RunBody};
use millrace_proto::{PublisherKey, ReceiverNumber, TagSet, TagSetRef};

use super::preamble::StreamFor;

/// Takes what a delivery stream carries, in its order.
pub trait DeliverySink {
    /// A run of events that match, for [`DeliveredRun::receiver`]. A run for several receivers of a connection is given once
    /// for each of them.
    fn run(&mut self, run: &DeliveredRun<'_>);

    /// Events for `receiver` are missing at this place.
    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap);

    /// A receiver ends here, on a stream of all receivers: nothing for it follows.
    fn ended(&mut self, end: &ReceiverEnd) {
        let _ = end;
    }

    /// From here on `number` stands for `tags` on `stream`: for sinks that keep something of their own
    /// per tag set, so that no event needs a hash. One sink may serve several streams.
    fn tags_defined(&mut self, stream: StreamFor, number: u64, tags: &TagSet) {
        let _ = (stream, number, tags);
    }
}

/// A run of events as it was delivered to one receiver.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredRun<'a> {
    /// The receiver.
    pub receiver: ReceiverNumber,
    /// The tag set.
    pub tags: TagSetRef<'a>,
    /// The tag set's number on the stream; `None` when it was written in full.
    pub tag_number: Option<u64>,
    /// Who published.
    pub publisher: PublisherKey,
    pub(super) matched: &'a [u8],
    pub(super) flags: u64,
    pub(super) body: RunBody<'a>,
    pub(super) shared: Option<&'a TagSet>,
}

impl<'a> DeliveredRun<'a> {
    /// The events, in order of their seqs.
    #[inline]
    #[must_use]
    pub fn events(&self) -> Events<'a> {
        self.body.events()
    }

    /// Number of events, at least 1.
    #[inline]
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.body.count()
    }

    /// Seq of the first event.
    #[inline]
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.body.first_seq()
    }

    /// Bytes of the run's body on the wire: what a grant on a stream of all receivers counts.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.body.bytes().len()
    }

    /// Numbers of the subscriptions that matched.
    pub fn matched(&self) -> impl Iterator<Item = u32> + use<'a> {
        Target { matched: self.matched, ..Target::plain(self.receiver) }.matched()
    }

    /// The matched subscriptions as they stand on the wire: varints, ascending; empty means subscription 0 alone.
    #[must_use]
    pub const fn matched_bytes(&self) -> &'a [u8] {
        self.matched
    }

    /// [`flag`] bits of the run.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        self.flags
    }

    /// The tag set to keep: counts a reference where the stream defined it, copies it where it was written in full.
    #[must_use]
    pub fn tag_set(&self) -> TagSet {
        self.shared.map_or_else(|| self.tags.to_owned(), TagSet::clone)
    }

    /// The run as one of its targets gets it.
    #[inline]
    pub(super) const fn with_target(mut self, target: &Target<'a>) -> Self {
        self.receiver = target.receiver;
        self.matched = target.matched;
        if target.flags & target_flag::MAYBE_DUPLICATE != 0 {
            self.flags |= flag::MAYBE_DUPLICATE;
        }
        self
    }

    /// The run as the only receiver of its stream gets it.
    #[inline]
    pub(super) fn with_header(mut self, receiver: ReceiverNumber, hop: &HopHeader<'a>) -> Self {
        self.receiver = receiver;
        self.matched = hop.matched_bytes();
        self
    }
}
