//! TLS resumption: who may go on with a session that an earlier handshake has begun, at any router
//! of the cluster.
//!
//! A resumption ticket is a session, sealed for the client to keep; routers remember nothing. With
//! the session stands what the client proved in its full handshake: when the first certificate of
//! its chain ends, and a hash of the authority that the chain leads to. Each ticket of a resumed
//! session states the same again, so that a chain of tickets ends with the certificate that it
//! began with. Connections of the peer protocol neither use tickets nor get any.
//!
//! ```text
//! full handshake:  chain --Authorities::prove--> Proof --Tickets::seal--> ticket
//! resumption:      ticket --Tickets::open--> Proof --is it still good?--> session --Tickets::seal--> next ticket
//! ```

mod authorities;
mod session;
mod tickets;

pub use authorities::Authorities;
pub(crate) use session::Sessions;
pub(crate) use tickets::TicketKeys;

/// Turns resumption on for accepted connections; see [`crate::ServerSettings::resumption`].
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The authorities of clients' certificates, which are verified with them.
    pub authorities: Authorities,
    /// The application protocol whose connections neither use tickets nor get any.
    pub without: Vec<u8>,
}

/// What a client has proven, as its tickets state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// When the first certificate of its chain ends, seconds since 1970.
    pub(crate) end: u64,
    /// Hash of the authority that its chain leads to.
    pub(crate) issuer: [u8; 32],
}

impl Proof {
    /// Of a client that showed no certificate.
    pub(crate) const NONE: Self = Self { end: u64::MAX, issuer: [0; 32] };
}
