//! TLS sessions of accepted connections, which hold what a connection still needs and no more.
//!
//! A handshake takes some 4 KB: rustls's state, the keys of TLS records that QUIC never uses, the
//! client's certificates. quinn-proto's own session keeps all of it as long as the connection
//! lives, and the keys of the next key update beside it. Here a session lets go of the handshake
//! when it is over, and derives the next keys when somebody uses them
//! ([ADR 34](../../../docs/adr/0034-sessions-end-with-their-handshake.md)).
//!
//! ```text
//! CRYPTO frames ─► ServerSession ─► rustls      until the client's Finished was read and the ticket written
//!                        └─► Generation ─► keys when the first packet of the next key phase comes or goes
//! ```

mod config;
mod generation;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use config::Unresumed;
pub(crate) use server::begin;
