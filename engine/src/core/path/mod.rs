//! The path of a run through a core, stage by stage.
//!
//! ```text
//! reader ─► owner ─► locations ─► outlets to siblings and peers
//!                        └──────► deliver ─► receivers of this core
//! ```
//!
//! | file | stage |
//! |---|---|
//! | `reader.rs` | turns frames of a stream into runs, and knows the stream's numbers |
//! | `owner.rs`, `kept.rs` | finds the owner of a run; the owner gives it a position, and keeps it when history is on |
//! | `ruled.rs`, `ruling.rs`, `unruled.rs` | the owner applies tag rules; what it has decided; who is told when it has no time to |
//! | `locations.rs` | copies it to the siblings and peers that want it |
//! | `deliver.rs` | copies it to the receivers of this core that want it |
//! | `cursors.rs` | tells those who get little how far the core has come |
//! | `joining.rs`, `replay.rs` | live runs at a receiver that asks for the past; what it is given of it |
//! | `asks.rs` | requests for what rings have, and their answers |
//! | `scan.rs` | scans payloads for receivers whose selectors ask for it |
//! | `shed.rs` | cuts the largest queues when all together hold too much |
//! | `addressed.rs` | a way of their own for runs that name recipients, ask or answer |
//! | `carried.rs` | routes runs that carry a field for their receivers, by their tags |
//! | `stamped.rs` | runs of standby publishers, and which of them are fenced |
//! | `requests.rs` | requests to those who may reply, and replies back |
//! | `crossing.rs`, `arrivals.rs` | the way in for runs that come from another cluster |
//! | `grouped.rs` | gives it to a member of a group, or takes it for one |
//! | `leg.rs` | pushes it into a receiver's queue, or onto the stream that it shares with others |
//! | `gathered.rs` | writes it once for all receivers that share a stream |
//! | `fate.rs` | counts what became of each copy |
//! | `prefetch.rs` | brings into the cache what the next runs will touch |
//! | `entered.rs` | a run as it enters a stage |
//! | `shards.rs`, `positions.rs` | the shards that this core owns, and their position; what it knows of others' |
//! | `state.rs` | what the stages share |

mod addressed;
mod arrivals;
mod asks;
mod carried;
mod crossing;
mod cursors;
mod deliver;
mod entered;
mod fate;
mod gathered;
mod grouped;
mod joining;
mod kept;
mod leg;
mod locations;
mod lookups;
mod new_tags;
mod owner;
mod positions;
mod prefetch;
mod reader;
mod replay;
mod requests;
mod ruled;
mod ruling;
mod scan;
mod shards;
mod shed;
mod sift;
mod stamped;
mod state;
mod takers;
mod unruled;
mod unwanted;

pub(super) use cursors::CURSORS_EVERY;
pub(super) use entered::{Entered, Scope};
pub(super) use locations::PeerLane;
pub(super) use reader::{Admission, KnownTags, RunIn, RunPublisher, RunReader, RunSink, RunTags, Window};
pub(super) use state::Path;
