//! The async shell against a small router made of protocol frames, and, where the answers matter,
//! against a real one: real QUIC on loopback, ports chosen by the system, and no sleeps; whatever a
//! test waits for is something the other side does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[cfg(all(unix, feature = "spool"))]
mod bundle;
mod confirms;
mod flush;
mod groups;
mod levels;
mod moves;
mod per_core;
mod publisher;
mod receiver;
mod redundant;
mod requests;
mod resumption;
mod router;
mod shared;
#[cfg(all(unix, feature = "spool"))]
mod spool;
