//! The signals that end a command in order.

use std::io;

use anyhow::anyhow;

use crate::failure::Failure;

/// What a command ends with that was interrupted while `left` of the `wanted` events had not come:
/// whoever waits for them must not take that for the end.
pub(crate) fn cut_short(wanted: Option<u64>, left: Option<u64>, what: &str) -> Result<(), Failure> {
    match (wanted, left) {
        (Some(wanted), Some(left)) if left > 0 => {
            let came = wanted.saturating_sub(left);
            Err(Failure::interrupted(anyhow!("interrupted: {came} of {wanted} {what} came")))
        }
        _ => Ok(()),
    }
}

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
