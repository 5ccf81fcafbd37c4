//! When a core acts without being called: one set of timers for all reasons.

use std::collections::BTreeSet;
use std::time::Duration;

use super::slot::{DeliverySlot, ReceiverSlot};
use crate::time::Time;
use crate::transport::ConnKey;

/// Lingers end together in steps of this share of them, so that a turn writes several receivers.
const LINGER_STEPS: u32 = 16;
/// The longest of those steps: what a turn writes should leave as one burst.
const LINGER_STEP_MAX: Duration = Duration::from_millis(4);

/// When runs that are gathered from now on are written: behind the linger at the latest.
pub(super) fn end_of_linger(now: Time, linger: Duration) -> Time {
    (now + linger).rounded_down((linger / LINGER_STEPS).min(LINGER_STEP_MAX))
}

/// What is due. The core handles timers that are due in one turn in the order of these variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A publisher is told what was received. At most one for each client.
    Received(ConnKey),
    /// The core pings lanes, and looks for silent ones. One while there are lanes.
    LanePing,
    /// A connection must have said hello. One for each connection of the last `hello_timeout`:
    /// bounded by the handshakes that the shell admits in that time.
    Hello(ConnKey),
    /// A publisher's wait for a receiver ends. At most one for each client.
    Paced(ConnKey),
    /// Gathered runs of a receiver are written. At most one for each receiver.
    Linger(ReceiverSlot),
    /// Gathered runs of a shared stream are written. At most one for each connection.
    Gathered(DeliverySlot),
    /// The wait for answers of the oldest runs ends. One while the ledger follows any.
    Confirms,
    /// Groups and their members are looked after. One while there are any.
    Groups,
    /// Siblings and receivers are told how far this core has come. One while history is kept.
    Positions,
    /// A publisher's wait for its identity's quota ends. At most one for each client.
    Quota(ConnKey),
    /// The core looks which tag sets of a publisher nobody wants. At most one for each client.
    Quench(ConnKey),
    /// The core goes on with what subscriptions wait for. One while there is something.
    Demand,
    /// Holds for receivers with policy `block` are renewed. One while there are any.
    Holds,
}

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
    /// The list that [`take_due`](Self::take_due) returned last, whose memory is used again.
    spare: Vec<(Time, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, due: Time, timer: Timer) {
        self.set.insert((due, timer));
    }

    pub(super) fn cancel(&mut self, due: Time, timer: Timer) {
        self.set.remove(&(due, timer));
    }

    /// The time of the first timer.
    pub(super) fn first(&self) -> Option<Time> {
        self.set.first().map(|&(due, _)| due)
    }

    /// Takes out the timers that are due, by kind and then by time. Their handler checks whether
    /// each still holds, because an earlier one may have cancelled it, and gives the list back
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
            Self::Groups => 7,
            Self::Positions => 8,
            Self::Quota(_) => 9,
            Self::Quench(_) => 10,
            Self::Demand => 11,
            Self::Holds => 12,
        }
    }
}
