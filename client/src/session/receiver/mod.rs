//! Reads delivery streams: bytes go in; runs of events and the grants that bound what the router
//! sends come out.
//!
//! A stream begins with a preamble. It carries one receiver, or all receivers of its connection:
//! the Welcome says which
//! ([`ConnectionSession::shares_deliveries`](super::ConnectionSession::shares_deliveries)).
//! [`Deliveries`] has the streams of one connection, and alone knows both kinds: a
//! [`ReceiverSession`] for each receiver (`own`), or one session for all (`shared`). A session has
//! one pair of tables. A [`DeliverySink`] gets runs while they stand in the chunk, so the session
//! copies no event, and allocates for new tag sets and for a frame that straddles two chunks only.
//!
//! | | stream of one receiver | stream of all |
//! |---|---|---|
//! | a grant counts | bytes of the stream, behind its preamble | bytes of run bodies for the receiver |
//! | what exceeds it | a frame is cut there | the last run may; it is owed |
//! | a receiver ends with | the stream's end | ReceiverEnd |

mod dedup;
mod deliveries;
mod echo;
mod handover;
mod own;
mod pair;
mod preamble;
mod sets;
mod shared;
mod sink;
mod tables;
#[cfg(test)]
mod tests;

pub use dedup::{Dedup, Fresh};
pub use deliveries::{Deliveries, DeliveryStream};
pub use echo::Echo;
pub use handover::{Handover, Session, Verdict};
pub use own::{ReceiverConfig, ReceiverSession, WINDOW_BYTES};
pub use pair::Pair;
pub use preamble::StreamFor;
pub use sets::SetVerdict;
pub use shared::OpenError;
pub use sink::{DeliveredRun, DeliverySink, PassedBy};
