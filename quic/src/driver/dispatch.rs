//! Calls the app for events of connections.

use std::net::SocketAddr;
use std::time::Instant;

use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{Connection, Dir, Event, StreamEvent, VarInt};
use rustls::pki_types::CertificateDer;

use super::Driver;
use super::slots::{Live, Phase};
use crate::ids::stream_from_proto;
use crate::{App, CloseReason, ConnId, ConnectedInfo, Io, Network, Side, TransportSettings};

impl Driver {
    /// Calls `f` with the app and its I/O outside of the callbacks.
    pub fn with_io<A, R>(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        app: &mut A,
        f: impl FnOnce(&mut A, &mut Io<'_>) -> R,
    ) -> R {
        f(app, &mut Io::new(self, net, now))
    }

    /// Gives the app all events of one connection in use, one foreign segment, or one stream that
    /// asked to be woken; `false` when there are none.
    pub fn dispatch_next(&mut self, now: Instant, net: &mut dyn Network, app: &mut impl App) -> bool {
        if let Some((core, segment)) = self.foreign.pop_front() {
            app.foreign(&mut Io::new(self, net, now), core, segment);
            return true;
        }
        if let Some((id, stream)) = self.waking.pop_front() {
            if self.slots.by_id(id).is_some() {
                app.readable(&mut Io::new(self, net, now), id, stream);
            }
            return true;
        }
        let Some(index) = self.events.next() else { return false };
        self.dispatch(index, now, net, app);
        true
    }

    /// Gives the app all events of one connection that begins or ends; `false` when there is none.
    pub fn dispatch_aside(&mut self, now: Instant, net: &mut dyn Network, app: &mut impl App) -> bool {
        let Some(index) = self.events.next_aside() else { return false };
        self.dispatch(index, now, net, app);
        true
    }

    fn dispatch(&mut self, index: u32, now: Instant, net: &mut dyn Network, app: &mut impl App) {
        let id = self.slots.id(index);
        match self.slots.get(index) {
            Some(live) => live.in_events = false,
            None => return,
        }
        self.forward_endpoint_events(index);
        loop {
            let Some(live) = self.slots.get(index) else { return };
            if live.closing && live.phase != Phase::Over {
                self.close_for_app(id, &CloseReason::Local, now, net, app);
                continue;
            }
            let Some(event) = live.conn.poll() else { break };
            match event {
                _ if live.phase == Phase::Over => {}
                Event::Connected => {
                    live.phase = Phase::Open;
                    live.is_complete = true;
                    self.prefixes.complete(live.prefix);
                    self.strangers -= usize::from(std::mem::take(&mut live.is_stranger));
                    let info = connected_info(live);
                    if let Some(wide) = self.wide.as_ref().filter(|wide| {
                        info.side == Side::Server && info.alpn.as_deref() == Some(&wide.alpn[..])
                    }) {
                        widen(&mut live.conn, &wide.transport);
                    }
                    self.metrics.connected += 1;
                    app.connected(&mut Io::new(self, net, now), id, &info);
                }
                Event::ConnectionLost { reason } => {
                    self.close_for_app(id, &CloseReason::from_proto(reason), now, net, app);
                }
                Event::Stream(event) => self.stream_event(id, event, now, net, app),
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
        if self.slots.get(index).is_some_and(|live| live.drained) {
            self.free(index);
        }
    }

    fn close_for_app(
        &mut self,
        id: ConnId,
        reason: &CloseReason,
        now: Instant,
        net: &mut dyn Network,
        app: &mut impl App,
    ) {
        let Some(live) = self.slots.by_id(id) else { return };
        if live.phase == Phase::Accepting {
            live.phase = Phase::Over;
            self.metrics.handshakes_failed += 1;
            return;
        }
        live.phase = Phase::Over;
        self.metrics.closed += 1;
        app.closed(&mut Io::new(self, net, now), id, reason);
    }

    fn stream_event(
        &mut self,
        id: ConnId,
        event: StreamEvent,
        now: Instant,
        net: &mut dyn Network,
        app: &mut impl App,
    ) {
        match event {
            StreamEvent::Opened { dir } => self.streams_opened(id, dir, now, net, app),
            StreamEvent::Readable { id: stream } => {
                app.readable(&mut Io::new(self, net, now), id, stream_from_proto(stream));
            }
            StreamEvent::Writable { id: stream } => {
                app.writable(&mut Io::new(self, net, now), id, stream_from_proto(stream));
            }
            StreamEvent::Stopped { id: stream, error_code } => {
                let stream = stream_from_proto(stream);
                app.stream_stopped(&mut Io::new(self, net, now), id, stream, error_code.into_inner());
            }
            StreamEvent::Available { dir } => {
                app.streams_available(&mut Io::new(self, net, now), id, dir == Dir::Uni);
            }
            StreamEvent::Finished { .. } => {}
        }
    }

    /// quinn reports that streams were opened, but not the bytes that came with them.
    fn streams_opened(
        &mut self,
        id: ConnId,
        dir: Dir,
        now: Instant,
        net: &mut dyn Network,
        app: &mut impl App,
    ) {
        while let Some(live) = self.slots.by_id(id).filter(|live| !live.closing) {
            let Some(stream) = live.conn.streams().accept(dir) else { break };
            let stream = stream_from_proto(stream);
            app.stream_opened(&mut Io::new(self, net, now), id, stream);
            app.readable(&mut Io::new(self, net, now), id, stream);
        }
    }
}

/// The remote learns of the wider windows with the next packet.
fn widen(conn: &mut Connection, transport: &TransportSettings) {
    conn.set_receive_window(VarInt::from_u32(transport.receive_window_bytes));
    conn.set_send_window(transport.send_window_bytes);
    conn.set_max_concurrent_streams(Dir::Uni, VarInt::from_u32(transport.uni_streams));
    conn.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(transport.bidi_streams));
}

fn connected_info(live: &Live) -> ConnectedInfo {
    let session = live.conn.crypto_session();
    let alpn = session
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let peer_certificates = session
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|chain| *chain)
        .unwrap_or_default();
    let remote = live.conn.remote_address();
    ConnectedInfo {
        side: if live.conn.side().is_client() { Side::Client } else { Side::Server },
        alpn,
        remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
        socket: live.socket,
        peer_certificates,
    }
}
