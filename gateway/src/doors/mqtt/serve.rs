//! The door's listener.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::connecting;
use super::door::Mqtt;
use super::sessions::Sessions;
use crate::admission::{CONNECTIONS_MAX, WaitingRoom};
use crate::counters::Door;
use crate::room::Room;
use crate::settings::MqttSettings;
use crate::tcp_server::TcpServer;

/// Serves the door until the gateway stops.
pub(crate) async fn serve(listener: TcpListener, settings: MqttSettings, room: Room) {
    let MqttSettings { door, mapping } = settings;
    let server = TcpServer {
        lobby: room.lobby.clone(),
        tls: door.tls,
        door: Some(Door::Mqtt),
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
    };
    let mqtt = Mqtt { room, access: door.access, mapping: Arc::new(mapping), sessions: Sessions::default() };
    server.serve(listener, move |socket, peer| connecting::serve(mqtt.clone(), socket, peer)).await;
}
