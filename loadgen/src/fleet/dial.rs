//! Making connections: what a thread still has to dial, a few handshakes at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millrace_attach::ClientConnection;
use millrace_client::session::liveness::LivenessConfig;
use millrace_client::session::{ConnectionConfig, ConnectionSession};
use millrace_client::time::Time;
use millrace_proto::control::TableCapacity;
use millrace_quic::{Dial, Io, SocketId};

use super::connections::{Connection, Role, Wish};
use super::opening::receivers_of;
use super::plan::Target;
use super::receiver::Receivers;
use super::shared::Report;
use super::state::FleetApp;
use super::tally::Counter;
use crate::scenario::Deliveries;

/// Sockets per thread, at most: connections beyond it share them. One process may hold 20,000 file
/// descriptors.
const SOCKETS_MAX: usize = 512;
/// Sessions of a loaded generator are not declared dead by a scheduling hiccup.
const SILENCE_NS: u64 = 15_000_000_000;
/// Connections of a fleet are kept alive by QUIC, for half the packets.
const LEFT_TO_QUIC_NS: u64 = u64::MAX;
/// A handshake may be repeated for so long: where 100,000 connect on a busy host, some packets are
/// lost more than once.
const WELCOME_NS: u64 = 30_000_000_000;

/// Times that a connection may be lost at set-up before that counts as lost for good.
const REDIALS_MAX: u8 = 4;

/// Dials the connections that are missing, a few at a time.
pub(super) fn dial_more(app: &mut FleetApp, io: &mut Io<'_>) {
    while app.dialling.may(io.now()) {
        let Some(wish) = app.dialling.wishes.pop_front() else { return };
        if let Err(reason) = dial(app, io, wish) {
            app.tally.connections_lost.add(1);
            let _ = app.reports.send(Report::Lost(reason));
        }
    }
}

fn socket(app: &mut FleetApp, io: &mut Io<'_>, remote: SocketAddr, place: usize) -> Result<SocketId, String> {
    // Neighbours share a socket: they publish one behind the other, and what is due together leaves
    // in one call.
    let total = app.dialling.total.max(1);
    let wanted = place.min(total - 1) * total.min(SOCKETS_MAX) / total;
    while app.dialling.sockets.len() <= wanted {
        let any: IpAddr = match remote {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = io.add_socket(SocketAddr::new(any, 0)).map_err(|error| format!("socket: {error}"))?;
        app.dialling.sockets.push(socket);
    }
    Ok(app.dialling.sockets[wanted])
}

fn dial(app: &mut FleetApp, io: &mut Io<'_>, mut wish: Wish) -> Result<(), String> {
    let place = *wish.place.get_or_insert(app.connections.len());
    let plan = app.dialling.plan.clone();
    let (scenario, routers) = (&plan.scenario, u32::try_from(plan.targets.len()).unwrap_or(1).max(1));
    let (router, targets, client, shard) = match wish.role {
        Role::Publisher(_) => {
            let shard = plan.generator.tags(wish.connection % scenario.workload.emitters).shard();
            let router = scenario.publisher_router(wish.connection, routers);
            (router, &plan.targets, &plan.publishing, Some(shard.number()))
        }
        Role::Receiver(_) => {
            let router = scenario.receiver_router(wish.connection, routers);
            (router, &plan.targets_of_receivers, &plan.receiving, None)
        }
    };
    let Target { address, server_name } = targets[router as usize].clone();
    let via = socket(app, io, address, place)?;
    let dial = Dial { remote: address, server_name, client: Arc::clone(client), via, shard };
    let conn = io.connect(&dial).map_err(|error| error.to_string())?;
    app.dialling.pending += 1;
    app.dialling.begun += 1;
    app.dialling.open += 1;
    let time = app.clock.time(io.now());
    let connection = match wish.role {
        Role::Publisher(number) => {
            app.publisher_places[number] = place;
            let mut config = session_config(0, scenario.keep_alive);
            config.received_within_us =
                u64::try_from(scenario.received_within.as_micros()).unwrap_or(u64::MAX);
            if scenario.own_connections {
                config.liveness.idle_silence_ns = LEFT_TO_QUIC_NS;
            }
            Connection::new(ClientConnection::new(conn, config, time), wish)
        }
        Role::Receiver(number) => {
            let wanted = receivers_of(&plan, wish.connection).map_err(|error| error.to_string())?;
            let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
            let mut config = session_config(count, scenario.keep_alive);
            if scenario.own_connections {
                config.liveness.idle_silence_ns = LEFT_TO_QUIC_NS;
            }
            config.share_deliveries = scenario.deliveries == Deliveries::Connection;
            if config.share_deliveries {
                // One table holds what hundreds of receivers take.
                config.tables = TableCapacity::LANE;
            }
            let mut client = ClientConnection::new(conn, config, time);
            let mut half = Receivers::new(u8::try_from(router).unwrap_or(u8::MAX));
            for (receiver, opening, subscriptions) in wanted {
                half.open(&mut client, receiver, opening, subscriptions);
            }
            match app.receivers.get_mut(number) {
                Some(old) => *old = half,
                None => app.receivers.push(half),
            }
            Connection::new(client, wish)
        }
    };
    app.by_id.insert(conn, place);
    match app.connections.get_mut(place) {
        Some(old) => *old = connection,
        None => app.connections.push(connection),
    }
    Ok(())
}

/// A connection is lost while all are being set up: it is dialled again, unless that has gone on
/// for too long. Whether it will be.
pub(super) fn redial(app: &mut FleetApp, place: usize) -> bool {
    let connection = &mut app.connections[place];
    let mut wish = connection.wish;
    let tally = &app.tally;
    let lower = |level: &Counter, by: u64| level.set(level.get().saturating_sub(by));
    if connection.is_welcomed {
        lower(&tally.welcomed, 1);
    } else {
        app.dialling.pending = app.dialling.pending.saturating_sub(1);
    }
    lower(&tally.effective, connection.effective);
    connection.is_welcomed = true;
    connection.effective = 0;
    if let Role::Publisher(number) = wish.role {
        lower(&tally.credited, u64::from(app.publishers[number].lost()));
    }
    if wish.redials >= REDIALS_MAX {
        return false;
    }
    wish.redials += 1;
    tally.redials.add(1);
    app.dialling.wishes.push_back(wish);
    true
}

/// The session of a connection that may open so many receivers. It pings its router after
/// `keep_alive` of silence, or after a third of the silence that the router allows.
pub(crate) fn session(receivers: u32, keep_alive: Duration, time: Time) -> ConnectionSession {
    ConnectionSession::new(session_config(receivers, keep_alive), time)
}

fn session_config(receivers: u32, keep_alive: Duration) -> ConnectionConfig {
    let ping_ns = u64::try_from(keep_alive.as_nanos()).unwrap_or(u64::MAX);
    let liveness = LivenessConfig {
        silence_ns: SILENCE_NS,
        // Pings go out after a third of it.
        idle_silence_ns: ping_ns.saturating_mul(3).max(SILENCE_NS),
        welcome_ns: WELCOME_NS,
    };
    ConnectionConfig {
        software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")).to_owned(),
        receivers,
        liveness,
        ..ConnectionConfig::default()
    }
}
