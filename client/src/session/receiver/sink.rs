//! What delivery streams give: runs, gaps and ends, in their order.

use millrace_proto::data::optional::Addressed;
use millrace_proto::data::{Gap, HopHeader, Mark, ReceiverEnd, Source, Target, flag, hop_field, target_flag};
use millrace_proto::run::{Events, RunBody};
use millrace_proto::{PublisherKey, ReceiverNumber, SubscriptionNumber, TagSet, TagSetRef};

use super::preamble::StreamFor;

/// The confirm level that asks for acknowledgements.
const DELIVERED: u64 = 2;

/// Takes what a delivery stream carries, in its order.
pub trait DeliverySink {
    /// A run of events that match, for [`DeliveredRun::receiver`]. A run for several receivers of a
    /// connection is given once for each of them.
    fn run(&mut self, run: &DeliveredRun<'_>);

    /// Events for `receiver` are missing at this place.
    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap);

    /// What came uses so many bytes of the receiver's window, until its session hears that they are
    /// consumed: those of a chunk on a stream of its own, those of run bodies on a stream of all.
    fn used(&mut self, receiver: ReceiverNumber, bytes: u64) {
        let _ = (receiver, bytes);
    }

    /// A receiver ends here, on a stream of all receivers: nothing for it follows.
    fn ended(&mut self, end: &ReceiverEnd) {
        let _ = end;
    }

    /// The router says how far a source has come at this place, beside what runs say: where a
    /// replay begins and ends, and of quiet receivers each second.
    fn passed(&mut self, receiver: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        let _ = (receiver, source, position, by);
    }

    /// A mark that was asked for: everything that was routed before stands before it.
    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        let _ = (receiver, mark);
    }

    /// From here on `number` stands for `tags` on `stream`: for sinks that keep something of their
    /// own per tag set, so that no event needs a hash. One sink may serve several streams.
    fn tags_defined(&mut self, stream: StreamFor, number: u64, tags: &TagSet) {
        let _ = (stream, number, tags);
    }
}

/// For whom a source has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedBy {
    /// The replay for a subscription begins here: what it misses from there on follows.
    Begun(SubscriptionNumber),
    /// The replay for a subscription has ended: everything below has come for it, or is not for it.
    Joined(SubscriptionNumber),
    /// Everything below has come for all subscriptions that the router knows, or is not for them.
    /// No replay is under way.
    Quiet,
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
    /// Which run of the receiver it is, from 0, since the receiver was opened: what acknowledges
    /// it.
    pub number: u64,
    /// Ticket of a group's copy and its generation, which acknowledge it in place of the number.
    pub ticket: Option<(u64, u64)>,
    /// What it asks or answers: hop field 7, encoded; empty: nothing.
    pub(super) addressed: &'a [u8],
    /// The standby set that it was published for: hop field 10, encoded; empty: none.
    pub(super) set: &'a [u8],
    pub(super) matched: &'a [u8],
    pub(super) flags: u64,
    pub(super) body: RunBody<'a>,
    pub(super) shared: Option<&'a TagSet>,
    pub(super) place: Option<(Source, u64)>,
    pub(super) replayed: bool,
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

    /// The matched subscriptions as they stand on the wire: varints, ascending; empty means
    /// subscription 0 alone.
    #[must_use]
    pub const fn matched_bytes(&self) -> &'a [u8] {
        self.matched
    }

    /// [`flag`] bits of the run.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        self.flags
    }

    /// Whether its publisher has a confirm level, and so may send it again.
    #[inline]
    #[must_use]
    pub const fn has_level(&self) -> bool {
        self.flags & flag::LEVEL_MASK != 0
    }

    /// Whether the receiver may get it more than once: its publisher may send it again, or it came
    /// from another cluster, perhaps on several ways.
    #[inline]
    #[must_use]
    pub const fn may_come_again(&self) -> bool {
        self.has_level() || self.maybe_duplicate()
    }

    /// The lowest seq that its publisher may still send.
    #[inline]
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.body.floor()
    }

    /// Whether its publisher wants to know that the receiver's application has taken it.
    #[inline]
    #[must_use]
    pub const fn wants_ack(&self) -> bool {
        self.flags & flag::LEVEL_MASK == DELIVERED
    }

    /// Whether the receiver may have had it before: it was sent again, or its router could not
    /// tell.
    #[inline]
    #[must_use]
    pub const fn maybe_duplicate(&self) -> bool {
        self.flags & (flag::RESENT | flag::MAYBE_DUPLICATE) != 0
    }

    /// Whether it asks for replies.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.addressed().is_some_and(|addressed| addressed.reply_to.is_some())
    }

    /// What it asks or answers, and the name that it came under; none for an event that is for all.
    #[must_use]
    pub fn addressed(&self) -> Option<Addressed<'a>> {
        if self.addressed.is_empty() { None } else { Addressed::parse(self.addressed).ok() }
    }

    /// The standby set that it was published for, as the hop field says it; empty where there is
    /// none, and of what comes from history, which is never fenced.
    #[must_use]
    pub const fn of_set(&self) -> &'a [u8] {
        if self.replayed { &[] } else { self.set }
    }

    /// Where it stands in what its source has routed, where the router tells.
    #[must_use]
    pub const fn place(&self) -> Option<(Source, u64)> {
        self.place
    }

    /// Whether it comes from history.
    #[must_use]
    pub const fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// The tag set to keep: counts a reference where the stream defined it, copies it where it was
    /// written in full.
    #[must_use]
    pub fn tag_set(&self) -> TagSet {
        self.shared.map_or_else(|| self.tags.to_owned(), TagSet::clone)
    }

    /// The run as one of its targets gets it.
    #[inline]
    pub(super) const fn with_target(mut self, target: &Target<'a>, number: u64) -> Self {
        self.number = number;
        self.receiver = target.receiver;
        self.matched = target.matched;
        self.ticket = target.ticket;
        self.addressed = target.addressed;
        self.set = target.set;
        if target.flags & target_flag::MAYBE_DUPLICATE != 0 {
            self.flags |= flag::MAYBE_DUPLICATE;
        }
        self.replayed = target.flags & target_flag::REPLAYED != 0;
        self
    }

    /// The run as the only receiver of its stream gets it.
    #[inline]
    pub(super) fn with_header(mut self, receiver: ReceiverNumber, hop: &HopHeader<'a>, number: u64) -> Self {
        self.number = number;
        self.receiver = receiver;
        self.matched = hop.matched_bytes();
        if !hop.fields.is_empty() {
            self.ticket = hop.ticket().ok().flatten().map(|ticket| (ticket.ticket, ticket.generation));
            self.addressed = hop.field(hop_field::RECIPIENTS).unwrap_or_default();
            self.set = hop.field(hop_field::SET).unwrap_or_default();
        }
        self
    }
}
