//! Makes connections: opens sockets, sets up TLS and QUIC, and greets a router with each dial.
//! [`Attaching`](crate::attaching::Attaching) decides where to and when.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_proto::control::Welcome;
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
use millrace_proto::{CloseCode, ClusterId, PublisherSecret, Shard};
use quinn::{AckFrequencyConfig, ConnectionId, Endpoint, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::sync::broadcast;

use crate::address::RouterAddress;
use crate::change::Change;
use crate::clock::{Clock, nanos};
use crate::config::Config;
use crate::disconnect::Disconnect;
use crate::error::{AttemptError, ConnectError};
use crate::link::{Link, Place};
use crate::round_trips::RoundTrips;
use crate::session::ConnectionConfig;
use crate::session::liveness::LivenessConfig;
use crate::tls::{Tls, TlsError};

/// Addresses taken from one lookup of a name, at most; a resolver may answer with any number.
const ADDRESSES_MAX: usize = 64;
/// Changes that wait for a slow listener, at most; it misses the oldest of more.
const CHANGES_MAX: usize = 64;
/// How long closing waits until the last packets have left.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Streams that a router may open beyond one for each receiver, because the stream of a closed
/// receiver may still be open when the next one begins.
const ROUTER_STREAMS: u32 = 4;
/// Flow control of one stream, bytes: no smaller than the largest window of a receiver, because
/// grants are to decide and not QUIC.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes written but not acknowledged, at most: enough for 1 Gbit/s at a round trip of 30 ms.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// The payload of a datagram that every path takes, and the one that is tried first; a path that
/// takes less is tried once more, in the middle.
const PAYLOAD_BYTES: [u16; 2] = [1_200, 1_452];

/// A connection that its router has welcomed.
pub(crate) type Connected = (Link, Box<Welcome>);

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    /// Receivers that it may open.
    pub(crate) receivers: u32,
    /// How long its publisher can wait to be told what was received; 0: the router's choice.
    pub(crate) received_within: Duration,
    /// Whether the Hello asks for one delivery stream for all receivers.
    pub(crate) share_deliveries: bool,
    /// Confirms are asked for: its publisher has a level, or its receivers acknowledge.
    pub(crate) confirms: bool,
    /// Its publisher is told which tag sets nobody wants.
    pub(crate) quench: bool,
    /// Publishers that it may have, beyond the first.
    pub(crate) more_publishers: u64,
    /// The secret that proves its publisher's ids.
    pub(crate) secret: Option<PublisherSecret>,
    /// The cluster that it forwards events from; 0: none.
    pub(crate) cluster: ClusterId,
}

impl Wants {
    /// The wants of a connection that receivers share with a publisher that wants `publisher`.
    /// Without a secret it draws one, because a publisher may join it later.
    pub(crate) fn shared(publisher: &Self) -> Self {
        let Self { received_within, secret, .. } = *publisher;
        let secret = Some(secret.unwrap_or_else(|| PublisherSecret(rand::random())));
        Self {
            receivers: RECEIVERS_PER_CONNECTION_MAX,
            received_within,
            share_deliveries: true,
            confirms: true,
            quench: true,
            more_publishers: 0,
            secret,
            cluster: ClusterId(0),
        }
    }
}

/// Makes connections. Cheap to clone; all clones share a socket.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    tls: Tls,
    endpoint: Endpoint,
    /// Further sockets; [`Connector::on_own_socket`] removes those without connections.
    others: Arc<Mutex<Vec<Endpoint>>>,
    clock: Clock,
    changes: broadcast::Sender<Change>,
    round_trips: Arc<RoundTrips>,
}

