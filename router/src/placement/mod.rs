//! Which CPUs a router's threads run on.
//!
//! `machine` describes the host and the CPUs that the process may use. `plan` decides from that
//! description alone. `bind` puts a thread on the CPUs of its plan.
//!
//! A pinned thread waits for its CPU however idle the others are, so that a core is pinned only
//! where its CPU is the router's own. Elsewhere each core begins on a CPU of its own, where its
//! caches are, and the system moves it away while another program keeps that CPU busy.

mod bind;
mod machine;
mod plan;

pub(crate) use bind::{seat_core, seat_other};
pub(crate) use machine::Machine;
pub(crate) use plan::{Placement, plan};
