//! Requests for history on a lane, both ways.
//!
//! ```text
//! a core here ─ask─▶ this session ─HistoryRequest─▶ the peer's owner reads its ring
//!             ◀────── a chunk ◀──── one stream for each request, with the preamble 0x58
//! ```
//!
//! Each request brings one stretch: a chunk of some 32 KiB, or one run, and where the next stretch
//! begins. So what is on its way is bounded by who asks, at most eight requests at a time
//! on a lane, and the peer keeps nothing of a replay between two requests. When the lane ends, or
//! its peer is silent, all requests end as lost.

use std::sync::Arc;

use millrace_proto::control::SourcePosition;
use millrace_proto::data::{GapReason, Source};
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::mesh::{HistoryRequest, HistoryState};
use millrace_proto::{CloseCode, DecodeError, feature};

use super::requests::{Answer, Asked};
use super::session::LaneSession;
use super::stretch::StretchSink;
use crate::core::outlet::stretch;
use crate::core::turn::{Close, Turn};
use crate::history::{
    Ask, Asker, Begin, Found, HistoryAnswer, HistoryAsk, KeptLife, KnownSource, ReplayId, Which,
};
use crate::message::CoreIndex;
use crate::time::Time;
use crate::transport::{ReadState, StreamKey};

/// Bytes of the selectors in one request; when they take more, everything is asked for, and the
/// receiver's own selectors choose.
const SELECTORS_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

impl LaneSession {
    /// A core asks an owner at the other end.
    pub(in crate::core) fn ask_history(
        &mut self,
        turn: &mut Turn<'_>,
        core: CoreIndex,
        ask: HistoryAsk,
    ) -> Result<(), Close> {
        if self.is_silent() || self.accepted.is_none() {
            turn.path.history_lost(core, ask.id, ask.owner, GapReason::RouterLost);
            return Ok(());
        }
        self.history.waiting.push_back((core, ask));
        self.ask_more(turn)
    }

    fn ask_more(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        while self.history.may_ask()
            && let Some((core, ask)) = self.history.waiting.pop_front()
        {
            self.history.last += 1;
            let request = self.history.last;
            let is_past = ask.owner != ask.server;
            self.history.asked.insert(request, Asked { core, id: ask.id, owner: ask.owner, is_past });
            let frame = request_frame(request, &ask, turn.now, turn.path.positions.files.unix_ns(turn.now));
            self.say(turn, |out| frame.encode(out))?;
        }
        Ok(())
    }

    /// The peer asks for history of this core.
    pub(super) fn history_asked(
        &mut self,
        turn: &mut Turn<'_>,
        request: HistoryRequest,
    ) -> Result<(), Close> {
        let own = turn.path.positions.own.source;
        let HistoryRequest { request, selectors, from, since_us, cancel, last } = request;
        if cancel {
            // Whoever asks for no more has nothing to end: a stretch is short.
            return Ok(());
        }
        let is_own = |place: &&SourcePosition| place.owner == own.owner && place.router == own.router;
        let back = since_us.saturating_mul(1000);
        let now = turn.path.positions.files.unix_ns(turn.now);
        let not_before = if since_us > 0 { now.saturating_sub(back) } else { 0 };
        let past = from.iter().find_map(|place| Some((place.position, past_of(turn, place)?)));
        let begin = match from.iter().find(is_own) {
            Some(place) if place.incarnation == own.incarnation => Begin::At(place.position),
            None if since_us > 0 => Begin::Since(Time::from_nanos(turn.now.as_nanos().saturating_sub(back))),
            _ => Begin::Oldest,
        };
        let is_kept = turn.path.positions.ring.is_on() && self.history.has_place();
        let Some(selectors) = self.history.parse(selectors).filter(|_| is_kept) else {
            let refused = HistoryState { request, spans: Vec::new(), ended: true };
            return self.say(turn, |out| refused.encode(out));
        };
        self.history.serving += 1;
        let id = ReplayId { receiver: 0, replay: request, is_far: false };
        let which = if last == 0 { Which::All } else { Which::Newest };
        let (owner, ask) = match past {
            Some((from, life)) => (life.source, Ask::On { from, to: life.to }),
            None => (own, Ask::Pin(begin)),
        };
        let ask = HistoryAsk { id, owner, server: own, ask, selectors, which, not_before };
        let (asker, positions) = (Asker::Lane(self.conn), &mut turn.path.positions);
        if past.is_some() {
            positions.files.ask(asker, ask);
        } else {
            positions.replays.asks.push_back((asker, ask));
        }
        Ok(())
    }

    /// The peer does not serve a request.
    pub(super) fn history_told(&mut self, turn: &mut Turn<'_>, state: &HistoryState) -> Result<(), Close> {
        if state.ended
            && let Some(Asked { core, id, owner, .. }) = self.history.answered(state.request)
        {
            turn.path.history_lost(core, id, owner, GapReason::Evicted);
        }
        self.ask_more(turn)
    }

    /// This core's ring was read for the peer.
    pub(in crate::core) fn answer_history(
        &mut self,
        turn: &mut Turn<'_>,
        answer: &HistoryAnswer,
    ) -> Result<(), Close> {
        self.history.serving = self.history.serving.saturating_sub(1);
        let request = answer.id.replay;
        let Found::Read { span: Some(span), chunk, pasts } = &answer.found else {
            let ended = HistoryState { request, spans: Vec::new(), ended: true };
            return self.say(turn, |out| ended.encode(out));
        };
        turn.path.metrics.events_replayed_to_peers += chunk.runs.events();
        let source = Arc::new(KnownSource { source: answer.owner, ..*turn.path.positions.own });
        let bytes = stretch(request, &source, (span, chunk), pasts);
        self.history.writing.push_back((None, bytes.into()));
        self.write_history(turn);
        Ok(())
    }

