//! A lane's session: one of the connections of a link between two routers.
//!
//! Its control stream carries hellos, pings and, on lane 0, the mesh frames that control reads and writes. Each side that
//! has an owner on the lane opens one unidirectional stream for its runs. A lane carries events only after control has
//! accepted it; what arrives before stays unread.

use millrace_proto::control::{Ping, Pong, TableCapacity};
use millrace_proto::data::{Gap, GapReason, HopHeader};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::mesh::{MeshFrame, PeerHello};
use millrace_proto::stream::LanePreamble;
use millrace_proto::stream::stream_kind;
use millrace_proto::{CloseCode, DecodeError, RouterId};

use super::Core;
use super::client::at_most;
use super::inbound::{KnownTags, RunIn, RunPublisher, RunReader, RunSink, Window};
use super::metrics::DropReason;
use super::outbound::{Overflow, RunWriter};
use super::routing::{PeerLane, Routing, Scope};
use crate::message::{DialId, PeerIndex, ToControl};
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamKey, Transport};

/// What control said of an accepted lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) peer: PeerIndex,
    pub(super) router: RouterId,
    pub(super) outgoing: bool,
    /// The peer has an owner whose runs arrive on it.
    pub(super) incoming: bool,
    /// Which dial of the lane this is: the peer's stream of runs repeats it.
    pub(super) epoch: u64,
}

/// What control says when it accepts a lane.
#[derive(Debug)]
pub(super) struct Acceptance {
    pub(super) accepted: Accepted,
    pub(super) hello: Option<PeerHello>,
    pub(super) tables: TableCapacity,
    /// The peer may have missed what this core routed before.
    pub(super) missed: bool,
    /// What entered through an earlier life of the peer may be missing.
    pub(super) lost: bool,
}

/// The peer's stream of runs.
#[derive(Debug)]
struct DataStream {
    stream: StreamKey,
    reader: RunReader,
    next_seq: u64,
    /// A gap stands before the next run: it explains a jump of lane seqs.
    gap_seen: bool,
    finished: bool,
}

/// One lane.
#[derive(Debug)]
pub(super) struct LaneSession {
    pub(super) control: Option<StreamKey>,
    frames: FrameReader,
    /// Control frames that wait for the transport, bounded by `lane_out_bytes`.
    pub(super) out: Vec<u8>,
    pub(super) dial: Option<DialId>,
    /// To be said when the connection is there.
    hello: Option<PeerHello>,
    connected: bool,
    pub(super) said_hello: bool,
    pub(super) accepted: Option<Accepted>,
    data: Option<DataStream>,
    /// When the peer was heard last.
    heard: Time,
    pinged: Time,
    silent: bool,
}

impl LaneSession {
    pub(super) fn new(now: Time, dial: Option<(DialId, PeerHello)>) -> Self {
        let (dial, hello) = dial.unzip();
        Self {
            control: None,
            frames: FrameReader::new(),
            out: Vec::new(),
            dial,
            hello,
            connected: false,
            said_hello: false,
            accepted: None,
            data: None,
            heard: now,
            pinged: now,
            silent: false,
        }
    }

    /// The peer whose runs may be lost when the lane ends now: not all that it had written was read. An owner opens its
    /// stream as soon as the lane is accepted and finishes it in order, so one that was not seen is not finished.
    fn lost(&self) -> Option<RouterId> {
        let accepted = self.accepted?;
        let read_all = self.data.as_ref().map_or(!accepted.incoming, |data| data.finished);
        (!read_all).then_some(accepted.router)
    }
}

impl Core {
    /// An outgoing connection for a lane was begun.
    pub(super) fn lane_dialled(&mut self, now: Time, dial: DialId, conn: ConnKey, hello: PeerHello) {
        self.connections
            .insert(conn, super::Connection::Lane(Box::new(LaneSession::new(now, Some((dial, hello))))));
        self.lanes.push(conn);
        self.awaiting_hello.push_back((now + self.config.hello_timeout, conn));
    }

    /// A lane's connection is there.
    pub(super) fn lane_connected(&mut self, now: Time, transport: &mut dyn Transport, conn: ConnKey) {
        let Some(lane) = self.lane(conn) else {
            self.connections.insert(conn, super::Connection::Lane(Box::new(LaneSession::new(now, None))));
            self.lanes.push(conn);
            self.awaiting_hello.push_back((now + self.config.hello_timeout, conn));
            return;
        };
        lane.connected = true;
        lane.heard = now;
        lane.control = transport.open_bi(conn);
        if lane.control.is_none() {
            self.close_connection(transport, conn, CloseCode::Internal, "no control stream");
            return;
        }
        if let Some(hello) = lane.hello.take() {
            hello.encode(&mut lane.out);
        }
        self.write_lane_control(transport, conn);
    }

