//! Payload patterns: which events of a run a receiver wants when its selectors ask for more than
//! tags.
//!
//! A client that subscribes chooses patterns, a client that publishes chooses payloads, and one
//! hostile client may do both. The work is therefore measured in bytes times automata, and
//! everything here is bounded in it.
//!
//! ```text
//! run ─▶ Plan: which automata, for whom ─▶ fits what is left of this turn ─▶ scanned at once ─▶ pieces for the queue
//!                                       └▶ else: waits in the receiver's Desk ─▶ scanned in later turns, in order
//!                                               └▶ no room to wait: a gap of its own reason (pattern_budget)
//! ```
//!
//! A scan may stop after any byte and go on in the next turn, so that one event of a megabyte and a
//! thousand patterns hold up their receiver alone. Everything that this receiver gets behind a run
//! that waits, waits, too, even without a scan of its own, so that its order stays the same. Other
//! receivers and clients notice nothing: a core spends [`ScanBudget::work_per_turn`] on scans in a
//! turn, and the receivers that wait share it in slices.
//!
//! One automaton finds several patterns of a subscription in one pass, where it stays small
//! ([`Cover`]). It is made where selectors are read, off the core's thread.

mod budget;
mod cover;
mod desk;
mod plan;
mod prefilter;
#[cfg(test)]
mod tests;

pub use budget::{ScanBudget, ScanLimits};
pub use cover::{Cover, combine};
pub use desk::{Desk, Held, HeldRun, NoRoom};
pub use plan::{Piece, Plan, Progress};
pub use prefilter::{FILTERS_MAX, FilterTable, Found, Prefilter};
