//! What happens to connections, for programs that act on it or show it.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_proto::control::{Refused, RefusedReason};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::address::RouterAddress;
use crate::disconnect::Disconnect;

/// Something happened to a connection of a [`Client`](crate::Client). Also logged, as debug events
/// of `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A router has welcomed the client.
    Attached {
        /// The router.
        router: RouterAddress,
        /// Where it was reached.
        address: SocketAddr,
        /// How long there was no connection; zero when the client moved from one router to the
        /// next.
        away: Duration,
    },
    /// The client moves to a router that is nearer than the present one; [`Change::Attached`]
    /// follows.
    Nearer {
        /// Where it goes.
        router: RouterAddress,
        /// The shortest round trip to the router that it leaves.
        from: Duration,
        /// The shortest round trip to the one that it goes to.
        to: Duration,
    },
    /// The router asked to be left; the client looks for another one.
    Leaving,
    /// A connection is gone; the client looks for a router.
    Lost {
        /// Why.
        reason: Disconnect,
    },
    /// No router can be reached; the client goes on trying. Told once per outage, at a new cause,
    /// and every 30 s.
    Trouble {
        /// The router and the cause, for people: of several failures the one that says most.
        reason: String,
        /// How long there has been no connection.
        away: Duration,
    },
    /// A router drops what a publisher of the client sends, because the client may not publish it.
    /// Told for each tag set or publisher id that a router refuses, also without a confirm level.
    Dropping {
        /// Why.
        reason: RefusedReason,
        /// What was wrong and what to do, for people.
        message: String,
    },
}

impl Change {
    pub(crate) fn dropping(refused: &Refused) -> Self {
        Self::Dropping { reason: refused.reason, message: refused.message.clone() }
    }

    pub(crate) fn log(&self) {
        match self {
            Self::Attached { router, address, away } => tracing::debug!(%router, %address, ?away, "attached"),
            Self::Nearer { router, from, to } => {
                tracing::debug!(%router, ?from, ?to, "moves to a nearer router");
            }
            Self::Leaving => tracing::debug!("the router goes away"),
            Self::Lost { reason } => tracing::debug!(%reason, "connection lost"),
            Self::Trouble { reason, away } => tracing::debug!(reason, ?away, "no router"),
            Self::Dropping { reason, message } => {
                tracing::warn!(?reason, "a router drops what is published: {message}");
            }
        }
    }
}

/// Gives the [`Change`]s of a client. At most 64 wait; older ones are left out.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Change>,
}

impl Changes {
    pub(crate) const fn new(receiver: broadcast::Receiver<Change>) -> Self {
        Self { receiver }
    }

    /// The next change, if there is one.
    pub fn try_next(&mut self) -> Option<Change> {
        loop {
            match self.receiver.try_recv() {
                Ok(change) => return Some(change),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// The next change; `None` when the client and all that it made are gone. May be dropped at any
    /// time.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.receiver.recv().await {
                Ok(change) => return Some(change),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
