//! Payload patterns: which events of a run a receiver wants when its selectors ask for more than
//! tags.
//!
//! Whoever subscribes chooses patterns, whoever publishes chooses payloads, and both may be the
//! same hostile client: bytes times automata is the only measure of this work, and everything here
//! is bounded in it.
//!
//! ```text
//! run ─▶ Plan: which automata, for whom ─▶ fits what is left of this turn ─▶ scanned at once ─▶ pieces for the queue
//!                                       └▶ else: waits in the receiver's Desk ─▶ scanned in later turns, in order
//!                                               └▶ no room to wait: a gap of its own reason (pattern_budget)
//! ```
//!
//! A scan stops after any byte and goes on in the next turn, so that one event of a megabyte and a
//! thousand patterns hold up nobody but their receiver. What such a receiver gets behind a run that
//! waits, waits behind it, also what needs no scan: its order stays as it was. Other receivers, and
//! other clients, notice nothing: a core spends [`ScanBudget::work_per_turn`] on scans in a turn,
//! which receivers that wait share, a slice each.
//!
//! The patterns of one subscription are found in one pass where one automaton of them stays small
//! ([`Cover`]), which is made off the core's thread, where selectors are read.

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