    /// A peer opened a stream.
    pub(super) fn lane_stream(&mut self, transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey) {
        let tables = self.config.lane_tables;
        let Some(lane) = self.lane(conn) else { return };
        let wrong = if stream.is_uni() {
            let twice = lane.data.is_some();
            if !twice {
                let reader = RunReader::new(tables, true);
                lane.data =
                    Some(DataStream { stream, reader, next_seq: 0, gap_seen: false, finished: false });
            }
            twice
        } else {
            let twice = lane.control.is_some();
            if !twice {
                lane.control = Some(stream);
            }
            twice
        };
        if wrong {
            let reason = "a lane has one control stream and one data stream in each direction";
            self.close_connection(transport, conn, CloseCode::Unexpected, reason);
        }
    }

    /// A stream of a lane can be read.
    pub(super) fn lane_readable(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        stream: StreamKey,
    ) {
        let Some(lane) = self.lane(conn) else { return };
        lane.heard = now;
        if std::mem::take(&mut lane.silent) {
            self.to_control.push_back(ToControl::LaneHeard { conn });
        }
        let Some(lane) = self.lane(conn) else { return };
        if lane.control == Some(stream) {
            if !self.lane_waits_for_control(conn, stream) {
                self.read_lane_control(transport, conn, stream);
            }
        } else if lane.accepted.is_some() {
            self.read_lane_data(transport, conn);
        }
    }

    pub(super) fn read_lane_control(
        &mut self,
        transport: &mut dyn Transport,
        conn: ConnKey,
        stream: StreamKey,
    ) {
        let limit = self.config.read_bytes;
        let Some(lane) = self.lane(conn) else { return };
        let mut frames = Vec::new();
        let mut wrong = None;
        let reader = &mut lane.frames;
        let state = transport.read(conn, stream, limit, &mut |chunk| {
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
            if let Err(reason) = self.lane_frame(conn, frame) {
                self.close_connection(transport, conn, CloseCode::Unexpected, reason);
                return;
            }
        }
        if let Some(error) = wrong {
            self.close_connection(transport, conn, error.close_code(), &format!("lane control: {error}"));
            return;
        }
        match state {
            ReadState::Drained => self.write_lane_control(transport, conn),
            ReadState::More => {
                self.unread.insert((conn, stream));
                self.write_lane_control(transport, conn);
            }
            ReadState::Finished => {
                self.close_connection(transport, conn, CloseCode::Done, "the control stream ended");
            }
            ReadState::Lost => self.lane_stopped(transport, conn, "its control stream was reset"),
        }
    }

    fn lane_frame(&mut self, conn: ConnKey, frame: MeshFrame) -> Result<(), &'static str> {
        let Some(lane) = self.lane(conn) else { return Ok(()) };
        match (lane.said_hello, frame) {
            (false, MeshFrame::PeerHello(hello)) => {
                lane.said_hello = true;
                let dial = lane.dial;
                self.to_control.push_back(ToControl::LaneHello { conn, dial, hello });
            }
            (false, _) => return Err("PeerHello comes first"),
            (true, MeshFrame::PeerHello(_)) => return Err("PeerHello comes once"),
            (true, MeshFrame::Ping(ping)) => Pong { nonce: ping.nonce }.encode(&mut lane.out),
            (true, MeshFrame::Pong(_)) => {}
            (true, MeshFrame::Skipped { .. }) => self.routing.metrics.frames_skipped += 1,
            (true, frame) => self.to_control.push_back(ToControl::LaneFrame { conn, frame }),
        }
        Ok(())
    }

