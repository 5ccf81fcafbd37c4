//! Answers that several pages give.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// An indented object.
pub(super) fn json_page(page: &Value) -> Response {
    let text = format!("{page:#}\n");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// 503, and why.
pub(super) fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// 400, and what is wrong with what stands behind the `?`.
pub(super) fn bad_query(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
}
