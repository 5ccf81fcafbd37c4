//! Starts the agent and stops it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_certs::role_of;
use millrace_client::{Client, Config, ConfirmLevel, ConnectError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::cursors::Cursors;
use super::doors::{self, Spooling};
use super::producers::{Caller, NotTaken, Producers, ProducersError, announce, announce_all};
use super::room::AgentRoom;
use super::settings::AgentSettings;
use crate::admission::Access;
use crate::counters::Counters;
use crate::doors::syslog;
use crate::listening::{self, Protocol, cure, door};
use crate::lobby::Lobby;
use crate::program::could_make;
use crate::settings::DoorSettings;
use crate::upstream::Feeds;

/// Why the agent cannot start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// An address is not free, or not one of this host.
    #[error("cannot open {} on {at} (setting `{setting}`): {source}{}", door(setting), cure(source))]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address or the path.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// The folder of the spool.
    #[error("spool.folder: cannot use {}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent uses the folder.
    #[error(
        "spool.folder: {} is in use by another agent: stop that one, or name another folder", .folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// What an earlier agent has left.
    #[error(transparent)]
    Producers(#[from] ProducersError),
    /// The agent's own spools.
    #[error(transparent)]
    Spool(#[from] NotTaken),
    /// The settings of the connections to routers.
    #[error(transparent)]
    Upstream(#[from] ConnectError),
}

/// Where the doors are.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct AgentAddresses {
    /// The unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<PathBuf>,
    /// The HTTP door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// The syslog door's datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_udp: Option<SocketAddr>,
    /// The syslog door's TCP connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_tcp: Option<SocketAddr>,
    /// The admin page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
}

/// An agent that runs. Dropping it stops it without waiting; what it has taken stays in the spool.
#[derive(Debug)]
pub struct Agent {
    addresses: AgentAddresses,
    room: AgentRoom,
    stop: watch::Sender<bool>,
    doors: JoinSet<()>,
    announcing: AbortHandle,
    /// Held while the agent lives.
    _lock: File,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.announcing.abort();
    }
}

impl Agent {
    /// Opens the spool and all doors. Routers are connected to in the background, and the agent
    /// takes events without them. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`AgentError`] names the setting.
    pub async fn start(settings: AgentSettings) -> Result<Self, AgentError> {
        let lock = lock(&settings.spool.folder)?;
        let sockets = Sockets::open(&settings)?;
        let (stop, stopping) = watch::channel(false);
        let lobby = Lobby { counters: Arc::new(Counters::default()), stopping };
        let client = Client::new(settings.routers.clone())?;
        let folder = settings.spool.folder.clone();
        let cursors = Cursors::open(folder.join("cursors"))
            .map_err(|source| AgentError::Folder { folder: folder.clone(), source })?;
        let producers = Producers::open(
            client,
            known_as(&settings.routers),
            settings.spool.clone(),
            folder.join("producers"),
        )
        .await?;
        // One session at a router: what is published and what is received share a connection.
        let feeds = Feeds::beside(producers.bundle().clone(), settings.routers.clone());
        let room = AgentRoom { lobby, producers, stamp: settings.stamp.clone(), feeds, cursors };
        let announcing = tokio::spawn(announce(room.producers.clone(), room.stamp.clone())).abort_handle();
        // The room for what the agent itself has to say is there when the disk is full.
        room.producers.of(&Caller::agent(), ConfirmLevel::Routed).await?;
        let mut doors = JoinSet::new();
        let addresses = sockets.addresses.clone();
        sockets.serve(&settings, &room, &mut doors).await?;
        Ok(Self { addresses, room, stop, doors, announcing, _lock: lock })
    }

    /// Where the doors are: ports that were 0 are the ones that the system chose.
    #[must_use]
    pub const fn addresses(&self) -> &AgentAddresses {
        &self.addresses
    }

    /// Takes nothing new, and gives what is under way the time of `grace` to leave. The rest stays
    /// in the spool.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let mut doors = std::mem::take(&mut self.doors);
        let ended = async { while doors.join_next().await.is_some() {} };
        if timeout(grace, ended).await.is_err() {
            tracing::warn!(?grace, "requests are still under way");
        }
        drop(doors);
        self.announcing.abort();
        announce_all(&self.room.producers, &self.room.stamp).await;
        self.room.producers.clone().close(grace).await;
    }
}

/// What routers take the agent for: the name in its certificate, or nobody.
fn known_as(routers: &Config) -> String {
    let chain =
        routers.identity.as_ref().map(|identity| CertificateDer::from_pem_slice(&identity.certificate_pem));
    chain.and_then(Result::ok).and_then(|certificate| role_of(&certificate).identity()).unwrap_or_default()
}

