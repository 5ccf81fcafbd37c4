//! The pages, and the form in which each client wants them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answer::{bad_query, json_page, unavailable};
use super::look::Looker;
use super::text::Format;
use super::{
    browser, changes, forwards, groups, names, numbers, routes, rules, sessions, standby, status, tags, why,
    writes,
};
use crate::view::View;

/// What the page has, each with a line about it.
pub(super) const PATHS: &[(&str, &str)] = &[
    ("/", "this list; as JSON or HTML when `Accept` asks for that"),
    ("/livez", "200 while control and all cores answer, else 503 and who does not"),
    ("/readyz", "200 when clients should come, else 503 and why not"),
    ("/metrics", "counters, levels and times for Prometheus; as OpenMetrics when `Accept` asks for that"),
    ("/status", "what this router knows of itself, its peers and its cores, as JSON"),
    ("/sessions", "clients for which most waits: `?order=queue|drops|published&top=20`"),
    ("/routes", "who wants what, page by page: `?contains=TEXT&after=SELECTOR&top=100`"),
    ("/tags", "tags and shards that most events have, from a sample: `?top=20`"),
    ("/groups", "groups of receivers: the level in use, since when and why, and their members"),
    ("/forwards", "links to other clusters, and the ways on which events of other clusters come"),
    ("/names", "names of receivers, and who holds them: `?after=NAME&top=1000`"),
    ("/rules", "tag rules: what they have done, and the last event that each failed for"),
    ("/standby", "sets of standby publishers: who holds them, since when and why, and their members"),
    ("/why", "whom an event with these tags would meet, and why not others: `?tags=KEY=VALUE,…`"),
    (
        "/reload",
        "POST: reads settings and certificates anew, whole or not at all; 200 with the differences, 409 with why not",
    ),
    ("/drain", "POST: ends the router in order, as SIGTERM does: `?grace=5s`"),
    ("/standby/hand-over", "POST: has the holder of a set give way to another member: `?set=NAME`"),
    ("/move", "POST: asks clients to move to another router: `?clients=10&to=HOST:PORT&within=30s`"),
];

/// All pages about a router.
pub(super) fn all(view: Arc<View>) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status_page))
        .route("/sessions", get(sessions_page))
        .route("/routes", get(routes_page))
        .route("/groups", get(groups_page))
        .route("/forwards", get(forwards_page))
        .route("/names", get(names_page))
        .route("/rules", get(rules_page))
        .route("/standby", get(standby_page))
        .route("/standby/hand-over", post(standby::hand_over))
        .route("/why", get(why_page))
        .route("/tags", get(tags_page))
        .route("/reload", post(changes::reload))
        .route("/drain", post(changes::drain))
        .route("/move", post(changes::move_clients))
        .layer(middleware::from_fn(writes::only_by_programs))
        .with_state(Arc::new(Looker::new(view)))
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_kind = parts.next().is_some_and(|found| found.eq_ignore_ascii_case(kind));
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        is_kind && !refused
    })
}

/// The list of paths: aligned text for people, links for browsers, JSON for programs.
async fn list(State(looker): State<Arc<Looker>>, headers: HeaderMap) -> Response {
    if accepts(&headers, "application/json") {
        let paths: Vec<Value> =
            PATHS.iter().map(|(path, about)| json!({ "path": path, "about": about })).collect();
        return json_page(&json!({ "schema": "millrace-router-admin/1", "paths": paths }));
    }
    if accepts(&headers, "text/html") {
        let Some(look) = looker.look().await else { return unavailable(NOT_BEGUN).into_response() };
        let status = &look.seen.status;
        let trouble = (!status.ready()).then(|| status::why_not_ready(status));
        let page = browser::page(&looker.view.name, trouble.as_deref(), PATHS);
        return axum::response::Html(page).into_response();
    }
    let lines: Vec<String> = PATHS.iter().map(|(path, about)| format!("{path:<19}{about}\n")).collect();
    lines.concat().into_response()
}

const NOT_BEGUN: &str = "control has not begun";

async fn live(State(looker): State<Arc<Looker>>) -> Response {
    let Some(look) = looker.look().await else { return unavailable(NOT_BEGUN).into_response() };
    look.silent().map_or_else(|| "live\n".into_response(), |why| unavailable(&why).into_response())
}

async fn ready(State(looker): State<Arc<Looker>>) -> Response {
    match looker.look().await {
        Some(look) if look.seen.status.ready() => "ready\n".into_response(),
        Some(look) => unavailable(&status::why_not_ready(&look.seen.status)).into_response(),
        None => unavailable(NOT_BEGUN).into_response(),
    }
}

async fn metrics(State(looker): State<Arc<Looker>>, headers: HeaderMap) -> Response {
    let Some(look) = looker.look().await else { return unavailable(NOT_BEGUN).into_response() };
    let format = if accepts(&headers, "application/openmetrics-text") {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    };
    let page = numbers::page(&looker.view, &look, format);
    ([(header::CONTENT_TYPE, format.content_type())], page).into_response()
}

async fn status_page(State(looker): State<Arc<Looker>>) -> Response {
    match looker.look().await {
        Some(look) => json_page(&status::page(&looker.view, &look)),
        None => unavailable(NOT_BEGUN).into_response(),
    }
}

/// A page that is bounded by its query.
fn asked(page: Result<Option<Value>, String>) -> Response {
    match page {
        Ok(Some(page)) => json_page(&page),
        Ok(None) => unavailable("control or a core does not answer").into_response(),
        Err(why) => bad_query(&why).into_response(),
    }
}

async fn sessions_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(sessions::page(&looker.view, query.as_deref()).await.map(Some))
}

async fn routes_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(routes::page(&looker.view, query.as_deref()).await)
}

async fn tags_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    match looker.look().await {
        Some(look) => asked(tags::page(&looker.view, &look, query.as_deref()).map(Some)),
        None => unavailable(NOT_BEGUN).into_response(),
    }
}

async fn groups_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(groups::page(&looker.view, query.as_deref()).await)
}

async fn forwards_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(forwards::page(&looker.view, query.as_deref()).await.map(Some))
}

async fn names_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(names::page(&looker.view, query.as_deref()).await)
}

async fn rules_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(rules::page(&looker.view, query.as_deref()).await)
}

async fn standby_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(standby::page(&looker.view, query.as_deref()).await)
}

async fn why_page(State(looker): State<Arc<Looker>>, RawQuery(query): RawQuery) -> Response {
    asked(why::page(&looker.view, query.as_deref()).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_served_to_those_who_ask_for_it() {
        let headers = |accept: &str| HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        let kind = "application/openmetrics-text";
        assert!(accepts(&headers("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"), kind));
        assert!(accepts(&headers("text/plain, Application/OpenMetrics-Text"), kind));
        assert!(!accepts(&headers("text/plain, application/openmetrics-text;q=0"), kind));
        assert!(!accepts(&headers("*/*"), kind));
        assert!(!accepts(&HeaderMap::new(), kind));
    }
}
