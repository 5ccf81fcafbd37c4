//! What a core needs to accept connections, and to dial them.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn_proto::crypto;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use super::{NewcomerLimits, SettingsError, TransportSettings};
use crate::resumption::{Counts, Sessions};
use crate::session::Unresumed;
use crate::{Keys, Network, Resumption, SocketId};

/// How many new connections a core takes.
///
/// A token bucket counts handshakes, which are the expensive part of a connection; who finds no
/// token waits in line. While less than half of the bucket is left, those in line deducted, a
/// newcomer first has to prove its address (Retry, one round trip, no state here); also while 128
/// handshakes are under way with clients that have not proven theirs. When the first in line has
/// waited for 2 s, or the line is 16,384 long, nobody joins it: unproven newcomers are ignored
/// (their own retransmission is the back-off), and proven ones are refused so that they try
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Handshakes per second in the long run, at least 1. Default 2,000, about half of what a core
    /// can sign.
    pub handshakes_per_second: u32,
    /// Handshakes at once after a quiet time, at least 2. Default 1,000.
    pub burst: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Self { handshakes_per_second: 2_000, burst: 1_000 }
    }
}

/// Accepted connections that speak this protocol get wider windows than others.
///
/// What a connection speaks is known only once its handshake is over, when most of the transport is
/// fixed. So of the settings here four count: `stream_receive_window_bytes`,
/// `receive_window_bytes`, `send_window_bytes`, and the numbers of streams. The window of a stream
/// cannot be changed later: it applies to all connections, of which the others are still held by
/// the `receive_window_bytes` of [`ServerSettings::transport`] over all streams together. The
/// congestion window starts as everybody's and grows from there.
#[derive(Clone, Debug, PartialEq)]
pub struct WideProtocol {
    /// Name of the protocol.
    pub alpn: Vec<u8>,
    /// Its windows and numbers of streams; none below those of everybody.
    pub transport: TransportSettings,
}

/// For connections that are accepted.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// TLS 1.3 with AES-128-GCM among its suites; see [`crate::tls`]. Early data must be off.
    pub tls: Arc<rustls::ServerConfig>,
    /// Transport of accepted connections, but for what [`Self::wide`] changes.
    pub transport: TransportSettings,
    /// Lets clients resume their TLS sessions; not by default. It takes the place of the verifier
    /// of [`Self::tls`], so that certificates are verified with its authorities, and clients may
    /// stay without one.
    pub resumption: Option<Resumption>,
    /// Connections that may have more in flight; none by default.
    pub wide: Option<WideProtocol>,
    /// How many are taken.
    pub admission: Admission,
    /// How long handshakes last, and how many connections come from one address prefix.
    pub newcomers: NewcomerLimits,
    /// The router's keys; equal on all of its cores.
    pub keys: Keys,
}

impl ServerSettings {
    /// Settings with the default admission.
    pub fn new(tls: Arc<rustls::ServerConfig>, transport: TransportSettings, keys: Keys) -> Self {
        Self {
            tls,
            transport,
            resumption: None,
            wide: None,
            admission: Admission::default(),
            newcomers: NewcomerLimits::default(),
            keys,
        }
    }

