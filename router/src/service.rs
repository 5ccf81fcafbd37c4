//! What the service manager is told: the router is ready, reads its settings anew, ends. Nothing is
//! said where none listens (`NOTIFY_SOCKET` is unset).

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// The router has joined its cluster: what waits for it may start.
pub(crate) fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("ready on {address}"))]);
}

/// Settings are read anew; [`ready`] ends that.
pub(crate) fn reloading() {
    // Units of the type `notify-reload` are not told to be ready before they said since when.
    let since = NotifyState::monotonic_usec_now();
    since.map_or_else(|error| say(&error), |since| tell(&[NotifyState::Reloading, since]));
}

/// The router ends; its clients have the time of `grace` to move.
pub(crate) fn stopping(grace: Duration) {
    let status = format!("clients have {} s to move", grace.as_secs());
    tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        say(&error);
    }
}

/// The router serves all the same, so that this is a warning.
fn say(error: &std::io::Error) {
    tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
}
