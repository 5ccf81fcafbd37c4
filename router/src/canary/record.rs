//! Which probes are under way, and how long echoes took, by router.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_engine::control::PEERS_MAX;
use millrace_proto::RouterId;

/// A probe without an echo for this long is lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(5);

/// Routers of which round trips are kept: all that may be known, and this one.
const ROUTERS_MAX: usize = PEERS_MAX + 1;

millrace_engine::metrics! {
    /// What the canary has measured by way of one router.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct CanaryMetrics {
        /// Time from a probe of this router's canary to the echo of another router's, or of its
        /// own: through both sessions and both directions of the link.
        round_trip: times "canary_round_trip_seconds",
        /// Probes to which a router has not answered within 5 s, although its canary has answered
        /// before.
        lost: counter "canary_lost",
    }
}

/// A probe under way.
#[derive(Debug)]
struct Probe {
    sent: Instant,
    /// Who has not answered yet.
    waits_for: BTreeSet<RouterId>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By number: those of the last [`LOST_AFTER`].
    probes: BTreeMap<u64, Probe>,
    /// At most [`ROUTERS_MAX`].
    routers: BTreeMap<RouterId, CanaryMetrics>,
}

/// The record of one router's canary, which its session writes and the admin page reads.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Inner>);

impl Record {
    /// A probe leaves, while these routers are linked. Forgets others, and counts those as lost
    /// that have not answered an older probe in time.
    pub(super) fn sent(&self, number: u64, now: Instant, linked: &BTreeSet<RouterId>) {
        let Inner { probes, routers } = &mut *self.inner();
        routers.retain(|router, _| linked.contains(router));
        while let Some(first) = probes.first_entry()
            && now.saturating_duration_since(first.get().sent) >= LOST_AFTER
        {
            for router in first.remove().waits_for {
                if let Some(metrics) = routers.get_mut(&router) {
                    metrics.lost += 1;
                }
            }
        }
        // A router may have no canary: only one that has answered can be missed.
        probes.insert(number, Probe { sent: now, waits_for: routers.keys().copied().collect() });
    }

    /// An echo has come. One to a probe that is forgotten is left out.
    pub(super) fn answered(&self, number: u64, from: RouterId, now: Instant) {
        let Inner { probes, routers } = &mut *self.inner();
        let Some(probe) = probes.get_mut(&number) else { return };
        let is_known = routers.contains_key(&from);
        if is_known && !probe.waits_for.remove(&from) {
            // It has answered this probe before, or was not known when it was sent.
            return;
        }
        if is_known || routers.len() < ROUTERS_MAX {
            routers.entry(from).or_default().round_trip.record(now.saturating_duration_since(probe.sent));
        }
    }

    /// What was measured, by router.
    pub(crate) fn routers(&self) -> Vec<(RouterId, CanaryMetrics)> {
        self.inner().routers.iter().map(|(&router, &metrics)| (router, metrics)).collect()
    }

    /// Each change leaves it whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_are_timed_once_and_what_is_missing_is_counted_late() {
        let (one, two) = (RouterId(1), RouterId(2));
        let linked = BTreeSet::from([one, two]);
        let (record, begin) = (Record::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        record.sent(0, at(0), &linked);
        record.answered(0, one, at(3));
        record.answered(0, one, at(4));
        record.answered(7, two, at(4));
        record.sent(1, at(1_000), &linked);
        record.sent(2, at(5_999), &linked);
        let told = record.routers();
        assert_eq!((told.len(), told[0].0, told[0].1.round_trip.count(), told[0].1.lost), (1, one, 1, 0));
        record.sent(3, at(6_000), &linked);
        assert_eq!(record.routers()[0].1.lost, 1, "the second probe");
        record.answered(1, one, at(6_001));
        record.answered(3, two, at(6_010));
        assert_eq!(record.routers()[1].1.round_trip.count(), 1);
        record.sent(4, at(7_000), &BTreeSet::from([two]));
        assert_eq!(record.routers().len(), 1, "who is not linked is forgotten");
    }
}
