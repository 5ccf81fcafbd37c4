//! Settings of one connection.

use millrace_proto::control::TableCapacity;
use millrace_proto::proof::Token;
use millrace_proto::{ClusterId, PublisherSecret};

use crate::session::liveness::LivenessConfig;

/// Settings of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Name and version of this program, for operators.
    pub software: String,
    /// Tag sets and publishers that this side's readers hold, for each delivery stream.
    pub tables: TableCapacity,
    /// Receivers that this connection may open. Default 0: a publisher.
    pub receivers: u32,
    /// The silence limits.
    pub liveness: LivenessConfig,
    /// How long the publisher can wait for
    /// [`ConnectionEvent::Received`](super::ConnectionEvent::Received), microseconds. Default 0:
    /// the router's choice, 20 ms. Routers make no publisher wait for more than 10 s. A time beyond
    /// an integer of the wire is cut to its largest.
    pub received_within_us: u64,
    /// Whether Hello asks for one delivery stream for all receivers. A router without the feature
    /// opens a stream for each all the same:
    /// [`ConnectionSession::shares_deliveries`](super::ConnectionSession::shares_deliveries).
    /// Default no.
    pub share_deliveries: bool,
    /// Whether Hello asks for confirms: outcomes for the publisher, and acknowledgements of runs
    /// that its receivers take, which a client that asks owes. Default no.
    pub confirms: bool,
    /// Whether history is asked for: positions of runs, and the right to ask for the past. Default
    /// no.
    pub history: bool,
    /// Whether its receivers may move to and from other routers without a gap: it reads marks.
    /// Default no.
    pub moves: bool,
    /// Whether its publisher reads which tag sets nobody wants. Default no.
    pub quench: bool,
    /// Publishers that it may have: their numbers are below it. Default 1.
    pub publishers: u64,
    /// The secret that proves the ids of its publishers. Default none: the router makes their ids.
    pub secret: Option<PublisherSecret>,
    /// What proves who the client is, where it has no certificate. Default none: an empty text.
    pub token: Token,
    /// Where the client is. Default nowhere in particular: an empty text.
    pub zone: String,
    /// The cluster that it forwards events from. Default 0: it is a client of the router's own.
    pub cluster: ClusterId,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            software: concat!("millrace-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            tables: TableCapacity::CLIENT,
            receivers: 0,
            liveness: LivenessConfig::default(),
            received_within_us: 0,
            share_deliveries: false,
            confirms: false,
            history: false,
            moves: false,
            quench: false,
            publishers: 1,
            secret: None,
            token: Token::default(),
            zone: String::new(),
            cluster: ClusterId(0),
        }
    }
}
