//! The session of a lane, and its control stream.

use millrace_proto::control::{Ping, Pong, TableCapacity};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::mesh::{Hold, LaneFrame, LegAck, MeshFrame, PeerHello};
use millrace_proto::stream::LanePreamble;
use millrace_proto::{CloseCode, DecodeError, RouterId};

use super::accepted::{Acceptance, Accepted};
use super::data_stream::DataStream;
use super::requests::LaneHistory;
use crate::core::config::at_most;
use crate::core::metrics::DropReason;
use crate::core::outlet::LaneOutlet;
use crate::core::path::PeerLane;
use crate::core::turn::{Close, Turn};
use crate::ledger::{Ended, Tally, leg_acks};
use crate::message::{DialId, REFUSED_EPOCH, ToControl};
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamKey};

/// Who does not take part in a lane.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// Nobody has said so.
    None,
    /// The peer.
    Heard,
    /// This side, and when it has told the peer.
    Told(Time),
}

/// One lane.
#[derive(Debug)]
pub(in crate::core) struct LaneSession {
    pub(super) conn: ConnKey,
    control: Option<StreamKey>,
    frames: FrameReader,
    /// Control frames that wait for the transport, bounded by `lane_out_bytes`.
    out: Vec<u8>,
    dial: Option<DialId>,
    /// The hello of a dialled lane, until the connection is there.
    hello: Option<PeerHello>,
    pub(in crate::core) said_hello: bool,
    refusal: Refusal,
    pub(super) accepted: Option<Accepted>,
    pub(super) data: Option<DataStream>,
    /// When the peer was heard last.
    heard: Time,
    pinged: Time,
    is_silent: bool,
    /// Features that both sides know.
    pub(super) features: Features,
    /// Requests for history.
    pub(super) history: LaneHistory,
    /// The mark that the peer waits for, until this core's stream has begun.
    pub(super) mark_due: Option<u64>,
}

impl LaneSession {
    pub(in crate::core) fn new(now: Time, conn: ConnKey, dial: Option<(DialId, PeerHello)>) -> Self {
        let (dial, hello) = dial.unzip();
        Self {
            conn,
            control: None,
            frames: FrameReader::new(),
            out: Vec::new(),
            dial,
            hello,
            said_hello: false,
            refusal: Refusal::None,
            accepted: None,
            data: None,
            heard: now,
            pinged: now,
            is_silent: false,
            features: Features::default(),
            history: LaneHistory::default(),
            mark_due: None,
        }
    }

    /// Says hello, because the dialled connection is there.
    pub(in crate::core) fn connected(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        self.heard = turn.now;
        self.control = turn.transport.open_bi(self.conn);
        if self.control.is_none() {
            return Err(Close::new(CloseCode::Internal, "no control stream"));
        }
        if let Some(hello) = self.hello.take() {
            hello.encode(&mut self.out);
        }
        self.write_control(turn)
    }

    /// The peer opened a stream.
    pub(in crate::core) fn stream_opened(
        &mut self,
        turn: &mut Turn<'_>,
        stream: StreamKey,
    ) -> Result<(), Close> {
        if stream.is_uni() && self.data.is_some() && self.history.expects_stream() {
            self.history.opened(stream);
            return Ok(());
        }
        let is_free = if stream.is_uni() { self.data.is_none() } else { self.control.is_none() };
        if !is_free {
            let reason = "a lane has one control stream and one data stream in each direction";
            return Err(Close::new(CloseCode::Unexpected, reason));
        }
        if stream.is_uni() {
            self.data = Some(DataStream::new(stream, turn.config.lane_tables));
        } else {
            self.control = Some(stream);
        }
        Ok(())
    }

    /// A stream can be read.
    pub(in crate::core) fn readable(&mut self, turn: &mut Turn<'_>, stream: StreamKey) -> Result<(), Close> {
        self.heard = turn.now;
        if std::mem::take(&mut self.is_silent) {
            self.suspect(turn, false);
            turn.mail.tell(ToControl::LaneHeard { conn: self.conn });
        }
        if self.control == Some(stream) {
            if !turn.mail.has_room() || !turn.agenda.lanes.is_empty() {
                turn.put_lane_behind(self.conn, stream);
                return Ok(());
            }
            self.read_control(turn, stream)
        } else if self.history.has_stream(stream) {
            self.read_history(turn, stream)
        } else if self.accepted.is_some() {
            self.read_runs(turn)
        } else {
            Ok(())
        }
    }