    /// Reads runs that a peer routed to this router.
    pub(super) fn read_lane_data(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        let limit = self.config.read_bytes;
        let Some(super::Connection::Lane(lane)) = self.connections.get_mut(&conn) else { return };
        let Some(accepted) = lane.accepted else { return };
        let Some(data) = lane.data.as_mut().filter(|data| !data.finished) else { return };
        let DataStream { stream, reader, next_seq, gap_seen, finished } = data;
        let mut wrong = None;
        let mut other_epoch = None;
        let routing = &mut self.routing;
        let state = transport.read(conn, *stream, limit, &mut |chunk| {
            if wrong.is_none() {
                let other_epoch = &mut other_epoch;
                wrong = reader
                    .feed(chunk, &mut Sink { routing, next_seq, gap_seen, accepted, other_epoch })
                    .err();
            }
        });
        if let Some(epoch) = other_epoch {
            self.routing.metrics.lane_epochs_wrong += 1;
            let reason = format!("lane: runs of epoch {epoch} on a lane of epoch {}", accepted.epoch);
            self.close_connection(transport, conn, CloseCode::Unexpected, &reason);
            return;
        }
        if let Some(error) = wrong {
            self.close_connection(transport, conn, error.close_code(), &format!("lane: {error}"));
            return;
        }
        match state {
            ReadState::More => {
                let stream = *stream;
                self.unread.insert((conn, stream));
            }
            // A stream that ends within a frame was not finished in order: it stays unfinished, and closing the
            // connection then counts as a loss.
            ReadState::Finished => *finished = reader.at_frame_boundary(),
            ReadState::Lost => self.lane_stopped(transport, conn, "the runs of this lane were reset"),
            ReadState::Drained => {}
        }
    }

    /// The peer has ended one stream of a lane before its time. What it does not read, or will not write, cannot be made
    /// good on this connection: the lane is closed, both sides' receivers hear of what may be missing, and a lane of a
    /// higher epoch takes its place.
    pub(super) fn lane_stopped(&mut self, transport: &mut dyn Transport, conn: ConnKey, reason: &str) {
        self.routing.metrics.lane_stops += 1;
        self.close_connection(transport, conn, CloseCode::Unexpected, reason);
    }

    /// Control accepts a lane.
    pub(super) fn accept_lane(
        &mut self,
        transport: &mut dyn Transport,
        conn: ConnKey,
        acceptance: Acceptance,
    ) {
        let Acceptance { accepted, hello, tables, missed, lost } = acceptance;
        let (queue, out) = (self.config.link_queue_bytes, self.config.out_bytes * 4);
        let most = self.config.lane_tables;
        let over = self.lanes_over;
        let Some(lane) = self.lane(conn) else { return };
        lane.accepted = Some(accepted);
        if let Some(hello) = hello {
            hello.encode(&mut lane.out);
        }
        self.write_lane_control(transport, conn);
        self.routing.metrics.lanes += 1;
        if accepted.outgoing {
            let mut writer = RunWriter::new(
                at_most(tables, most),
                queue,
                out,
                u64::MAX,
                Overflow::DropOldest,
                GapReason::LaneOverflow,
            )
            .numbered();
            let mut preamble = Vec::new();
            LanePreamble { first_seq: 0, epoch: accepted.epoch }.encode(&mut preamble);
            writer.preamble(&preamble);
            let mut lane = PeerLane { conn, stream: None, writer, finished: over, told: 0 };
            if missed {
                lane.missed(self.routing.position);
            }
            if let Some(old) = self.routing.set_peer(accepted.peer, Some(lane)) {
                self.routing.metrics.drop(DropReason::PeerLost, old.writer.queued_events());
            }
        }
        if lost {
            self.routing.router_lost(accepted.router);
        }
        self.read_lane_data(transport, conn);
    }

    /// Control refuses a lane, or ends it.
    pub(super) fn end_lane(
        &mut self,
        transport: &mut dyn Transport,
        conn: ConnKey,
        hello: Option<PeerHello>,
        code: CloseCode,
    ) {
        if let (Some(lane), Some(hello)) = (self.lane(conn), hello) {
            hello.encode(&mut lane.out);
            self.write_lane_control(transport, conn);
        }
        self.close_connection(transport, conn, code, code.name());
    }

    /// Sends a mesh frame for control.
    pub(super) fn send_lane_frame(
        &mut self,
        transport: &mut dyn Transport,
        conn: ConnKey,
        frame: &MeshFrame,
    ) {
        if let Some(lane) = self.lane(conn) {
            frame.encode(&mut lane.out);
            self.write_lane_control(transport, conn);
        }
    }

    /// Writes control frames of a lane.
    pub(super) fn write_lane_control(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        let out_max = self.config.lane_out_bytes;
        let Some(lane) = self.lane(conn) else { return };
        let Some(stream) = lane.control else { return };
        super::writing::write_out(transport, conn, stream, &mut lane.out);
        if lane.out.len() > out_max {
            self.close_connection(transport, conn, CloseCode::Busy, "mesh frames are not read");
        }
    }

