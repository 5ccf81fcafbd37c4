//! Forwarding: links to other clusters.
//!
//! ```text
//!            core 0 ─┐ runs that entered here
//! owner ──►  core 1 ─┼─► Link ──► publish stream ──► a router of the far cluster
//!                    │    │ ▲
//!            control ◄────┘ └── Welcome, Credit, Received, Outcome, Demand
//!         (what the link takes is filed in the directory, as a peer's interest is)
//! ```
//!
//! A link is a client of the far cluster: a publisher that passes runs on under the ids of those
//! who published them. Each router forwards what entered at it, and nothing that came over a lane,
//! so that one copy of a run leaves a cluster by each link of its own router. The path in its
//! header says which clusters it has crossed ([`ClusterPath`]); receivers remove a second copy by
//! the event's id.
//!
//! | file | what |
//! |---|---|
//! | `path.rs` | the clusters that a run has crossed, and where it may go |
//! | `run.rs` | a run on its way from a core to a link |
//! | `rule.rs` | what a link is told: which events, and with which tags |
//! | `rewriting.rs` | tags as a link rewrites them |
//! | `demand.rs` | which events a link takes, from its rule and what the far cluster says |
//! | `stream.rs`, `flight.rs` | the publish stream, and what is under way on it |
//! | `returning.rs` | whether what waits goes out, or waits for receivers to come back |
//! | `link.rs`, `status.rs` | one link, and what it shows of itself |
//!
//! The far side is a session as any client's (`core/client`): `rights/accept.rs` says who may
//! forward, `core/path/crossing.rs` guards the way in.

mod demand;
mod flight;
mod link;
mod path;
mod returning;
mod rewriting;
mod rule;
mod run;
mod status;
mod stream;
#[cfg(test)]
mod tests;

pub use demand::{ClusterDemand, INTEREST_MAX, LinkInterest};
pub use link::{Link, LinkError};
pub use path::ClusterPath;
pub use returning::{DEMAND_MAX, WAIT_MAX};
pub use rule::{HOPS_DEFAULT, LinkRule};
pub use run::{CrossingRun, Handed, LinkNumber};
pub use status::{Arrived, LinkCounters, LinkDrop, LinkState, LinkStatus};
