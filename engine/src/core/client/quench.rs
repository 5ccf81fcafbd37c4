//! Tells a client's publishers which of their tag sets nobody wants, and when somebody does.
//!
//! The core looks at the tag sets of a publish stream some time after it was read, if the interest
//! or the sets have changed since the last look. A set that nobody wanted in any look for
//! `quench_after` is quenched, provided that this router knows all interest: it is synced, and no
//! peer is suspect. New interest makes the core look at once, at the sets that nobody wanted
//! ([`Demand`](crate::core::demand)).
//!
//! A publisher that has not answered is told of no further sets, so that one that hangs delays a
//! subscription once.

use std::time::Duration;

use millrace_proto::control::{self, Quenched, Unquench};

use super::publisher::PublishStream;
use super::quenched::{QUENCHES_PER_SECOND, Quench};
use super::session::ClientSession;
use crate::core::path::Path;
use crate::core::timers::Timer;
use crate::core::turn::Turn;
use crate::time::Time;
use crate::transport::ConnKey;

/// Least time between two looks at the sets of one publisher.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);

/// What a look at the sets has to do with each other.
fn seen(path: &Path, publish: &PublishStream) -> ((u64, u64), u64) {
    (path.index_versions(), publish.definitions())
}

impl ClientSession {
    /// The publish stream was read.
    pub(super) fn plan_look(&mut self, turn: &mut Turn<'_>) {
        let (Some(quench), Some(publish)) = (self.to_publisher.quench.as_deref_mut(), &self.publish) else {
            return;
        };
        let after = turn.config.limits.received.quench_after;
        if quench.due.is_none() && !after.is_zero() && quench.seen != seen(turn.path, publish) {
            set_due(quench, turn, self.conn, after);
        }
    }

    /// Looks at all tag sets, if the timer still holds, and tells which nobody wants.
    pub(in crate::core) fn look_at_tag_sets(&mut self, turn: &mut Turn<'_>, due: Time) {
        let (Some(quench), Some(publish)) = (self.to_publisher.quench.as_deref_mut(), self.publish.as_mut())
        else {
            return;
        };
        if quench.due.take_if(|set| *set == due).is_none() {
            return;
        }
        quench.seen = seen(turn.path, publish);
        let after = turn.config.limits.received.quench_after;
        let (mut ripe, mut unwanted, mut quenched) = (Vec::new(), 0, 0);
        for (number, tags) in publish.tag_sets() {
            if tags.unwanted.is_quenched() {
                quenched += 1;
            } else if tags.refusal.is_some() || turn.path.is_wanted(tags) {
                tags.unwanted.clear();
            } else {
                unwanted += 1;
                if tags.unwanted.see(turn.now) >= after {
                    ripe.push(number);
                }
            }
        }
        let may_tell = turn.standing.knows_all_interest && quench.answered == quench.version;
        ripe.truncate(if may_tell { quench.room(turn.now) } else { 0 });
        if !ripe.is_empty() {
            quench.version += 1;
            quench.second.1 += ripe.len();
            for &number in &ripe {
                if let Some(tags) = publish.tag_set(number) {
                    tags.unwanted.quench();
                }
            }
            (quenched, unwanted) = (quenched + ripe.len() as u64, unwanted - ripe.len());
            turn.path.metrics.quenches += ripe.len() as u64;
            let (version, read) = (quench.version, publish.bytes_read());
            control::Quench { version, tag_sets: ripe, read }.encode(&mut self.control.out);
        }
        quench.set_quenched(turn.path, quenched);
        turn.path.clients.demand.watch(self.conn, quenched > 0 || unwanted > 0);
        if unwanted > 0 {
            set_due(quench, turn, self.conn, after);
        }
        self.mark(turn);
    }

    /// Looks at the tag sets that nobody wanted, and tells of those that somebody wants. Returns
    /// how many it has looked at.
    pub(in crate::core) fn look_again(&mut self, turn: &mut Turn<'_>) -> usize {
        let (Some(quench), Some(publish)) = (self.to_publisher.quench.as_deref_mut(), self.publish.as_mut())
        else {
            return 0;
        };
        let (mut wanted, mut looked_at, mut unwanted, mut quenched) = (Vec::new(), 0, 0, 0);
        for (number, tags) in publish.tag_sets().filter(|(_, tags)| !tags.unwanted.is_wanted()) {
            looked_at += 1;
            let is_quenched = tags.unwanted.is_quenched();
            if !turn.path.is_wanted(tags) {
                quenched += u64::from(is_quenched);
                unwanted += usize::from(!is_quenched);
                continue;
            }
            tags.unwanted.clear();
            if is_quenched {
                wanted.push(number);
            }
        }
        if !wanted.is_empty() {
            turn.path.metrics.unquenches += wanted.len() as u64;
            if wanted.len() > QUENCHES_PER_SECOND {
                // None stand for all.
                wanted.clear();
                publish.tag_sets().for_each(|(_, tags)| tags.unwanted.clear());
                (quenched, unwanted) = (0, 0);
            }
            quench.version += 1;
            let (version, read) = (quench.version, publish.bytes_read());
            Unquench { version, tag_sets: wanted, read }.encode(&mut self.control.out);
            turn.path.clients.demand.told(self.conn, version, publish.publisher());
        }
        quench.set_quenched(turn.path, quenched);
        turn.path.clients.demand.watch(self.conn, quenched > 0 || unwanted > 0);
        self.mark(turn);
        looked_at
    }

    /// The client has applied what it was told.
    pub(super) fn has_applied(&mut self, turn: &mut Turn<'_>, quenched: &Quenched) {
        let Some(quench) = self.to_publisher.quench.as_deref_mut() else { return };
        // A version that was never told means nothing.
        quench.answered = quench.answered.max(quenched.version.min(quench.version));
        turn.path.clients.demand.answered(self.conn, quench.answered);
    }

    /// The connection is gone.
    pub(super) fn end_quench(&mut self, turn: &mut Turn<'_>) {
        let Some(mut quench) = self.to_publisher.quench.take() else { return };
        if let Some(due) = quench.due {
            turn.timers.cancel(due, Timer::Quench(self.conn));
        }
        quench.set_quenched(turn.path, 0);
        turn.path.clients.demand.forget(self.conn);
    }
}

/// Has the core look after half of the time for which nobody may want a set.
fn set_due(quench: &mut Quench, turn: &mut Turn<'_>, conn: ConnKey, after: Duration) {
    let due = turn.now + (after / 2).max(LOOK_EVERY_MIN);
    quench.due = Some(due);
    turn.timers.set(due, Timer::Quench(conn));
}
