//! A lane's session: one of the connections of a link between two routers.
//!
//! Its control stream carries hellos, pings and, on lane 0, the frames of the link, which control reads and writes. Each side
//! that has an owner on the lane opens one unidirectional stream for its runs. A lane carries events only after control has
//! accepted it; what arrives before stays unread.
//!
//! | file | what |
//! |---|---|
//! | `session.rs` | the session, and its control stream |
//! | `runs.rs` | the stream of the peer's runs |

mod runs;
mod session;

pub(super) use session::{Acceptance, Accepted, LaneSession};
