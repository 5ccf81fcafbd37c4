//! `/why`: whom an event with some tags would meet if it entered at this router, and what keeps it
//! from the others.
//!
//! Receivers of this router are looked up as events are. For routers and cores that want nothing of
//! it, snapshots of the indexes are searched for the selectors that miss the tags by least, on the
//! admin page's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_engine::control::{PeerState, PeerStatus, Status};
use millrace_engine::core::{Wanting, WantingReceiver};
use millrace_engine::matching::{Index, LocalTarget, Location, Miss, Taker, nearest, unmet_by};
use millrace_engine::rules::RuleSet;
use millrace_proto::rule::Memory;
use millrace_proto::selector::{Operation, Requirement};
use millrace_proto::{RouterId, TagSet, TagSetRef};
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use super::sessions;
use crate::view::View;

/// Receivers that are shown, at most, over all cores.
const RECEIVERS_MAX: usize = 1_000;
/// Receivers that are shown unless another number is asked for.
const RECEIVERS: usize = 20;
/// Selectors that missed the tags and are shown, for each place.
const MISSES: usize = 3;
/// Selectors that are searched for them: some 100 ms of one thread.
const LOOKS_MAX: usize = 500_000;

/// What one core has answered.
struct FromCore {
    core: u16,
    wanting: Wanting,
    directory: Index<Taker>,
    local: Index<LocalTarget>,
}

/// The page; `None` when control or a core does not answer.
///
/// # Errors
/// What is wrong with the query, or with the tags.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    let query = Query::read(query, &["tags", "top"])?;
    let top = query.count("top", RECEIVERS, RECEIVERS_MAX)?;
    let tags = tags(query.text("tags"))?;
    let rules = ask::cores(view, |core, _| Arc::clone(core.rules())).await;
    let Some((_, rules)) = rules.into_iter().next() else { return Ok(None) };
    let ruled = Ruled::of(&rules, tags);
    let asked = ruled.effective.clone();
    let (control, cores) = tokio::join!(
        ask::control(view, |control| {
            let places = |status: &Status| -> BTreeMap<u16, RouterId> {
                // Places are given lowest first, and used again: few are above the number of peers.
                let most = u16::try_from(2 * status.peers.len()).unwrap_or(u16::MAX);
                (0..=most).filter_map(|place| Some((place, control.router_at(place)?))).collect()
            };
            let status = control.status();
            (places(&status), status)
        }),
        ask::cores(view, move |core, _| (core.wanting(asked.borrow(), top), core.indexes())),
    );
    let Some((places, status)) = control else { return Ok(None) };
    if cores.len() < usize::from(view.core_count()) {
        return Ok(None);
    }
    let cores: Vec<FromCore> = cores
        .into_iter()
        .map(|(core, (wanting, (directory, local)))| FromCore { core, wanting, directory, local })
        .collect();
    let view_name = (view.router.to_string(), view.name.clone());
    // Searching a large directory takes its time; other pages do not wait for it.
    let page =
        tokio::task::spawn_blocking(move || explain(&view_name, &ruled, &status, &places, &cores, top));
    Ok(page.await.ok())
}

/// Tags as the command line has them: commas separate, `\,` is one within a value.
fn tags(text: &str) -> Result<TagSet, String> {
    let mut texts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(tag) = texts.last_mut() else { break };
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => tag.push(','),
            ',' => texts.push(String::new()),
            other => tag.push(other),
        }
    }
    texts.retain(|text| !text.is_empty());
    TagSet::from_texts(texts.iter().map(String::as_str)).map_err(|error| format!("tags={text}: {error}"))
}

/// What tag rules make of an event whose payload nobody knows.
struct Ruled {
    published: TagSet,
    /// With what rules by tags add.
    effective: TagSet,
    /// The rules by tags that are for it, by name.
    by_tags: Vec<String>,
    /// The rules that are for it if its payload has what they look for.
    by_payload: Vec<String>,
}

impl Ruled {
    fn of(set: &RuleSet, published: TagSet) -> Self {
        let candidates = set.rules.candidates(published.borrow());
        let names = |rules: u64| {
            let all = set.rules.all().iter().enumerate();
            all.filter(|(place, _)| rules >> place & 1 == 1).map(|(_, rule)| rule.name().to_owned()).collect()
        };
        let memory = &mut Memory::default();
        let added = set.rules.apply(published.borrow(), &[], candidates.by_tags, memory, |_, _, _| true);
        let effective = added.tags.map_or_else(|| published.clone(), |(_, effective)| effective);
        let (by_tags, by_payload) = (names(candidates.by_tags), names(candidates.by_payload));
        Self { published, effective, by_tags, by_payload }
    }
}

