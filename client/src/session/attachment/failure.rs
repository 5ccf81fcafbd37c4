//! Why an attempt to attach failed, and whether another one may succeed soon.

use millrace_proto::CloseCode;

use super::routers::Router;

/// What a failed attempt says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It may pass by itself: nobody answers, the router is busy or goes away.
    Passing,
    /// The other side refused, and will refuse again until somebody changes something.
    Refused,
}

impl Verdict {
    /// What a router's close code says. A code that this version does not know may pass.
    #[must_use]
    pub const fn of_close(code: Option<CloseCode>) -> Self {
        match code {
            Some(
                CloseCode::Malformed
                | CloseCode::Limit
                | CloseCode::UnknownFrame
                | CloseCode::Version
                | CloseCode::Unexpected
                | CloseCode::Forbidden,
            ) => Self::Refused,
            _ => Self::Passing,
        }
    }
}

/// What went wrong at one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause<E> {
    /// There is no router to try.
    NoRouters,
    /// Its name was not looked up in time.
    LookupTimeout,
    /// Its name has no address.
    NoAddress,
    /// Its name could not be looked up.
    Lookup(E),
    /// It welcomed the client, but it is the router that the client has just left.
    Left,
    /// It welcomed the client, but another session of the same receiver or publisher uses it.
    Taken,
    /// It did not answer in time.
    Timeout,
    /// The attempt failed, and the driver says why.
    Failed(Verdict, E),
}

impl<E> Cause<E> {
    /// Whether the router refused.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(Verdict::Refused, _))
    }

    /// How much it says: a round that failed in several ways tells the failure of the highest rank.
    const fn rank(&self) -> u8 {
        match self {
            Self::NoRouters => 0,
            Self::Left | Self::Taken => 1,
            Self::LookupTimeout | Self::NoAddress => 2,
            Self::Lookup(_) => 3,
            Self::Timeout => 4,
            Self::Failed(Verdict::Passing, _) => 5,
            Self::Failed(Verdict::Refused, _) => 6,
        }
    }
}

/// A failed attempt: at which router, at which address, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<R: Router, E> {
    /// The router; `None` when there is none.
    pub router: Option<R>,
    /// Its address, once one was dialled.
    pub address: Option<R::Address>,
    /// Why.
    pub cause: Cause<E>,
}

impl<R: Router, E> Failure<R, E> {
    /// Whether it says at least as much as `other`.
    pub(super) const fn outranks(&self, other: &Self) -> bool {
        self.cause.rank() >= other.cause.rank()
    }
}
