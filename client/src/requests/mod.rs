//! Requests: events that ask for replies, and the replies to them.
//!
//! A [`Requester`] has a connection of its own, because replies go to the connection that asked.
//! Each request is an event of the level *routed*: its outcome says how many receivers have it, so
//! that nobody waits for replies that cannot come. When the connection is lost, open requests are
//! asked again on the next one, for as long as their time is not over; whoever has replied before
//! may then be asked twice.
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | what a request asks for |
//! | `requester.rs` | [`Requester`], and the task that reads replies |
//! | `asking.rs` | one request that waits for replies |
//! | `open.rs` | all of them, and when their time is over |
//! | `replies.rs` | [`Replies`]: the replies to one request, and how it ended |

mod asking;
mod open;
mod options;
mod replies;
mod requester;

pub use options::{Request, Wanted};
pub use replies::{Replies, RequestEnd};
pub(crate) use requester::connect;
pub use requester::{AskError, Requester};