fn explain(
    (router, name): &(String, String),
    ruled: &Ruled,
    status: &Status,
    places: &BTreeMap<u16, RouterId>,
    cores: &[FromCore],
    top: usize,
) -> Value {
    let published = ruled.published.borrow();
    let tags = ruled.effective.borrow();
    let owner = usize::from(published.shard().owner(u16::try_from(cores.len()).unwrap_or(u16::MAX).max(1)));
    let mut wanted_at = BTreeSet::new();
    let empty = Index::new(0);
    let directory = cores.get(owner).map_or(&empty, |core| &core.directory);
    directory.matches(tags, |taker| {
        wanted_at.insert(taker);
    });
    let misses = nearest(directory, tags, (MISSES, LOOKS_MAX), Taker::location);
    let peers = status.peers.iter().map(|peer| {
        let place = places
            .iter()
            .find(|(_, router)| **router == peer.router)
            .map(|(&place, _)| Location::Peer(place));
        let takers: Vec<_> = wanted_at.iter().filter(|taker| Some(taker.location()) == place).collect();
        let by_payload = !takers.is_empty() && takers.iter().all(|taker| taker.filter().is_some());
        let misses = place.and_then(|place| misses.get(&place)).map_or(&[][..], Vec::as_slice);
        shown_peer(peer, !takers.is_empty(), by_payload, misses, tags)
    });
    let count: usize = cores.iter().map(|core| core.wanting.count).sum();
    let receivers = cores.iter().flat_map(|core| core.wanting.first.iter().map(|one| shown(core.core, one)));
    let own_misses = cores.iter().flat_map(|core| {
        let here = nearest(&core.local, tags, (MISSES, LOOKS_MAX / cores.len()), |_| ());
        here.into_values().flatten()
    });
    let mut own_misses: Vec<Miss> = own_misses.collect();
    own_misses.sort();
    own_misses.dedup();
    own_misses.truncate(MISSES);
    json!({
        "schema": "millrace-router-why/1",
        "router": router,
        "name": name,
        "tags": published.iter().collect::<BTreeMap<_, _>>(),
        "effective_tags": tags.iter().collect::<BTreeMap<_, _>>(),
        "rules": ruled.by_tags,
        "payload_rules": ruled.by_payload,
        "shard": published.shard().number(),
        "owner_core": owner,
        "takes_events": status.synced,
        "receivers_count": count,
        "receivers": receivers.take(top).collect::<Vec<_>>(),
        "nearest": own_misses.iter().map(|miss| shown_miss(miss, tags)).collect::<Vec<_>>(),
        "peers": peers.collect::<Vec<_>>(),
    })
}

fn shown(core: u16, receiver: &WantingReceiver) -> Value {
    json!({
        "session": sessions::id(core, receiver.conn.0),
        "core": core,
        "receiver": receiver.receiver.0,
        "selectors": receiver.selectors.iter().map(|selector| json!({
            "selector": selector.text,
            "subscription": selector.subscription,
            "by_payload": selector.has_pattern,
        })).collect::<Vec<_>>(),
        "queued_bytes": receiver.queued_bytes,
        "queue_bytes_max": receiver.queue_bytes_max,
        "dropped_events": receiver.dropped,
    })
}

/// What a peer wants of the event, and why it would not get it.
fn shown_peer(
    peer: &PeerStatus,
    is_wanted: bool,
    by_payload: bool,
    misses: &[Miss],
    tags: TagSetRef<'_>,
) -> Value {
    let why_not = match (is_wanted, peer.state) {
        (_, PeerState::Known) => Some("it was never linked: what its receivers want is not known here"),
        (_, PeerState::Linking) => Some("its link is being made"),
        (true, PeerState::Suspect) => {
            Some("it is suspect: events wait for its lane, and are dropped when the lane is lost")
        }
        (true, _) => None,
        (false, _) if peer.interest == 0 => Some("it has no subscriptions"),
        (false, _) => Some("none of its subscriptions matches these tags"),
    };
    json!({
        "router": peer.router.to_string(),
        "name": peer.name,
        "state": peer.state.name(),
        "wants": is_wanted,
        "by_payload": by_payload,
        "why_not": why_not,
        "nearest": misses.iter().map(|miss| shown_miss(miss, tags)).collect::<Vec<_>>(),
    })
}

fn shown_miss(miss: &Miss, tags: TagSetRef<'_>) -> Value {
    let unmet = unmet_by(&miss.selector, tags).map(|requirement| {
        json!({
            "key": requirement.key,
            "requires": spelt(&requirement),
            "has": tags.get(requirement.key),
        })
    });
    json!({ "selector": miss.selector.text(), "unmet": unmet.collect::<Vec<_>>() })
}

/// A requirement as selectors spell it, without quotes.
fn spelt(requirement: &Requirement<'_>) -> String {
    let key = requirement.key;
    match requirement.operation {
        Operation::Equals(value) | Operation::Glob(value) => format!("{key}={value}"),
        Operation::NotEquals(value) | Operation::NotGlob(value) => format!("{key}!={value}"),
        Operation::In(values) => format!("{key} in ({})", values.iter().collect::<Vec<_>>().join(",")),
        Operation::NotIn(values) => format!("{key} notin ({})", values.iter().collect::<Vec<_>>().join(",")),
        Operation::Exists => key.to_owned(),
        Operation::Absent => format!("!{key}"),
        Operation::Compare(comparison, bound) => format!("{key}{}{bound}", comparison.symbol()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_the_command_line_has_them() {
        let read = |text: &str| {
            tags(text).map(|set| set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        };
        assert_eq!(read("host=web-1,note=a\\,b").unwrap(), ["host=web-1", "note=a,b"]);
        assert_eq!(read("").unwrap(), [""; 0]);
        assert!(read("host").unwrap_err().starts_with("tags=host: "));
    }
}
