//! Making connections: what a thread still has to dial, a few handshakes at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_client::session::liveness::LivenessConfig;
use millrace_client::session::{ConnectionConfig, ConnectionSession, ReceiverConfig};
use millrace_client::time::Time;
use millrace_proto::control::TableCapacity;
use millrace_quic::{ClientSettings, Dial, Io, SocketId};

use super::app::{Connection, FleetApp, Role};
use super::control::Control;
use super::receiver::{Opening, Receivers};
use super::thread::{Report, Target};

/// Handshakes under way per thread: enough to keep a router busy, few enough not to be turned away.
const DIALS_MAX: usize = 16;
/// Sockets per thread, at most: connections beyond it share them. One process may hold 20,000 file descriptors.
const SOCKETS_MAX: usize = 512;
/// Sessions of a loaded generator are not declared dead by a scheduling hiccup.
const SILENCE_NS: u64 = 15_000_000_000;
/// A handshake may be repeated for so long: where 100,000 connect on a busy host, some packets are lost more than once.
const WELCOME_NS: u64 = 30_000_000_000;

/// A receiver to be opened: its number in the workload, how, and its subscriptions with their selectors' texts.
pub(super) type ReceiverWish = (u32, Opening, Vec<(u32, Vec<String>)>);

/// Connections that are yet to be made.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) wishes: Vec<Wish>,
    pub(super) pending: usize,
    pub(super) open: usize,
    pub(super) sockets: Vec<SocketId>,
    pub(super) publishing: Arc<ClientSettings>,
    pub(super) receiving: Arc<ClientSettings>,
    /// Handshakes begun per second, at most.
    pub(super) per_second: f64,
    pub(super) begun: u64,
    pub(super) keep_alive: Duration,
    pub(super) since: Instant,
}

impl Dialling {
    /// Whether one more handshake may begin.
    fn may(&self, now: Instant) -> bool {
        let allowed = now.saturating_duration_since(self.since).as_secs_f64() * self.per_second;
        self.pending < DIALS_MAX && (self.begun as f64) < allowed + DIALS_MAX as f64
    }
}

/// A connection to be made.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) target: Target,
    pub(super) shard: Option<u16>,
    pub(super) role: WishRole,
}

#[derive(Debug)]
pub(super) enum WishRole {
    /// Index of the publisher.
    Publisher(usize),
    /// Router number, and each receiver with its subscriptions.
    Receiver(u8, Vec<ReceiverWish>),
}

/// Dials the connections that are missing, a few at a time.
pub(super) fn dial_more(app: &mut FleetApp, io: &mut Io<'_>) {
    while app.dialling.may(io.now()) {
        let Some(wish) = app.dialling.wishes.pop() else { return };
        if let Err(reason) = dial(app, io, wish) {
            app.tally.connections_lost.add(1);
            let _ = app.reports.send(Report::Lost(reason));
        }
    }
}

fn dial(app: &mut FleetApp, io: &mut Io<'_>, wish: Wish) -> Result<(), String> {
    let Wish { target, shard, role } = wish;
    let via = if app.dialling.sockets.len() < SOCKETS_MAX {
        let any: IpAddr = match target.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = io.add_socket(SocketAddr::new(any, 0)).map_err(|error| format!("socket: {error}"))?;
        app.dialling.sockets.push(socket);
        socket
    } else {
        app.dialling.sockets[app.connections.len() % SOCKETS_MAX]
    };
    let client = match &role {
        WishRole::Publisher(_) => &app.dialling.publishing,
        WishRole::Receiver(..) => &app.dialling.receiving,
    };
    let client = Arc::clone(client);
    let server_name = target.server_name;
    let conn = io
        .connect(&Dial { remote: target.address, server_name, client, via, shard })
        .map_err(|error| error.to_string())?;
    app.dialling.pending += 1;
    app.dialling.begun += 1;
    app.dialling.open += 1;
    let time = app.clock.time(io.now());
    let receivers = match &role {
        WishRole::Publisher(_) => 0,
        WishRole::Receiver(_, receivers) => u32::try_from(receivers.len()).unwrap_or(u32::MAX),
    };
    let mut session = session(receivers, app.dialling.keep_alive, time);
    let role = match role {
        WishRole::Publisher(number) => {
            app.publisher_conns[number] = conn;
            Role::Publisher(number)
        }
        WishRole::Receiver(router, wanted) => {
            let config = ReceiverConfig { tables: TableCapacity::CLIENT, ..ReceiverConfig::default() };
            let mut half = Receivers::new(router, config);
            for (receiver, opening, subscriptions) in wanted {
                half.open(&mut session, receiver, opening, subscriptions);
            }
            app.receivers.push(half);
            Role::Receiver(app.receivers.len() - 1)
        }
    };
    app.by_id.insert(conn, app.connections.len());
    app.connections.push(Connection::new(Control::new(conn, session), role));
    Ok(())
}

/// The session of a connection that may open so many receivers. It pings its router after `keep_alive` of silence, or after
/// a third of the silence that the router allows.
pub(crate) fn session(receivers: u32, keep_alive: Duration, time: Time) -> ConnectionSession {
    let ping_ns = u64::try_from(keep_alive.as_nanos()).unwrap_or(u64::MAX);
    let liveness = LivenessConfig {
        silence_ns: SILENCE_NS,
        // Pings go out after a third of it.
        idle_silence_ns: ping_ns.saturating_mul(3).max(SILENCE_NS),
        welcome_ns: WELCOME_NS,
    };
    let config = ConnectionConfig {
        software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")).to_owned(),
        receivers,
        liveness,
        ..ConnectionConfig::default()
    };
    ConnectionSession::new(config, time)
}
