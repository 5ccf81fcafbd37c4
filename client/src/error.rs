//! Why there is no connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::RouterAddress;
use crate::disconnect::Disconnect;
use crate::receiver::SubscribeError;
use crate::session::attachment::{Cause, Failure, Verdict};
use crate::session::plan::PlanError;
use crate::spool::OpenError;
use crate::tls::TlsError;

/// Why no connection could be made. Nothing is left behind; trying again later is fine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No router is configured.
    #[error("no router is configured")]
    NoRouters,
    /// No socket could be opened.
    #[error("cannot open a UDP socket: {0}")]
    Socket(io::Error),
    /// Trust or identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A redundant receiver gets every event on two routers, and groups and names are for one
    /// receiver.
    #[error("a receiver on two routers is no member of a group and has no name: leave one or the other out")]
    RedundantMember,
    /// A redundant publisher gives every event to two routers, and is asked to be what has one.
    #[error("a publisher on two routers {other}: leave one or the other out")]
    RedundantPublisher {
        /// What it is not.
        other: &'static str,
    },
    /// The router does not say what became of events, and the publisher has a confirm level.
    #[error(
        "{router} does not confirm events: update the router, or publish without a confirm level, which \
         tells only that a router has received them"
    )]
    ConfirmsUnavailable {
        /// The router.
        router: RouterAddress,
    },
    /// The publisher is to be a member of a standby set, and the router knows none.
    #[error("{router} knows no standby sets: update the router")]
    StandbyUnavailable {
        /// The router.
        router: RouterAddress,
    },
    /// The publisher cannot be a member of its standby set.
    #[error("{0}")]
    Standby(String),
    /// The publisher's spool cannot be opened; nothing in it changed.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The bundle has as many publishers as it may.
    #[error("a bundle has at most {max} publishers")]
    BundleFull {
        /// How many.
        max: usize,
    },
    /// This build has no spools.
    #[error("spools need a Unix host and the feature `spool` of millrace-client")]
    NoSpools,
    /// The connection that receivers share has no place for another one.
    #[error(transparent)]
    Receivers(#[from] PlanError),
    /// The receiver is there, but not what was to be subscribed to; it is closed again.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// A name could not be resolved.
    #[error("cannot resolve {router}: {source}")]
    Resolve {
        /// The router.
        router: RouterAddress,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A router did not answer in time.
    #[error("{} does not answer", tried(router, address))]
    Timeout {
        /// The router.
        router: RouterAddress,
        /// The address that was tried last.
        address: SocketAddr,
    },
    /// No router is there but the one that the other session of a redundant receiver or publisher
    /// uses.
    #[error("{} is the router of the other session, and no second one is known", tried(router, address))]
    NoSecondRouter {
        /// The router.
        router: RouterAddress,
        /// The address that was tried last.
        address: SocketAddr,
    },
    /// A router refused, or the connection failed while it was made.
    #[error("{}: {reason}", tried(router, address))]
    Failed {
        /// The router.
        router: RouterAddress,
        /// The address that was tried last.
        address: SocketAddr,
        /// Why.
        reason: Disconnect,
    },
}

/// A router, and the address behind its name.
fn tried(router: &RouterAddress, address: &SocketAddr) -> String {
    let (name, address) = (router.to_string(), address.to_string());
    if name == address { name } else { format!("{name} ({address})") }
}

impl ConnectError {
    /// Whether another attempt fails, too, until somebody changes something.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Failed { reason, .. } => reason.verdict() == Verdict::Refused,
            _ => false,
        }
    }

    /// What a failed search for a router says.
    pub(crate) fn of(failure: Failure<RouterAddress, AttemptError>) -> Self {
        let Failure { router: Some(router), address, cause } = failure else { return Self::NoRouters };
        let unresolved = |router, kind: io::ErrorKind, text: &str| Self::Resolve {
            router,
            source: Arc::new(io::Error::new(kind, text)),
        };
        match (cause, address) {
            (Cause::NoRouters, _) => Self::NoRouters,
            (Cause::NoAddress, _) => unresolved(router, io::ErrorKind::NotFound, "the name has no address"),
            (Cause::Lookup(AttemptError::Lookup(source)), _) => Self::Resolve { router, source },
            (Cause::Failed(_, AttemptError::Tls(error)) | Cause::Lookup(AttemptError::Tls(error)), _) => {
                Self::Tls(error)
            }
            (Cause::Failed(_, AttemptError::Connection(reason)), Some(address)) => {
                Self::Failed { router, address, reason }
            }
            (Cause::Left, Some(address)) => Self::Failed { router, address, reason: Disconnect::WentAway },
            (Cause::Taken, Some(address)) => Self::NoSecondRouter { router, address },
            (Cause::Timeout, Some(address)) => Self::Timeout { router, address },
            // The rest says no address because the name has not been looked up.
            _ => unresolved(router, io::ErrorKind::TimedOut, "the name server does not answer"),
        }
    }
}

/// Why one lookup or one attempt to connect failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error(transparent)]
    Lookup(Arc<io::Error>),
    #[error(transparent)]
    Tls(TlsError),
    #[error(transparent)]
    Connection(#[from] Disconnect),
}

impl AttemptError {
    /// Whether another attempt may succeed by itself.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Lookup(_) => Verdict::Passing,
            // A router in dev mode that starts leaves its authority.
            Self::Tls(TlsError::NoDevAuthority { .. }) => Verdict::Passing,
            Self::Tls(_) => Verdict::Refused,
            Self::Connection(reason) => reason.verdict(),
        }
    }
}

impl PartialEq for AttemptError {
    /// Equal when they say the same.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
