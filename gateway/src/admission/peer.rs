//! What a connection itself says about its client.

use std::net::IpAddr;
use std::sync::Arc;

use super::certificate::Certificate;
use super::waiting::Waiting;

/// The client at the other end of a connection, before it says anything.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub ip: IpAddr,
    /// Whether this end of the connection is a loopback address.
    pub on_loopback: bool,
    /// Its certificate, which an authority of the door has signed.
    pub certificate: Option<Arc<Certificate>>,
    /// Its place among those who have no identity yet.
    pub waiting: Waiting,
}
