//! From two rounds of answers to rates and rows: everything that is drawn, and nothing about how.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::gather::{Heard, Known, Round};
use crate::admin::pages::{Core, Status};

/// Schema of the object that `--once --json` prints.
const SCHEMA: &str = "millrace.top/1";
/// Rows of tags and of receivers, at most.
const ROWS: usize = 20;

/// The cluster at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct View {
    pub(super) schema: &'static str,
    pub(super) routers: Vec<RouterRow>,
    pub(super) cores: Vec<CoreRow>,
    pub(super) links: Vec<LinkRow>,
    pub(super) tags: Vec<TagRow>,
    pub(super) receivers: Vec<ReceiverRow>,
    pub(super) drops: Vec<DropRow>,
    #[serde(rename = "in_per_s")]
    pub(super) events_in: f64,
    #[serde(rename = "out_per_s")]
    pub(super) events_out: f64,
    #[serde(rename = "dropped_per_s")]
    pub(super) dropped: f64,
}

/// A router.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct RouterRow {
    pub(super) admin: String,
    pub(super) name: String,
    pub(super) state: String,
    /// Seconds since it answered last, if it does not.
    pub(super) silent_s: Option<f64>,
    pub(super) why_silent: Option<String>,
    pub(super) peers_linked: usize,
    pub(super) peers: usize,
    pub(super) clients: u64,
    pub(super) receivers: u64,
    #[serde(rename = "in_per_s")]
    pub(super) events_in: f64,
    #[serde(rename = "out_per_s")]
    pub(super) events_out: f64,
    #[serde(rename = "dropped_per_s")]
    pub(super) dropped: f64,
    pub(super) queued_bytes: u64,
    pub(super) queue_budget_bytes: u64,
    pub(super) trouble: Option<String>,
}

/// A core.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CoreRow {
    pub(super) router: String,
    pub(super) core: u16,
    /// The part of the time that it was awake, 0 to 1.
    pub(super) busy: f64,
    pub(super) cpu: f64,
    pub(super) clients: u64,
    #[serde(rename = "in_per_s")]
    pub(super) events_in: f64,
    #[serde(rename = "out_per_s")]
    pub(super) events_out: f64,
    pub(super) queued_bytes: u64,
}

/// A link, as one of its ends sees it.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct LinkRow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) state: String,
    pub(super) lanes_up: u64,
    pub(super) lanes: u64,
    pub(super) selectors: u64,
}

/// A tag.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct TagRow {
    pub(super) tag: String,
    pub(super) share: f64,
    #[serde(rename = "per_s")]
    pub(super) rate: f64,
}

/// A client for which something waits.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ReceiverRow {
    pub(super) router: String,
    pub(super) session: String,
    pub(super) client: String,
    pub(super) queued_events: u64,
    pub(super) queued_bytes: u64,
    pub(super) queue_bytes_max: u64,
    pub(super) dropped: u64,
    pub(super) rtt_us: u64,
}

/// Drops for one reason.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct DropRow {
    pub(super) reason: String,
    #[serde(rename = "per_s")]
    pub(super) rate: f64,
    pub(super) total: u64,
}

/// Two answers of one router, and what lies between them.
struct Span<'a> {
    before: Option<&'a Heard>,
    last: &'a Heard,
}

impl<'a> Span<'a> {
    fn of(known: &'a Known) -> Option<Self> {
        let last = known.last.as_ref()?;
        // A new life counts from 0.
        let before =
            known.before.as_ref().filter(|before| before.status.incarnation == last.status.incarnation);
        Some(Self { before, last })
    }

    fn seconds(&self) -> f64 {
        self.before.map_or(f64::INFINITY, |before| (self.last.at - before.at).as_secs_f64().max(1e-3))
    }

    /// A counter's growth per second.
    fn rate(&self, counter: impl Fn(&Status) -> u64) -> f64 {
        let before = self.before.map_or(0, |before| counter(&before.status));
        counter(&self.last.status).saturating_sub(before) as f64 / self.seconds()
    }

    /// The same for the core of this number.
    fn core_rate(&self, number: u16, counter: impl Fn(&Core) -> f64) -> f64 {
        let find = |heard: &Heard| heard.status.cores.iter().find(|core| core.core == number).map(&counter);
        let before = self.before.and_then(find).unwrap_or(0.0);
        (find(self.last).unwrap_or(0.0) - before).max(0.0) / self.seconds()
    }
}

