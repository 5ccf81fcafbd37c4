//! What a client's identity may take per second: a run waits until the rate has paid for it.
//!
//! The core looks at each run of such a client before it takes it, and leaves it unread, and with
//! it everything behind it, until its events and bytes are paid for. The publisher is held back by
//! QUIC's window and its credit meanwhile, and nothing is dropped. Clients without a quota cost one
//! comparison for each run.

use std::sync::Arc;

use millrace_proto::data::{self, HopHeader};

use crate::rights::Seat;
use crate::time::Time;

/// A client whose identity has a quota.
#[derive(Debug)]
pub(super) struct Metered {
    seat: Arc<Seat>,
    /// The time of the read that is under way.
    now: Time,
    /// Until when the first run that was left unread waits. It is paid for.
    until: Option<Time>,
}

impl Metered {
    pub(super) const fn new(seat: Arc<Seat>) -> Self {
        Self { seat, now: Time::ZERO, until: None }
    }

    /// Begins a read; false if the publish stream stays unread.
    pub(super) fn begin_read(&mut self, now: Time) -> bool {
        self.now = now;
        self.until.is_none_or(|until| until <= now)
    }

    /// When the run that waits may be taken, if one does.
    pub(super) const fn until(&self) -> Option<Time> {
        self.until
    }

    /// Pays for a run, by the body of its frame; false if it has to wait until that counts. A run
    /// that has waited is not paid for again.
    pub(super) fn pay(&mut self, frame: &[u8]) -> bool {
        if self.until.take().is_some() {
            return true;
        }
        // One that cannot be read ends the connection when it is taken.
        let Ok(run) = data::decode_run(frame, &mut HopHeader::numbered(0, 0)) else { return true };
        self.until = self.seat.charge(self.now, run.count(), frame.len() as u64);
        self.until.is_none()
    }
}
