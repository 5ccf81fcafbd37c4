//! Requests that nothing answers: another path, another method. A program such as curl shows what
//! the answer says, and nothing else; without words its user would take a wrong path for a right
//! one.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};

use super::answer::Problem;
use crate::counters::{Counters, Door, Reason};

/// The same routes, and an answer in words for everything else, counted at the HTTP door.
pub(crate) fn told(routes: Router, counters: &Arc<Counters>) -> Router {
    let (paths, methods) = (counters.clone(), counters.clone());
    routes
        .method_not_allowed_fallback(move |method: Method, uri: Uri| async move {
            methods.refused(Door::Http, Reason::Malformed);
            let message = format!("{method} {} is nothing here; Allow says what is", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        })
        .fallback(move |uri: Uri| async move {
            paths.refused(Door::Http, Reason::Malformed);
            let message = format!(
                "there is nothing at {}: publish with POST /events?tag=key=value, receive with GET /events?select=…",
                uri.path()
            );
            Problem::new(StatusCode::NOT_FOUND, "path", message)
        })
}
