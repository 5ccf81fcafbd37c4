//! A client's session: its control stream, its publish stream, its receivers.
//!
//! | file | what |
//! |---|---|
//! | `session.rs` | the session, and its streams |
//! | `control.rs` | reads control frames, within the turn's budget |
//! | `publisher.rs` | the publish stream: runs, what was received, credit |
//! | `receivers.rs` | opens, grants and closes receivers |
//! | `membership.rs` | receivers that are members of groups |
//! | `moving.rs` | receivers that move to another router |
//! | `naming.rs`, `claims.rs` | receivers that have a name |
//! | `standby.rs` | publishers that are members of sets |
//! | `subscriptions.rs` | subscriptions: asked for, effective, ended |
//! | `rights.rs` | what the client may do: at its Hello, and when the roll is replaced |
//! | `metered.rs` | runs wait until their identity's quota has paid for them |
//! | `quota.rs` | a session's place in that quota |
//! | `demand.rs` | tells who forwards from another cluster what is wanted |
//! | `filing.rs` | selectors into the local index, and out of it |
//! | `picture.rs` | a session as people are shown it |

mod claims;
mod control;
mod demand;
mod filing;
mod membership;
mod metered;
mod moving;
mod naming;
mod past;
mod picture;
mod publisher;
mod quench;
mod quenched;
mod quota;
mod receivers;
mod rights;
mod session;
mod standby;
mod subscriptions;
mod tag_sets;

#[cfg(test)]
pub(super) use control::CONTROL_READ_BYTES;
pub(super) use session::ClientSession;
