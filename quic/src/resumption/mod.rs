//! TLS resumption: which clients may go on with the session of an earlier handshake, at any router
//! of the cluster.
//!
//! A resumption ticket is a session, sealed for the client to keep; routers remember nothing.
//! Beside the session it states what the client proved in its full handshake: when the first
//! certificate of its chain ends, and a hash of the authority that the chain leads to. Each ticket
//! of a resumed session states the same again, so that a chain of tickets ends with the certificate
//! that it began with. No ticket outlives the router's own certificate either, because who resumes
//! does not look at that again. Connections of the peer protocol neither use tickets nor get any.
//!
//! ```text
//! full handshake:  chain --Authorities::prove--> Proof --Tickets::seal--> ticket
//! resumption:      ticket --Tickets::open--> Proof --is it still good?--> session --Tickets::seal--> next ticket
//! ```

mod authorities;
mod counts;
mod proof;
mod session;
mod setting;
mod tickets;

pub use authorities::Authorities;
pub(crate) use counts::Counts;
pub(crate) use session::Sessions;
pub use setting::Resumption;
pub(crate) use tickets::TicketKeys;
