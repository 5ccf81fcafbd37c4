//! Sockets of the door.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use socket2::{Domain, Type};
use time::UtcOffset;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};

use super::event::event;
use super::framing::{Frame, Framer, MESSAGE_BYTES_MAX};
use super::read::read;
use crate::admission::{
    Access, Admitted, CONNECTIONS_MAX, Peer, Right, Socket, Standing, Waiting, WaitingRoom,
};
use crate::counters::{Door, Reason};
use crate::lobby::Lobby;
use crate::room::Room;
use crate::settings::DoorSettings;
use crate::tcp_server::TcpServer;
use crate::upstream::NewEvent;

/// Bytes that one read takes from a stream.
const READ_BYTES: usize = 16 * 1024;
/// The kernel's buffer for datagrams: some ten thousand lines.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Where the events of messages go.
pub(crate) trait Sink: Clone + Send + Sync + 'static {
    /// Takes an event; waits while there is no room, so that no more is read of the client.
    ///
    /// # Errors
    /// Why the event is dropped.
    fn take(&self, event: &NewEvent) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Takes an event that nobody can be made to wait for.
    ///
    /// # Errors
    /// Why the event is dropped.
    fn try_take(&self, event: &NewEvent) -> Result<(), Reason>;
}

impl Sink for Room {
    async fn take(&self, event: &NewEvent) -> Result<(), Reason> {
        self.upstream.stream(Door::Syslog, event).await.map(drop).map_err(|_| Reason::NoRouter)
    }

    fn try_take(&self, event: &NewEvent) -> Result<(), Reason> {
        self.upstream.try_stream(Door::Syslog, event).map(drop).map_err(Reason::from)
    }
}

/// What all sockets of the door share.
#[derive(Debug, Clone)]
pub(crate) struct Syslog<S> {
    pub(crate) lobby: Lobby,
    pub(crate) sink: S,
    /// The zone of times that have none.
    pub(crate) zone: UtcOffset,
}

impl<S: Sink> Syslog<S> {
    fn refused(&self, reason: Reason) {
        self.lobby.counters.refused(Door::Syslog, reason);
    }

    fn admit(&self, access: &Access, peer: &Peer) -> Option<Standing> {
        let admitted = access.stand(peer, None);
        let admitted = admitted.and_then(|admitted| admitted.check(Right::Publish).map(|()| admitted));
        if let Err(refusal) = &admitted {
            tracing::debug!(ip = %peer.ip, %refusal, "a syslog client is refused");
            self.refused(Reason::Unauthenticated);
        }
        admitted.ok()
    }

    /// The event of a message; `None` for an empty one.
    fn event(&self, message: &[u8], is_cut: bool, admitted: &Admitted) -> Option<NewEvent> {
        // Some programs end a message with NUL.
        let end = message.iter().rposition(|byte| *byte != 0 && !byte.is_ascii_whitespace());
        let message = &message[..end.map_or(0, |last| last + 1)];
        if message.is_empty() {
            return None;
        }
        let now = SystemTime::now();
        let message = read(message, self.zone, now);
        let event = event(&message, admitted.tags(), is_cut, now);
        if event.is_err() {
            self.refused(Reason::Malformed);
        }
        event.ok()
    }
}

/// Serves TCP, or TLS, until the program stops.
pub(crate) async fn serve_tcp<S: Sink>(listener: TcpListener, settings: DoorSettings, syslog: Syslog<S>) {
    let DoorSettings { tls, access, .. } = settings;
    let server = TcpServer {
        lobby: syslog.lobby.clone(),
        tls,
        door: Some(Door::Syslog),
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
    };
    server.serve(listener, move |socket, peer| stream(socket, peer, access.clone(), syslog.clone())).await;
}

async fn stream<S: Sink>(mut socket: Socket, peer: Peer, access: Access, syslog: Syslog<S>) {
    let Some(mut standing) = syslog.admit(&access, &peer) else { return };
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = tokio::select! {
            read = socket.read(&mut buffer) => read.unwrap_or(0),
            () = syslog.lobby.stopped() => 0,
            refusal = standing.withdrawn() => {
                tracing::info!(ip = %peer.ip, %refusal, "a syslog client has lost its right");
                return syslog.refused(Reason::Withdrawn);
            }
        };
        let admitted: &Admitted = &standing;
        let mut events = Vec::new();
        let mut take = |frame: Frame<'_>| match frame {
            Frame::Message(message) => events.extend(syslog.event(message, false, admitted)),
            Frame::Cut(message) => events.extend(syslog.event(message, true, admitted)),
            Frame::Skipped => syslog.refused(Reason::TooLarge),
        };
        let framed = if read == 0 {
            framer.end(&mut take);
            Ok(())
        } else {
            framer.read(&buffer[..read], &mut take)
        };
        for event in &events {
            if let Err(reason) = syslog.sink.take(event).await {
                syslog.lobby.counters.dropped(Door::Syslog, reason, 1);
            }
        }
        if let Err(error) = framed {
            tracing::debug!(ip = %peer.ip, %error, "a syslog stream is closed");
            return syslog.refused(Reason::Malformed);
        }
        if read == 0 {
            return;
        }
    }
}

/// A socket for datagrams whose buffer holds a burst: thousands of hosts may log at once.
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // The kernel may allow less.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Serves UDP until the program stops: one message a datagram.
pub(crate) async fn serve_udp<S: Sink>(socket: Arc<UdpSocket>, access: Access, syslog: Syslog<S>) {
    let on_loopback = socket.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
    // One byte more than a message may have shows that it has more.
    let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = syslog.lobby.stopped() => return,
        };
        // What a client's host says of datagrams that went back is nothing to this door.
        let Ok((bytes, from)) = received else { continue };
        let peer = Peer {
            ip: from.ip().to_canonical(),
            on_loopback,
            certificate: None,
            waiting: Waiting::default(),
        };
        let Some(admitted) = syslog.admit(&access, &peer) else { continue };
        let message = &buffer[..bytes.min(MESSAGE_BYTES_MAX)];
        let Some(event) = syslog.event(message, bytes > MESSAGE_BYTES_MAX, &admitted) else { continue };
        if let Err(reason) = syslog.sink.try_take(&event) {
            syslog.lobby.counters.dropped(Door::Syslog, reason, 1);
        }
    }
}
