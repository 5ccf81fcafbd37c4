//! A link over our QUIC loop: to a Millrace router, or to a relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_attach::{ClientConnection, Publishing};
use millrace_client::session::liveness::LivenessConfig;
use millrace_client::session::{ConnectionConfig, PublisherConfig, PublisherSession, ReceiverConfig};
use millrace_proto::control::OpenReceiver;
use millrace_proto::{ALPN_CLIENT, Epoch, PublisherId, PublisherKey, ReceiverNumber, SubscriptionNumber};
use millrace_quic::{ClientSettings, ConnId, Core, CoreSettings, Dial, TransportSettings, tls};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::error::DriveError;
use super::events::{EVERYTHING, GROUP, INFLIGHT_MAX, RECEIVER_QUEUE_BYTES, tags};
use super::link::{Link, set_up};
use super::quic_app::{Clients, Connection, Publisher, Role, Side};
use crate::load::{Load, Pattern, Shape};
use crate::server::Server;

/// Application protocols of the relays: they tell connections that publish from those that receive.
pub(crate) const RELAY_PUBLISH: &[u8] = b"relay-publish";
/// See [`RELAY_PUBLISH`].
pub(crate) const RELAY_RECEIVE: &[u8] = b"relay-receive";
/// Bytes that a publisher queues at most.
const PUBLISHER_QUEUE_BYTES: usize = 4 << 20;
/// Bytes that a receiver lets come ahead.
const RECEIVE_WINDOW_BYTES: u64 = 4 << 20;
/// A measurement is not ended by a scheduling hiccup.
const SILENCE_NS: u64 = 15_000_000_000;

/// The link.
#[derive(Debug)]
pub(crate) struct QuicLink {
    core: Core<Clients>,
}

/// What all dials share.
struct Dialler<'a> {
    server: &'a Server,
    roots: rustls::RootCertStore,
    streams: u32,
    is_relay: bool,
}

