//! The streams that a publisher writes, one after the other: they begin, and are lost.

use std::ops::Range;

use millrace_proto::control::TableCapacity;

use super::session::PublisherSession;
use super::speaker::Speaker;
use super::store::Store;
use super::stream::PublishStream;

impl<S: Store> PublisherSession<S> {
    /// A connection is open and its router's publish table holds `tables`: output begins, as far as
    /// credit goes, with the stream's preamble. With a confirm level the router is taken to
    /// confirm, unless [`PublisherSession::cannot_confirm`] says otherwise.
    pub fn stream_started(&mut self, tables: TableCapacity) {
        let speaker = Speaker::alone(&self.config, tables, self.handles.len());
        // Routers that hold no publisher tell none what became of its events.
        self.begin(speaker, tables.publishers > 0);
        self.stream = Some(PublishStream::new(tables));
    }

    /// A stream begins that it writes as `speaker`.
    pub(super) fn begin(&mut self, speaker: Speaker, is_confirmed: bool) {
        self.held = false;
        self.window.set_confirmed(is_confirmed);
        self.reports.stream_started();
        self.speaker = Some(speaker);
    }

    /// The router of the stream that has just started does not confirm: its events go without a
    /// level, and end as [`Outcome::Unknown`](super::Outcome::Unknown) when it has received them.
    pub fn cannot_confirm(&mut self) {
        self.window.set_confirmed(false);
    }

    /// No more events are taken for this stream; a chunk that was begun is finished, and the router
    /// is asked for a report. Once [`PublisherSession::unreceived`] is empty the publisher can
    /// leave without any event unknown.
    pub fn hold(&mut self) {
        self.held = true;
        self.reports.want_last(self.window.unreceived());
    }

    /// The stream is gone. Returns the seqs that were on their way: whether the router got them is
    /// unknown, and they are not sent again. With
    /// [`PublisherConfig::resend`](super::PublisherConfig::resend) or a confirm level there are
    /// none, because they go out on the next stream. Queued events stay queued for it.
    pub fn stream_lost(&mut self) -> Range<u64> {
        self.stream = None;
        self.speaker = None;
        if let Some(member) = self.standby.as_deref_mut() {
            member.disconnected();
        }
        let unknown = self.window.stream_lost();
        self.retries.stream_lost();
        self.reports.stream_lost(self.window.received());
        unknown
    }

    /// Whether there is a stream.
    #[must_use]
    pub const fn has_stream(&self) -> bool {
        self.speaker.is_some()
    }
}
