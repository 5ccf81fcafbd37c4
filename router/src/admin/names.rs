//! `/names`: which receivers hold which names.

use std::collections::BTreeMap;

use millrace_engine::matching::Location;
use millrace_engine::names::Holder;
use millrace_proto::RouterId;
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use crate::view::View;

/// Names on one page, at most: those of one core.
const NAMES_MAX: usize = 65_536;
/// Names on a page that is asked for no number.
const NAMES_USUAL: usize = 1000;

/// The page; `None` when control does not answer.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    let query = Query::read(query, &["top", "after"])?;
    let top = query.count("top", NAMES_USUAL, NAMES_MAX)?;
    let after = query.text("after").to_owned();
    let asked = ask::control(view, move |control| {
        let behind = control.names().filter(|holder| *holder.claim.name > *after.as_str());
        (control.names().count(), behind.take(top).collect::<Vec<_>>(), control.status())
    })
    .await;
    let Some((count, holders, status)) = asked else { return Ok(None) };
    let names: BTreeMap<RouterId, &str> =
        status.peers.iter().map(|peer| (peer.router, peer.name.as_str())).collect();
    let name = |router: RouterId| names.get(&router).copied().unwrap_or(&view.name);
    Ok(Some(json!({
        "schema": "millrace-router-names/1",
        "router": view.router.to_string(),
        "name": view.name,
        "count": count,
        "names": holders.iter().map(|holder| shown(holder, &name)).collect::<Vec<_>>(),
    })))
}

fn shown<'a>(holder: &Holder, name: &impl Fn(RouterId) -> &'a str) -> Value {
    json!({
        "name": holder.claim.name,
        "generation": holder.claim.generation,
        "identity": holder.claim.identity,
        "router": holder.router.to_string(),
        "router_name": name(holder.router),
        "core": match holder.location { Location::Core(core) => Some(core), _ => None },
    })
}
