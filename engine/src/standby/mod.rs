//! Standby publishers: sets of publishers of which one takes effect.
//!
//! A set has a *record*, which names its holder and a *generation*. Control of each router keeps
//! the records of all sets, tells its peers what is new of them, and of several records of a set
//! the newest counts, so that all routers agree without asking. A member whose router sees no live
//! holder claims the next generation, after a time that its rank gives:
//!
//! ```text
//! rank 1   holder, generation 4 ──✕ silent for 1.5 s
//! rank 2                                └─ 400 ms ─► claims generation 5
//! rank 3                                └─ 600 ms ─► has heard of generation 5, and waits
//! ```
//!
//! A claim alone makes no old holder harmless, because it may be heard late, or not at all. So each
//! run of a set carries the generation, and [`Fences`] drop runs of a lower one than the highest
//! that they have seen: where a run enters, at its owner, where it comes from a peer, and in the
//! libraries of receivers. A lower generation of the same publisher passes, for a holder that moves
//! from one router to another claims a generation, too, and is in its own way only.
//!
//! | file | what |
//! |---|---|
//! | `record.rs` | a record, and which of two is newer |
//! | `set.rs` | what a router knows of one set, and who is to claim it |
//! | `book.rs` | the sets of a router: members come and go, peers tell, claims are due |
//! | `words.rs` | what the book says to cores, members and peers |
//! | `fences.rs` | which runs of sets pass a core |

mod book;
mod fences;
mod record;
mod set;
#[cfg(test)]
mod tests;
mod words;

pub use book::{Handed, Joining, SetBook};
pub use fences::{Fences, Verdict};
pub use record::{Record, Why};
pub use set::{MemberPicture, SetPicture};
pub use words::{MemberKey, MemberWord, Refusal, SetCount, SetNews, SetWord, Words};