impl QuicLink {
    /// Connects and subscribes. A relay gets publish streams as they are and has no control
    /// streams.
    pub(crate) fn connect(server: &Server, shape: Shape, is_relay: bool) -> Result<Self, DriveError> {
        let receiver = ReceiverConfig { window_bytes: RECEIVE_WINDOW_BYTES, ..ReceiverConfig::default() };
        let mut clients = Clients::new(Load::new(shape), receiver);
        for number in 0..shape.publishers {
            let key =
                PublisherKey { publisher: PublisherId((1 << 64) | u128::from(number + 1)), epoch: Epoch(1) };
            let mut config = PublisherConfig::new(key);
            config.linger_ns = 0;
            config.buffer_bytes = PUBLISHER_QUEUE_BYTES;
            let session = PublisherSession::new(config);
            clients.publishers.push(Publisher { session, connection: None });
        }
        for emitter in 0..shape.emitters as usize {
            let publisher = clients.load.publisher_of(emitter);
            let tags = tags(emitter);
            let handle = clients.publishers[publisher].session.register(&tags);
            clients.handles.push(handle.map_err(|error| DriveError::Peer(error.to_string()))?);
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(server.ca_pem.as_bytes()) {
            roots.add(certificate.map_err(|error| DriveError::Peer(error.to_string()))?)?;
        }
        let core = Core::new(CoreSettings::default(), None, None, clients)?;
        let mut link = Self { core };
        let streams = if is_relay { shape.publishers } else { 1 };
        let dialler = Dialler { server, roots, streams, is_relay };
        // Receivers first: a relay gives a publisher's stream to those that are there when it
        // begins.
        for receiver in 0..shape.receivers as usize {
            link.dial(&dialler, Role::Receiver(receiver))?;
        }
        set_up(&mut link, |link| link.core.app().ready == shape.receivers as usize)?;
        for publisher in 0..shape.publishers as usize {
            link.dial(&dialler, Role::Publisher(publisher))?;
        }
        set_up(&mut link, |link| link.core.app().ready >= (shape.receivers + shape.publishers) as usize)?;
        Ok(link)
    }

    fn dial(&mut self, dialler: &Dialler<'_>, role: Role) -> Result<(), DriveError> {
        let client = dialler.settings(role)?;
        let remote = dialler.server.address;
        self.core.with_io(|app, io| {
            let via = io.add_socket(SocketAddr::new(remote.ip(), 0))?;
            let dial = Dial { remote, server_name: "localhost".to_owned(), client, via, shard: None };
            let id = io.connect(&dial).map_err(|error| DriveError::Peer(error.to_string()))?;
            let side = if dialler.is_relay {
                Side::Relay(id, Publishing::new())
            } else {
                Side::Router(Box::new(towards_router(app, id, role)?))
            };
            let index = app.connections.len();
            if let Role::Publisher(number) = role {
                app.publishers[number].connection = Some(index);
            }
            app.by_id.insert(id, index);
            app.connections.push(Connection { side, role });
            Ok(())
        })
    }
}

/// A connection to a router, and what its receiver asks for.
fn towards_router(app: &Clients, id: ConnId, role: Role) -> Result<ClientConnection, DriveError> {
    let is_member = matches!(role, Role::Receiver(_)) && app.load.shape().pattern == Pattern::Group;
    let config = ConnectionConfig {
        software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")).to_owned(),
        receivers: u32::from(matches!(role, Role::Receiver(_))),
        // Members of groups acknowledge.
        confirms: is_member,
        liveness: LivenessConfig {
            silence_ns: SILENCE_NS,
            idle_silence_ns: 2 * SILENCE_NS,
            welcome_ns: SILENCE_NS,
        },
        ..ConnectionConfig::default()
    };
    let mut connection = ClientConnection::new(id, config, app.time(std::time::Instant::now()));
    if matches!(role, Role::Receiver(_)) {
        let request = OpenReceiver {
            receiver: ReceiverNumber(0),
            linger_us: 0,
            queue_bytes: RECEIVER_QUEUE_BYTES,
            ..OpenReceiver::default()
        };
        let request = if is_member {
            OpenReceiver { group: GROUP.to_owned(), max_inflight: INFLIGHT_MAX, ..request }
        } else {
            request
        };
        connection
            .open_receiver(request, app.receiver.window_bytes)
            .map_err(|error| DriveError::Peer(error.to_string()))?;
        connection.subscribe(ReceiverNumber(0), SubscriptionNumber(0), &[EVERYTHING.to_owned()]);
    }
    Ok(connection)
}

impl Dialler<'_> {
    fn settings(&self, role: Role) -> Result<Arc<ClientSettings>, DriveError> {
        let config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let alpn = match role {
            _ if !self.is_relay => ALPN_CLIENT,
            Role::Publisher(_) => RELAY_PUBLISH,
            Role::Receiver(_) => RELAY_RECEIVE,
        };
        let transport = TransportSettings {
            uni_streams: self.streams,
            bidi_streams: 1,
            keep_alive: Some(Duration::from_secs(10)),
            stream_receive_window_bytes: 1 << 20,
            receive_window_bytes: 8 << 20,
            ..TransportSettings::client_facing()
        };
        let settings = ClientSettings::new(tls::client(config, &[alpn]), transport);
        settings.map(Arc::new).map_err(|error| DriveError::Peer(error.to_string()))
    }
}

impl Link for QuicLink {
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load)) {
        f(&mut self.core.app_mut().load);
    }

    fn turn(&mut self, wait: Duration) -> Result<(), DriveError> {
        self.core.turn(wait);
        match self.core.app_mut().failed.take() {
            Some(reason) => Err(DriveError::Peer(reason)),
            None => Ok(()),
        }
    }
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        self.core.with_io(Clients::close);
        self.core.turn(Duration::ZERO);
    }
}
