//! What copies for receivers that take nothing may cost.
//!
//! A run is copied into the queue of each receiver that wants it and cannot take it at once. A
//! client that opens a thousand receivers of everything and takes nothing would so have a core copy
//! each event of others a thousand times, in vain. Copies for receivers that *stall*, which take
//! next to nothing of what waits, are therefore bounded in number: of each second, all connections
//! that have such receivers get the same part, and what a connection did not use for a quarter of
//! a second is kept for it. A stalled receiver for which no copy is left is *passed over* until it
//! takes something: runs are counted, as dropped by its queue, and a gap stands for them. Live runs
//! that wait for a replay are such copies, too: those for which none is left come with the replay.
//!
//! A receiver that is new, and has hardly taken anything, stalls as soon as more than a few runs
//! wait, although it has a grant: who opens and closes receivers of everything again and again
//! would otherwise have each run copied for all of them, because none lives long enough to stall.
//!
//! Worked example: a core makes 500,000 such copies a second, and 1,024 receivers of one connection
//! stall. 20,000 events come in each second. 125,000 copies are gone after six milliseconds; from
//! then on each event costs a look at each of the receivers, and no copy.

use std::collections::BTreeMap;

use super::receiver::Receiver;
use crate::time::Time;
use crate::transport::ConnKey;

const SECOND_NS: u64 = 1_000_000_000;
/// What a connection did not use is kept for so long.
const KEPT_NS: u64 = SECOND_NS / 4;

/// How many copies the connections of a core have had for receivers that stall.
#[derive(Debug)]
pub(super) struct Stalls {
    copies_per_second: u64,
    /// Until when each connection has used up its part: in the past for one that may have as many
    /// as are kept. Those are forgotten.
    used_until: BTreeMap<ConnKey, Time>,
    /// When that was done last.
    forgotten_at: Time,
}

impl Stalls {
    pub(super) const fn new(copies_per_second: u64) -> Self {
        Self { copies_per_second, used_until: BTreeMap::new(), forgotten_at: Time::ZERO }
    }

    pub(super) const fn set_limit(&mut self, copies_per_second: u64) {
        self.copies_per_second = copies_per_second;
    }

    /// A run was copied for a receiver that stalls. Once its connection has had its part, the
    /// receiver is passed over.
    #[cold]
    pub(super) fn note(&mut self, receiver: &mut Receiver, now: Time) {
        if !self.may_copy(receiver.conn, now) {
            let is_plain = !receiver.selectors.has_patterns() && receiver.joins.is_none();
            receiver.queue.pass_over(is_plain);
        }
    }

    /// Takes one copy of a connection's part; `false` when none is left.
    pub(super) fn may_copy(&mut self, conn: ConnKey, now: Time) -> bool {
        if now.nanos_since(self.forgotten_at) > KEPT_NS {
            self.used_until.retain(|_, until| *until > now);
            self.forgotten_at = now;
        }
        let used = self.used_until.get(&conn).copied().unwrap_or(now).max(now);
        let connections = (self.used_until.len() as u64).max(1);
        let copy_ns = (SECOND_NS / self.copies_per_second.max(1)).max(1);
        let is_left = used.nanos_since(now) <= KEPT_NS;
        if is_left {
            self.used_until.insert(conn, used.after(copy_ns.saturating_mul(connections)));
        }
        is_left
    }
}
