//! What a client is sent, gathered until the end of a turn.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client that takes nothing for this time is given up.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Lines and payloads that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Writer {
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
        let operation = if headers.is_some() { "HMSG" } else { "MSG" };
        for word in [operation, subject, sid].into_iter().chain(reply) {
            self.bytes.extend_from_slice(word.as_bytes());
            self.bytes.push(b' ');
        }
        let headers = headers.unwrap_or_default();
        if !headers.is_empty() {
            self.number(headers.len());
            self.bytes.push(b' ');
        }
        self.number(headers.len() + payload.len());
        for part in [b"\r\n", headers, payload, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// A number in decimal, without the machinery of formatting: there is one in each message.
    fn number(&mut self, mut number: usize) {
        // A number of 64 bits has 20 digits at most.
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b"0123456789"[number % 10];
            number /= 10;
            if number == 0 || first == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[first..]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_servers_do() {
        for (reply, headers, payload, expected) in [
            (None, None, "", "MSG a.b 7 0\r\n\r\n"),
            (None, None, "hello, many", "MSG a.b 7 11\r\nhello, many\r\n"),
            (Some("_INBOX.1"), None, "x", "MSG a.b 7 _INBOX.1 1\r\nx\r\n"),
            (None, Some("NATS/1.0 503\r\n\r\n"), "", "HMSG a.b 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
            (
                Some("r"),
                Some("NATS/1.0\r\nA: b\r\n\r\n"),
                "x",
                "HMSG a.b 7 r 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nx\r\n",
            ),
        ] {
            let mut writer = Writer::default();
            writer.message("a.b", "7", reply, headers.map(str::as_bytes), payload.as_bytes());
            assert_eq!(std::str::from_utf8(&writer.bytes), Ok(expected));
        }
        let mut writer = Writer::default();
        for number in [0, 9, 10, 1_048_576, usize::MAX] {
            writer.number(number);
            assert_eq!(std::mem::take(&mut writer.bytes), number.to_string().into_bytes());
        }
    }
}
