//! History: the runs that an owner has routed lately, kept so that they can be delivered again.
//!
//! An owner gives each run it routes a *position*, counted from 0 within the router's process
//! life. With history on, it also appends the run to its [`Ring`]. A receiver that asks for the
//! past gets it from all owners of all routers, each of which is a *source* of its own:
//!
//! ```text
//! positions of one owner     0 ─────── oldest ────── from ────────────── to ────────▶ next
//!                            evicted            kept      replayed from the ring │ live
//!                                                                                └ pinned when the owner is asked
//! ```
//!
//! The owner pins `to` when it is asked, at a moment from which on it matches the receiver's
//! selectors. What is below `to` comes from the ring, what is at or above it comes live, so that
//! nothing is missed and nothing comes twice, whatever the two streams do: a [`Join`] says of each
//! live run whether it is dropped (the replay brings it), held until the replay is done, or passed.
//! Live runs beyond a bound are not held; the replay then reaches further instead.
//!
//! Sources are independent of each other, because events of one tag set that enter through one
//! router have one owner, and nothing is promised across tag sets.
//!
//! `since` counts arrivals by the router's own clock: the publishers' clocks mean nothing here.
//!
//! Bounds: a ring has at most [`HistoryLimits::bytes`], whatever it holds, and forgets runs older
//! than [`HistoryLimits::age`]. History is a cache: no confirm depends on it. A ring is empty when
//! the router starts; with [`files`], what earlier lives of the router have left can be asked for,
//! too.
//!
//! | file | what |
//! |---|---|
//! | `block.rs` | runs that are kept together, and what is known of each |
//! | `ring.rs` | the runs of one owner: appended, read by position, evicted |
//! | `read.rs` | a request for a stretch of a ring, and its answer |
//! | `join.rs` | how a replay and the live runs of one source become one order |
//! | `source.rs` | sources and places |
//! | `words.rs` | what cores of a router say to each other about it |
//! | `far.rs` | owners of other routers, which are asked over lanes |
//! | `past.rs` | owners of earlier lives of a router, whose runs are in files |
//! | `files/` | those files |

mod block;
mod far;
pub mod files;
mod join;
mod past;
mod read;
mod ring;
mod source;
#[cfg(test)]
mod tests;
mod words;

pub use block::{Block, KeptRun};
pub use far::{FarOwner, FarOwners};
pub use join::{Join, Live, RESTARTS_MAX};
pub use past::{KeptLife, PastLives, PastSource, Told};
pub use read::{Begin, Chunk, ReadBudget, Span, Which};
pub use ring::{HistoryLimits, Ring};
pub use source::{KnownSource, Place, SourceTable, Sources};
pub use words::{Ask, Asker, Found, FromFiles, HistoryAnswer, HistoryAsk, HistoryWord, ReplayId, ToFiles};
