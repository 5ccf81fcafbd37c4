//! One cluster with groups that share work, and with responders that are asked.
//!
//! Some seeds have such a world besides their own cluster. Routers stay; members of groups and
//! responders end, in order or without a word, and begin again. In some groups nobody does: there
//! levels and order are judged, too.
//!
//! | file | what it is |
//! |---|---|
//! | `plan.rs` | which routers and clients a seed has |
//! | `party.rs` | a client: who publishes for a group, a member, who asks, who responds |
//! | `taken.rs` | what a client's receiver was given |
//! | `world.rs` | what they do, on the stage of `stage.rs`, and what is judged |

mod party;
mod plan;
mod taken;
mod world;

pub use plan::serves;
pub use world::{Outcome, run};
