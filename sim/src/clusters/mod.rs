//! Several small clusters with links between them, in one simulation.
//!
//! Each eighth seed has such a world besides its own cluster. A cluster is one router here, because
//! what links do is done by each router for itself: it forwards what enters at it, and nothing that
//! came over a lane. The links are the engine's own, each with a connection to the router where it
//! leads; publishers and receivers are the client library's sessions. Links are cut now and then;
//! clients stay.
//!
//! | file | what it is |
//! |---|---|
//! | `plan.rs` | which clusters, links and clients a seed has |
//! | `relay.rs` | the connection of one link |
//! | `publisher.rs`, `receiver.rs` | clients |
//! | `world.rs` | what they do, on the stage of `stage.rs`, and what is judged |

mod plan;
mod publisher;
mod receiver;
mod relay;
mod world;

pub use plan::has_links;
pub use world::{Outcome, run};