    /// Reads control frames.
    pub(in crate::core) fn read_control(
        &mut self,
        turn: &mut Turn<'_>,
        stream: StreamKey,
    ) -> Result<(), Close> {
        let mut frames = Vec::new();
        let mut wrong = None;
        let reader = &mut self.frames;
        let state = turn.transport.read(self.conn, stream, turn.config.limits.read_bytes, &mut |chunk| {
            if wrong.is_none() {
                wrong = reader
                    .feed::<DecodeError>(chunk, CONTROL_FRAME_BYTES_MAX, |kind, body| {
                        frames.push(MeshFrame::decode(kind, body)?);
                        Ok(())
                    })
                    .err();
            }
        });
        for frame in frames {
            self.handle(turn, frame)?;
        }
        if let Some(error) = wrong {
            return Err(Close::undecodable("lane control", &error));
        }
        match state {
            ReadState::Drained => self.write_control(turn),
            ReadState::More => {
                turn.agenda.unread.insert((self.conn, stream));
                self.write_control(turn)
            }
            ReadState::Finished => Err(Close::new(CloseCode::Done, "the control stream ended")),
            ReadState::Lost => Err(Self::stopped(turn, "its control stream was reset")),
        }
    }

    fn handle(&mut self, turn: &mut Turn<'_>, frame: MeshFrame) -> Result<(), Close> {
        let conn = self.conn;
        let unexpected = |what: &'static str| Err(Close::new(CloseCode::Unexpected, what));
        match (self.said_hello, frame) {
            (false, MeshFrame::Lane(LaneFrame::PeerHello(hello))) => {
                self.said_hello = true;
                if hello.epoch == REFUSED_EPOCH {
                    self.refusal = Refusal::Heard;
                }
                self.features = hello.features.common(turn.config.features);
                turn.mail.tell(ToControl::LaneHello { conn, dial: self.dial, hello });
            }
            (false, _) => return unexpected("PeerHello comes first"),
            (true, MeshFrame::Link(frame)) => turn.mail.tell(ToControl::LinkFrame { conn, frame }),
            (true, MeshFrame::Lane(LaneFrame::LegAck(ack))) => self.answered(turn, &ack),
            (true, MeshFrame::Lane(LaneFrame::Tickets(tickets))) if self.has_groups() => {
                turn.path.tickets_answered(&tickets);
            }
            (true, MeshFrame::Lane(LaneFrame::MarkRequest(request))) => {
                self.mark_requested(turn, request.number);
            }
            (true, MeshFrame::Lane(LaneFrame::HistoryRequest(_) | LaneFrame::HistoryState(_)))
                if !self.has_history() =>
            {
                return Err(Self::no_history());
            }
            (true, MeshFrame::Lane(LaneFrame::HistoryRequest(request))) => {
                return self.history_asked(turn, request);
            }
            (true, MeshFrame::Lane(LaneFrame::HistoryState(state))) => {
                return self.history_told(turn, &state);
            }
            (true, MeshFrame::Lane(LaneFrame::Hold(hold))) if self.features.contains(feature::PACING) => {
                turn.path.metrics.holds_of_peers += hold.publishers.len() as u64;
                turn.path.pacing.holds.peer_told(conn, &hold, turn.now);
            }
            (true, MeshFrame::Lane(frame)) => return self.handle_own(frame),
            // Proto returns kinds that it does not know and that may be skipped.
            (true, _) => turn.path.metrics.frames_skipped += 1,
        }
        Ok(())
    }

    /// Handles a frame between the two cores of the lane.
    fn handle_own(&mut self, frame: LaneFrame) -> Result<(), Close> {
        let unexpected = |what: &'static str| Err(Close::new(CloseCode::Unexpected, what));
        match frame {
            LaneFrame::Ping(ping) => Pong { nonce: ping.nonce }.encode(&mut self.out),
            LaneFrame::Pong(_) => {}
            LaneFrame::PeerHello(_) => return unexpected("PeerHello comes once"),
            // A router that does not know the frame closes too, because its type is even.
            _ => return unexpected("a frame of a feature that this router does not list"),
        }
        Ok(())
    }

    /// Takes the peer's answers for runs that this core has sent it.
    fn answered(&self, turn: &mut Turn<'_>, ack: &LegAck) {
        let path = &mut *turn.path;
        let Some(lane) = self.accepted.and_then(|accepted| path.locations.peer_on(accepted.peer, self.conn))
        else {
            return;
        };
        path.metrics.leg_answers += 1;
        let (legs, ledger) = (lane.outlet.legs(), &mut path.ledger);
        let tally = Tally::answered(ack.kind, ack.receivers, ack.missed, &ack.reasons);
        for (first, count) in ack.runs.iter() {
            if ack.events.is_empty() {
                legs.answer(first, count, tally, ledger);
                continue;
            }
            for run in legs.among(first, count) {
                for (offset, events) in ack.events.iter() {
                    legs.answer_part(run, offset, events, tally, ledger);
                }
            }
        }
    }

