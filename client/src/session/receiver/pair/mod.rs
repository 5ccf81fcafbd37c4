//! One receiver on two routers: two streams become one, without a gap, a repeat or disorder.
//!
//! A [`Pair`] judges what each of the two sessions brings. Of two whole streams each has
//! everything, in the same order for each tag set: what comes first is delivered, and the other
//! copy is removed. A session that begins, or that has missed something, joins the other one by
//! marks, which say how two streams hang together ([`Handover`](super::Handover) has the picture):
//!
//! ```text
//!   joins       effective ── asked ── mark ┐ not read                ┌ whole: read on, without what has come
//!               dropped ───────────────────┤─────────────────────────┤
//!   whole                                  └ asked ────── mark ──────┘
//!               delivered, and remembered for the other one ──────────────────────────────────
//! ```
//!
//! As long as there is a session, one is whole: what it misses is missing, and nothing else is.

mod ahead;
mod machine;
#[cfg(test)]
mod tests;

pub use machine::Pair;
