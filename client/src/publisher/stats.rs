//! What a publisher says about its events: totals, and which of them may be lost.

use std::ops::Range;

use millrace_proto::PublisherKey;

use crate::disconnect::Disconnect;
use crate::session::Outcome;

/// Reports that wait to be read, at most, per connection and kind: the oldest give way, because
/// totals in [`PublisherStats`] stay exact.
pub(super) const REPORTS_MAX: usize = 1024;

/// Events of which nobody knows whether a router got them: they were on their way when a connection
/// was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The part of their ids that they share.
    pub key: PublisherKey,
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What happened to the connection.
    pub reason: Disconnect,
}

/// Events that have ended and are not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// The part of their ids that they share.
    pub key: PublisherKey,
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What became of each: anything but [`Outcome::Confirmed`].
    pub outcome: Outcome,
}

/// Reports of ends that wait to be read, at most, per connection: as many as there may be events
/// without an outcome. The oldest give way.
pub(super) const SETTLED_MAX: usize = 65_536;

/// Events that have ended alike, for a publisher with
/// [`PublisherOptions::report_settled`](field@super::PublisherOptions::report_settled).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The part of their ids that they share.
    pub key: PublisherKey,
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What became of each.
    pub outcome: Outcome,
}

/// What a publisher has done so far, over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Events that were taken.
    pub published: u64,
    /// Events that its spool held when it was opened: an earlier process published them.
    pub found: u64,
    /// Events that a router said it received. With a spool: those that are neither pending nor
    /// given up.
    pub received: u64,
    /// Events that were on their way when a connection was lost or, with a confirm level, that
    /// ended as [`Outcome::Unknown`].
    pub unknown: u64,
    /// Events that ended as [`Outcome::Confirmed`].
    pub confirmed: u64,
    /// Events that ended as [`Outcome::Partial`].
    pub partial: u64,
    /// Events that ended as [`Outcome::Dropped`].
    pub dropped: u64,
    /// Events that its spool gave up because it was full.
    pub shed: u64,
    /// Events whose time to live was over before they were sent.
    pub expired: u64,
    /// Events that its spool could not read back.
    pub unreadable: u64,
    /// Events that were given up before they were sent, because another member of its set holds it.
    pub fenced: u64,
    /// Numbered events that it keeps for the moment in which it takes over.
    pub kept: u64,
    /// Numbered events that it passed over, because routers have had their numbers.
    pub passed_over: u64,
    /// Events that are pending in its spool: they outlive the publisher.
    pub pending: u64,
    /// Events that were skipped because nobody wants them: they are not among those that were
    /// taken.
    pub skipped: u64,
    /// Of a publisher on two routers: events whose end one router alone has told, because the other
    /// one was away or too far behind.
    pub by_one: u64,
    /// Connections that were made, one after the other or at once.
    pub connections: u64,
}
