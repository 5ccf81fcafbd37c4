//! `/forwards`: links to other clusters, and the ways on which events of other clusters come; and
//! the numbers of these ways for `/metrics`.

use std::collections::BTreeMap;

use millrace_engine::forward::{Arrived, ClusterPath, LinkDrop, LinkState, LinkStatus};
use serde_json::{Map, Value, json};

use super::ask;
use super::query::Query;
use super::text::Page;
use crate::metrics::CoreSnapshot;
use crate::view::View;

/// Selectors that are shown of each list, at most.
const SELECTORS_SHOWN: usize = 32;

/// The page.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Value, String> {
    Query::read(query, &[])?;
    let cores = ask::cores(view, |core, _| core.arrivals().collect::<Vec<_>>()).await;
    let silent = usize::from(view.core_count()) - cores.len();
    let arrivals = together(cores.into_iter().flat_map(|(_, paths)| paths));
    let links: Vec<Value> =
        view.links.status(view.clock).iter().map(|(to, status)| link(to, status)).collect();
    Ok(json!({
        "schema": "millrace-router-forwards/1",
        "router": view.router.to_string(),
        "name": view.name,
        "cluster": view.cluster.map(|cluster| cluster.to_string()),
        "silent_cores": silent,
        "links": links,
        "arrivals": arrivals.iter().map(|(path, arrived)| json!({
            "path": shown(path),
            "events": arrived.events,
            "removed": arrived.removed,
        })).collect::<Vec<_>>(),
        "warnings": second_paths(&arrivals),
    }))
}

/// What came to all cores, by its path.
fn together(arrivals: impl Iterator<Item = (ClusterPath, Arrived)>) -> BTreeMap<ClusterPath, Arrived> {
    let mut all: BTreeMap<ClusterPath, Arrived> = BTreeMap::new();
    for (path, arrived) in arrivals {
        let sum = all.entry(path).or_default();
        *sum = sum.and(arrived);
    }
    all
}

/// Writes a series for each path on which events of other clusters came.
pub(super) fn write(metrics: &mut Page, cores: &[CoreSnapshot]) {
    let arrivals = together(cores.iter().flat_map(|core| core.arrivals.iter().copied()));
    let named: Vec<_> = arrivals.iter().map(|(path, arrived)| (shown(path).join(">"), arrived)).collect();
    let labelled: Vec<_> =
        named.iter().map(|(path, arrived)| (vec![("path", path.as_str())], *arrived)).collect();
    if !labelled.is_empty() {
        metrics.declared(Arrived::DECLARED, &labelled);
    }
}

fn link(to: &str, status: &LinkStatus) -> Value {
    let few = |texts: &[String]| texts.iter().take(SELECTORS_SHOWN).cloned().collect::<Vec<_>>();
    let counters = &status.counters;
    let dropped: Map<String, Value> = LinkDrop::ALL
        .into_iter()
        .map(|reason| (reason.name().to_owned(), counters.dropped[reason as usize].into()))
        .collect();
    json!({
        "name": status.name,
        "to": to,
        "state": status.state.name(),
        "since_seconds": status.since.as_secs_f64(),
        "cluster": status.cluster.map(|cluster| cluster.to_string()),
        "router": match status.state { LinkState::Up { router } => Some(router.to_string()), _ => None },
        "trouble": status.trouble,
        "select": status.select,
        "refused_selectors": status.refused_selectors,
        "demand": status.demand.as_deref().map(few),
        "interest": few(&status.interest),
        "interest_selectors": status.interest.len(),
        "sent": counters.sent,
        "resent": counters.resent,
        "confirmed": counters.confirmed,
        "unconfirmed": counters.unconfirmed,
        "dropped": dropped,
        "refused": counters.refused,
        "frame_bytes": counters.frame_bytes,
        "stream_bytes": counters.stream_bytes,
        "spooled_bytes": counters.spooled_bytes,
        "spooled_runs": status.spooled_runs,
        "keeps_for_seconds": status.keeps_for.map(|time| time.as_secs_f64()),
    })
}

/// The clusters of a path, the first one first.
fn shown(path: &ClusterPath) -> Vec<String> {
    path.ids().iter().map(ToString::to_string).collect()
}

/// A line for each cluster whose events come on several ways: each event comes on all of them, and
/// receivers remove the copies.
fn second_paths(arrivals: &BTreeMap<ClusterPath, Arrived>) -> Vec<String> {
    let mut by_origin: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in arrivals.keys() {
        let ids = shown(path);
        if let Some(origin) = ids.first() {
            by_origin.entry(origin.clone()).or_default().push(ids.join(" > "));
        }
    }
    let several = by_origin.into_iter().filter(|(_, paths)| paths.len() > 1);
    several
        .map(|(origin, paths)| {
            format!("events of cluster {origin} come on {} paths: {}", paths.len(), paths.join("; "))
        })
        .collect()
}
