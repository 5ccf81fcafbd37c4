//! What a client is sent, gathered until the end of a turn.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client that takes nothing for this time is given up.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Lines and payloads that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    line: String,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn line(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(super) fn error(&mut self, error: impl std::fmt::Display) {
        self.line(&format!("-ERR '{error}'"));
    }

    /// A message for a subscription.
    pub(super) fn message(
        &mut self,
        subject: &str,
        sid: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) {
        self.line.clear();
        let operation = if headers.is_some() { "HMSG" } else { "MSG" };
        let headers = headers.unwrap_or_default();
        let total = headers.len() + payload.len();
        // A string takes everything.
        let _ = write!(self.line, "{operation} {subject} {sid} ");
        if let Some(reply) = reply {
            let _ = write!(self.line, "{reply} ");
        }
        if !headers.is_empty() {
            let _ = write!(self.line, "{} ", headers.len());
        }
        let _ = write!(self.line, "{total}\r\n");
        for part in [self.line.as_bytes(), headers, payload, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Writes what is gathered.
    pub(super) async fn flush(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_MAX, to.write_all(&self.bytes)).await;
        self.bytes.clear();
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        to.flush().await
    }
}
