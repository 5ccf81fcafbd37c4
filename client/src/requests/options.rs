//! What a request asks for.

use std::time::Duration;

use crate::setters::setters;

/// How many replies are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Wanted {
    /// The first one.
    #[default]
    First,
    /// So many, or fewer when fewer receivers have the request.
    Count(u64),
    /// One of each receiver that has the request.
    All,
}

impl Wanted {
    /// How many replies a router lets through before the request is over; 0: as many as come in
    /// time, because nobody knows yet how many receivers have it.
    pub(super) fn at_router(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Count(count) => u32::try_from(count.max(1)).unwrap_or(0),
            Self::All => 0,
        }
    }
}

/// Settings of one request: the defaults, changed by setters.
///
/// ```
/// use std::time::Duration;
///
/// use millrace_client::{Request, Wanted};
///
/// let request = Request::default().replies(Wanted::All).timeout(Duration::from_secs(1));
/// assert!(request.to.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// How many replies are waited for. Default: the first one.
    pub replies: Wanted,
    /// How long replies are waited for. Default 5 s, at most an hour.
    pub timeout: Duration,
    /// Names of the receivers that are asked, at most 16. Default: none; then all are asked whose
    /// selectors match, and of each group one member.
    pub to: Vec<String>,
}

impl Default for Request {
    fn default() -> Self {
        Self { replies: Wanted::First, timeout: Duration::from_secs(5), to: Vec::new() }
    }
}

impl Request {
    setters! {
        replies: Wanted,
        timeout: Duration,
    }

    /// Asks the receivers of these names, and nobody else.
    #[must_use]
    pub fn to<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.to = names.into_iter().map(Into::into).collect();
        self
    }
}
