//! The signals that end a command in order.

use std::io;
#[cfg(unix)]
use std::sync::OnceLock;

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

/// Whether whoever started the command wants it to outlive its terminal (`nohup`). To wait for a
/// signal is to ignore it no longer, so this is found out once, and before that.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    static IGNORES: OnceLock<bool> = OnceLock::new();
    const HANGUP: u64 = 1;
    let ignored = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).ok()? & HANGUP != 0)
    };
    // Where it cannot be found out, the system's way stays: a hangup ends the command at once.
    *IGNORES.get_or_init(|| ignored().unwrap_or(true))
}

/// Waits for an interrupt (Ctrl-C) or, where there are such, for SIGTERM or for the end of the
/// terminal.
pub(crate) async fn interrupt() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::other(anyhow!(error).context("cannot wait for signals"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let listens = !ignores_hangup();
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let hangup = async {
            if !listens {
                return std::future::pending().await;
            }
            signal(SignalKind::hangup())?.recv().await;
            Ok(())
        };
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
            _ = terminate.recv() => Ok(()),
            hung_up = hangup => hung_up.map_err(failed),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}
