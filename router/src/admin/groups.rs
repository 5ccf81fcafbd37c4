//! `/groups`: groups of receivers, the level of each that is in use, and its members.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_engine::control::MemberStatus;
use millrace_engine::groups::GroupPicture;
use millrace_engine::matching::Location;
use millrace_proto::RouterId;
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use crate::view::View;

/// A group, as all owners of this router see it.
#[derive(Default)]
struct Seen {
    /// As the core sees it whose level changed last, and how long ago that was.
    newest: Option<(GroupPicture, Duration)>,
    switches: u64,
    waiting: u64,
    bytes: u64,
    members: Vec<(RouterId, MemberStatus)>,
}

/// The page; `None` when control does not answer.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    Query::read(query, &[])?;
    let cores = ask::cores(view, |core, _| core.groups().collect::<Vec<_>>()).await;
    let asked = ask::control(view, |control| (control.members().collect::<Vec<_>>(), control.status())).await;
    let Some((members, status)) = asked else { return Ok(None) };
    let silent = usize::from(view.core_count()) - cores.len();
    let mut groups: BTreeMap<String, Seen> = BTreeMap::new();
    for (router, member) in members {
        groups.entry(member.membership.group.to_string()).or_default().members.push((router, member));
    }
    for (picture, age) in cores.into_iter().flat_map(|(_, pictures)| pictures) {
        let seen = groups.entry(picture.group.to_string()).or_default();
        seen.switches += picture.switches;
        seen.waiting += picture.waiting;
        seen.bytes += picture.bytes;
        let is_newer = |age: Duration| seen.newest.as_ref().is_none_or(|(_, newest)| age < *newest);
        if let Some(age) = age.filter(|&age| is_newer(age)) {
            seen.newest = Some((picture, age));
        }
    }
    let names: BTreeMap<RouterId, &str> =
        status.peers.iter().map(|peer| (peer.router, peer.name.as_str())).collect();
    let name = |router: RouterId| names.get(&router).copied().unwrap_or(&view.name);
    Ok(Some(json!({
        "schema": "millrace-router-groups/1",
        "router": view.router.to_string(),
        "name": view.name,
        "silent_cores": silent,
        "groups": groups.iter().map(|(group, seen)| shown(group, seen, &name)).collect::<Vec<_>>(),
    })))
}

fn shown<'a>(group: &str, seen: &Seen, name: &impl Fn(RouterId) -> &'a str) -> Value {
    let switch = seen.newest.as_ref().and_then(|(picture, age)| Some((picture.switch?, *age)));
    let level = switch.map(|(switch, _)| switch.to.level);
    json!({
        "group": group,
        "exclusive": seen.members.iter().any(|(_, member)| member.membership.exclusive),
        "level": level,
        "since_seconds": switch.map(|(_, age)| age.as_secs_f64()),
        "last_switch": switch.map(|(switch, age)| json!({
            "from": switch.from.map(|rung| rung.level),
            "to": switch.to.level,
            "reason": switch.reason.name(),
            "seconds_ago": age.as_secs_f64(),
        })),
        "switches": seen.switches,
        "waiting": seen.waiting,
        "held_bytes": seen.bytes,
        "members": seen.members.iter().map(|(router, member)| json!({
            "router": router.to_string(),
            "router_name": name(*router),
            "core": match member.location { Location::Core(core) => Some(core), _ => None },
            "member": member.membership.member,
            "level": member.membership.level,
            "max_inflight": member.membership.max_inflight,
            "in_flight": member.state.in_flight,
            "room": member.state.room,
            "busy": member.state.busy,
            "active": !member.state.busy && Some(member.membership.level) == level,
        })).collect::<Vec<_>>(),
    })
}
