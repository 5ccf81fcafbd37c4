//! HTTP connections of HTTP doors and admin pages: what bounds them.
//!
//! A head has 5 s and 64 KiB, because whoever sends it may be anybody; one that has more, takes
//! longer or cannot be read is counted at its door. When the program stops, a connection ends with
//! the request that it is answering.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower_service::Service;

use crate::admission::{HEAD_BYTES_MAX, HEAD_MAX, Peer};
use crate::counters::{Door, Reason};
use crate::heard::Heard;
use crate::lobby::Lobby;
use crate::tcp_server::TcpServer;

/// Serves HTTP until the program stops. Requests have a [`Peer`] among their extensions.
pub(crate) async fn serve(server: TcpServer, listener: TcpListener, routes: Router) {
    let (lobby, door) = (server.lobby.clone(), server.door);
    let session = move |socket, peer| answer(socket, peer, door, lobby.clone(), routes.clone());
    server.serve(listener, session).await;
}

/// Answers the requests of one connection, until it ends or the program stops. They have `from`
/// among their extensions. Heads that are refused count for `door`.
pub(crate) async fn answer<S, P>(socket: S, from: P, door: Option<Door>, lobby: Lobby, routes: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Clone + Send + Sync + 'static,
{
    let (socket, owed) = Heard::new(socket);
    let service = service_fn(|request: Request<Incoming>| {
        owed.head_is_there();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(from.clone());
        let (answering, owed) = (routes.clone().call(request), owed.clone());
        async move {
            let answer = answering.await;
            // Its body has come by now, as far as anybody wanted it.
            owed.settle();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = lobby.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // How a client's connection ends is the client's matter, unless it was this side that ended it.
    if let (Some(door), Err(error)) = (door, ended)
        && let Some(reason) = refusal(&error, owed.is_owed())
    {
        lobby.counters.refused(door, reason);
    }
}

/// Why a head was refused, if it was; `is_owed` of a client that has not sent all of it.
fn refusal(error: &hyper::Error, is_owed: bool) -> Option<Reason> {
    match error {
        error if error.is_timeout() => is_owed.then_some(Reason::Slow),
        error if error.is_parse_too_large() => Some(Reason::TooLarge),
        error if error.is_parse() => Some(Reason::Malformed),
        // It takes nothing of its answers.
        error if is_timed_out(error) => Some(Reason::Slow),
        _ => None,
    }
}

fn is_timed_out(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

/// Whether a request that nobody has to prove an identity for is meant for this host. A web page in
/// a browser can have its own name resolve to 127.0.0.1 and read what it fetches (DNS rebinding);
/// the browser tells that name as `Host`.
pub(crate) fn is_meant_for_loopback(peer: &Peer, headers: &HeaderMap) -> bool {
    if !peer.on_loopback {
        return true;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/1.0 has no Host, and browsers do not speak it.
        (None, _) => true,
        (Some(host), None) => host.to_str().is_ok_and(names_loopback),
        (Some(_), Some(_)) => false,
    }
}

/// Whether `HOST` or `HOST:PORT` names loopback.
fn names_loopback(authority: &str) -> bool {
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return address.ip().to_canonical().is_loopback();
    }
    let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let host = host.map_or(authority, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_names_and_addresses() {
        for right in ["localhost", "LOCALHOST:7480", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:7480"] {
            assert!(names_loopback(right), "{right}");
        }
        for wrong in
            ["", "evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1:80", "localhost:x"]
        {
            assert!(!names_loopback(wrong), "{wrong}");
        }
    }
}
