//! What was delivered, compared with what had to be.
//!
//! Two users, two depths. The load generator feeds a [`FleetChecker`]: millions of deliveries per
//! second, subscriptions that never change, counters as a result. The simulator and the multi-host
//! tests feed a [`ClusterChecker`]: everything is recorded, subscriptions come and go, routers die,
//! and a loss is excused by a gap that stands in the right place. Its parts are one checker a file:
//!
//! | checker | what it refuses |
//! |---|---|
//! | [`stream`] | duplicates and disorder within one receiver's stream |
//! | [`completeness`] | missing events that no gap explains; events that nobody asked for |
//! | [`order`] | two receivers that saw the events of one tag set in different orders |
//! | [`copies`] | more than one copy of an event per location; a second hop |
//! | [`convergence`] | directories that disagree after everything has settled |
//! | [`bounds`] | queues and maps beyond their bound |
//! | [`confirms`] | a confirm of an event that a receiver does not have |
//! | [`outcomes`] | outcomes that are not true, two of one event, none without a cause |
//! | [`standby`] | events of a standby set fenced too late, twice or missing; no holder, or two |
//! | [`starvation`] | outcomes that come late, because of a receiver that has nothing to do with them, too |
//! | [`past`] (*history*) | readers of history that miss, repeat or reorder something without a gap |
//! | [`forwarding`] | a loop between clusters, a copy that nobody wants, an event given twice, or lost on its way |
//! | [`groups`] | an event of a group given twice without a mark, to nobody, to a level that is not its turn, or out of order |
//! | [`requests`] | a request that somebody who is there does not have, a reply lost, given twice or late, a false word that nobody is there |
//! | [`quench`] | an event left out that somebody wanted; a set quenched too often, or while something else wants it |
//! | [`repeats`] | an event with a confirm level that an application was given twice, or never, as a duplicate |

pub mod bounds;
mod cluster;
pub mod completeness;
pub mod confirms;
pub mod convergence;
pub mod copies;
mod fleet;
pub mod forwarding;
pub mod groups;
pub mod history;
pub mod interest;
mod judges;
pub mod order;
pub mod outcomes;
pub mod pairs;
pub mod past;
pub mod publication;
pub mod quench;
pub mod repeats;
pub mod requests;
pub mod session;
pub mod standby;
pub mod starvation;
pub mod stream;
#[cfg(test)]
mod told_tests;
mod verdict;

pub use cluster::{ClusterChecker, Delivery, Report};
pub use fleet::{FleetChecker, GapCount};
pub use judges::Confirmed;
pub use verdict::{FINDINGS_MAX, Finding, Findings, Verdict};