impl View {
    /// What is to be shown of the last two rounds.
    pub(super) fn of(round: &Round, now: Instant) -> Self {
        let mut view = Self { schema: SCHEMA, ..Self::default() };
        let mut tags: BTreeMap<String, f64> = BTreeMap::new();
        let mut drops: BTreeMap<String, DropRow> = BTreeMap::new();
        for (url, known) in &round.routers {
            let span = Span::of(known);
            let row = RouterRow {
                admin: url.to_string(),
                why_silent: known.error.clone(),
                ..match &span {
                    None => RouterRow::unknown(url.authority()),
                    Some(span) if known.error.is_some() => RouterRow::of(span).gone(now - span.last.at),
                    Some(span) => RouterRow::of(span),
                }
            };
            if let Some(span) = span.filter(|_| known.error.is_none()) {
                view.add_rows(&span);
                for tag in &span.last.tags.tags {
                    *tags.entry(tag.tag.clone()).or_default() += tag.share * row.events_in;
                }
                add_drops(&mut drops, &span);
            }
            // The rates of a router that does not answer are 0.
            view.events_in += row.events_in;
            view.events_out += row.events_out;
            view.dropped += row.dropped;
            view.routers.push(row);
        }
        view.rank(tags, drops);
        view
    }

    fn add_rows(&mut self, span: &Span<'_>) {
        let status = &span.last.status;
        let name = &status.name;
        self.cores.extend(status.cores.iter().map(|core| CoreRow {
            router: name.clone(),
            core: core.core,
            busy: span.core_rate(core.core, Core::awake_s).min(1.0),
            cpu: span.core_rate(core.core, |core| core.cpu_s),
            clients: core.clients,
            events_in: span.core_rate(core.core, |core| core.events_in as f64),
            events_out: span.core_rate(core.core, |core| core.events_out as f64),
            queued_bytes: core.queued_bytes,
        }));
        self.links.extend(status.peers.iter().map(|peer| LinkRow {
            from: name.clone(),
            to: if peer.name.is_empty() { peer.router.clone() } else { peer.name.clone() },
            state: peer.state.clone(),
            lanes_up: peer.lanes_up,
            lanes: peer.lanes,
            selectors: peer.interest,
        }));
        let slow = span
            .last
            .sessions
            .sessions
            .iter()
            .filter(|session| session.queued_bytes + session.dropped_events > 0);
        self.receivers.extend(slow.map(|session| ReceiverRow {
            router: name.clone(),
            session: session.session.clone(),
            client: session.remote.clone().unwrap_or_default(),
            queued_events: session.queued_events,
            queued_bytes: session.queued_bytes,
            queue_bytes_max: session.queue_bytes_max,
            dropped: session.dropped_events,
            rtt_us: session.rtt_us,
        }));
    }

    fn rank(&mut self, tags: BTreeMap<String, f64>, drops: BTreeMap<String, DropRow>) {
        let all = self.events_in.max(1e-9);
        self.tags =
            tags.into_iter().map(|(tag, rate)| TagRow { tag, share: (rate / all).min(1.0), rate }).collect();
        self.tags.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        self.tags.retain(|tag| tag.rate > 0.0);
        self.tags.truncate(ROWS);
        self.receivers
            .sort_by_key(|row| (std::cmp::Reverse(row.queued_bytes), std::cmp::Reverse(row.dropped)));
        self.receivers.truncate(ROWS);
        self.drops = drops.into_values().collect();
        self.drops.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.total.cmp(&a.total)));
    }
}

impl RouterRow {
    /// A router that never answered.
    fn unknown(name: &str) -> Self {
        Self { name: name.to_owned(), state: "unknown".to_owned(), ..Self::default() }
    }

    /// A router that answers.
    fn of(span: &Span<'_>) -> Self {
        let status = &span.last.status;
        let sum = |counter: fn(&Core) -> u64| status.sum(counter);
        let rate = |counter: fn(&Core) -> u64| span.rate(|status| status.sum(counter));
        Self {
            name: status.name.clone(),
            state: status.state().to_owned(),
            peers_linked: status.peers_in("linked"),
            peers: status.peers.len(),
            clients: sum(|core| core.clients),
            receivers: sum(|core| core.receivers),
            events_in: rate(|core| core.events_in),
            events_out: rate(|core| core.events_out),
            dropped: rate(|core| core.dropped),
            queued_bytes: sum(|core| core.queued_bytes),
            queue_budget_bytes: status.metric("queue_budget_bytes"),
            trouble: status.trouble.as_ref().map(|trouble| trouble.about.clone()),
            ..Self::default()
        }
    }

    /// The row of a router that has not answered for so long: what it had is not there any more.
    fn gone(self, silent: Duration) -> Self {
        let Self { name, peers, queue_budget_bytes, .. } = self;
        let silent_s = Some(silent.as_secs_f64());
        Self { name, peers, queue_budget_bytes, silent_s, state: "gone".to_owned(), ..Self::default() }
    }
}

