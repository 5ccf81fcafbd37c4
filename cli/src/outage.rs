//! What happens to the connection, in words, while it happens.

use std::time::Duration;

use anyhow::anyhow;
use millrace_client::{Change, CloseCode, Disconnect};

use crate::failure::Failure;
use crate::tell::tell;

/// Says when a connection is lost, while it stays away, and when it is there again.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_told: bool,
    /// A router has dropped what was published.
    pub(crate) drops: bool,
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
            Change::Nearer { router, from, to } => {
                tell(format_args!(
                    "moves to {router}, which is nearer: its round trip is {}, not {}",
                    milliseconds(*to),
                    milliseconds(*from)
                ));
            }
            Change::Dropping { message, .. } => {
                self.drops = true;
                tell(format_args!("the router drops what is published: {message}"));
            }
            // The first connection, and moves that cost nothing, are no news.
            _ => {}
        }
    }
}

/// Why the command ends with this change, if it does: a router that withdrew a right gives it back
/// only when its operator does.
pub(crate) fn end(change: &Change) -> Option<Failure> {
    let Change::Lost { reason } = change else { return None };
    let is_forbidden = matches!(reason, Disconnect::Closed { code: Some(CloseCode::Forbidden), .. });
    is_forbidden.then(|| Failure::other(anyhow!("{reason}")))
}

/// A duration to a tenth of a millisecond.
fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// A duration to a tenth of a second.
fn words(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
