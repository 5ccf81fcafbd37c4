//! Settings of one receiver.

use std::time::Duration;

use millrace_proto::control::OverflowPolicy;

use crate::session::Cursor;
use crate::session::plan::{GroupWish, ReceiverWish};
use crate::session::receiver::WINDOW_BYTES;
use crate::setters::setters;

/// Settings of one receiver: the defaults, changed by setters.
///
/// ```
/// use std::time::Duration;
///
/// use millrace_client::ReceiverOptions;
///
/// let options = ReceiverOptions::default().linger(Duration::from_millis(100));
/// assert_eq!(options.queue_bytes, 0);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReceiverOptions {
    /// What happens when its queue at the router is full. Default: the oldest events give way. With
    /// [`OverflowPolicy::Block`] publishers with a confirm level whose events it gets are read no
    /// more while more than half of the queue is taken, however long that is; what does not fit is
    /// refused, a gap stands for it, and its publisher is told (partial, *busy*). A router refuses
    /// that for members of groups, and when it has no room to set aside
    /// ([`RefusedReason::Limit`](crate::RefusedReason::Limit)).
    pub policy: OverflowPolicy,
    /// Bytes that its queue may hold; 0 = the router's default. The router may hold less.
    pub queue_bytes: u64,
    /// How long the router may gather events before it writes them. Default 0; dashboards use 100
    /// ms to 1 s.
    pub linger: Duration,
    /// Bytes that may be on their way or wait in this process. Default 1 MiB; at most 2 MiB,
    /// because the stream's flow control ends there.
    pub window_bytes: u64,
    /// Which connection it uses. Default [`ReceiverConnection::Shared`].
    pub connection: ReceiverConnection,
    /// What arrived at the router this long ago, by its clock, and since then, comes first, marked
    /// [`Event::replayed`](crate::Event::replayed), as far as the router keeps it: what is gone is
    /// a gap before the rest. All routers of the cluster are asked; a gap names those that cannot
    /// be. Zero: nothing of the past, but what the receiver misses between two connections is
    /// filled from history. Default none. A router that keeps no history refuses
    /// ([`RefusedReason::History`](crate::RefusedReason::History)).
    pub since: Option<Duration>,
    /// What stands behind a [cursor](crate::Receiver::cursor) of an earlier receiver comes first,
    /// as for `since`, whichever router has it. An owner that the cursor does not have begins at
    /// `since`, and with its oldest run when there is no `since`. Default none.
    pub cursor: Option<Cursor>,
    /// The newest event of each tag set comes first, marked as replayed, as far as routers keep it:
    /// one for each router that events of the tag set entered through. It takes the place of
    /// `since` and `cursor` on the first connection. Default `false`.
    pub newest: bool,
    /// Who acknowledges events whose publisher asks for it. Default [`Acknowledge::Taken`].
    pub acknowledge: Acknowledge,
    /// The group that the receiver is a member of. Default: none; then it gets every event that it
    /// selects. One member of a group gets each event.
    pub group: Option<String>,
    /// Its level in the group, 1 (the default) to 8: the lowest level with a member that takes
    /// events is used.
    pub level: u32,
    /// Of the group, one member gets everything, and the next one takes over when it cannot. All
    /// members of a group say the same. Default `false`.
    pub exclusive: bool,
    /// The name under which events are addressed to it, at most 64 bytes. It gets them besides what
    /// it selects. A receiver that takes a name which another one has ends that one, unless the
    /// name belongs to somebody else. A receiver has a name or is a member of a group. Default:
    /// none.
    pub name: Option<String>,
    /// Events that the router gives it before it has acknowledged others; then other members of its
    /// group are used. 0, the default: what the router has set, 256 if nothing. At most 65,536.
    pub max_inflight: u64,
    /// Whether the receiver is on two routers at once, with a connection of its own to each: when
    /// one of them dies, nothing is missing and nothing waits, because the other one brings
    /// everything, too. It costs the cluster and this host twice as much, because each event comes
    /// twice; the second copy is removed. While there is only one router, the receiver goes on with
    /// that. Not for members of groups, and not with a name. Default `false`.
    pub redundant: bool,
}

impl ReceiverOptions {
    setters! {
        policy: OverflowPolicy,
        queue_bytes: u64,
        linger: Duration,
        window_bytes: u64,
        connection: ReceiverConnection,
        acknowledge: Acknowledge,
        level: u32,
        exclusive: bool,
        max_inflight: u64,
        since: impl Into<Option<Duration>>,
        cursor: impl Into<Option<Cursor>>,
        newest: bool,
        redundant: bool,
    }

    /// Makes the receiver a member of a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Gives the receiver a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    pub(super) fn wish(&self) -> ReceiverWish {
        let group = self.group.clone().map(|name| GroupWish {
            name,
            level: self.level,
            max_inflight: self.max_inflight,
            exclusive: self.exclusive,
        });
        ReceiverWish {
            policy: self.policy,
            queue_bytes: self.queue_bytes,
            linger_us: u64::try_from(self.linger.as_micros()).unwrap_or(u64::MAX),
            group,
            name: self.name.clone().unwrap_or_default(),
        }
    }
}

/// When a receiver acknowledges events whose publisher has the level
/// [`Delivered`](crate::ConfirmLevel::Delivered), and, as a member of a group, all events: what it
/// has not acknowledged when it dies, or after 30 s, another member gets. What is not acknowledged
/// within the router's `limits.confirm_timeout` (30 s) is missed for the publisher.
/// Acknowledgements of publishers are gathered for 20 ms, those of groups are told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acknowledge {
    /// When the application has got them.
    #[default]
    Taken,
    /// When the application says so: [`Receiver::acknowledge`](crate::Receiver::acknowledge).
    Explicit,
}

/// Which connection a receiver uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReceiverConnection {
    /// The one that the publisher and all receivers of its [`Client`](crate::Client) and its clones
    /// share, at most 1,024 receivers; a further one is refused. Where the router has the feature
    /// they share a delivery stream, too, and an event for several of them arrives once. A receiver
    /// whose application takes nothing holds up no other. They are lost, and come back, together.
    /// What a bad network loses delays all of them.
    #[default]
    Shared,
    /// One of its own, with a delivery stream of its own: what is lost there delays no other
    /// receiver, and what others lose does not delay this one.
    Own,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self {
            policy: OverflowPolicy::DropOldest,
            queue_bytes: 0,
            linger: Duration::ZERO,
            window_bytes: WINDOW_BYTES,
            connection: ReceiverConnection::Shared,
            acknowledge: Acknowledge::Taken,
            group: None,
            level: 1,
            exclusive: false,
            name: None,
            max_inflight: 0,
            since: None,
            cursor: None,
            newest: false,
            redundant: false,
        }
    }
}
