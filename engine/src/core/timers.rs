//! When a core looks at something again without being called: one set for all reasons.

use std::collections::BTreeSet;

use super::slot::{DeliverySlot, ReceiverSlot};
use crate::time::Time;
use crate::transport::ConnKey;

/// What is due. Of those that are due in one turn, the variants come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A publisher is to be told what was received. At most one for each client.
    Received(ConnKey),
    /// Lanes are pinged, and looked at for silence. One while there are lanes.
    LanePing,
    /// A connection must have said hello. One for each connection of the last `hello_timeout`:
    /// bounded by the handshakes that the shell admits in that time.
    Hello(ConnKey),
    /// A publisher has waited for a receiver long enough. At most one for each client.
    Paced(ConnKey),
    /// What a receiver has gathered is written. At most one for each receiver.
    Linger(ReceiverSlot),
    /// What the receivers of a connection have gathered on their stream is written. At most one for
    /// each connection.
    Gathered(DeliverySlot),
    /// Runs whose ends are to be told have waited long enough for answers. One while there are any.
    Confirms,
}

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
    /// What [`take_due`](Self::take_due) returned last, to be used again.
    spare: Vec<(Time, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, due: Time, timer: Timer) {
        self.set.insert((due, timer));
    }

    pub(super) fn cancel(&mut self, due: Time, timer: Timer) {
        self.set.remove(&(due, timer));
    }

    /// The time of the first.
    pub(super) fn first(&self) -> Option<Time> {
        self.set.first().map(|&(due, _)| due)
    }

    /// Takes out what is due, by kind and then by time. Whoever handles one of them looks whether
    /// it still holds: an earlier one may have cancelled it. To be given back
    /// ([`give_back`](Self::give_back)).
    pub(super) fn take_due(&mut self, now: Time) -> Vec<(Time, Timer)> {
        let mut due = std::mem::take(&mut self.spare);
        while let Some(&(time, timer)) = self.set.first()
            && time <= now
        {
            self.set.pop_first();
            due.push((time, timer));
        }
        due.sort_unstable_by_key(|&(time, timer)| (timer.kind(), time, timer));
        due
    }

    /// Gives the list back, so that its memory is used again.
    pub(super) fn give_back(&mut self, mut due: Vec<(Time, Timer)>) {
        due.clear();
        self.spare = due;
    }
}

impl Timer {
    const fn kind(self) -> u8 {
        match self {
            Self::Received(_) => 0,
            Self::LanePing => 1,
            Self::Hello(_) => 2,
            Self::Paced(_) => 3,
            Self::Linger(_) => 4,
            Self::Gathered(_) => 5,
            Self::Confirms => 6,
        }
    }
}
