//! How much one identity may take of one router.

/// How much one identity may take of one router, all its sessions on all cores together. What is
/// unset is not bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Events that it may publish per second, 1 or more.
    pub events_per_second: Option<u64>,
    /// Bytes that it may publish per second, 1 or more: payloads, and the tags and framing that its
    /// publish streams have.
    pub bytes_per_second: Option<u64>,
    /// Sessions that it may have open.
    pub sessions: Option<u64>,
    /// Selectors that its receivers may have, as they are narrowed to what it may receive.
    pub selectors: Option<u64>,
}

impl Quota {
    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
