//! What publishes on a connection: one publisher, or a bundle of them.

use std::sync::Arc;

use millrace_proto::control::Welcome;
use millrace_proto::{PublisherSecret, Shard};
use quinn::{Connection, WriteError};
use tokio::sync::Notify;

use super::bundled::Bundled;
use super::outgoing::{Outgoing, Turned};
use crate::disconnect::Disconnect;
use crate::session::{ConnectionEvent, ConnectionSession, SessionError};
use crate::time::Time;

/// See the [module](self).
#[derive(Debug)]
pub(crate) enum Carried {
    One {
        outgoing: Outgoing,
        /// What the publisher's id follows from, where it began without a router and so without an
        /// identity.
        secret: Option<PublisherSecret>,
    },
    Bundle(Box<Bundled>),
}

/// Passes a call on to whom there is.
macro_rules! either {
    ($carried:expr, $one:ident => $call:expr) => {
        match $carried {
            Carried::One { outgoing: $one, .. } => $call,
            Carried::Bundle($one) => $call,
        }
    };
}

impl Carried {
    /// A connection begins.
    pub(crate) fn begin(&mut self, welcome: &Welcome, connection: &mut ConnectionSession) {
        match self {
            Self::One { outgoing, secret } => {
                if let Some(secret) = secret {
                    outgoing.identified(secret, &welcome.identity);
                }
                outgoing.begin(welcome.tables, connection);
                outgoing.join_set(connection);
            }
            Self::Bundle(bundled) => bundled.begin(welcome, connection),
        }
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self, reason: Disconnect) {
        match self {
            Self::One { outgoing, .. } => outgoing.lost(reason),
            Self::Bundle(bundled) => bundled.lost(&reason),
        }
    }

    /// Takes what the router said on the control stream.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol, and the caller closes the connection.
    pub(crate) fn event(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        either!(self, carried => carried.event(event))
    }

    /// Tells the router what it has to know of the publisher in its set, if that is news.
    /// Publishers of a bundle have none.
    pub(super) fn tell_set(&mut self, connection: &mut ConnectionSession) {
        if let Self::One { outgoing, .. } = self {
            outgoing.tell_set(connection);
        }
    }

    /// Takes the next bytes to write.
    pub(crate) fn turn(&mut self, now: Time, is_leaving: bool) -> Turned {
        either!(self, carried => carried.turn(now, is_leaving))
    }

    /// Writes what a turn took. May be dropped at any time.
    pub(crate) async fn write(&mut self, connection: &Connection) -> Result<(), WriteError> {
        either!(self, carried => carried.write(connection).await)
    }

    /// Tells that an application wants something.
    pub(crate) fn work(&self) -> Arc<Notify> {
        either!(self, carried => carried.work())
    }

    /// Whether nobody needs the connection any more.
    pub(crate) fn is_done(&mut self) -> bool {
        either!(self, carried => carried.is_done())
    }

    /// What chooses the core of the next connection.
    pub(crate) fn shard(&self) -> Option<Shard> {
        match self {
            Self::One { outgoing, .. } => outgoing.shard(),
            Self::Bundle(_) => None,
        }
    }
}
