//! Decides where a client is attached: which address it tries, when it tries again, when it leaves
//! a router, and when a connection counts as steady.
//!
//! One [`Attachment`] serves one connection, across the routers that carry it. It dials nothing and
//! reads no clock: a driver (the async shell of this crate, the load generator's crowds, the
//! simulator) tells it what happened with [`Attachment::handle`], asks with
//! [`Attachment::poll_output`] what to do, and comes back at [`Attachment::poll_timeout`]. Equal
//! inputs give equal outputs, because chance comes from a seed.
//!
//! ```text
//!             Resolve, Dial, Abandon                    Trouble, once per interval
//!           ┌──────────────────────────┐                 ▲
//!  new ──► round ── nobody welcomes ──► pause (grows) ───┘ back to a round
//!            │ Welcomed                   ▲
//!            ▼                            │ Lost
//!         attached ───────────────────────┤
//!            │ Goaway: after its delay    │
//!            └─► Leave, and a round beside the old connection
//! ```
//!
//! A *round* tries every router once. It looks all names up side by side and dials the routers that
//! are given by address meanwhile, because a silent resolver should hold nobody up. Each address
//! has a head start over the next. The first router that welcomes the client wins, and the
//! attachment abandons the other attempts.
//!
//! Where a connection was lost is tried last of its level, if the client has no zone: a dead router
//! should not cost everybody the head start of its address.
//!
//! Routers stand in *levels*. A round tries the first level, and the next when all of it has failed
//! or has been silent for a second. A client that is attached to a router of a further level tries
//! the levels before every half a minute, beside its connection, and moves when one of them
//! welcomes it.
//!
//! A client may have a *zone*. It tries the routers of that zone first that it has heard of, and
//! takes whichever router answers, because any is better than none. While it is attached to a
//! router of another zone it tries to go home beside that connection: within a second when it hears
//! of a router there, else every half a minute, when it also asks one router of the first level
//! which others there are.
//!
//! Without zones, of the client or of routers, the round trip decides: a client whose router is far
//! looks beside its connection whether another one is nearer (`nearest.rs`).
//!
//! A *refusal* is an answer that the next attempt will meet again: a certificate that nobody
//! trusts, an identity that may not connect, a version. It ends the first search
//! ([`Output::GaveUp`]), because whoever starts a program wants to know. A client that was attached
//! before goes on with the longest pauses, because operators mend certificates and limits under
//! running programs, and tells once per interval why ([`Output::Trouble`]).

mod backoff;
mod failure;
mod held;
mod interface;
mod machine;
mod nearest;
mod round;
mod routers;
#[cfg(test)]
mod tests;

pub use failure::{Cause, Failure, Verdict};
pub use interface::{AttachmentConfig, AttemptId, Input, Nearer, Output};
pub use machine::Attachment;
pub use routers::Router;
