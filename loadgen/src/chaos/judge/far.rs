//! Whether a confirmed event came to the receivers of the far cluster.
//!
//! A link brings what entered at its router, and keeps it while the far cluster is away. So a
//! receiver is owed an event if it was effective from a second before the publish (demand is a
//! moment late) until the link had time, and if no process on the way was gone meanwhile: what
//! waits in a router that is killed is lost with it.

use super::ledger::Record;
use super::receiver::ReceiverSide;

/// How late what is wanted may be known at the other side.
const DEMAND_US: u64 = 1_000_000;
/// How long a link may take.
const CROSSES_US: u64 = 5_000_000;
/// How long it may take around a fault: a router stands still for 3.5 s, then the link looks for
/// the far cluster, and waits for its receivers.
const CROSSES_AT_FAULT_US: u64 = 12_000_000;
/// A fault that began so long before is not over.
const FAULT_US: u64 = 4_000_000;

/// What is to be known of a run.
pub(super) struct Way<'a> {
    /// When faults of routers began, in order.
    pub(super) faults: &'a [u64],
    /// When processes on the way were gone: the router at which the event entered, and the far one.
    pub(super) gone: Vec<&'a [u64]>,
}

impl Way<'_> {
    /// Whether a receiver is owed an event that was confirmed at a time.
    pub(super) fn owes(&self, record: &Record, confirmed_us: u64, side: &ReceiverSide) -> bool {
        let from_us = record.published_us();
        let began = self.faults.partition_point(|&at_us| at_us + FAULT_US < from_us);
        let is_near = self.faults.get(began).is_some_and(|&at_us| at_us <= confirmed_us + CROSSES_US);
        let until_us = confirmed_us + if is_near { CROSSES_AT_FAULT_US } else { CROSSES_US };
        let is_gone = self.gone.iter().any(|gone| {
            let at = gone.partition_point(|&at_us| at_us < from_us);
            gone.get(at).is_some_and(|&at_us| at_us <= until_us)
        });
        let from_us = from_us.saturating_sub(DEMAND_US);
        !is_gone && side.spans.over(from_us, until_us).is_some() && !side.has_gap(from_us, until_us)
    }
}