/// Makes the folder and locks it.
fn lock(folder: &Path) -> Result<File, AgentError> {
    let failed = |source| AgentError::Folder { folder: folder.to_owned(), source };
    DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AgentError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The sockets of all doors, which all listen before one serves.
struct Sockets {
    unix: Option<doors::Socket>,
    http: Option<TcpListener>,
    udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
    admin: Option<TcpListener>,
    addresses: AgentAddresses,
}

impl Sockets {
    fn open(settings: &AgentSettings) -> Result<Self, AgentError> {
        let mut addresses = AgentAddresses::default();
        let admin = listener("admin.listen", settings.admin, &mut addresses.admin)?;
        let http = listener("http.listen", settings.http, &mut addresses.http)?;
        let tcp = listener("syslog.tcp", settings.syslog_tcp, &mut addresses.syslog_tcp)?;
        let udp = match settings.syslog_udp {
            None => None,
            Some(at) => {
                let failed = |source| refused("syslog.udp", at, source);
                let socket = syslog::bind_udp(at).map_err(failed)?;
                addresses.syslog_udp = Some(socket.local_addr().map_err(failed)?);
                Some(socket)
            }
        };
        let unix = match &settings.unix {
            None => None,
            Some(unix) => {
                let failed = |source| refused("unix.listen", unix.path.display(), source);
                addresses.unix = Some(unix.path.clone());
                Some(doors::bind(unix).map_err(failed)?)
            }
        };
        Ok(Self { unix, http, udp, tcp, admin, addresses })
    }

    async fn serve(
        self,
        settings: &AgentSettings,
        room: &AgentRoom,
        doors: &mut JoinSet<()>,
    ) -> Result<(), AgentError> {
        if let Some(listener) = self.admin {
            doors.spawn(doors::serve_admin(listener, room.clone()));
        }
        if let Some(listener) = self.http {
            doors.spawn(doors::serve_http(listener, room.clone()));
        }
        if let Some(socket) = self.unix {
            doors.spawn(doors::serve_unix(socket, room.clone()));
        }
        if self.udp.is_none() && self.tcp.is_none() {
            return Ok(());
        }
        let producer = room.producers.of(&Caller::syslog(), ConfirmLevel::Routed).await?;
        let sink = Spooling { room: room.clone(), producer };
        let door = syslog::Syslog { lobby: room.lobby.clone(), sink, zone: settings.zone };
        if let Some(socket) = self.udp {
            doors.spawn(syslog::serve_udp(Arc::new(socket), Access::default(), door.clone()));
        }
        if let (Some(listener), Some(listen)) = (self.tcp, settings.syslog_tcp) {
            let settings = DoorSettings { listen, tls: None, access: Access::default() };
            doors.spawn(syslog::serve_tcp(listener, settings, door));
        }
        Ok(())
    }
}

/// Where settings ask to listen, beside the unix socket.
fn wished(settings: &AgentSettings) -> impl Iterator<Item = (&'static str, SocketAddr, Protocol)> {
    let AgentSettings { admin, http, syslog_tcp, syslog_udp, .. } = settings;
    let tcp = [("admin.listen", *admin), ("http.listen", *http), ("syslog.tcp", *syslog_tcp)];
    let udp = syslog_udp.map(|address| ("syslog.udp", address, Protocol::Udp));
    tcp.into_iter().filter_map(|(setting, address)| Some((setting, address?, Protocol::Tcp))).chain(udp)
}

/// Addresses that are in use now, for `--check`.
#[must_use]
pub fn taken(settings: &AgentSettings) -> Vec<String> {
    wished(settings)
        .filter_map(|(setting, address, protocol)| listening::taken(setting, address, protocol))
        .collect()
}

/// What start would refuse of addresses and folders, for `--check`.
#[must_use]
pub fn problems(settings: &AgentSettings) -> Vec<AgentError> {
    let addresses = wished(settings).filter_map(|(setting, address, protocol)| {
        let source = listening::try_address(address, protocol).err()?;
        Some(refused(setting, address, source))
    });
    let unix = settings.unix.as_ref().and_then(|unix| {
        doors::check(unix).err().map(|source| refused("unix.listen", unix.path.display(), source))
    });
    let folder = &settings.spool.folder;
    let spool = could_make(folder).err().map(|source| AgentError::Folder { folder: folder.clone(), source });
    addresses.chain(unix).chain(spool).collect()
}

fn refused(setting: &'static str, at: impl ToString, source: io::Error) -> AgentError {
    AgentError::Listen { setting, at: at.to_string(), source }
}

fn listener(
    setting: &'static str,
    wished: Option<SocketAddr>,
    got: &mut Option<SocketAddr>,
) -> Result<Option<TcpListener>, AgentError> {
    let Some(address) = wished else { return Ok(None) };
    let failed = |source| refused(setting, address, source);
    let socket = std::net::TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(socket).map_err(failed)?;
    *got = Some(listener.local_addr().map_err(failed)?);
    Ok(Some(listener))
}
