//! The signals that end a command in order.

use std::io;

use anyhow::anyhow;

use crate::failure::Failure;

/// Waits for an interrupt (Ctrl-C) or, where there is one, for SIGTERM.
pub(crate) async fn interrupt() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::other(anyhow!(error).context("cannot wait for signals"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}
