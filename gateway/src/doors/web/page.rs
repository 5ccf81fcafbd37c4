//! The page at `/`, which shows live events, and the client library that it uses.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page loads nothing from anywhere else, and nobody may put it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its files. They hold no events, so they need no identity.
pub(super) fn routes() -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::CACHE_CONTROL, "no-cache"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            (headers, text).into_response()
        })
    };
    Router::new()
        .route("/", file(HTML, include_str!("../../../web/index.html")))
        .route("/page.js", file(SCRIPT, include_str!("../../../web/page.js")))
        .route("/page.css", file(STYLE, include_str!("../../../web/page.css")))
        .route("/millrace.js", file(SCRIPT, include_str!("../../../web/millrace.js")))
}
