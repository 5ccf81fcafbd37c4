//! What admin pages say, as far as the commands read it. Fields that a router does not have, being
//! older, are empty; those that it has besides are left alone. docs/reference/admin.md describes
//! all of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `/status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) router: String,
    pub(crate) incarnation: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) addr: String,
    pub(crate) advertise: String,
    pub(crate) ready: bool,
    pub(crate) synced: bool,
    pub(crate) joined: bool,
    pub(crate) degraded: bool,
    pub(crate) draining: bool,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) peers_needed: usize,
    pub(crate) control_age_s: f64,
    pub(crate) silent_cores: Vec<u16>,
    /// Seconds since 1970.
    pub(crate) certificate_expiry: Option<i64>,
    /// When it should have been renewed, seconds since 1970.
    pub(crate) certificate_renewal: Option<i64>,
    pub(crate) history: History,
    pub(crate) peers: Vec<Peer>,
    pub(crate) cores: Vec<Core>,
}

/// What a router keeps of the past.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) bytes: u64,
    /// How far back all of it is there.
    pub(crate) span_s: Option<u64>,
    /// Where it is kept in files, too.
    pub(crate) files: Option<HistoryFiles>,
}

/// What history files hold.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryFiles {
    pub(crate) history_file_bytes: u64,
    pub(crate) history_file_span_seconds: u64,
}

/// `/move`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Moving {
    /// Clients that were asked.
    pub(crate) clients: u64,
}

/// What is wrong with a router's place in the mesh.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Trouble {
    pub(crate) kind: String,
    pub(crate) about: String,
}

/// A peer, as a router sees it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Peer {
    pub(crate) router: String,
    pub(crate) name: String,
    pub(crate) advertise: String,
    pub(crate) state: String,
    pub(crate) lanes_up: u64,
    pub(crate) lanes: u64,
    pub(crate) interest: u64,
}

/// A core.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Core {
    pub(crate) core: u16,
    pub(crate) uptime_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) busy_share: f64,
    pub(crate) clients: u64,
    pub(crate) receivers: u64,
    pub(crate) selectors: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) events_in: u64,
    pub(crate) events_out: u64,
    pub(crate) dropped: u64,
    pub(crate) metrics: BTreeMap<String, Value>,
}

impl Status {
    /// A sum over the cores.
    pub(crate) fn sum(&self, number: impl Fn(&Core) -> u64) -> u64 {
        self.cores.iter().map(number).sum()
    }

    /// A sum over the cores of a number of `/metrics`; of one by label, of all labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.sum(|core| core.metric(name))
    }

    /// In a word, how it stands.
    pub(crate) fn state(&self) -> &'static str {
        if self.draining {
            "draining"
        } else if !self.ready {
            "not ready"
        } else if self.degraded {
            "degraded"
        } else {
            "ready"
        }
    }

    /// Peers in a state.
    pub(crate) fn peers_in(&self, state: &str) -> usize {
        self.peers.iter().filter(|peer| peer.state == state).count()
    }
}

impl Core {
    /// Since its start, the time that it was awake.
    pub(crate) fn awake_s(&self) -> f64 {
        self.busy_share * self.uptime_s
    }

    /// A number of `/metrics`; of one by label, the sum.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        match self.metrics.get(name) {
            Some(Value::Object(labels)) => labels.values().filter_map(Value::as_u64).sum(),
            Some(value) => value.as_u64().unwrap_or(0),
            None => 0,
        }
    }

    /// The numbers of a metric by label that are not 0.
    pub(crate) fn labels(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        let labels = self.metrics.get(name).and_then(Value::as_object);
        labels.into_iter().flatten().map(|(label, count)| (label.as_str(), count.as_u64().unwrap_or(0)))
    }
}

/// `/sessions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sessions {
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) sessions: Vec<Session>,
}

/// A client's connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Session {
    pub(crate) session: String,
    pub(crate) remote: Option<String>,
    pub(crate) rtt_us: u64,
    pub(crate) publishes: bool,
    pub(crate) published_bytes: u64,
    pub(crate) receivers: u64,
    pub(crate) selectors: u64,
    pub(crate) queued_events: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) queue_bytes_max: u64,
    pub(crate) dropped_events: u64,
}

/// `/tags`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tags {
    pub(crate) tags: Vec<HotTag>,
}

/// A tag that many events have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HotTag {
    pub(crate) tag: String,
    pub(crate) share: f64,
}

/// `/routes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Routes {
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) coarse: bool,
    pub(crate) next: Option<String>,
    pub(crate) routes: Vec<Route>,
}

/// Who wants what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Route {
    pub(crate) selector: String,
    pub(crate) core: Option<u16>,
    pub(crate) router: Option<String>,
    pub(crate) router_name: Option<String>,
    pub(crate) by_payload: bool,
}

/// `/names`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Names {
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) names: Vec<NamedReceiver>,
}

/// Who holds a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamedReceiver {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) identity: String,
    pub(crate) router: String,
    pub(crate) router_name: String,
}

