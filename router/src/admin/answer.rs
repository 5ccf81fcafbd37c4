//! Answers that several pages give.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// An indented object.
pub(super) fn json_page(page: &Value) -> Response {
    let text = format!("{page:#}\n");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer other than the page, in words.
pub(super) type Refusal = (StatusCode, String);

/// 503: the router cannot answer now.
pub(super) fn unavailable(why: &str) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

/// 400: the query of the page's address is wrong.
pub(super) fn bad_query(why: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, format!("{why}\n"))
}
