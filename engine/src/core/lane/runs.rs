//! Reads the runs of a peer on a lane.

use millrace_proto::data::{Cursor, Gap, GapReason, HopHeader, Source};
use millrace_proto::stream::{LanePreamble, stream_kind};
use millrace_proto::{CloseCode, DecodeError, feature};

use super::accepted::Accepted;
use super::data_stream::DataStream;
use super::session::LaneSession;
use crate::core::path::{Entered, KnownTags, Path, RunIn, RunPublisher, RunSink, Scope, Window};
use crate::core::turn::{Close, Turn};
use crate::history::{Place, SourceTable};
use crate::ledger::{Level, Origin};
use crate::transport::{ConnKey, ReadState};

impl LaneSession {
    /// Reads runs that the peer routed to this router.
    pub(super) fn read_runs(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let Some(accepted) = self.accepted else { return Ok(()) };
        let has_groups = self.has_groups();
        let Some(data) = self.data.as_mut().filter(|data| !data.finished) else { return Ok(()) };
        let DataStream { stream, reader, sources, next_seq, gap_seen, finished } = data;
        let mut wrong = None;
        let mut other_epoch = None;
        let path = &mut *turn.path;
        let (conn, answers) = (self.conn, self.features.contains(feature::CONFIRMS));
        let state = turn.transport.read(self.conn, *stream, turn.config.limits.read_bytes, &mut |chunk| {
            if wrong.is_none() {
                let other_epoch = &mut other_epoch;
                wrong = reader
                    .feed(
                        chunk,
                        &mut Sink {
                            path,
                            sources,
                            next_seq,
                            gap_seen,
                            accepted,
                            conn,
                            answers,
                            has_groups,
                            other_epoch,
                        },
                    )
                    .err();
            }
        });
        if let Some(epoch) = other_epoch {
            turn.path.metrics.lane_epochs_wrong += 1;
            let reason = format!("lane: runs of epoch {epoch} on a lane of epoch {}", accepted.epoch);
            return Err(Close::new(CloseCode::Unexpected, reason));
        }
        if let Some(error) = wrong {
            return Err(Close::undecodable("lane", &error));
        }
        match state {
            ReadState::More => {
                turn.agenda.unread.insert((self.conn, *stream));
            }
            // A peer that ends its stream within a frame has not finished in order: the stream
            // stays unfinished, and closing the connection then counts as a loss.
            ReadState::Finished => *finished = reader.at_frame_boundary(),
            ReadState::Lost => return Err(Self::stopped(turn, "the runs of this lane were reset")),
            ReadState::Drained => {}
        }
        Ok(())
    }
}

struct Sink<'a> {
    path: &'a mut Path,
    sources: &'a mut SourceTable,
    next_seq: &'a mut u64,
    gap_seen: &'a mut bool,
    accepted: Accepted,
    conn: ConnKey,
    /// Whether the peer asks how runs end.
    answers: bool,
    /// The peer may give runs to members of groups.
    has_groups: bool,
    /// The epoch of the preamble, if it is not the lane's.
    other_epoch: &'a mut Option<u64>,
}

impl Sink<'_> {
    fn say_gap(&mut self, gap: &Gap) {
        self.path.receivers.gap_to_all(gap);
        self.path.locations.gap_to_siblings(gap);
    }
}

impl RunSink for Sink<'_> {
    fn prefetch(&mut self, window: &Window) {
        self.path.prefetch(window, Scope::Router);
    }

    #[inline]
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        let seq = hop.lane_seq.unwrap_or(*self.next_seq);
        // The hop header announces a jump, and its gap stands in the stream before it.
        if seq != *self.next_seq && !*self.gap_seen {
            self.path.metrics.lane_skips += 1;
            let reason = GapReason::LaneOverflow;
            self.say_gap(&Gap { reason, events: 0, router: Some(self.accepted.router) });
        }
        *self.gap_seen = false;
        *self.next_seq = seq + 1;
        self.path.metrics.events_from_peers += run.body.count();
        let conn = self.conn;
        let is_told = self.answers && Level::of_flags(hop.flags).is_some();
        let origin = is_told.then_some(Origin::Lane { conn, seq });
        let place = self.sources.place(hop);
        let (publisher, flags) = (publisher.key, hop.flags);
        let entered = Entered { publisher, flags, run, from: None, origin, place: place.as_ref() };
        let may_have_ticket = !hop.fields.is_empty() && self.has_groups;
        if !may_have_ticket || !self.path.take_ticket(tags, &entered, hop, conn) {
            self.path.deliver(tags, &entered, Scope::Router);
        }
        if let Some(Place { source, position }) = &place {
            self.path.positions.sources.see(source, position + 1);
        }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        *self.gap_seen = true;
        self.say_gap(&Gap { router: gap.router.or(Some(self.accepted.router)), ..gap.clone() });
        Ok(())
    }

    fn source_defined(&mut self, number: u64, source: Source) -> Result<(), DecodeError> {
        // A peer speaks of its own owners.
        let known = (source.router == self.accepted.router).then(|| self.path.positions.sources.know(source));
        self.sources.define(number, known.flatten());
        Ok(())
    }

    fn cursor(&mut self, cursor: &Cursor) {
        self.sources.see(cursor, &mut self.path.positions.sources);
    }

    fn preamble(&mut self, kind: u64, body: &[u8]) -> Result<(), DecodeError> {
        if kind != stream_kind::LANE {
            return Err(DecodeError::Malformed { what: "stream preamble" });
        }
        let LanePreamble { first_seq, epoch } = LanePreamble::decode(body)?;
        if epoch != self.accepted.epoch {
            *self.other_epoch = Some(epoch);
            return Err(DecodeError::Malformed { what: "lane epoch" });
        }
        *self.next_seq = first_seq;
        Ok(())
    }

    fn skipped(&mut self) {
        self.path.metrics.frames_skipped += 1;
    }
}
