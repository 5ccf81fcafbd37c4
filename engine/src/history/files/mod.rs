//! History in files: what a router has routed outlives its process.
//!
//! ```text
//! owners ─blocks─▶ Archive ─records─▶ segment ┐  0000000000000007.history   the present life grows here
//!                     │               segment │  0000000000000006.history   the life before
//! requests ─────▶ reads blocks ◀──── segment ┘  0000000000000005.history   the oldest goes first
//! ```
//!
//! An [`Archive`] stands on a [`Storage`] and decides everything: what is written where, what is
//! read, and what goes. Blocks of all owners of a life stand in one sequence of segments; an
//! owner's positions rise through them. At its start it reads the heads of blocks, never runs; a
//! block is read when a replay comes to it. It blocks as long as the disk does, so that it has a
//! thread of its own, and no core waits for it: what does not reach it in time is missing in the
//! files, counted, and a gap stands for it when it is asked for.
//!
//! What is kept is bounded by [`FileLimits`]: in bytes, in age, and by what the file system must
//! have free. A process that is killed loses what it had not handed over, which is at most a
//! second. Nothing is synced: a host that loses its power loses what its kernel had not written.
//!
//! | file | what |
//! |---|---|
//! | `format.rs` | the bytes of segments and records |
//! | `storage.rs` | the folder that the archive stands on |
//! | `index.rs` | what is known of all blocks |
//! | `recovery.rs` | reads the index of what earlier lives have left |
//! | `archive.rs` | writes blocks, and lets segments go |
//! | `reading.rs` | answers requests |
//! | `trouble.rs` | what the log is told |

mod archive;
mod format;
mod index;
mod reading;
mod recovery;
mod storage;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;

pub use archive::{Archive, ArchiveCounts, FileLimits};
pub use storage::{Listed, Space, Storage};
pub use trouble::Trouble;
