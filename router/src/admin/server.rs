//! The connections of the admin page: a bound, and a time limit.
//!
//! A connection carries one request and lives for [`CONNECTION_MAX`] at most, whatever its client
//! does, so that half a request holds a descriptor only for a while. Where [`CONNECTIONS_MAX`] are
//! open, the oldest makes room: a client that opens connections and says nothing keeps nobody out.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::gate::{Gate, Way, pages_for};

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
pub(super) async fn serve(listener: TcpListener, mut gate: Gate) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = listener.accept().await.and_then(|(stream, _)| Ok((stream.local_addr()?, stream)));
        let (local, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin page cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(way) = gate.way(local) else { continue };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        // How a client's connection ends is the client's matter.
        let connection = async move { drop(timeout(CONNECTION_MAX, answer(stream, way)).await) };
        open.push_back(tokio::spawn(connection).abort_handle());
    }
}

async fn answer(stream: TcpStream, way: Way) {
    match way {
        Way::Plain(pages) => speak(TokioIo::new(stream), pages).await,
        Way::Secure(tls, pages) => match timeout(HEAD_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let pages = pages_for(&stream, pages);
                speak(TokioIo::new(stream), pages).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client of the admin page"),
            Err(_) => {}
        },
    }
}

async fn speak(io: impl Read + Write + Unpin, pages: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, TowerToHyperService::new(pages));
    let _ = connection.await;
}