fn add_drops(drops: &mut BTreeMap<String, DropRow>, span: &Span<'_>) {
    let counts = |heard: &Heard| {
        let labels = heard.status.cores.iter().flat_map(|core| core.labels("dropped_events"));
        labels.fold(BTreeMap::<String, u64>::new(), |mut counts, (reason, count)| {
            *counts.entry(reason.to_owned()).or_default() += count;
            counts
        })
    };
    let before = span.before.map(counts).unwrap_or_default();
    for (reason, total) in counts(span.last) {
        let grown = total.saturating_sub(before.get(&reason).copied().unwrap_or(0));
        let row = drops.entry(reason.clone()).or_insert_with(|| DropRow { reason, ..DropRow::default() });
        row.total += total;
        row.rate += grown as f64 / span.seconds();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::pages::{Sessions, Tags};

    /// What a router says that has taken `events` so far.
    pub(in crate::top) fn heard(name: &str, events: u64, at: Instant) -> Heard {
        let status = json!({
            "name": name, "incarnation": "1", "ready": true, "synced": true, "joined": true,
            "peers": [{ "name": "other", "state": "linked", "lanes_up": 2, "lanes": 2, "interest": 12 }],
            "cores": [{
                "core": 0, "uptime_s": 10.0 + events as f64 / 1000.0, "busy_share": 0.5, "cpu_s": events as f64 / 2000.0,
                "clients": 3, "receivers": 2, "queued_bytes": 3 << 20, "events_in": events, "events_out": events * 3,
                "dropped": events / 10,
                "metrics": { "dropped_events": { "receiver_overflow": events / 10 }, "queue_budget_bytes": 256 << 20 },
            }],
        });
        let sessions = json!({ "sessions": [
            { "session": "0.7", "remote": "192.0.2.7:40000", "queued_bytes": 3 << 20, "queued_events": 900,
              "queue_bytes_max": 16 << 20, "dropped_events": 100, "rtt_us": 1500 },
            { "session": "0.8", "remote": "192.0.2.8:40000", "queue_bytes_max": 16 << 20 },
        ]});
        let tags =
            json!({ "tags": [{ "tag": "host=web-1", "share": 0.5 }, { "tag": "zone=a", "share": 0.1 }] });
        let read = |value: serde_json::Value| value;
        Heard {
            at,
            status: serde_json::from_value::<Status>(read(status)).unwrap_or_default(),
            sessions: serde_json::from_value::<Sessions>(sessions).unwrap_or_default(),
            tags: serde_json::from_value::<Tags>(tags).unwrap_or_default(),
        }
    }

    /// A cluster of one router that works, one that has died, and one that never answered.
    pub(in crate::top) fn cluster() -> (Round, Instant) {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(2);
        let mut round = Round::default();
        let url = |text: &str| text.parse().unwrap_or_else(|why| panic!("{why}"));
        let (before, last) = (Some(heard("router-a", 1_000, begin)), Some(heard("router-a", 5_000, later)));
        round.routers.insert(url("10.0.0.1"), Known { before, last, error: None });
        let error = Some("no router answers at http://10.0.0.2:7401: connection refused".to_owned());
        round.routers.insert(
            url("10.0.0.2"),
            Known { before: None, last: Some(heard("router-b", 9, begin)), error: error.clone() },
        );
        round.routers.insert(url("10.0.0.3"), Known { before: None, last: None, error });
        (round, later + Duration::from_secs(3))
    }

    #[test]
    fn rates_are_means_between_two_looks_and_the_dead_count_for_nothing() {
        let (round, now) = cluster();
        let view = View::of(&round, now);
        let states: Vec<_> = view.routers.iter().map(|row| (row.name.as_str(), row.state.as_str())).collect();
        assert_eq!(states, [("router-a", "ready"), ("router-b", "gone"), ("10.0.0.3:7401", "unknown")]);
        assert_eq!((view.events_in, view.events_out, view.dropped), (2_000.0, 6_000.0, 200.0));
        assert_eq!(view.routers[1].silent_s.map(f64::round), Some(5.0));
        assert_eq!((view.tags[0].tag.as_str(), view.tags[0].rate), ("host=web-1", 1_000.0));
        assert_eq!(view.receivers.len(), 1, "only those for which something waits");
        assert_eq!((view.drops[0].reason.as_str(), view.drops[0].total), ("receiver_overflow", 500));
        assert!((view.cores[0].busy - 1.0).abs() < 1e-9 || view.cores[0].busy <= 1.0);
    }

    #[test]
    fn a_new_life_counts_from_its_start() {
        let (mut round, now) = cluster();
        for known in round.routers.values_mut() {
            if let Some(before) = &mut known.before {
                before.status.incarnation = "0".to_owned();
            }
        }
        assert_eq!(View::of(&round, now).events_in, 0.0, "one look at a life has no rates");
    }
}
