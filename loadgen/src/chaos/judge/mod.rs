//! What publishers were told, compared with what receivers got: pure, and fed note by note.
//!
//! A *pair* is an event and a receiver that wants it. It is judged when the receiver's subscription
//! was effective in the cluster from before the event was published, in one session, until its
//! publisher was told that it is confirmed; and it is lost when the receiver has not got it.
//!
//! ```text
//! subscription   ├────────── effective, one session ──────────┤ 1 s ┤ lost
//! event                ├ published … confirmed ┤
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `ledger` | the events of one publisher, and how each ended |
//! | `seqs` | sets of seqs |
//! | `spans` | when a receiver's subscription was effective, and for which routers |
//! | `receiver` | what one receiver got: copies, order, gaps |
//! | `far` | what crossed to another cluster |
//! | `numbered` | what a receiver of a standby set's stream got |
//! | `verdict`, `judged` | all pairs, and what they come to |

mod far;
mod judged;
mod ledger;
mod numbered;
mod receiver;
mod seqs;
mod spans;
#[cfg(test)]
mod tests;
mod verdict;

pub use judged::Judged;
pub(super) use verdict::Judge;
