//! What the programs of this crate share: their command lines, their logs, their ends.

use std::io::{IsTerminal, Write};

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The command line. A variable of the environment that is empty counts as unset: that is how
/// shells and unit files unset one.
#[must_use]
pub fn parse<C: CommandFactory + FromArgMatches>() -> C {
    let command = C::command().mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    });
    C::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// Begins to log on standard error.
///
/// # Errors
/// The filter cannot be read.
pub fn log(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    // A program that has a log already keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    Ok(())
}

/// Tells systemd where the program stands, if it started it (`NOTIFY_SOCKET`).
pub fn tell_service_manager(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

/// The signals that a program heeds, from its start on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to heed them. To be called within a tokio runtime, before anybody is told that the
    /// program is ready: a signal without a handler ends it at once, with all that is under way.
    ///
    /// # Errors
    /// The system has no handler left.
    pub fn heed() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP, which rotation of logs and habits of reloading send, is
    /// answered in the log.
    pub async fn interrupted(mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP changes nothing: settings are read at the start, so restart to change them");
                }
            }
        }
    }
}

/// Says something on standard error, whose reader may be gone.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says something on standard output, whose reader may be gone.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