impl Connector {
    /// Opens the socket that connections share.
    pub(crate) fn new(config: Config) -> Result<Self, ConnectError> {
        if config.routers.is_empty() {
            return Err(ConnectError::NoRouters);
        }
        let (endpoint, others) = (open_socket()?, Arc::default());
        let changes = broadcast::Sender::new(CHANGES_MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                tls: Tls::default(),
                endpoint,
                others,
                clock: Clock::new(),
                changes,
                round_trips: Arc::default(),
            }),
        })
    }

    /// This connector with a socket of its own, for a second connection to the same router, because
    /// the router's host may merge packets of one source port, and a merged packet reaches one core
    /// only.
    pub(crate) fn on_own_socket(&self) -> Result<Self, ConnectError> {
        let Inner { config, tls, others, clock, changes, round_trips, .. } = &*self.inner;
        let endpoint = open_socket()?;
        if let Ok(mut others) = others.lock() {
            others.retain(|endpoint| endpoint.open_connections() > 0);
            others.push(endpoint.clone());
        }
        let (config, tls, others, changes) = (config.clone(), tls.clone(), others.clone(), changes.clone());
        let (clock, round_trips) = (*clock, round_trips.clone());
        let inner = Inner { config, tls, endpoint, others, clock, changes, round_trips };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until the last packets of closed connections have left, at most a second.
    pub(crate) async fn close(self) {
        let others = self.inner.others.lock().map(|mut others| std::mem::take(&mut *others));
        let mut endpoints = others.unwrap_or_default();
        endpoints.push(self.inner.endpoint.clone());
        let idle = async {
            for endpoint in &endpoints {
                endpoint.close(VarInt::from_u32(0), b"");
            }
            for endpoint in &endpoints {
                endpoint.wait_idle().await;
            }
        };
        let _ = tokio::time::timeout(IDLE_WAIT, idle).await;
    }

    /// Changes of this client's connections from this call on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Logs a change and tells it to all listeners.
    pub(crate) fn tell(&self, change: Change) {
        change.log();
        // An error means that nobody listens; the log has the change.
        let _ = self.inner.changes.send(change);
    }

    /// The round trip to the router of this link, nanoseconds: the shortest that this connection or
    /// another one of this client has measured.
    pub(crate) fn round_trip_ns(&self, link: &Link) -> u64 {
        let own_ns = nanos(link.connection.min_rtt());
        self.inner.round_trips.shortest(link.place.address, own_ns, self.clock().now())
    }

    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Connects to a router and greets it; sets `answers` when the router has answered. The caller
    /// bounds the time that it takes.
    pub(crate) async fn dial(
        &self,
        place: Place,
        shard: Option<Shard>,
        wants: Wants,
        answers: &AtomicBool,
    ) -> Result<Connected, AttemptError> {
        let quic = self.quic_config(shard, wants.receivers).map_err(AttemptError::Tls)?;
        let Place { router, address } = place.clone();
        let Config { server_name, silence, idle_silence, connect_timeout, token, zone, .. } =
            &self.inner.config;
        let name = server_name.clone().unwrap_or_else(|| router.server_name().to_owned());
        let liveness = LivenessConfig {
            silence_ns: nanos(*silence),
            idle_silence_ns: nanos(*idle_silence),
            welcome_ns: nanos(*connect_timeout),
        };
        let mut connecting = self
            .inner
            .endpoint
            .connect_with(quic, address, &name)
            .map_err(|error| Disconnect::Transport(error.to_string()))?;
        let Wants { receivers, received_within, share_deliveries, .. } = wants;
        let Wants { confirms, quench, more_publishers, secret, cluster, .. } = wants;
        let received_within_us = nanos(received_within) / 1000;
        let config = ConnectionConfig {
            receivers,
            liveness,
            received_within_us,
            share_deliveries,
            history: receivers > 0,
            moves: receivers > 0,
            confirms,
            quench,
            publishers: 1 + more_publishers,
            secret,
            token: token.clone().unwrap_or_default(),
            zone: zone.clone().unwrap_or_default(),
            cluster,
            ..ConnectionConfig::default()
        };
        connecting.handshake_data().await.map_err(Disconnect::from)?;
        answers.store(true, Ordering::Relaxed);
        let connection = connecting.await.map_err(Disconnect::from)?;
        Ok(Link::open(connection, place, config, self.inner.clock).await?)
    }

    /// Makes one more connection to an address where a router was reached, within
    /// [`Config::connect_timeout`](field@Config::connect_timeout).
    pub(crate) async fn connect_to(
        &self,
        place: &Place,
        shard: Option<Shard>,
        wants: Wants,
    ) -> Result<Connected, ConnectError> {
        let Place { router, address } = place.clone();
        let answers = AtomicBool::new(false);
        let dial = self.dial(place.clone(), shard, wants, &answers);
        match tokio::time::timeout(self.inner.config.connect_timeout, dial).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(AttemptError::Tls(error))) => Err(error.into()),
            Ok(Err(AttemptError::Connection(reason))) => {
                Err(ConnectError::Failed { router, address, reason })
            }
            Ok(Err(AttemptError::Lookup(source))) => Err(ConnectError::Resolve { router, source }),
            Err(_) => Err(ConnectError::Timeout { router, address }),
        }
    }

    /// The addresses of a name, at most [`ADDRESSES_MAX`].
    pub(crate) async fn resolve(router: &RouterAddress) -> Result<Vec<SocketAddr>, AttemptError> {
        let mut found = Self::look_up(router.host(), router.port()).await;
        // Hosts files have names without the dot that ends one in DNS.
        if found.is_err()
            && let Some(name) = router.host().strip_suffix('.')
        {
            found = Self::look_up(name, router.port()).await;
        }
        found.map_err(|error| AttemptError::Lookup(Arc::new(error)))
    }

    async fn look_up(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
    }

    /// Checks that trust and identity can be used.
    pub(crate) fn check_tls(&self) -> Result<(), TlsError> {
        self.quic_config(None, 0).map(drop)
    }

    /// TLS and transport of one connection for so many receivers; `shard` chooses the router's
    /// core.
    fn quic_config(&self, shard: Option<Shard>, receivers: u32) -> Result<quinn::ClientConfig, TlsError> {
        let mut quic = quinn::ClientConfig::new(self.inner.tls.config(&self.inner.config)?);
        quic.transport_config(Arc::new(transport(receivers)));
        if let Some(shard) = shard {
            quic.initial_dst_cid_provider(Arc::new(move || id_towards(shard)));
        }
        Ok(quic)
    }
}