    /// Whether the peer may have accepted the lane and this side has not: it has dialled, and said
    /// hello.
    pub(super) const fn is_half_open(&self) -> bool {
        self.dial.is_some()
            && self.hello.is_none()
            && self.accepted.is_none()
            && !matches!(self.refusal, Refusal::Heard)
    }

    /// Whether the peer was not heard for a while.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether both sides know tickets for members of groups.
    pub(super) const fn has_groups(&self) -> bool {
        self.features.contains(feature::GROUPS)
    }

    /// Sets whether this core counts on the peer for its runs. When it does not, runs without an
    /// answer count as missed, because nobody knows when the peer returns.
    fn suspect(&self, turn: &mut Turn<'_>, is_suspect: bool) {
        let path = &mut *turn.path;
        if let Some(lane) =
            self.accepted.and_then(|accepted| path.locations.peer_on(accepted.peer, self.conn))
        {
            lane.is_suspect = is_suspect;
            if is_suspect {
                lane.give_up(&mut path.ledger);
            }
            if let Some(accepted) = self.accepted {
                path.groups.set_reachable(turn.now, accepted.peer, !is_suspect);
            }
        }
    }

    /// Tells the peer how its runs ended.
    pub(in crate::core) fn tell_ended(&mut self, turn: &mut Turn<'_>, ended: &[Ended]) -> Result<(), Close> {
        self.say(turn, |out| leg_acks(ended).iter().for_each(|ack| ack.encode(out)))
    }

    /// Asks the peer to hold publishers back, or to go on with them, if it knows how.
    pub(in crate::core) fn tell_hold(&mut self, turn: &mut Turn<'_>, hold: &Hold) -> Result<(), Close> {
        if !self.features.contains(feature::PACING) {
            return Ok(());
        }
        turn.path.metrics.holds_at_peers += hold.publishers.len() as u64;
        self.say(turn, |out| hold.encode(out))
    }

    /// Closes the lane, because the peer has ended one of its streams before its time and nothing
    /// can replace that on this connection. Receivers of both sides are told what may be missing,
    /// and a lane of a higher epoch takes its place.
    pub(in crate::core) fn stopped(turn: &mut Turn<'_>, reason: &'static str) -> Close {
        turn.path.metrics.lane_stops += 1;
        Close::new(CloseCode::Unexpected, reason)
    }

