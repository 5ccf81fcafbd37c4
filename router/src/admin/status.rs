//! `/status`: what the router knows, as JSON for people and scripts.

use millrace_engine::control::{ControlMetrics, PeerState, PeerStatus, Status, Trouble};
use millrace_engine::core::CoreMetrics;
use millrace_engine::metrics::{Metric, Read};
use millrace_engine::rights::{EntryUsage, UsageMetrics};
use millrace_engine::routes::RouteCacheMetrics;
use millrace_proto::CloseCode;
use serde_json::{Map, Value, json};

use super::look::Look;
use crate::clock::unix_now_ns;
use crate::files::FilesMetrics;
use crate::metrics::{self, CoreSnapshot, ShellMetrics};
use crate::view::View;

/// The page.
pub(super) fn page(view: &View, look: &Look) -> Value {
    let seen = &look.seen;
    let status = &seen.status;
    json!({
        "schema": "millrace-router-status/1",
        "router": view.router.to_string(),
        "incarnation": view.incarnation.to_string(),
        "name": view.name,
        "zone": view.zone,
        "version": env!("CARGO_PKG_VERSION"),
        "addr": view.addr.to_string(),
        "advertise": view.advertise,
        "placement": {
            "mode": view.placement.mode(),
            "cpus": view.placement.cpus(),
            "why": view.placement.why.text(),
        },
        "ready": status.ready(),
        "synced": status.synced,
        "join_timed_out": status.join_timed_out,
        "joined": status.joined,
        "peers_needed": status.peers_needed,
        "unanswered": status.unanswered,
        "degraded": status.degraded,
        "trouble": status.trouble.map(|trouble| json!({
            "kind": trouble.name(),
            "about": crate::herald::trouble(trouble),
        })),
        "draining": status.draining,
        "hidden": status.hidden,
        "rebalance": status.rebalance.name(),
        "rebalancing": status.rebalancing,
        "certificate_expiry": view.certificate_expiry(),
        "certificate_renewal": view.certificate_renewal(),
        "control_age_s": look.control_age.map_or(0.0, |age| age.as_secs_f64()),
        "silent_cores": look.silent_cores,
        "directory": {
            "version": status.directory_version,
            "applied": status.directory_applied,
            "entries": status.directory_entries,
        },
        "interest": {
            "version": status.interest_version,
            "entries": status.interest_entries,
            "coarse": status.coarse,
        },
        "history": history(view, &seen.cores),
        "waiting": status.waiting,
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
        "metrics": declared(ControlMetrics::DECLARED, &seen.control),
        "cores": seen.cores.iter().map(core).collect::<Vec<_>>(),
        "identities": view.meters.usage().iter().map(identity).collect::<Vec<_>>(),
    })
}

/// Every declared number, by the name that it has on `/metrics` between `millrace_` and `_total`.
/// Of numbers by label, those that are not 0.
fn declared<T>(metrics: &[Metric<T>], of: &T) -> Map<String, Value> {
    let value = |metric: &Metric<T>| match metric.read {
        Read::Number(number) => number(of).into(),
        Read::Real(number) => number(of).into(),
        Read::ByLabel { rows, .. } => {
            let mut by_label = Map::new();
            rows(of, &mut |label, count| {
                if count > 0 {
                    by_label.insert(label.to_owned(), count.into());
                }
            });
            by_label.into()
        }
        Read::Times(times) => json!({ "count": times(of).count(), "sum_s": times(of).sum_seconds() }),
    };
    metrics.iter().map(|metric| (metric.name.to_owned(), value(metric))).collect()
}

/// What is kept of the past, and how far back all of it is there: as far as the core reaches that
/// has let runs go and reaches least, or as far as there are runs.
fn history(view: &View, cores: &[CoreSnapshot]) -> Value {
    let spans = |cut: bool| {
        let cores =
            cores.iter().map(|core| &core.engine).filter(move |core| (core.history_evicted > 0) == cut);
        cores.map(|core| core.history_span_seconds)
    };
    json!({
        "bytes": cores.iter().map(|core| core.engine.history_bytes).sum::<u64>(),
        "span_s": spans(true).min().or_else(|| spans(false).max()),
        "files": view.files.as_ref().map(|files| declared(FilesMetrics::DECLARED, &files.metrics(unix_now_ns()))),
    })
}

/// A known router.
fn peer(peer: &PeerStatus) -> Value {
    json!({
        "router": peer.router.to_string(),
        "incarnation": peer.incarnation.map(|incarnation| incarnation.to_string()),
        "name": peer.name,
        "zone": peer.zone,
        "advertise": peer.advertise,
        "state": peer.state.name(),
        "dialling": peer.dialling,
        "lanes_up": peer.lanes_up,
        "lanes": peer.lanes,
        "interest": peer.interest,
        "interest_version": peer.interest_version,
        "acked_version": peer.acked_version,
        "reached_by": peer.reached_by,
        "hidden": peer.hidden,
        "route": peer.route,
        "clients": peer.clients,
        "features": peer.features.iter().collect::<Vec<_>>(),
    })
}

/// An entry with a quota.
fn identity(entry: &EntryUsage) -> Value {
    let quota = &entry.quota;
    json!({
        "name": entry.entry,
        "events_per_second": quota.events_per_second,
        "bytes_per_second": quota.bytes_per_second,
        "sessions": quota.sessions,
        "selectors": quota.selectors,
        "groups": quota.groups,
        "sets": quota.sets,
        "names": quota.names,
        "used": declared(UsageMetrics::DECLARED, &entry.used),
    })
}

fn core(core: &CoreSnapshot) -> Value {
    let mut numbers = declared(CoreMetrics::DECLARED, &core.engine);
    numbers.extend(declared(RouteCacheMetrics::DECLARED, &core.routes));
    numbers.extend(declared(ShellMetrics::DECLARED, &core.shell));
    numbers.extend(declared(metrics::DECLARED, core));
    let closed: Map<String, Value> = CloseCode::ALL
        .into_iter()
        .filter(|&code| core.closed(code) > 0)
        .map(|code| (code.name().to_owned(), core.closed(code).into()))
        .collect();
    json!({
        "core": core.core,
        "uptime_s": core.uptime.as_secs_f64(),
        "cpu_s": core.cpu.as_secs_f64(),
        "busy_share": core.busy_share(),
        "connections": core.connections,
        "clients": core.engine.clients,
        "lanes": core.engine.lanes,
        "receivers": core.engine.receivers,
        "selectors": core.engine.selectors,
        "queued_bytes": core.queued.bytes,
        "events_in": core.engine.events_in,
        "events_out": core.engine.events_out,
        "dropped": core.engine.dropped.iter().sum::<u64>(),
        "closed": closed,
        "position": core.position,
        "metrics": numbers,
    })
}

/// What is missing, for `/readyz`.
pub(super) fn why_not_ready(status: &Status) -> String {
    let mut reasons = Vec::new();
    if !status.synced {
        reasons.push("not all known routers are linked and synced".to_owned());
    }
    if !status.joined {
        let linked = status.peers.iter().filter(|peer| peer.state == PeerState::Linked).count();
        reasons.push(format!("linked with {linked} of at least {} routers", status.peers_needed));
    }
    if status.twin {
        reasons.push(crate::herald::trouble(Trouble::Twin).to_owned());
    }
    if status.draining {
        reasons.push("going away".to_owned());
    }
    format!("not ready: {}", reasons.join("; "))
}
