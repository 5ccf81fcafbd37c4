//! The admin page: `/` lists what there is. Read only, without authentication: it belongs on loopback.

mod prometheus;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::handle::{Ended, Seen, View};

/// How long control and cores may take to answer; they do within milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What the page has, each with a line about it.
const PATHS: &[(&str, &str)] = &[
    ("/", "this list; as JSON when `Accept` asks for application/json"),
    ("/livez", "200 while control and all cores answer, else 503"),
    ("/readyz", "200 when clients should come, else 503 and why not"),
    ("/metrics", "counters and levels, as OpenMetrics text"),
    ("/status", "what this router knows of itself, its peers and its cores, as JSON"),
];

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: std::net::TcpListener, view: Arc<View>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin page cannot be served"),
    };
    let pages = Router::new()
        .route("/", get(list))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(view);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the admin page has ended");
    }
}

/// The list of paths: aligned text for people, JSON for those who ask for it.
async fn list(headers: HeaderMap) -> Response {
    let accepted =
        headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/json") {
        let paths: Vec<Value> =
            PATHS.iter().map(|(path, about)| json!({ "path": path, "about": about })).collect();
        return axum::Json(json!({ "schema": "millrace-router-admin/1", "paths": paths })).into_response();
    }
    let lines: Vec<String> = PATHS.iter().map(|(path, about)| format!("{path:<10}{about}\n")).collect();
    lines.concat().into_response()
}

/// Control and all cores, or what is missing.
async fn look(view: &View) -> Result<Seen, Ended> {
    let (sender, answer) = oneshot::channel();
    view.ask_control(move |control| drop(sender.send((control.status(), *control.metrics()))))?;
    let (status, control) = timeout(ANSWER_MAX, answer).await.map_err(|_| Ended)?.map_err(|_| Ended)?;
    let (sender, mut answers) = mpsc::unbounded_channel();
    let mut cores = view.ask_cores(move |snapshot| drop(sender.send(snapshot)));
    let gather = async {
        while let Some(snapshot) = answers.recv().await {
            cores.push(snapshot);
        }
    };
    timeout(ANSWER_MAX, gather).await.map_err(|_| Ended)?;
    cores.sort_by_key(|core| core.core);
    Ok(Seen { status, control, cores })
}

/// The control thread serves this page, so an answer shows that it lives; the cores must answer, too.
async fn live(State(view): State<Arc<View>>) -> Response {
    match look(&view).await {
        Ok(seen) if seen.cores.len() == view.core_count() => "live\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "a core does not answer\n").into_response(),
    }
}

async fn ready(State(view): State<Arc<View>>) -> Response {
    match look(&view).await {
        Ok(seen) if seen.status.ready() => "ready\n".into_response(),
        Ok(seen) => (StatusCode::SERVICE_UNAVAILABLE, status::why_not_ready(&seen.status)).into_response(),
        Err(Ended) => (StatusCode::SERVICE_UNAVAILABLE, "not answering\n").into_response(),
    }
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    let seen = look(&view).await;
    match seen.map_err(|Ended| std::fmt::Error).and_then(|seen| prometheus::encode(&seen)) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn status(State(view): State<Arc<View>>) -> Response {
    match look(&view).await {
        Ok(seen) => axum::Json(status::page(&view, &seen)).into_response(),
        Err(Ended) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
