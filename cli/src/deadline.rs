//! `--for`: the time after which a command ends.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

/// When a command ends by itself, if it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    after: Option<(Duration, Instant)>,
}

impl Deadline {
    /// After this time from now.
    pub(crate) fn after(duration: Option<Duration>) -> Self {
        Self { after: duration.map(|duration| (duration, Instant::now() + duration)) }
    }

    /// Waits for it; for ever where there is none.
    pub(crate) async fn passed(&self) {
        match self.after {
            Some((_, end)) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// What a command ends with when it has passed, and `left` of the `wanted` events have not
    /// come: whoever waits for them must not take that for the end.
    pub(crate) fn verdict(&self, wanted: Option<u64>, left: Option<u64>) -> Result<(), Failure> {
        match (self.after, wanted, left) {
            (Some((duration, _)), Some(wanted), Some(left)) if left > 0 => {
                let (came, time) = (wanted.saturating_sub(left), humantime::format_duration(duration));
                Err(Failure::other(anyhow!("{came} of {wanted} events came within {time} (--for)")))
            }
            _ => Ok(()),
        }
    }
}
