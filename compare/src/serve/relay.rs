//! The ceiling: a relay of buffers on our QUIC loop. It reads publishers' streams, cuts them into
//! buffers without looking inside, and writes each to every receiver; one stream per publisher and
//! receiver.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use millrace_quic::{
    App, CloseReason, ConnId, ConnectedInfo, Core, CoreSettings, Io, Keys, ReadState, ServerSettings,
    StreamId, TransportSettings, steer, tls,
};

use super::common::{BUFFER_BYTES, ServeError, announce, relay_tls};
use crate::drive::quic::{RELAY_PUBLISH, RELAY_RECEIVE};
use crate::placement::Placing;

/// A publisher is read while its slowest receiver has less than this waiting.
const QUEUE_BYTES: usize = 4 << 20;
/// Bytes read from one publisher before the next one's turn.
const READ_BYTES: usize = 256 << 10;

/// Serves until the process ends.
pub(super) fn serve(placing: Placing) -> Result<(), ServeError> {
    let (config, ca_pem) = relay_tls()?;
    let protocols = [RELAY_PUBLISH, RELAY_RECEIVE];
    // A router's settings towards its clients.
    let transport = TransportSettings::client_facing();
    let settings = ServerSettings::new(tls::server(config, &protocols), transport, Keys::random());
    let mut group = steer::bind_group(std::net::SocketAddr::from(([127, 0, 0, 1], 0)), 1)?;
    let mut core = Core::new(CoreSettings::default(), Some(settings), group.sockets.pop(), Relay::default())?;
    announce(group.addr, ca_pem)?;
    placing.place_server();
    loop {
        core.turn(Duration::from_millis(100));
    }
}

/// One receiver's copy of one publisher's stream.
#[derive(Debug)]
struct Copy {
    conn: ConnId,
    stream: StreamId,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
}

impl Copy {
    fn write(&mut self, io: &mut Io<'_>) {
        if self.queue.is_empty() {
            return;
        }
        // A connection that is gone takes its queue with it.
        self.queued_bytes -= io.write(self.conn, self.stream, self.queue.make_contiguous()).unwrap_or(0);
        while self.queue.front().is_some_and(Bytes::is_empty) {
            self.queue.pop_front();
        }
    }
}

/// One publisher's stream.
#[derive(Debug)]
struct Source {
    conn: ConnId,
    stream: StreamId,
    is_dry: bool,
    gathered: BytesMut,
    copies: Vec<Copy>,
}

impl Source {
    fn pass_on(&mut self, io: &mut Io<'_>) {
        let room = self.copies.iter().all(|copy| copy.queued_bytes < QUEUE_BYTES);
        if room && !self.is_dry {
            let gathered = &mut self.gathered;
            let outcome =
                io.read(self.conn, self.stream, READ_BYTES, &mut |piece| gathered.extend_from_slice(piece));
            self.is_dry = outcome.state != ReadState::More;
            if !self.is_dry {
                io.wake(self.conn, self.stream);
            }
        }
        // What is left of the last buffer goes when nothing more is there to fill it.
        while self.gathered.len() >= BUFFER_BYTES || (self.is_dry && !self.gathered.is_empty()) {
            let buffer = self.gathered.split_to(self.gathered.len().min(BUFFER_BYTES)).freeze();
            for copy in &mut self.copies {
                copy.queued_bytes += buffer.len();
                copy.queue.push_back(buffer.clone());
            }
        }
        self.copies.iter_mut().for_each(|copy| copy.write(io));
    }
}

#[derive(Debug, Default)]
struct Relay {
    receivers: Vec<ConnId>,
    sources: Vec<Source>,
    by_stream: HashMap<(ConnId, StreamId), usize, ahash::RandomState>,
}

impl App for Relay {
    fn connected(&mut self, _: &mut Io<'_>, conn: ConnId, info: &ConnectedInfo) {
        if info.alpn.as_deref() == Some(RELAY_RECEIVE) {
            self.receivers.push(conn);
        }
    }

    fn stream_opened(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let copy = |&conn| {
            let stream = io.open_uni(conn)?;
            Some(Copy { conn, stream, queue: VecDeque::new(), queued_bytes: 0 })
        };
        let copies = self.receivers.iter().filter_map(copy).collect();
        self.by_stream.insert((conn, stream), self.sources.len());
        self.sources.push(Source { conn, stream, is_dry: true, gathered: BytesMut::new(), copies });
    }

    fn readable(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        if let Some(&index) = self.by_stream.get(&(conn, stream)) {
            self.sources[index].is_dry = false;
        }
    }

    fn writable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}
    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}
    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, _: &CloseReason) {
        self.receivers.retain(|&receiver| receiver != conn);
        for source in &mut self.sources {
            source.copies.retain(|copy| copy.conn != conn);
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.sources.iter_mut().for_each(|source| source.pass_on(io));
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
