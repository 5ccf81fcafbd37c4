//! What became of the events that publishers want to be told of: confirms, on the router's side.
//!
//! A run with confirm level *routed* or *delivered* opens an **entry** on each core that it
//! reaches. An entry knows where the run came from (its [`Origin`]), and counts its open **legs**:
//! copies that nobody has answered for yet. When the last leg of an event ends, the event's
//! [`Tally`] goes to the origin: in an Outcome to a publisher, in a message to a sibling core, in a
//! LegAck to a peer. An answer to a leg is the tally of the entry at the other end, so that sums
//! travel back the way that the run came.
//!
//! ```text
//! publisher ◀─Outcome─ entry core ◀─message─ owner core ◀─LegAck─ peer's entry core ◀─message─ its sibling ◀─Ack─ receiver
//! ```
//!
//! | leg | ends |
//! |---|---|
//! | to a sibling core, to a peer | with its answer; as missed when the run is dropped, the lane ends, or the peer is suspect |
//! | to a receiver of this core, *routed* | when the run is written or queued for it |
//! | to a receiver of this core, *delivered* | when its application acknowledges; as missed when the run is dropped or the receiver leaves |
//! | to a payload scan that waits | when the run was scanned; each event that is wanted has a leg of its own by then |
//!
//! Worked example: events 7 to 9 go to a peer with two receivers, and event 8, because of its
//! payload, to one receiver here.
//!
//! ```text
//! open     legs 1 1 1     the guard, which holds the entry while its legs are counted
//! add      legs 2 3 2     the peer; the receiver
//! end      legs 1 2 1     the guard
//! end      legs 0 1 0     the peer: two receivers. Told: 7 and 9 confirmed at two
//! end      legs   0       the receiver. Told: 8 confirmed at three
//! ```
//!
//! An entry counts for all its events together until a leg or an answer is for some of them; from
//! then on it counts for each. Every operation costs the events that it is for, or one step while
//! the entry is not cut.
//!
//! Legs are answered by numbers that both ends count: lane seqs, numbers that sibling batches
//! carry, runs written for a receiver. [`Legs`] keeps what a number stands for. A number leaves it
//! with its answer, so that no leg ends twice.
//!
//! Bounds: a core has at most [`LedgerLimits::entries`] entries and [`LedgerLimits::cut_events`]
//! events that are counted one by one; what exceeds them is routed all the same, and told as
//! *unknown* because of *busy*. Each entry ends after [`LedgerLimits::timeout`] at the latest, as
//! partial because of *timeout*; one that a group has, or that a sibling answers for, after
//! [`PROLONGED_MAX`]. Entries of a connection that is gone are forgotten.
//!
//! A run with level *none* never comes here.
//!
//! | file | what |
//! |---|---|
//! | `verdict.rs` | levels, origins, and what a leg ends with |
//! | `entry.rs` | one entry: its events and their tallies |
//! | `book.rs` | the entries of a core, by age and by connection |
//! | `legs.rs` | what the numbers of an outlet stand for |
//! | `gather.rs` | what ended in a turn, as ranges |

mod book;
mod entry;
mod gather;
mod legs;
#[cfg(test)]
mod tests;
mod verdict;

pub use book::{EntryId, Ledger, LedgerLimits, PROLONGED_MAX};
pub use gather::{Answer, Ended, Told, ToldRuns, answers, leg_acks, outcomes};
pub use legs::{Leg, Legs};
pub use verdict::{Level, Origin, Reasons, Span, Tally};
