//! What a core asks of the connections below it. The router's QUIC loop and the simulator's network
//! implement [`Transport`].

pub use millrace_sansio::{ConnId as ConnKey, ReadState, StreamGone, StreamId as StreamKey, Transport};
