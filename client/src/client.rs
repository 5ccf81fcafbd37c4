//! A client: one UDP socket, one configuration, any number of publishers and receivers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_proto::control::Welcome;
use millrace_proto::{CloseCode, Incarnation, Shard};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AckFrequencyConfig, ConnectionId, Endpoint, TransportConfig, VarInt};
use tokio::task::JoinSet;

use crate::address::RouterAddress;
use crate::clock::{Clock, nanos};
use crate::config::Config;
use crate::disconnect::Disconnect;
use crate::link::{Link, Place};
use crate::publisher::{Publisher, PublisherOptions};
use crate::receiver::{Receiver, ReceiverOptions};
use crate::session::ConnectionConfig;
use crate::session::liveness::LivenessConfig;
use crate::targets::Targets;
use crate::tls::{self, TlsError};

/// Addresses tried for one connection, at most; more are left for the next attempt.
const ADDRESSES_MAX: usize = 64;
/// Head start of an address over the next one.
const STAGGER: Duration = Duration::from_millis(250);
/// How long closing waits for the last packets to leave.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Streams that a router may open: one per receiver, and a little air for moves.
const ROUTER_STREAMS: u32 = 4;
/// Flow control of one stream: above the largest receiver window, so that grants decide.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes written but not acknowledged, at most: above any useful product of bandwidth and delay of one publisher.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// Why no connection could be made. Nothing is left behind; trying again later is fine.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No router is configured.
    #[error("no router is configured")]
    NoRouters,
    /// No socket could be opened.
    #[error("cannot open a UDP socket: {0}")]
    Socket(std::io::Error),
    /// Trust or identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A receiver with the policy that blocks publishers.
    #[error(
        "policy block is not possible: it needs events that are confirmed, which no router of this version does; use \
         drop-oldest, drop-newest or disconnect"
    )]
    BlockPolicy,
    /// A name could not be resolved.
    #[error("cannot resolve {router}: {source}")]
    Resolve {
        /// The router.
        router: RouterAddress,
        /// Why.
        source: std::io::Error,
    },
    /// A router did not answer in time.
    #[error("{} does not answer", tried(router, address))]
    Timeout {
        /// The router.
        router: RouterAddress,
        /// The address that was tried last.
        address: SocketAddr,
    },
    /// A router refused, or the connection failed while it was made.
    #[error("{}: {reason}", tried(router, address))]
    Failed {
        /// The router.
        router: RouterAddress,
        /// The address that was tried last.
        address: SocketAddr,
        /// Why.
        reason: Disconnect,
    },
}

/// A router, and the address behind its name.
fn tried(router: &RouterAddress, address: &SocketAddr) -> String {
    let (name, address) = (router.to_string(), address.to_string());
    if name == address { name } else { format!("{name} ({address})") }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    /// Receivers that it may open.
    pub(crate) receivers: u32,
    /// How long its publisher can wait to be told what was received; 0: the router's choice.
    pub(crate) received_within: Duration,
}

/// Makes publishers and receivers. Cheap to clone; all clones share a socket.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    endpoint: Endpoint,
    /// Sockets of connections that do not share the first one; those without connections leave when the next comes.
    others: Arc<Mutex<Vec<Endpoint>>>,
    clock: Clock,
}

impl Client {
    /// Opens the socket. To be called within a tokio runtime; connects to nothing yet.
    ///
    /// # Errors
    /// [`ConnectError::NoRouters`] or [`ConnectError::Socket`].
    pub fn new(config: Config) -> Result<Self, ConnectError> {
        if config.routers.is_empty() {
            return Err(ConnectError::NoRouters);
        }
        let (endpoint, others) = (open_socket()?, Arc::default());
        Ok(Self { inner: Arc::new(Inner { config, endpoint, others, clock: Clock::new() }) })
    }

    /// This client with a socket of its own, for a connection to the same router as another one: with one source port for
    /// both, packets of two cores could be merged on their way and would reach only one of them.
    pub(crate) fn on_own_socket(&self) -> Result<Self, ConnectError> {
        let Inner { config, others, clock, .. } = &*self.inner;
        let endpoint = open_socket()?;
        if let Ok(mut others) = others.lock() {
            others.retain(|endpoint| endpoint.open_connections() > 0);
            others.push(endpoint.clone());
        }
        let (config, others) = (config.clone(), others.clone());
        Ok(Self { inner: Arc::new(Inner { config, endpoint, others, clock: *clock }) })
    }

    /// Connects a publisher.
    ///
    /// # Errors
    /// [`ConnectError`] when no router could be reached within the connect timeout. Once connected, a publisher reconnects
    /// by itself.
    pub async fn publisher(&self, options: PublisherOptions) -> Result<Publisher, ConnectError> {
        Publisher::connect(self.clone(), options).await
    }

    /// Connects a receiver; it has no subscriptions yet.
    ///
    /// # Errors
    /// [`ConnectError`] when no router could be reached within the connect timeout, or the options ask for what no router
    /// does. Once connected, a receiver reconnects by itself.
    pub async fn receiver(&self, options: ReceiverOptions) -> Result<Receiver, ConnectError> {
        Receiver::connect(self.clone(), options).await
    }

