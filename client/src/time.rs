//! Monotonic time as the sessions see it: nanoseconds since a moment that whoever drives them
//! chose.
//!
//! Sessions read no clock. The async shell counts from its start, the load generator from its
//! loop's clock, the simulator from virtual time zero. Event times (wall clock, nanoseconds since
//! 1970) are plain `u64` and never compared with these.

pub use millrace_sansio::{MILLISECOND_NS, SECOND_NS, Time};
