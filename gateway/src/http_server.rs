//! HTTP connections of the HTTP door and the admin page: what bounds them.
//!
//! A head has 5 s and 64 KiB, because whoever sends it may be anybody. Connections beyond the bound
//! are closed at once; TLS, where there is some, happens before a connection counts as one of a
//! client. When the gateway stops, a connection ends with the request that it is answering.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tower_service::Service;

use crate::admission::{self, ACCEPT_PAUSE, HEAD_BYTES_MAX, HEAD_MAX, Peer};
use crate::counters::{Door, Reason};
use crate::room::Room;

/// What serves connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpServer {
    pub(crate) room: Room,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The door that connections count for, if any.
    pub(crate) door: Option<Door>,
    pub(crate) connections_max: usize,
    /// What answers. Requests have a [`Peer`] among their extensions.
    pub(crate) routes: Router,
}

impl HttpServer {
    /// Serves until the gateway stops.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.connections_max));
        let room = self.room.clone();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => self.welcome(stream, from, &places),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = room.stopped() => {}
        }
    }

    fn welcome(&self, stream: TcpStream, from: SocketAddr, places: &Arc<Semaphore>) {
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!(%from, "a connection is refused: as many are open as may be");
            self.refused(Reason::Connections);
            return;
        };
        tokio::spawn(self.clone().answer(stream, place));
    }

    fn refused(&self, reason: Reason) {
        if let Some(door) = self.door {
            self.room.counters.refused(door, reason);
        }
    }

    async fn answer(self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let (socket, peer) = match admission::accept(stream, self.tls.as_ref()).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no TLS with a client");
                return self.refused(Reason::Unauthenticated);
            }
        };
        let Self { room, door, routes, .. } = self;
        let _open = door.map(|door| room.counters.connected(door));
        let service = service_fn(|request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            routes.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        tokio::pin!(connection);
        // How a client's connection ends is the client's matter.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = room.stopped() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
        drop(place);
    }
}

/// Whether a request that nobody has to prove an identity for is meant for this host. A web page in a
/// browser can have its own name resolve to 127.0.0.1 and read what it fetches (DNS rebinding); the
/// browser tells that name as `Host`.
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
