//! What a member of a standby set knows of its part.

/// In one life of its process.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// It held the set when it heard of it last.
    pub(super) was_active: bool,
    /// Events below were published when it had the set, which it has lost since.
    pub(super) fenced_below: u64,
}
