//! What Millrace's state machines and the loops that drive them have in common.
//!
//! A state machine (the engine's cores and control, the client's sessions) decides; a loop (the
//! QUIC loop of a router or a load generator, the simulator's network, the tokio shell of the
//! client library) moves bytes and time. Both sides use the words of this crate, so that a session
//! runs on any loop and no loop needs translations of its own:
//!
//! | type | what it is |
//! |---|---|
//! | [`Time`] | a moment on a monotonic clock, an input to every state machine |
//! | [`Clock`] | the start that one program's times count from |
//! | [`ConnId`], [`StreamId`] | names of connections and of their streams |
//! | [`Transport`] | connections as a state machine uses them |
//!
//! Nothing here does I/O, reads a clock or knows a frame: codes of close and stop are plain
//! numbers, because the QUIC loop carries them without knowing what they mean.

mod clock;
mod ids;
mod time;
mod transport;

pub use clock::Clock;
pub use ids::{ConnId, StreamId};
pub use time::{MILLISECOND_NS, SECOND_NS, Time};
pub use transport::{ReadState, StreamGone, Transport};
