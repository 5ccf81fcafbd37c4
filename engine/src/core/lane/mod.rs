//! A lane's session: one of the connections of a link between two routers.
//!
//! Its control stream carries hellos, pings and, on lane 0, the frames of the link, which control
//! reads and writes. Each side that has an owner on the lane opens one unidirectional stream for
//! its runs, and one for each request for history. A lane carries events only after control has
//! accepted it; what arrives before stays unread.
//!
//! | file | what |
//! |---|---|
//! | `accepted.rs` | what control says when it accepts a lane |
//! | `session.rs` | the session, and its control stream |
//! | `marks.rs` | marks that the peer asks for |
//! | `data_stream.rs`, `runs.rs` | the stream of the peer's runs, and how it is read |
//! | `history.rs`, `requests.rs`, `stretch.rs` | requests for history both ways, what of them is under way, and the streams that answer them |

mod accepted;
mod data_stream;
mod history;
mod marks;
mod requests;
mod runs;
mod session;
mod stretch;

pub(super) use accepted::{Acceptance, Accepted};
pub(super) use session::LaneSession;
