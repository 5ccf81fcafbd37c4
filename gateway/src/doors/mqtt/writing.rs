//! Writes to a client, with a bound on how long that may take.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client that takes nothing for this time is given up.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Writes bytes to a client.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = timeout(WRITE_MAX, to.write_all(bytes)).await;
    written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    to.flush().await
}
