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
//! | junk handshakes | strangers let routers sign, and do not finish; or are not there at all (spoofed) | a thread |
//! | reload | all routers read a changed configuration | a thread, which asks their admin pages |
//! | storm | thousands of clients reconnect at once | a crowd, which is connected in the undisturbed phase, too |

mod churn;
mod control;
mod crowd;
mod disturbers;
mod held;
mod junk;
mod kind;
mod outcome;
mod reload;
mod spoofed;
mod storm;
mod stranger;
mod tickets;

pub(crate) use self::disturbers::Disturbers;
pub use self::kind::{Background, DisturbSettings, Disturbance};
pub use self::outcome::Outcome;
pub use self::reload::FIRST_FILE;