/// `/standby`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StandbySets {
    pub(crate) name: String,
    pub(crate) sets: Vec<StandbySet>,
}

/// A set of standby publishers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StandbySet {
    pub(crate) set: String,
    pub(crate) generation: u64,
    pub(crate) held: bool,
    pub(crate) since_seconds: f64,
    pub(crate) why: Option<String>,
    pub(crate) next_source_seq: u64,
    pub(crate) fenced: u64,
    pub(crate) members: Vec<SetMember>,
}

/// A member of such a set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SetMember {
    pub(crate) publisher: String,
    pub(crate) rank: u8,
    pub(crate) preempt: bool,
    pub(crate) router: String,
    pub(crate) router_name: String,
    pub(crate) silent: bool,
    pub(crate) abreast: bool,
    pub(crate) holder: bool,
}

/// `/standby/hand-over`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HandedOver {
    pub(crate) set: String,
}

/// `/groups`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Groups {
    pub(crate) name: String,
    pub(crate) groups: Vec<Group>,
}

/// A group of receivers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) exclusive: bool,
    pub(crate) level: Option<u8>,
    pub(crate) last_switch: Option<GroupSwitch>,
    pub(crate) switches: u64,
    pub(crate) waiting: u64,
    pub(crate) held_bytes: u64,
    pub(crate) members: Vec<GroupMember>,
}

/// The last change of a group's level.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GroupSwitch {
    pub(crate) from: Option<u8>,
    pub(crate) reason: String,
    pub(crate) seconds_ago: f64,
}

/// A member of a group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GroupMember {
    pub(crate) router: String,
    pub(crate) router_name: String,
    pub(crate) member: u64,
    pub(crate) level: u8,
    pub(crate) in_flight: u64,
    pub(crate) room: u64,
    pub(crate) busy: bool,
    pub(crate) active: bool,
}

/// `/rules`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rules {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) mixed_events: u64,
    pub(crate) rules: Vec<Rule>,
}

/// A tag rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) hits: u64,
    pub(crate) conflicts: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) overflowed: u64,
    pub(crate) time_seconds: f64,
    pub(crate) last_failure: Option<RuleFailure>,
}

/// The last event that a rule failed for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RuleFailure {
    pub(crate) tags: String,
    pub(crate) key: String,
    pub(crate) reason: String,
}

/// `/forwards`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Forwards {
    pub(crate) name: String,
    pub(crate) cluster: Option<String>,
    pub(crate) links: Vec<ForwardLink>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) warnings: Vec<String>,
}

/// A link to another cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ForwardLink {
    pub(crate) name: String,
    pub(crate) to: String,
    pub(crate) state: String,
    pub(crate) since_seconds: f64,
    pub(crate) cluster: Option<String>,
    pub(crate) trouble: Option<String>,
    pub(crate) refused_selectors: Vec<String>,
    pub(crate) demand: Option<Vec<String>>,
    pub(crate) sent: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) spooled_bytes: u64,
    pub(crate) keeps_for_seconds: Option<f64>,
}

/// Events that came from another cluster, by the way on which they came.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Arrival {
    pub(crate) path: Vec<String>,
    pub(crate) events: u64,
    pub(crate) removed: u64,
}

/// `/why`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Why {
    pub(crate) router: String,
    pub(crate) name: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) effective_tags: BTreeMap<String, String>,
    pub(crate) rules: Vec<String>,
    pub(crate) payload_rules: Vec<String>,
    pub(crate) owner_core: u16,
    pub(crate) takes_events: bool,
    pub(crate) receivers_count: u64,
    pub(crate) receivers: Vec<WhyReceiver>,
    pub(crate) nearest: Vec<Miss>,
    pub(crate) peers: Vec<WhyPeer>,
}

/// A receiver that an event would meet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WhyReceiver {
    pub(crate) session: String,
    pub(crate) receiver: u64,
    pub(crate) selectors: Vec<WhySelector>,
    pub(crate) queued_bytes: u64,
    pub(crate) queue_bytes_max: u64,
    pub(crate) dropped_events: u64,
}

/// One of its selectors that match.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WhySelector {
    pub(crate) selector: String,
    pub(crate) by_payload: bool,
}

/// A peer that an event would meet, or would not.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WhyPeer {
    pub(crate) router: String,
    pub(crate) name: String,
    pub(crate) wants: bool,
    pub(crate) by_payload: bool,
    pub(crate) why_not: Option<String>,
    pub(crate) nearest: Vec<Miss>,
}

/// A selector that does not match, and what it lacks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Miss {
    pub(crate) selector: String,
    pub(crate) unmet: Vec<Unmet>,
}

/// A requirement that is not met.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Unmet {
    pub(crate) key: String,
    pub(crate) requires: String,
    pub(crate) has: Option<String>,
}

/// `/reload`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reloaded {
    pub(crate) changes: Vec<String>,
}

/// `/drain`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Draining {
    pub(crate) grace_s: f64,
}
