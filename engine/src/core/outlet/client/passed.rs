//! Runs that nobody waits for, because their receiver takes nothing.

/// Runs that are counted instead of queued, until the receiver takes something. Many receivers may
/// be passed over with each run, so that everything that counts them lies in one place.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// Events for which no gap stands: they come behind all that waits.
    pub(super) events: u64,
    /// Events that the receiver has not counted as dropped.
    pub(super) skipped: u64,
    pub(super) is_on: bool,
    /// Whether tags alone say which runs the receiver wants, and it waits for no replay.
    pub(super) is_plain: bool,
}

impl PassedOver {
    /// The receiver takes something.
    pub(super) const fn end(&mut self) {
        self.is_on = false;
    }

    /// No gap will stand for what was passed over.
    pub(super) const fn forget(&mut self) {
        (self.is_on, self.events) = (false, 0);
    }
}
