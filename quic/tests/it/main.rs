//! The crate as its users see it: on real sockets, on a simulated network in virtual time, and
//! against stock quinn.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod admission;
mod allocations;
mod gaps;
mod interop;
mod jumbo;
mod loopback;
mod memory;
mod peer;
mod resumption;
mod setting_aside;
mod simulated;
mod steering;
mod tls;
mod veth;
mod world;