    /// Handshakes count the tickets of resumption there.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn build(&self, resumptions: &Arc<Counts>) -> Result<Accepting, SettingsError> {
        if self.admission.handshakes_per_second == 0 || self.admission.burst < 2 {
            return Err(SettingsError::OutOfRange { name: "admission" });
        }
        if let Some(name) = self.newcomers.out_of_range() {
            return Err(SettingsError::OutOfRange { name });
        }
        if self.tls.max_early_data_size != 0 {
            return Err(SettingsError::EarlyData);
        }
        let quic = QuicServerConfig::try_from(self.tls.clone()).map_err(|_| SettingsError::InitialSuite)?;
        let quic = Arc::new(quic);
        let crypto: Arc<dyn crypto::ServerConfig> = match self.resumption.clone() {
            None => Arc::new(Unresumed::new(self.tls.clone(), quic)),
            Some(resumption) => Arc::new(Sessions::new(
                self.tls.clone(),
                quic,
                resumption,
                self.keys.tickets(),
                resumptions.clone(),
            )),
        };
        let transport = self.accepted();
        let mut config = quinn_proto::ServerConfig::new(crypto, self.keys.token_key());
        config
            .transport_config(transport.build()?)
            .migration(true)
            // What arrives for connections that wait for their handshake: a hello of two packets,
            // some repeats.
            .incoming_buffer_size(16 << 10)
            .incoming_buffer_size_total(8 << 20);
        let mut jumbo = None;
        if let Some((packet_bytes, transport)) = transport.jumbo() {
            let mut config = config.clone();
            config.transport_config(transport.build()?);
            jumbo = Some(Jumbo { packet_bytes, config: Arc::new(config) });
        }
        Ok(Accepting { config: Arc::new(config), jumbo })
    }

    /// The transport that every connection begins with.
    fn accepted(&self) -> TransportSettings {
        let mut transport = self.transport.clone();
        if let Some(wide) = &self.wide {
            let stream = wide.transport.stream_receive_window_bytes;
            transport.stream_receive_window_bytes = transport.stream_receive_window_bytes.max(stream);
        }
        transport
    }
}

/// What connections are accepted with.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub(crate) config: Arc<quinn_proto::ServerConfig>,
    pub(crate) jumbo: Option<Jumbo<Arc<quinn_proto::ServerConfig>>>,
}

/// The settings of one side where the first hop takes jumbo frames.
#[derive(Clone, Debug)]
pub(crate) struct Jumbo<C> {
    /// Size of the IP packets that it must take.
    packet_bytes: usize,
    config: C,
}

impl<C: Clone> Jumbo<C> {
    /// What counts towards `remote`; `None` where its first hop takes less.
    pub(crate) fn towards(&self, remote: SocketAddr, net: &dyn Network) -> Option<C> {
        (net.route_mtu(remote) >= self.packet_bytes).then(|| self.config.clone())
    }
}

/// For connections that are dialled; make it once and share it.
#[derive(Clone)]
pub struct ClientSettings {
    config: quinn_proto::ClientConfig,
    jumbo: Option<Jumbo<quinn_proto::ClientConfig>>,
    transport: TransportSettings,
}

impl ClientSettings {
    /// Settings from a TLS configuration (TLS 1.3 with AES-128-GCM among its suites; see
    /// [`crate::tls`]).
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(tls: Arc<rustls::ClientConfig>, transport: TransportSettings) -> Result<Self, SettingsError> {
        let crypto = QuicClientConfig::try_from(tls).map_err(|_| SettingsError::InitialSuite)?;
        let mut config = quinn_proto::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport.build()?).token_store(Arc::new(quinn_proto::NoneTokenStore));
        let mut jumbo = None;
        if let Some((packet_bytes, transport)) = transport.jumbo() {
            let mut config = config.clone();
            config.transport_config(transport.build()?);
            jumbo = Some(Jumbo { packet_bytes, config });
        }
        Ok(Self { config, jumbo, transport })
    }

    /// The transport settings these were made from.
    pub fn transport(&self) -> &TransportSettings {
        &self.transport
    }

    pub(crate) fn config(&self, remote: SocketAddr, net: &dyn Network) -> quinn_proto::ClientConfig {
        let jumbo = self.jumbo.as_ref().and_then(|jumbo| jumbo.towards(remote, net));
        jumbo.unwrap_or_else(|| self.config.clone())
    }
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// One connection to be dialled.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The server. IPv4 works from dual-stack sockets, too.
    pub remote: SocketAddr,
    /// The name that its certificate must have: DNS name or IP address.
    pub server_name: String,
    /// TLS and transport.
    pub client: Arc<ClientSettings>,
    /// The socket to dial from.
    pub via: SocketId,
    /// The core that should accept: its steering value, 0..=4095, is written into the initial
    /// destination id. A router's core is `shard % cores`. `None` leaves it to chance.
    pub shard: Option<u16>,
}
