//! Reads the runs of a peer on a lane.

use millrace_proto::data::{Cursor, Gap, GapReason, HopHeader, Mark, Source};
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

/// Turns' worth of lookups that the end of a lane may take for what was left of its runs.
const TURNS_AT_END: usize = 16;

impl LaneSession {
    /// Reads what earlier turns have left of the peer's runs, because the lane ends. What this has
    /// no time for counts as lost.
    pub(super) fn read_left(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..TURNS_AT_END {
            let Some(data) = self.data.as_mut().filter(|data| data.reader.has_left()) else { return };
            // The connection is gone, and with it what was not read.
            data.ended.get_or_insert(ReadState::Drained);
            turn.path.lookups_go_on();
            if self.read_runs(turn).is_err() {
                return;
            }
        }
    }

    /// Reads runs that the peer routed to this router.
    pub(super) fn read_runs(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let Some(accepted) = self.accepted else { return Ok(()) };
        let has_groups = self.has_groups();
        let Some(data) = self.data.as_mut().filter(|data| !data.finished) else { return Ok(()) };
        let DataStream { stream, reader, sources, next_seq, gap_seen, finished, has_runs, ended } = data;
        let mut other_epoch = None;
        turn.path.pacing.crowd.set_lane(Some(self.conn));
        let mut sink = Sink {
            path: &mut *turn.path,
            sources,
            next_seq,
            gap_seen,
            has_runs,
            accepted,
            conn: self.conn,
            answers: self.features.contains(feature::CONFIRMS),
            has_groups,
            other_epoch: &mut other_epoch,
        };
        let had_left = reader.has_left();
        let mut wrong = if had_left { reader.go_on(&mut sink).err() } else { None };
        let mut state = ended.take();
        if wrong.is_none() && !reader.has_left() && state.is_none() {
            let limit = turn.config.limits.read_bytes;
            state = Some(turn.transport.read(self.conn, *stream, limit, &mut |chunk| {
                if wrong.is_none() {
                    wrong = reader.feed(chunk, &mut sink).err();
                }
            }));
        }
        turn.path.pacing.crowd.set_lane(None);
        if let Some(epoch) = other_epoch {
            turn.path.metrics.lane_epochs_wrong += 1;
            let reason = format!("lane: runs of epoch {epoch} on a lane of epoch {}", accepted.epoch);
            return Err(Close::new(CloseCode::Unexpected, reason));
        }
        if let Some(error) = wrong {
            return Err(Close::undecodable("lane", &error));
        }
        if reader.has_left() {
            turn.path.metrics.lookups_put_off += u64::from(!had_left);
            *ended = state.filter(|state| matches!(state, ReadState::Finished | ReadState::Lost));
            turn.agenda.put_off.get_or_insert((self.conn, *stream));
            turn.agenda.unread.insert((self.conn, *stream));
            return Ok(());
        }
        match state {
            Some(ReadState::More) => {
                turn.agenda.unread.insert((self.conn, *stream));
            }
            // A peer that ends its stream within a frame has not finished in order: the stream
            // stays unfinished, and closing the connection then counts as a loss.
            Some(ReadState::Finished) => {
                *finished = reader.at_frame_boundary();
                turn.path.clients.barriers.lane_ended(self.conn);
            }
            Some(ReadState::Lost) => return Err(Self::stopped(turn, "the runs of this lane were reset")),
            Some(ReadState::Drained) | None => {}
        }
        Ok(())
    }
}

struct Sink<'a> {
    path: &'a mut Path,
    sources: &'a mut SourceTable,
    next_seq: &'a mut u64,
    has_runs: &'a mut bool,
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
    /// A run with optional fields may be for a member of a group, addressed, or of a set. Says
    /// whether it is.
    #[cold]
    fn take_apart(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, hop: &HopHeader<'_>) -> bool {
        self.path.note_rules_of(hop, entered.run.body.count());
        (self.has_groups && self.path.take_ticket(tags, entered, hop, self.conn))
            || self.path.take_addressed(tags, entered, hop, Scope::Router)
            || self.path.take_stamped(tags, entered, hop, Scope::Router)
    }

    fn say_gap(&mut self, gap: &Gap) {
        match gap.reason {
            GapReason::Rules => self.path.gap_of_rules(gap),
            _ => self.path.receivers.gap_to_all(gap),
        }
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
        *self.has_runs = true;
        self.path.metrics.events_from_peers += run.body.count();
        let conn = self.conn;
        if !self.path.pacing.holds.is_empty() {
            self.path.pass_hold_on(conn, publisher.key.publisher);
        }
        let is_told = self.answers && Level::of_flags(hop.flags).is_some();
        let origin = is_told.then_some(Origin::Lane { conn, seq });
        let place = self.sources.place(hop);
        let (publisher, flags) = (publisher.key, hop.flags);
        let entered = Entered { publisher, flags, run, from: None, origin, place: place.as_ref() };
        if hop.fields.is_empty() || !self.take_apart(tags, &entered, hop) {
            self.path.deliver(tags, &entered, Scope::Router);
        }
        if let Some(Place { source, position }) = &place {
            self.path.positions.sources.see(source, position + 1);
        }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        *self.gap_seen = true;
        // A peer speaks of what entered through itself.
        self.say_gap(&Gap { router: Some(self.accepted.router), ..gap.clone() });
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

    fn mark(&mut self, mark: &Mark) {
        self.path.clients.barriers.lane_marked(self.conn, mark.number);
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

    #[inline]
    fn is_spent(&self) -> bool {
        self.path.lookups_are_spent()
    }

    fn is_settled(&self, tags: &KnownTags) -> bool {
        self.path.is_settled_here(tags)
    }
}
