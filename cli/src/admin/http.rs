//! One request to an admin page: HTTP/1.1 over TCP, with TLS or without, within bounds of time and
//! size.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::rt::{Read, Write};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::AdminUrl;

/// A request's whole life. Pages answer within a second; a reload may take five.
const REQUEST_MAX: Duration = Duration::from_secs(8);
/// Bytes of an answer. `/metrics` has some 200 KiB, a page of routes at most some MiB.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Whether a request reads or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// It reads.
    Get,
    /// It changes something.
    Post,
}

/// Why a page was not had.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// Nobody answers there.
    #[error("no router answers at {url}: {why}")]
    Unreachable {
        /// Where.
        url: AdminUrl,
        /// The system's words.
        why: String,
    },
    /// Something else than a router's admin page answers, or an older router.
    #[error("{url}{path} answers {status}: {text}")]
    Refused {
        /// Where.
        url: AdminUrl,
        /// The page that was asked for.
        path: String,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The answer cannot be read.
    #[error("{url}{path}: the answer cannot be read: {why}")]
    Unreadable {
        /// Where.
        url: AdminUrl,
        /// The page that was asked for.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Asks for a page; its body when the router answers with success.
pub(super) async fn request(url: &AdminUrl, method: Method, path: &str) -> Result<Vec<u8>, AskError> {
    match timeout(REQUEST_MAX, send(url, method, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(unreachable(url, format!("no answer within {} s", REQUEST_MAX.as_secs()))),
    }
}

async fn send(url: &AdminUrl, method: Method, path: &str) -> Result<Vec<u8>, AskError> {
    let stream = TcpStream::connect(url.authority()).await.map_err(|error| unreachable(url, error))?;
    let tls = url.secure().map(|secure| secure.to(url.host())).transpose();
    match tls.map_err(|why| unreachable(url, why))?.flatten() {
        Some((tls, name)) => {
            let stream = tls.connect(name, stream).await.map_err(|error| unreachable(url, error))?;
            exchange(TokioIo::new(stream), url, method, path).await
        }
        None => exchange(TokioIo::new(stream), url, method, path).await,
    }
}

async fn exchange(
    io: impl Read + Write + Unpin + Send + 'static,
    url: &AdminUrl,
    method: Method,
    path: &str,
) -> Result<Vec<u8>, AskError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| unreachable(url, error))?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(if method == Method::Post { hyper::Method::POST } else { hyper::Method::GET })
        .uri(path)
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "*/*")
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreadable(url, path, error))?;
    let answer = sender.send_request(request).await.map_err(|error| unreachable(url, error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    let body = body.map_err(|error| unreadable(url, path, error))?.to_bytes();
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(AskError::Refused {
            url: url.clone(),
            path: path_of(path),
            status: status.as_u16(),
            text,
        });
    }
    Ok(body.into())
}

fn unreachable(url: &AdminUrl, why: impl ToString) -> AskError {
    AskError::Unreachable { url: url.clone(), why: why.to_string() }
}

pub(super) fn unreadable(url: &AdminUrl, path: &str, why: impl ToString) -> AskError {
    AskError::Unreadable { url: url.clone(), path: path_of(path), why: why.to_string() }
}

/// A page without its query.
fn path_of(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}