    /// Pings lanes, and finds those that are silent.
    pub(super) fn tend_lanes(&mut self, now: Time, transport: &mut dyn Transport) {
        let (ping, silence) = (self.config.lane_ping, self.config.lane_silence);
        for conn in self.lanes.clone() {
            let Some(lane) = self.lane(conn) else { continue };
            if lane.accepted.is_none() {
                continue;
            }
            if now.since(lane.pinged) >= ping {
                lane.pinged = now;
                Ping { nonce: now.0 & millrace_proto::varint::MAX }.encode(&mut lane.out);
                self.write_lane_control(transport, conn);
            }
            let Some(lane) = self.lane(conn) else { continue };
            if !lane.silent && now.since(lane.heard) >= silence {
                lane.silent = true;
                self.to_control.push_back(ToControl::LaneSilent { conn });
            }
        }
    }

    /// Writes runs to peers; finishes streams that end.
    pub(super) fn write_peers(&mut self, transport: &mut dyn Transport) {
        for lane in self.routing.peers.iter_mut().flatten() {
            if !lane.writer.has_output() && !lane.finished {
                continue;
            }
            if lane.stream.is_none() {
                lane.stream = transport.open_uni(lane.conn);
            }
            let Some(stream) = lane.stream else { continue };
            super::writing::write_runs(transport, lane.conn, stream, &mut lane.writer);
            if lane.finished && lane.writer.is_empty() {
                transport.finish(lane.conn, stream);
            }
        }
    }

    /// A lane's connection is gone: what it carried is counted, receivers hear of what may be missing behind the lane's
    /// last run, and control hears of the end.
    pub(super) fn lane_closed(&mut self, conn: ConnKey, lane: &LaneSession, code: Option<CloseCode>) {
        self.lanes.retain(|&other| other != conn);
        if let Some(accepted) = lane.accepted {
            self.routing.metrics.lanes -= 1;
            let peer = usize::from(accepted.peer);
            if let Some(slot) = self.routing.peers.get_mut(peer)
                && slot.as_ref().is_some_and(|outgoing| outgoing.conn == conn)
                && let Some(outgoing) = slot.take()
            {
                self.routing.metrics.drop(DropReason::PeerLost, outgoing.writer.queued_events());
            }
        }
        let cut = lane.data.as_ref().is_some_and(|data| !data.reader.at_frame_boundary());
        self.routing.metrics.drop(DropReason::StreamLost, u64::from(cut));
        let lost = lane.lost();
        if let Some(router) = lost {
            self.routing.router_lost(router);
        }
        let orderly = lost.is_none();
        self.to_control.push_back(ToControl::LaneClosed { conn, dial: lane.dial, orderly, code });
    }
}

struct Sink<'a> {
    routing: &'a mut Routing,
    next_seq: &'a mut u64,
    gap_seen: &'a mut bool,
    accepted: Accepted,
    /// What the preamble said, when it is not the lane's epoch.
    other_epoch: &'a mut Option<u64>,
}

impl Sink<'_> {
    fn say_gap(&mut self, gap: &Gap) {
        self.routing.gap_to_all(gap);
        self.routing.gap_to_siblings(gap);
    }
}

impl RunSink for Sink<'_> {
    fn fetch(&mut self, window: &Window) {
        self.routing.fetch(window, Scope::Router);
    }

    #[inline]
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        let seq = hop.lane_seq.unwrap_or(*self.next_seq);
        // A jump is announced in the hop header, and its gap stands in the stream before it.
        if seq != *self.next_seq && !*self.gap_seen {
            self.routing.metrics.lane_skips += 1;
            let reason = GapReason::LaneOverflow;
            self.say_gap(&Gap { reason, events: 0, router: Some(self.accepted.router) });
        }
        *self.gap_seen = false;
        *self.next_seq = seq + 1;
        self.routing.metrics.events_from_peers += run.body.count();
        self.routing.deliver(tags, publisher.key, hop.flags, run, Scope::Router);
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        *self.gap_seen = true;
        self.say_gap(&Gap { router: gap.router.or(Some(self.accepted.router)), ..gap.clone() });
        Ok(())
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
        self.routing.metrics.frames_skipped += 1;
    }
}
