//! `/standby`: sets of standby publishers, who holds them, and their members.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use millrace_engine::standby::{Handed, SetPicture};
use millrace_engine::time::Time;
use millrace_proto::RouterId;
use serde_json::{Value, json};

use super::answer::{Refusal, bad_query, json_page, unavailable};
use super::ask;
use super::look::Looker;
use super::query::Query;
use crate::view::View;

/// The page; `None` when control does not answer.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    Query::read(query, &[])?;
    let asked =
        ask::control(view, |control| (control.sets().collect::<Vec<_>>(), control.status(), control.now()))
            .await;
    let Some((sets, status, now)) = asked else { return Ok(None) };
    let names: BTreeMap<RouterId, &str> =
        status.peers.iter().map(|peer| (peer.router, peer.name.as_str())).collect();
    let name = |router: RouterId| match names.get(&router) {
        Some(name) => *name,
        None if router == view.router => view.name.as_str(),
        None => "",
    };
    Ok(Some(json!({
        "schema": "millrace-router-standby/1",
        "router": view.router.to_string(),
        "name": view.name,
        "count": sets.len(),
        "sets": sets.iter().map(|set| shown(set, now, &name)).collect::<Vec<_>>(),
    })))
}

fn shown<'a>(set: &SetPicture, now: Time, name: &impl Fn(RouterId) -> &'a str) -> Value {
    let record = set.record;
    json!({
        "set": set.set,
        "identity": set.identity,
        "generation": record.map_or(0, |record| record.generation),
        "held": set.is_held,
        "holder": record.filter(|_| set.is_held).map(|record| json!({
            "publisher": record.publisher.to_string(),
            "rank": record.rank,
            "router": record.router.to_string(),
            "router_name": name(record.router),
        })),
        "since_seconds": now.since(set.since).as_secs_f64(),
        "why": record.map(|record| record.why.name()),
        "next_source_seq": set.next_source_seq,
        "fenced": set.fenced,
        "members": set.members.iter().map(|member| json!({
            "publisher": member.publisher.to_string(),
            "rank": member.rank,
            "preempt": member.preempt,
            "router": member.router.to_string(),
            "router_name": name(member.router),
            "silent": member.is_silent,
            "abreast": member.is_abreast,
            "holder": member.is_holder && set.is_held,
        })).collect::<Vec<_>>(),
    })
}

/// `/standby/hand-over`: has the holder of a set give way to another member. The answer comes when
/// it is asked to; the other member takes over within the time that its rank gives.
pub(super) async fn hand_over(
    State(looker): State<Arc<Looker>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::read(query.as_deref(), &["set"]).map_err(|why| bad_query(&why))?;
    let set = query.text("set").to_owned();
    if set.is_empty() {
        return Err(bad_query("set: which one"));
    }
    let refused = |why: &str| Err((StatusCode::CONFLICT, format!("{set}: {why}\n")));
    match looker.view.hand_over(set.clone()).await {
        None => Err(unavailable("control does not answer")),
        Some(Handed::Unknown) => refused("no publisher has joined a set of this name"),
        Some(Handed::NotHeld) => refused("nobody holds the set"),
        Some(Handed::Alone) => refused("the set has no other member that answers"),
        Some(Handed::Behind) => refused(
            "the other members have begun too late to take over without loss: ask again in a few seconds",
        ),
        Some(Handed::Asked) => Ok(json_page(&json!({ "schema": "millrace-router-hand-over/1", "set": set }))),
    }
}
