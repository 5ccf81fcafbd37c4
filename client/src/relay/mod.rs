//! Passes on what others have published: for programs that forward from one cluster to another.
//!
//! A relay is a publisher without events of its own: what it writes, and under whose id, is decided
//! by its owner, a [`Relayed`]. This module finds a router, keeps the connection alive, and moves
//! when the router goes away. A router takes a relay only from an identity that its `[[accept]]`
//! lists.

mod relayed;
mod task;

pub use relayed::{Relayed, Said};
pub(crate) use task::run;
