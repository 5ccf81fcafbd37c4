//! Nothing is changed for a browser.
//!
//! A page on any web site can have a browser send a POST to loopback, or to an operator's address
//! with the operator's certificate: it does not see the answer, and needs none. Browsers cannot be
//! told from other programs by one header alone: `Origin` is left out by some settings and old
//! versions, `Sec-Fetch-Site` by old versions and by plain HTTP elsewhere than on loopback. So a
//! request is a browser's if it has any of what browsers send. A page can take away none of it
//! without asking for leave first (a preflight request, OPTIONS), which nobody grants here.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Headers that browsers set and pages cannot, and that no program sends by itself.
const OF_BROWSERS: [&str; 7] =
    ["origin", "referer", "cookie", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-ch-ua"];
/// How the `User-Agent` of every browser begins, since 1994.
const BROWSER: &[u8] = b"Mozilla/";

/// Refuses requests of browsers, but for those that read.
pub(super) async fn only_by_programs(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || !is_of_browser(request.headers()) {
        return next.run(request).await;
    }
    let advice = "nothing is changed for a browser, because any web page may have sent this: use `millrace ctl`, or \
                  curl -X POST\n";
    (StatusCode::FORBIDDEN, advice).into_response()
}

fn is_of_browser(headers: &HeaderMap) -> bool {
    let mut agents = headers.get_all(header::USER_AGENT).iter();
    OF_BROWSERS.iter().any(|name| headers.contains_key(*name))
        || agents.any(|agent| agent.as_bytes().starts_with(BROWSER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &[(&'static str, &str)]) -> bool {
        is_of_browser(
            &said.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    #[test]
    fn whatever_a_browser_leaves_out_the_rest_tells_it() {
        assert!(check(&[("origin", "null")]));
        assert!(check(&[("sec-fetch-site", "cross-site"), ("user-agent", "")]));
        assert!(check(&[("sec-fetch-site", "same-origin")]), "no page of this server sends a POST");
        assert!(check(&[("referer", "http://127.0.0.1:7401/")]));
        assert!(check(&[(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:60.0) Gecko/20100101 Firefox/60.0"
        )]));
    }

    #[test]
    fn programs_are_let_in() {
        let form = "application/x-www-form-urlencoded";
        assert!(!check(&[]));
        assert!(!check(&[("user-agent", "curl/8.5.0"), ("accept", "*/*")]));
        assert!(!check(&[("user-agent", "curl/8.5.0"), ("content-type", form)]), "curl -d ''");
        assert!(!check(&[("user-agent", "kube-probe/1.31"), ("accept", "*/*")]));
        assert!(!check(&[("user-agent", "Wget/1.21"), ("content-length", "0")]));
    }
}