    /// Waits until the last packets of closed publishers and receivers have left, at most a second. For programs that
    /// exit.
    pub async fn close(self) {
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

    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Makes one connection to any of the targets that welcomes this client. Addresses are raced with a small head start
    /// for the earlier ones.
    pub(crate) async fn connect(
        &self,
        targets: &Targets,
        shard: Option<Shard>,
        wants: Wants,
    ) -> Result<(Link, Box<Welcome>), ConnectError> {
        let quic = self.quic_config(shard)?;
        let (addresses, mut failure) = resolve(&targets.shuffled()).await;
        let mut waiting = addresses.into_iter();
        let mut attempts = JoinSet::new();
        loop {
            if let Some(place) = waiting.next() {
                let attempt = self.clone().attempt(quic.clone(), place, wants, targets.left());
                attempts.spawn(attempt);
            } else if attempts.is_empty() {
                return Err(failure.unwrap_or(ConnectError::NoRouters));
            }
            let stagger = async {
                if waiting.len() == 0 {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(STAGGER).await
                }
            };
            tokio::select! {
                Some(Ok(outcome)) = attempts.join_next() => match outcome {
                    Ok(link) => return Ok(link),
                    Err(error) => failure = Some(error),
                },
                () = stagger => {}
            }
        }
    }

    /// Makes one more connection to where a router was reached.
    pub(crate) async fn connect_to(
        &self,
        place: &Place,
        shard: Option<Shard>,
        wants: Wants,
    ) -> Result<(Link, Box<Welcome>), ConnectError> {
        let quic = self.quic_config(shard)?;
        self.clone().attempt(quic, place.clone(), wants, None).await
    }

    async fn attempt(
        self,
        quic: quinn::ClientConfig,
        place: Place,
        wants: Wants,
        left: Option<Incarnation>,
    ) -> Result<(Link, Box<Welcome>), ConnectError> {
        let Place { router, address } = place.clone();
        let Config { server_name, silence, idle_silence, connect_timeout, .. } = &self.inner.config;
        let name = server_name.clone().unwrap_or_else(|| router.host().to_owned());
        let liveness = LivenessConfig {
            silence_ns: nanos(*silence),
            idle_silence_ns: nanos(*idle_silence),
            welcome_ns: nanos(*connect_timeout),
        };
        let work = async {
            let connecting = self
                .inner
                .endpoint
                .connect_with(quic, address, &name)
                .map_err(|error| Disconnect::Transport(error.to_string()))?;
            let Wants { receivers, received_within } = wants;
            let received_within_us = nanos(received_within) / 1000;
            let config =
                ConnectionConfig { receivers, liveness, received_within_us, ..ConnectionConfig::default() };
            let (link, welcome) = Link::open(connecting.await?, place, config, self.inner.clock).await?;
            if Some(welcome.incarnation) == left {
                close_done(&link);
                return Err(Disconnect::WentAway);
            }
            Ok((link, welcome))
        };
        match tokio::time::timeout(*connect_timeout, work).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(reason)) => Err(ConnectError::Failed { router, address, reason }),
            Err(_) => Err(ConnectError::Timeout { router, address }),
        }
    }

    fn quic_config(&self, shard: Option<Shard>) -> Result<quinn::ClientConfig, ConnectError> {
        let tls = tls::client_config(&self.inner.config)?;
        let tls = QuicClientConfig::try_from(tls)
            .map_err(|error| TlsError::Identity(rustls::Error::General(error.to_string())))?;
        let mut quic = quinn::ClientConfig::new(Arc::new(tls));
        quic.transport_config(Arc::new(transport()));
        if let Some(shard) = shard {
            quic.initial_dst_cid_provider(Arc::new(move || id_towards(shard)));
        }
        Ok(quic)
    }
}

/// A socket on any address, for both families where the host has both.
fn open_socket() -> Result<Endpoint, ConnectError> {
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    // Hosts without IPv6 cannot bind the first.
    Endpoint::client(SocketAddr::new(any[0], 0))
        .or_else(|_| Endpoint::client(SocketAddr::new(any[1], 0)))
        .map_err(ConnectError::Socket)
}

fn transport() -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(10)).max_ack_delay(Some(Duration::from_millis(25)));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(ROUTER_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(false)
        .datagram_receive_buffer_size(None)
        .ack_frequency_config(Some(acks));
    transport
}

/// An initial destination id that steers to the core which owns `shard`: bytes 1–2 carry it, the rest is random.
fn id_towards(shard: Shard) -> ConnectionId {
    let mut id: [u8; 12] = rand::random();
    let [high, low] = shard.number().to_be_bytes();
    id[1] = (id[1] & 0xf0) | high;
    id[2] = low;
    ConnectionId::new(&id)
}

/// All addresses of the targets, in their order; the addresses of one name are interleaved as the resolver gave them. Also
/// the last name that could not be resolved.
async fn resolve(targets: &[RouterAddress]) -> (Vec<Place>, Option<ConnectError>) {
    let mut addresses: Vec<Place> = Vec::new();
    let mut failure = None;
    for router in targets {
        match tokio::net::lookup_host((router.host(), router.port())).await {
            Ok(found) => {
                let mut found: Vec<_> = found.take(ADDRESSES_MAX).collect();
                rand::seq::SliceRandom::shuffle(&mut found[..], &mut rand::rng());
                for address in found {
                    if addresses.len() < ADDRESSES_MAX
                        && !addresses.iter().any(|known| known.address == address)
                    {
                        addresses.push(Place { router: router.clone(), address });
                    }
                }
            }
            Err(source) => failure = Some(ConnectError::Resolve { router: router.clone(), source }),
        }
    }
    (addresses, failure)
}

/// Closes a link in order, for a publisher or receiver that is done.
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
            assert_eq!(u16::from_be_bytes([id[1], id[2]]) & 0xfff, shard.number());
        }
    }
}
