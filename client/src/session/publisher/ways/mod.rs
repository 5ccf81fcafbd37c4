//! The ways of one publisher: one router at a time, or two at once that are given the same events.
//!
//! A [`Ways`] of two has a session for each. Both number alike, so that the copies of an event have
//! one id and receivers remove the one that comes second. Each session sends, and sends again, what
//! its own router owes an answer for; what the two say is put together here.
//!
//! ```text
//!               ┌ session 1: queue, window ─▶ router 1 ─▶ outcome ┐
//!  publish ─────┤                                                 ├ the better one ─▶ the publisher's
//!               └ session 2: queue, window ─▶ router 2 ─▶ outcome ┘
//! ```
//!
//! - *Outcomes*. An event ends as soon as a router has confirmed it at a receiver. Any other
//!   outcome waits for that of the other router, for 30 s, which is what routers take at most; it
//!   does not wait for a router that is away, if nobody wants the event. Then the better one
//!   counts. Without a confirm level an event ends when a router has received it.
//! - *Being behind*. What has ended is taken out of a session that has no router, and out of one
//!   that has no room left: so a router that is slow holds up the other one by one buffer at most.
//! - *Floor*. Both sessions say the same: nothing below it comes any more on either way. It is the
//!   lowest seq that one of the routers has not received; for 30 s also that of a router that is
//!   lost.
//!
//! Order. Each way carries the events of a tag set in their order and leaves out none but those
//! that had ended before. So whichever copy comes first, a receiver sees that order, as long as
//! neither way loses something: what a router dropped, the other one brings late.
//!
//! | file | what it has |
//! |---|---|
//! | `session` | [`Ways`]: both sessions, and what takes events out of one of them |
//! | `ends` | which events have ended, and which outcome waits for a better one |
//! | `better` | which of two outcomes is the better one |

mod better;
mod ends;
mod session;
#[cfg(test)]
mod tests;

pub use session::Ways;