    /// Writes answers as far as their streams take them. They wait for the stream of this core's
    /// runs, because a peer takes the first stream of a lane for that one. The peer may have
    /// accepted the lane, and asked, before this side has.
    pub(in crate::core) fn write_history(&mut self, turn: &mut Turn<'_>) {
        if self.history.writing.is_empty() || !self.has_begun_runs(turn) {
            return;
        }
        let conn = self.conn;
        self.history.writing.retain_mut(|(stream, bytes)| {
            *stream = stream.or_else(|| turn.transport.open_uni(conn));
            let Some(stream) = *stream else { return true };
            let is_gone = turn.transport.write(conn, stream, bytes).is_err();
            if bytes.is_empty() {
                turn.transport.finish(conn, stream);
            }
            !is_gone && !bytes.is_empty()
        });
    }

    /// Whether the stream of this core's runs is open. Where it can be, it is from here on; its
    /// preamble waits for the end of the turn.
    fn has_begun_runs(&self, turn: &mut Turn<'_>) -> bool {
        let lane = self.accepted.and_then(|accepted| turn.path.locations.peer_on(accepted.peer, self.conn));
        let Some(lane) = lane else { return false };
        lane.stream = lane.stream.or_else(|| turn.transport.open_uni(self.conn));
        lane.stream.is_some()
    }

    /// Reads a stream that answers a request.
    pub(super) fn read_history(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        let Some(at) = self.history.answers.iter().position(|answer| answer.stream == stream) else {
            return Ok(());
        };
        let Answer { reader, stretch, .. } = &mut self.history.answers[at];
        let (path, mut wrong) = (&mut *turn.path, None);
        let limit = turn.config.limits.read_bytes;
        let state = turn.transport.read(self.conn, stream, limit, &mut |chunk| {
            if wrong.is_none() {
                wrong = reader.feed(chunk, &mut StretchSink { path, stretch }).err();
            }
        });
        if let Some(error) = wrong {
            return Err(Close::undecodable("history", &error));
        }
        match state {
            ReadState::More => {
                turn.agenda.unread.insert((self.conn, stream));
                return Ok(());
            }
            ReadState::Drained => return Ok(()),
            ReadState::Finished | ReadState::Lost => {}
        }
        let Answer { reader, stretch, .. } = self.history.answers.swap_remove(at);
        let is_whole = state == ReadState::Finished && reader.at_frame_boundary();
        // Requests that ended meanwhile as lost have an answer all the same.
        if let Some(Asked { core, id, owner, is_past }) = self.history.answered(stretch.request()) {
            match stretch.found(&owner).filter(|_| is_whole) {
                Some(found) => turn.path.history_found(core, HistoryAnswer { id, owner, found }),
                // Where nothing of an earlier life is kept, the present one is read.
                None if is_whole && is_past => turn.path.history_lost(core, id, owner, GapReason::Evicted),
                None if is_whole => {
                    return Err(Close::undecodable("history", &DecodeError::Malformed { what: "stretch" }));
                }
                None => turn.path.history_lost(core, id, owner, GapReason::RouterLost),
            }
        }
        self.ask_more(turn)
    }

    /// Whether both sides know positions and history.
    pub(super) const fn has_history(&self) -> bool {
        self.features.contains(feature::HISTORY)
    }

    /// What a frame of history means, from a peer that does not list it.
    pub(super) fn no_history() -> Close {
        Close::new(CloseCode::Unexpected, "a frame of history from a peer that does not list it")
    }
}

/// What is kept of an earlier life that a request begins in.
fn past_of(turn: &Turn<'_>, place: &SourcePosition) -> Option<KeptLife> {
    let &SourcePosition { router, incarnation, owner, .. } = place;
    turn.path.positions.files.past.get(&Source { router, incarnation, owner }).copied()
}

/// A request as a frame.
fn request_frame(request: u64, ask: &HistoryAsk, now: Time, unix_ns: u64) -> HistoryRequest {
    let at = |position| {
        let Source { router, incarnation, owner } = ask.owner;
        vec![SourcePosition { router, incarnation, owner, position }]
    };
    let (from, since_us) = match ask.ask {
        // Of an earlier life, what is too old is left out.
        Ask::On { from, .. } if ask.owner != ask.server && ask.not_before > 0 => {
            (at(from), (unix_ns.saturating_sub(ask.not_before) / 1000).max(1))
        }
        Ask::Pin(Begin::At(position)) | Ask::On { from: position, .. } => (at(position), 0),
        // The owner counts back from its own clock. Ours may have begun later than what is asked
        // for.
        Ask::Pin(Begin::Since(_)) if ask.not_before > 0 => {
            (Vec::new(), (unix_ns.saturating_sub(ask.not_before) / 1000).max(1))
        }
        Ask::Pin(Begin::Since(time)) => {
            (Vec::new(), u64::try_from(now.since(time).as_micros()).unwrap_or(u64::MAX).max(1))
        }
        Ask::Pin(Begin::Oldest) => (Vec::new(), 0),
    };
    let texts = ask.selectors.iter().map(|selector| selector.without_payload().text().to_owned());
    let mut selectors: Vec<String> = texts.collect();
    if selectors.iter().map(|text| text.len() + 8).sum::<usize>() > SELECTORS_BYTES_MAX {
        selectors = vec!["*".to_owned()];
    }
    HistoryRequest {
        request,
        selectors,
        from,
        since_us,
        cancel: false,
        last: u64::from(ask.which == Which::Newest),
    }
}
