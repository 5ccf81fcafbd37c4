//! What routers use and count.

use std::collections::BTreeMap;

use millrace_router::CoreSnapshot;

use super::cores::CoreUse;

/// What routers have used so far.
#[derive(Debug, Default, Clone, Copy)]
pub struct Usage {
    /// CPU time: of embedded routers their cores', of processes all of it.
    pub cpu_ns: u64,
    /// Time that their threads were ready to run while no CPU was free; known of processes.
    pub waited_ns: u64,
    /// Resident memory; known of processes.
    pub resident_bytes: Option<u64>,
}

/// What goes on in routers at one moment: whether something still moves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Events that routers have read and written so far, each time that they were.
    pub moved_events: u64,
    /// Bytes that wait for receivers, or in streams that their hosts have not acknowledged.
    pub waiting_bytes: u64,
}

/// What routers have counted so far: where their time goes, and what they dropped.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    /// Counters by name.
    pub counted: BTreeMap<String, u64>,
    /// Dropped events by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Each core.
    pub cores: Vec<CoreUse>,
}

impl Counters {
    /// What was counted since `before`; drops without those that did not happen.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let since = |after: &BTreeMap<String, u64>,
                     before: &BTreeMap<String, u64>|
         -> BTreeMap<String, u64> {
            let earlier = |name| before.get(name).copied().unwrap_or(0);
            after.iter().map(|(name, &count)| (name.clone(), count.saturating_sub(earlier(name)))).collect()
        };
        let mut dropped = since(&self.dropped, &before.dropped);
        dropped.retain(|_, &mut count| count > 0);
        let cores = self.cores.iter().zip(&before.cores).map(|(after, before)| after.since(before)).collect();
        Self { counted: since(&self.counted, &before.counted), dropped, cores }
    }

    /// Each counter divided by `events`.
    #[must_use]
    pub fn per_event(&self, events: f64) -> BTreeMap<String, f64> {
        self.counted.iter().map(|(name, &count)| (name.clone(), count as f64 / events)).collect()
    }

    /// One counter.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counted.get(name).copied().unwrap_or(0)
    }
}

/// Name of the counter of events that routers have read from publishers.
pub const EVENTS_IN: &str = "events in";

/// Counters that reports show, by their name there and in `/metrics`, as a sum.
pub(super) const SHOWN: &[(&str, &[&str])] = &[
    ("router datagrams in", &["datagrams_in"]),
    ("router datagrams out", &["datagrams_out"]),
    ("router receive calls", &["receive_calls"]),
    ("router send calls", &["send_calls"]),
    ("router turns", &["turns"]),
    (EVENTS_IN, &["ingress_events"]),
    ("events across lanes", &["peer_egress_events"]),
    ("events across cores", &["sibling_egress_events"]),
    ("packets lost", &["packets_lost"]),
    ("kernel drops", &["udp_drops"]),
    ("routes found unchanged", &["route_cache_hits", "route_cache_confirmed"]),
    ("routes patched", &["route_cache_unconcerned", "route_cache_patched"]),
    ("routes rebuilt", &["route_cache_rebuilt", "route_cache_added"]),
];

/// Counters of events that move.
pub(super) const MOVED: &[&str] =
    &["ingress_events", "egress_events", "peer_egress_events", "sibling_egress_events"];

/// Levels of what waits.
pub(super) const WAITING: &[&str] = &["queued_bytes", "stream_ahead_bytes"];

/// The sum of some counters.
pub(super) fn sum(all: &BTreeMap<String, u64>, names: &[&str]) -> u64 {
    names.iter().map(|&name| all.get(name).copied().unwrap_or(0)).sum()
}

/// An embedded core's counters, by the names that they have in `/metrics`.
pub(super) fn add_core(
    core: &CoreSnapshot,
    all: &mut BTreeMap<String, u64>,
    dropped: &mut BTreeMap<String, u64>,
) {
    core.each_number(|name, label, count| match label {
        Some(reason) if name == "dropped_events" => {
            if count > 0 {
                *dropped.entry(reason.to_owned()).or_insert(0) += count;
            }
        }
        Some(_) => {}
        None => *all.entry(name.to_owned()).or_insert(0) += count,
    });
}
