//! Which life of its router a source of a replay is.

use millrace_proto::RouterId;

/// A source's life among those of its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// The router that answers for it.
    pub(super) server: RouterId,
    /// Its place among the earlier ones; none: the present one.
    pub(super) earlier: Option<u32>,
    /// It was the present one when its replay began, and a later one has come since.
    pub(super) has_ended: bool,
    /// Lives before it are not replayed to their end.
    pub(super) waits: bool,
}

impl Life {
    /// The present life of a router.
    pub(super) const fn present(server: RouterId) -> Self {
        Self { server, earlier: None, has_ended: false, waits: false }
    }

    /// Its place in the order of lives.
    pub(super) fn rank(&self) -> u32 {
        self.earlier.unwrap_or(u32::MAX - u32::from(self.has_ended))
    }

    /// Whether a later one waits for it.
    pub(super) const fn is_earlier(&self) -> bool {
        self.earlier.is_some() || self.has_ended
    }
}
