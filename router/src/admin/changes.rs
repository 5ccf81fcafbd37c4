//! Pages that change something: POST only, and not from a web page.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::{bad_query, json_page, unavailable};
use super::look::Looker;
use super::query::Query;

/// The longest time that clients may be given to leave.
const GRACE_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// `/reload`: reads settings and certificates anew.
pub(super) async fn reload(State(looker): State<Arc<Looker>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = from_a_web_page(&headers) {
        return refusal;
    }
    let view = looker.view.clone();
    // The process answers when it is done; nobody else waits for that here.
    match tokio::task::spawn_blocking(move || view.reload()).await {
        Ok(Ok(changes)) => json_page(&json!({ "schema": "millrace-router-reload/1", "changes": changes })),
        Ok(Err(error)) => (StatusCode::CONFLICT, format!("nothing was changed: {error}\n")).into_response(),
        Err(_) => unavailable("the router is ending"),
    }
}

/// `/drain`: ends the router in order, as SIGTERM does. The answer comes when that has begun.
pub(super) async fn drain(
    State(looker): State<Arc<Looker>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = from_a_web_page(&headers) {
        return refusal;
    }
    let grace = Query::read(query.as_deref(), &["grace"]).and_then(|query| query.duration("grace"));
    let grace = match grace {
        Ok(grace) if grace.is_none_or(|grace| grace <= GRACE_MAX) => grace,
        Ok(_) => return bad_query("grace: a day is the most"),
        Err(why) => return bad_query(&why),
    };
    let view = looker.view.clone();
    match tokio::task::spawn_blocking(move || view.drain(grace)).await {
        Ok(Ok(grace)) => {
            json_page(&json!({ "schema": "millrace-router-drain/1", "grace_s": grace.as_secs_f64() }))
        }
        Ok(Err(error)) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
        Err(_) => unavailable("the router is ending"),
    }
}

/// Browsers name the page that a request comes from: no foreign page may change a router.
fn from_a_web_page(headers: &HeaderMap) -> Option<Response> {
    let is_from_one = headers.contains_key(header::ORIGIN);
    is_from_one.then(|| (StatusCode::FORBIDDEN, "not from a web page\n").into_response())
}