    /// Takes control's acceptance of the lane.
    pub(in crate::core) fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        acceptance: Acceptance,
    ) -> Result<(), Close> {
        let Acceptance { accepted, hello, tables, missed, lost } = acceptance;
        self.accepted = Some(accepted);
        if let Some(hello) = hello {
            hello.encode(&mut self.out);
        }
        // `closed` counts down, so the lane is counted before it can be closed.
        turn.path.metrics.lanes += 1;
        self.write_control(turn)?;
        self.ask_late(turn)?;
        if accepted.outgoing {
            self.open_outlet(turn, &accepted, tables, missed);
            self.write_mark(turn);
            self.write_history(turn);
        }
        if lost {
            turn.path.router_lost(accepted.router);
        }
        self.read_runs(turn)
    }

    /// Ends the lane because control says so. A peer that is to dial elsewhere, or to be dialled,
    /// is told by whom it is refused, and closes the lane then: a transport that closes a
    /// connection drops what it has not sent. Where it does not, [`tend`](Self::tend) closes.
    pub(in crate::core) fn end(
        &mut self,
        turn: &mut Turn<'_>,
        hello: Option<PeerHello>,
        code: CloseCode,
    ) -> Result<(), Close> {
        if let Some(hello) = hello {
            self.say(turn, |out| hello.encode(out))?;
            if code == CloseCode::Replaced {
                self.refusal = Refusal::Told(turn.now);
                return Ok(());
            }
        }
        Err(Close::new(code, code.name()))
    }

    /// Begins the stream of this core's runs to the peer.
    fn open_outlet(&self, turn: &mut Turn<'_>, accepted: &Accepted, tables: TableCapacity, missed: bool) {
        let (config, path) = (turn.config, &mut *turn.path);
        let mut preamble = Vec::new();
        LanePreamble { first_seq: 0, epoch: accepted.epoch }.encode(&mut preamble);
        let outlet = LaneOutlet::new(
            at_most(tables, config.lane_tables),
            config.limits.link_queue_bytes,
            config.out_bytes * 4,
            &preamble,
        );
        let mut lane = PeerLane {
            conn: self.conn,
            router: accepted.router,
            stream: None,
            outlet: if self.features.contains(feature::HISTORY) { outlet.telling_places() } else { outlet },
            finished: turn.standing.are_lanes_over,
            told: 0,
            answers: self.features.contains(feature::CONFIRMS),
            has_groups: self.features.contains(feature::GROUPS),
            has_rules: self.features.contains(feature::RULES),
            is_suspect: self.is_silent,
        };
        if missed {
            lane.missed(path.public_position());
        }
        path.groups.set_reachable(turn.now, accepted.peer, !self.is_silent);
        if let Some(old) = path.locations.set_peer(accepted.peer, lane) {
            let dropped = old.end(&mut path.ledger);
            path.metrics.drop(DropReason::PeerLost, dropped);
        }
    }

    /// Appends a frame to the control stream, and writes it.
    pub(in crate::core) fn say(
        &mut self,
        turn: &mut Turn<'_>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Close> {
        encode(&mut self.out);
        self.write_control(turn)
    }

    /// Writes control frames.
    pub(in crate::core) fn write_control(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let Some(stream) = self.control else { return Ok(()) };
        turn.write_out(self.conn, stream, &mut self.out);
        if self.out.len() > turn.config.limits.lane_out_bytes {
            return Err(Close::new(CloseCode::Busy, "mesh frames are not read"));
        }
        Ok(())
    }

    /// Pings the peer when that is due, and tells control when it is silent. Closes the lane of a
    /// peer that was refused and does not.
    pub(in crate::core) fn tend(&mut self, turn: &mut Turn<'_>) -> Result<(), Close> {
        let now = turn.now;
        if let Refusal::Told(at) = self.refusal
            && now.since(at) >= turn.config.limits.hello_timeout
        {
            return Err(Close::new(CloseCode::Replaced, "it was refused, and stays"));
        }
        if self.accepted.is_none() {
            return Ok(());
        }
        if now.since(self.pinged) >= turn.config.lane_times.ping {
            self.pinged = now;
            let nonce = now.0 & millrace_proto::varint::MAX;
            self.say(turn, |out| Ping { nonce }.encode(out))?;
        }
        if !self.is_silent && now.since(self.heard) >= turn.config.lane_times.silence {
            self.is_silent = true;
            self.suspect(turn, true);
            self.history.lose(turn.path);
            turn.mail.tell(ToControl::LaneSilent { conn: self.conn });
        }
        Ok(())
    }

    /// Ends the lane with its connection: counts what it carried, tells receivers behind its last
    /// run what may be missing, and tells control.
    pub(in crate::core) fn closed(&mut self, turn: &mut Turn<'_>, code: Option<CloseCode>) {
        self.read_left(turn);
        let path = &mut *turn.path;
        self.history.lose(path);
        path.ledger.forget(self.conn);
        path.pacing.holds.lane_closed(self.conn);
        path.clients.barriers.lane_closed(self.conn, self.is_half_open());
        if let Some(accepted) = self.accepted {
            path.metrics.lanes -= 1;
            if let Some(outgoing) = path.locations.remove_peer(accepted.peer, self.conn) {
                path.groups.set_reachable(turn.now, accepted.peer, false);
                let dropped = outgoing.end(&mut path.ledger);
                path.metrics.drop(DropReason::PeerLost, dropped);
            }
        }
        let is_cut = self.data.as_ref().is_some_and(|data| !data.at_frame_boundary());
        path.metrics.drop(DropReason::StreamLost, u64::from(is_cut));
        let lost = self.lost();
        if let Some(router) = lost {
            path.router_lost(router);
        }
        let (conn, dial, orderly) = (self.conn, self.dial, lost.is_none());
        turn.mail.tell(ToControl::LaneClosed { conn, dial, orderly, code });
    }

    /// The peer whose runs may be lost if the lane ends here: not everything that it wrote was
    /// read. A peer opens its stream as soon as the lane is accepted and finishes it in order, so
    /// that a stream that never came is not finished. Of one that has not even proven its id,
    /// nothing is missed before something has come: it cannot have receivers told of gaps by coming
    /// and going.
    fn lost(&self) -> Option<RouterId> {
        let accepted = self.accepted?;
        let read_all = self.data.as_ref().map_or(!accepted.incoming, |data| data.finished);
        let is_missed = accepted.is_proven || self.data.as_ref().is_some_and(DataStream::has_carried);
        (!read_all && is_missed).then_some(accepted.router)
    }
}
