//! The simulated network: connections and streams as QUIC gives them, without packets, ciphers or
//! bandwidth.
//!
//! A connection joins a host that dialled and a router. Its streams are ordered byte streams with a
//! window each; nothing orders two streams. Loss is delay, as QUIC sends again. What is sent into a
//! partition waits for its end, and is void when the connection dies first. A connection whose
//! other end has vanished dies at its idle timeout, or by a stateless reset once the other host
//! answers again.
//!
//! Invariant: bytes of a stream arrive in order, each once, or the connection is reported as
//! closed.

//! | file | what it is |
//! |---|---|
//! | `packet.rs` | hosts, packets, what an end learns |
//! | `connection.rs` | one connection: its ends and their states |
//! | `stream.rs` | one direction of a stream |
//! | `machine.rs` | the network: dials, timers, faults |
//! | `arrive.rs` | what an arriving packet does |
//! | `ends.rs` | ends that fall silent, vanish, meet a reset |
//! | `wire.rs` | the network as a process uses it |
//! | `conditions.rs`, `tamper.rs` | faults, bugs put in on purpose |
//! | `tap.rs`, `quench_tap.rs` | what crosses lanes, what publishers are told |

mod arrive;
mod conditions;
mod connection;
mod ends;
mod machine;
mod packet;
mod quench_tap;
mod stream;
mod tamper;
mod tap;
mod wire;

pub use conditions::{Conditions, Latency, up_to};
pub use machine::{Network, NetworkConfig};
pub use millrace_verify::checker::copies::Place;
pub use packet::{Endpoint, Host, Notice, Notices, Packet};
pub(crate) use quench_tap::Quenchings;
pub use tamper::Bug;
pub use tap::Crossing;
pub(crate) use tap::Crossings;
pub(crate) use tap::batch as tap_batch;
pub use wire::Wire;
