//! The connections of the admin page: a bound, a time limit, and the check of `Host`.
//!
//! A connection carries one request and lives for [`CONNECTION_MAX`] at most, whatever its client
//! does, so that half a request holds a descriptor only for a while. Where [`CONNECTIONS_MAX`] are
//! open, the oldest makes room: a client that opens connections and says nothing keeps nobody out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections at once. A scraper and a few probes need one each, for milliseconds.
const CONNECTIONS_MAX: usize = 64;
/// A connection's whole life. An answer takes a second at most; the rest is the client's network.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// The time that a client has for its request's head.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request's head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After an error of accepting, which mostly is a want of descriptors, the next try waits for this
/// time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, pages: Router) {
    let (anywhere, loopback) = (pages.clone(), pages.layer(middleware::from_fn(check_host)));
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, local) = match accept(&listener).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin page cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let pages = if local.ip().to_canonical().is_loopback() { loopback.clone() } else { anywhere.clone() };
        open.push_back(tokio::spawn(answer(stream, pages)).abort_handle());
    }
}

async fn accept(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (stream, _) = listener.accept().await?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

async fn answer(stream: TcpStream, pages: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    // How a client's connection ends is the client's matter.
    let _ = timeout(CONNECTION_MAX, connection).await;
}

/// Refuses requests that reached loopback under a name that is not loopback's. A web page in a
/// browser on this host can have its own name resolve to 127.0.0.1 and read what it fetches (DNS
/// rebinding); the browser tells that name as `Host`.
async fn check_host(request: Request, next: Next) -> Response {
    if is_addressed_to_loopback(request.version(), request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let advice =
        "this page answers on loopback under localhost, 127.0.0.1 or [::1] only; set Host accordingly\n";
    (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
}

fn is_addressed_to_loopback(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    if uri.authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        return false;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/1.0 has no Host, and browsers do not speak it.
        (None, _) => version == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(is_loopback),
        (Some(_), Some(_)) => false,
    }
}

/// Whether `host` or `host:port` names loopback.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host, port),
        Some(None) => return false,
        None => match authority.split_once(':') {
            Some((host, _)) => (host, &authority[host.len()..]),
            None => (authority, ""),
        },
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|number| number.parse::<u16>().is_ok());
    let is_name = host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost");
    let is_address = || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_port && (is_name || is_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_names_and_addresses_with_and_without_port() {
        for right in [
            "localhost",
            "LocalHost:9900",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:9900",
            "[::ffff:127.0.0.1]:9900",
        ] {
            assert!(is_loopback(right), "{right}");
        }
        for wrong in [
            "",
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "[::1",
            "[::1]evil",
            "localhost:port",
            "localhost:",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_in_the_request_line_and_a_second_host_do_not_pass() {
        let hosts = |hosts: &[&str]| -> HeaderMap {
            hosts.iter().map(|host| (header::HOST, host.parse().unwrap())).collect()
        };
        let check = |version, uri: &str, names: &[&str]| {
            is_addressed_to_loopback(version, &uri.parse().unwrap(), &hosts(names))
        };
        assert!(check(Version::HTTP_11, "/status", &["localhost"]));
        assert!(!check(Version::HTTP_11, "http://evil.example/status", &["localhost"]));
        assert!(!check(Version::HTTP_11, "/status", &["localhost", "evil.example"]));
        assert!(!check(Version::HTTP_11, "/status", &[]));
        assert!(check(Version::HTTP_10, "/status", &[]));
    }
}
