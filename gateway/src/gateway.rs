//! Starts the doors and stops them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::ConnectError;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admin;
use crate::admission::Access;
use crate::counters::Counters;
use crate::doors::{http, mqtt, nats, syslog};
use crate::listening::{self, Protocol, cure, door};
use crate::lobby::Lobby;
use crate::room::Room;
use crate::settings::{DoorSettings, Settings, SyslogSettings};
use crate::upstream::Upstream;

/// Why the gateway cannot start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address is not free, or not one of this host.
    #[error("cannot open {} on {address} (setting `{setting}`): {source}{}", door(setting), cure(source))]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no way to any router.
    #[error(transparent)]
    Upstream(#[from] ConnectError),
}

/// Where the doors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct Addresses {
    /// The HTTP door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// The syslog door's datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_udp: Option<SocketAddr>,
    /// The syslog door's TCP connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_tcp: Option<SocketAddr>,
    /// The syslog door's TLS connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_tls: Option<SocketAddr>,
    /// The NATS door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<SocketAddr>,
    /// The MQTT door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<SocketAddr>,
    /// The admin page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
}

/// A gateway that runs. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Gateway {
    addresses: Addresses,
    room: Room,
    stop: watch::Sender<bool>,
    doors: JoinSet<()>,
}

impl Gateway {
    /// Opens all doors. Routers are connected to in the background: `/readyz` says when. To be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] names the setting.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { routers, admin, http, syslog, nats, mqtt, .. } = settings;
        let counters = Arc::new(Counters::default());
        let (stop, stopping) = watch::channel(false);
        let mut addresses = Addresses::default();
        let mut doors = JoinSet::new();
        // All listen before one serves.
        let admin_listener = listener("admin.listen", admin, &mut addresses.admin).await?;
        let http_listener =
            listener("http.listen", http.as_ref().map(|http| http.door.listen), &mut addresses.http).await?;
        let nats_listener =
            listener("nats.listen", nats.as_ref().map(|nats| nats.door.listen), &mut addresses.nats).await?;
        let mqtt_listener =
            listener("mqtt.listen", mqtt.as_ref().map(|mqtt| mqtt.door.listen), &mut addresses.mqtt).await?;
        let syslog = SyslogSockets::open(syslog, &mut addresses).await?;
        let upstream = Upstream::open(&routers, counters.clone())?;
        let room = Room { lobby: Lobby { counters, stopping }, upstream };
        if let Some(listener) = admin_listener {
            doors.spawn(admin::serve(listener, room.clone()));
        }
        if let (Some(listener), Some(settings)) = (http_listener, http) {
            doors.spawn(http::serve(listener, settings, room.clone()));
        }
        if let (Some(listener), Some(settings)) = (nats_listener, nats) {
            doors.spawn(nats::serve(listener, settings, room.clone()));
        }
        if let (Some(listener), Some(settings)) = (mqtt_listener, mqtt) {
            doors.spawn(mqtt::serve(listener, settings, room.clone()));
        }
        syslog.serve(&room, &mut doors);
        Ok(Self { addresses, room, stop, doors })
    }

    /// Where the doors are: ports that were 0 are the ones that the system chose.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the doors share.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// Takes nothing new, and gives what is under way the time of `grace` to end.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async {
            while self.doors.join_next().await.is_some() {}
            self.room.upstream.flush().await;
        };
        if timeout(grace, ended).await.is_err() {
            tracing::warn!(?grace, "events are still under way; their outcomes are unknown");
        }
    }
}

async fn listener(
    setting: &'static str,
    wished: Option<SocketAddr>,
    got: &mut Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = wished else { return Ok(None) };
    let failed = |source| StartError::Listen { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    *got = Some(listener.local_addr().map_err(failed)?);
    Ok(Some(listener))
}

/// Where settings ask to listen.
fn wished(settings: &Settings) -> impl Iterator<Item = (&'static str, SocketAddr, Protocol)> {
    let Settings { admin, http, syslog, nats, mqtt, .. } = settings;
    let tcp = [
        ("admin.listen", *admin),
        ("http.listen", http.as_ref().map(|http| http.door.listen)),
        ("nats.listen", nats.as_ref().map(|nats| nats.door.listen)),
        ("mqtt.listen", mqtt.as_ref().map(|mqtt| mqtt.door.listen)),
        ("syslog.tcp", syslog.tcp.as_ref().map(|door| door.listen)),
        ("syslog.tls", syslog.tls.as_ref().map(|door| door.listen)),
    ];
    let udp = syslog.udp.as_ref().map(|(address, _)| ("syslog.udp", *address, Protocol::Udp));
    tcp.into_iter().filter_map(|(setting, address)| Some((setting, address?, Protocol::Tcp))).chain(udp)
}

/// What start would refuse of addresses, for `--check`.
#[must_use]
pub fn problems(settings: &Settings) -> Vec<StartError> {
    let tried = wished(settings).filter_map(|(setting, address, protocol)| {
        let source = listening::try_address(address, protocol).err()?;
        Some(StartError::Listen { setting, address, source })
    });
    tried.collect()
}

/// Addresses that are in use now, for `--check`.
#[must_use]
pub fn taken(settings: &Settings) -> Vec<String> {
    wished(settings)
        .filter_map(|(setting, address, protocol)| listening::taken(setting, address, protocol))
        .collect()
}

/// The sockets of the syslog door, which all listen before one serves.
struct SyslogSockets {
    udp: Option<(Arc<UdpSocket>, Access)>,
    streams: Vec<(TcpListener, DoorSettings)>,
    settings: SyslogSettings,
}

impl SyslogSockets {
    async fn open(settings: SyslogSettings, addresses: &mut Addresses) -> Result<Self, StartError> {
        let mut udp = None;
        if let Some((address, access)) = &settings.udp {
            let failed = |source| StartError::Listen { setting: "syslog.udp", address: *address, source };
            let socket = syslog::bind_udp(*address).map_err(failed)?;
            addresses.syslog_udp = Some(socket.local_addr().map_err(failed)?);
            udp = Some((Arc::new(socket), access.clone()));
        }
        let mut streams = Vec::new();
        let wished = [
            ("syslog.tcp", &settings.tcp, &mut addresses.syslog_tcp),
            ("syslog.tls", &settings.tls, &mut addresses.syslog_tls),
        ];
        for (setting, door, got) in wished {
            if let Some(door) = door
                && let Some(listener) = listener(setting, Some(door.listen), got).await?
            {
                streams.push((listener, door.clone()));
            }
        }
        Ok(Self { udp, streams, settings })
    }

    fn serve(self, room: &Room, doors: &mut JoinSet<()>) {
        let door = syslog::Syslog { lobby: room.lobby.clone(), sink: room.clone(), zone: self.settings.zone };
        if let Some((socket, access)) = self.udp {
            doors.spawn(syslog::serve_udp(socket, access, door.clone()));
        }
        for (listener, settings) in self.streams {
            doors.spawn(syslog::serve_tcp(listener, settings, door.clone()));
        }
    }
}
