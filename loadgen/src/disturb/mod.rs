//! Disturbances: what else goes on in a cluster while others want their events in time.
//!
//! Each comes with a phase of its own behind the undisturbed one, at the same rate. What it may
//! cost is known: the receiver that stalls loses by its own overflow what its gap markers say, and
//! nobody else loses anything.
//!
//! | disturbance | what happens | who plays it |
//! |---|---|---|
//! | slow receiver | receiver 0 stops granting; catches up when the phase is over | the fleet |
//! | churn | distinct selectors are subscribed and, a second later, unsubscribed | a crowd of few connections |
//! | storm | thousands of clients reconnect at once | a crowd, which is connected in the undisturbed phase, too |

mod churn;
mod control;
mod crowd;
mod disturbers;
mod held;
mod kind;
mod outcome;
mod storm;
mod tickets;

pub(crate) use self::disturbers::Disturbers;
pub use self::kind::{Background, DisturbSettings, Disturbance};
pub use self::outcome::Outcome;
