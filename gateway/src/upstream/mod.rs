//! The gateway's side of the routers: few connections for many local clients.
//!
//! Events go out through [`lines`](Line): one publisher for each way of publishing, shared by all
//! doors. They come in through [`Feeds`]: one receiver for each list of selectors, shared by all
//! local clients who ask for the same. A feed hands each event to the [`Mailbox`] of each of its
//! readers; a reader that does not keep up loses the oldest events of its mailbox, finds a gap
//! there, and holds up nobody.
//!
//! | file | what it has |
//! |---|---|
//! | `arrival` | [`Arrival`]: an event as local clients share it |
//! | `feed` | one receiver and its readers |
//! | `feeds` | [`Feeds`]: finds or opens the feed of a list of selectors |
//! | `following` | [`Following`]: the receiver of a client that has come back |
//! | `line` | one connection for publishing, kept alive |
//! | `mailbox` | [`Mailbox`]: the bounded queue of one local client |
//! | `member` | [`Member`]: a local client that is a member of a group by itself |
//! | `outgoing` | [`NewEvent`], [`Level`], [`Published`]: what doors publish, and what they hear |
//! | `place` | [`Place`]: where an event stands, for clients that come back |
//! | `receipt` | [`Receipt`]: what such a client says about each event |
//! | `receivers` | connections for receivers, a thousand receivers on each |
//! | `way` | [`Upstream`]: all of it together |

mod arrival;
mod feed;
mod feeds;
mod following;
mod line;
mod mailbox;
mod member;
mod outgoing;
mod place;
mod receipt;
mod receivers;
mod way;

pub use arrival::Arrival;
pub use feed::{FeedEnded, Group, Stage};
pub use feeds::{FOLLOWING_MAX, Feeds, JoinError, Membership};
pub use following::{FollowError, Following, Past};
pub use line::Line;
pub use mailbox::{Delivery, Letter, MAILBOX_ALWAYS, MAILBOX_BYTES_MAX, MAILBOX_EVENTS_MAX, Mailbox};
pub use member::Member;
pub use outgoing::{Level, NewEvent, NewEventError, Published, Unavailable};
pub use place::{PLACE_BYTES_MAX, Place, Trail};
pub use receipt::Receipt;
pub use way::{Underway, Upstream};
