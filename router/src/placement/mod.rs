//! Which CPUs a router's threads run on.
//!
//! `machine` describes the host and what of it the process may use; `plan` decides from that alone;
//! `bind` carries it out on the thread that it is for.
//!
//! A pinned thread waits for its CPU however idle the others are, so a core is pinned only where
//! its CPU is the router's own. Elsewhere each core begins on a CPU of its own, where its caches
//! are, and the system moves it away while another program keeps that CPU busy.

mod bind;
mod machine;
mod plan;

pub(crate) use bind::{seat_core, seat_other};
pub(crate) use machine::Machine;
pub(crate) use plan::{Placement, plan};
