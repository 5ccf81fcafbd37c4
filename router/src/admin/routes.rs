//! `/routes`: who wants what, as this router's directory has it, page by page.

use std::collections::BTreeMap;

use millrace_engine::control::{Route, RoutesQuery, Subscriber};
use millrace_proto::RouterId;
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use crate::view::View;

/// Entries on one page, at most: selectors are at most 4 KiB long, so that a page takes a few MiB.
const TOP_MAX: usize = 1_000;
/// Entries on one page unless another number is asked for.
const TOP: usize = 100;

/// The page; `None` when control does not answer.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    let query = Query::read(query, &["after", "contains", "top"])?;
    let asked = RoutesQuery {
        after: query.text("after").to_owned(),
        contains: query.text("contains").to_owned(),
        most: query.count("top", TOP, TOP_MAX)?,
    };
    let answer = ask::control(view, move |control| (control.routes(&asked), control.status())).await;
    Ok(answer.map(|(routes, status)| {
        let names: BTreeMap<RouterId, &str> =
            status.peers.iter().map(|peer| (peer.router, peer.name.as_str())).collect();
        let is_cut = routes.count > routes.first.len();
        json!({
            "schema": "millrace-router-routes/1",
            "router": view.router.to_string(),
            "name": view.name,
            "count": routes.count,
            "coarse": status.coarse,
            "next": routes.first.last().filter(|_| is_cut).map(|last| &last.selector),
            "routes": routes.first.iter().map(|route| shown(route, &names)).collect::<Vec<_>>(),
        })
    }))
}

fn shown(route: &Route, names: &BTreeMap<RouterId, &str>) -> Value {
    let (core, router) = match route.subscriber {
        Subscriber::Core(core) => (Some(core), None),
        Subscriber::Router(router) => (None, Some(router)),
    };
    json!({
        "selector": route.selector,
        "core": core,
        "router": router.map(|router| router.to_string()),
        "router_name": router.and_then(|router| names.get(&router)),
        "by_payload": route.by_payload,
    })
}
