//! A lane's session: one of the connections of a link between two routers.
//!
//! Its control stream carries hellos, pings and, on lane 0, the frames of the link, which control
//! reads and writes. Each side that has an owner on the lane opens one unidirectional stream for
//! its runs. A lane carries events only after control has accepted it; what arrives before stays
//! unread.
//!
//! | file | what |
//! |---|---|
//! | `accepted.rs` | what control says when it accepts a lane |
//! | `session.rs` | the session, and its control stream |
//! | `data_stream.rs`, `runs.rs` | the stream of the peer's runs, and how it is read |

mod accepted;
mod data_stream;
mod runs;
mod session;

pub(super) use accepted::{Acceptance, Accepted};
pub(super) use session::LaneSession;
