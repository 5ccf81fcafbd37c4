//! Certificates of Millrace: what all programs agree on about TLS.
//!
//! | module | what it is |
//! |---|---|
//! | [`provider`] | the cryptography of every Millrace connection |
//! | [`places`] | where routers in development mode leave their authority, and clients look for it |
//!
//! Nothing here opens a socket.

pub mod places;
pub mod provider;

pub use provider::crypto_provider;
