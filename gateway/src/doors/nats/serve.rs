//! The door's listener: greets each client, and secures its connection where the door has TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::greeting::Greeting;
use super::session::Session;
use crate::admission::{CONNECTIONS_MAX, DoorTls, Peer, Socket, WaitingRoom};
use crate::counters::{Door, Reason};
use crate::doors::naming::Mapping;
use crate::room::Room;
use crate::settings::{DoorSettings, NatsSettings};
use crate::tcp_server::TcpServer;

/// What each client's task gets.
#[derive(Debug, Clone)]
struct Nats {
    room: Room,
    door: DoorSettings,
    mapping: Arc<Mapping>,
    port: u16,
    clients: Arc<AtomicU64>,
}

/// Serves the door until the gateway stops.
pub(crate) async fn serve(listener: TcpListener, settings: NatsSettings, room: Room) {
    let port = listener.local_addr().map_or(0, |local| local.port());
    let NatsSettings { door, mapping } = settings;
    let mapping = Arc::new(mapping);
    // TLS begins behind the greeting.
    let server = TcpServer {
        lobby: room.lobby.clone(),
        tls: None,
        door: Some(Door::Nats),
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
    };
    let nats = Nats { room, door, mapping, port, clients: Arc::default() };
    server.serve(listener, move |socket, peer| nats.clone().client(socket, peer)).await;
}

impl Nats {
    async fn client(self, mut socket: Socket, mut peer: Peer) {
        let Self { room, door, mapping, port, clients } = self;
        let greeting = Greeting {
            client: clients.fetch_add(1, Ordering::Relaxed) + 1,
            ip: peer.ip.to_canonical(),
            port,
            asks_for_token: door.access.admit(&peer, None).is_err(),
            has_tls: door.tls.is_some(),
            asks_for_certificate: door.tls.as_ref().is_some_and(DoorTls::asks_for_certificate),
        };
        if socket.write_all(greeting.line().as_bytes()).await.is_err() {
            return;
        }
        if let Some(tls) = &door.tls {
            match socket.secure(tls).await {
                Ok((secured, certificate)) => (socket, peer.certificate) = (secured, certificate),
                Err(error) => {
                    tracing::debug!(%error, "no TLS with a NATS client");
                    return room.counters.refused(Door::Nats, Reason::of_handshake(&error));
                }
            }
        }
        let (from, to) = tokio::io::split(socket);
        Session::new(room, mapping, door.access, peer, to).serve(from).await;
    }
}