/// Opens a socket on any address, of both families where the host has both.
fn open_socket() -> Result<Endpoint, ConnectError> {
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    // A host without IPv6 cannot bind the first.
    Endpoint::client(SocketAddr::new(any[0], 0))
        .or_else(|_| Endpoint::client(SocketAddr::new(any[1], 0)))
        .map_err(ConnectError::Socket)
}

fn transport(receivers: u32) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(10)).max_ack_delay(Some(Duration::from_millis(25)));
    let [least, most] = PAYLOAD_BYTES;
    let mut payload = MtuDiscoveryConfig::default();
    // Steps as long as half of the range: the largest is tried first, and is all there is to try
    // where it fits.
    payload.upper_bound(most).minimum_change((most - least) / 2 + 1);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(receivers + ROUTER_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(false)
        .datagram_receive_buffer_size(None)
        .initial_mtu(least)
        .mtu_discovery_config(Some(payload))
        .ack_frequency_config(Some(acks));
    transport
}

/// Where a first destination id carries its shard: where routers look for it, and where those do
/// that stand behind a balancer of QUIC-LB.
const SHARD_OFFSETS: [usize; 2] = [1, 9];

/// A first destination id that steers to the core that owns `shard`: the low 12 bits of two bytes
/// at each of [`SHARD_OFFSETS`] carry the shard, the rest is random.
fn id_towards(shard: Shard) -> ConnectionId {
    let mut id: [u8; 12] = rand::random();
    let [high, low] = shard.number().to_be_bytes();
    for at in SHARD_OFFSETS {
        id[at] = (id[at] & 0xf0) | high;
        id[at + 1] = low;
    }
    ConnectionId::new(&id)
}

/// Closes a link with the code Done, which tells the router that this side has nothing more to do.
pub(crate) fn close_done(link: &Link) {
    link.close(CloseCode::Done, "");
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::*;

    #[test]
    fn the_first_id_names_the_shard_where_routers_look_for_it() {
        let shard = TagSet::from_texts(["host=web-1"]).unwrap().shard();
        for _ in 0..20 {
            let id = id_towards(shard);
            for at in SHARD_OFFSETS {
                assert_eq!(u16::from_be_bytes([id[at], id[at + 1]]) & 0xfff, shard.number());
            }
        }
    }

    #[tokio::test]
    async fn a_name_with_a_final_dot_is_found_as_without_it() {
        let found = Connector::resolve(&"LOCALHOST.:5".parse().unwrap()).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|at| at.ip().is_loopback() && at.port() == 5));
    }
}
