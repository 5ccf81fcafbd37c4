//! What happens to the connection, in words, while it happens.

use std::time::Duration;

use millrace_client::Change;

use crate::tell::tell;

/// Says when a connection is lost, while it stays away, and when it is there again.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_told: bool,
}

impl Outage {
    pub(crate) fn tell(&mut self, change: &Change) {
        match change {
            Change::Lost { reason } => {
                self.is_told = true;
                tell(format_args!("{reason}; looking for a router"));
            }
            Change::Trouble { reason, away } => {
                self.is_told = true;
                tell(format_args!("no router for {}: {reason}; trying again", words(*away)));
            }
            Change::Attached { router, away, .. } if std::mem::take(&mut self.is_told) => {
                tell(format_args!("connected to {router} again, after {}", words(*away)));
            }
            // The first connection, and moves that cost nothing, are no news.
            _ => {}
        }
    }
}

/// A duration to a tenth of a second.
fn words(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
