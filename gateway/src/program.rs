//! What the programs of this crate share: their command lines, their logs, their ends.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::STATIC_MAX_LEVEL;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

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

/// The log's filter, which may change.
#[derive(Debug)]
pub struct Log(reload::Handle<EnvFilter, Registry>);

impl Log {
    /// Begins to log on standard error.
    ///
    /// # Errors
    /// The filter cannot be read.
    pub fn begin(filter: &str) -> Result<Self, String> {
        let (filter, handle) = reload::Layer::new(parse_filter(filter)?);
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
        // A program that has a log already keeps it.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Ok(Self(handle))
    }

    /// Changes what is logged.
    ///
    /// # Errors
    /// The filter cannot be read; nothing is changed.
    pub fn change(&self, filter: &str) -> Result<(), String> {
        let filter = parse_filter(filter)?;
        // A log of the program's own has no such layer.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

/// Whether a filter of the log can be read.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    // A misspelt level would be the name of a module, of which nothing is ever logged.
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    let misspelt = words
        .filter(|word| !word.contains(['=', ':', '_', '[']))
        .find(|word| word.parse::<LevelFilter>().is_err());
    if let Some(word) = misspelt {
        return Err(format!(
            "`{word}` is no level: write off, error, warn, info, debug, trace or `module=level`"
        ));
    }
    EnvFilter::builder().parse(built(filter, STATIC_MAX_LEVEL)).map_err(|error| error.to_string())
}

/// The filter with levels of at most `most`: release programs are built without lines of level
/// trace, and `EnvFilter` would print advice for programmers where one asks for them.
fn built(filter: &str, most: LevelFilter) -> String {
    let level_of = |word: &str| {
        let is_more = word.trim().parse::<LevelFilter>().is_ok_and(|level| level > most);
        if is_more { most.to_string() } else { word.to_owned() }
    };
    let words = filter.split(',').map(|word| match word.rsplit_once('=') {
        Some((target, level)) => format!("{target}={}", level_of(level)),
        None => level_of(word),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Says what a reload has changed, or why it has changed nothing.
pub fn tell_reload(reloaded: &Result<Vec<String>, String>) {
    match reloaded {
        Ok(lines) if lines.is_empty() => tracing::info!("reloaded; nothing has changed"),
        Ok(lines) => {
            lines.iter().for_each(|line| tracing::info!("reload: {line}"));
            tracing::info!(changes = lines.len(), "reloaded");
        }
        Err(why) => {
            let why = why.replace('\n', "; ");
            tracing::error!("the reload is refused, and nothing was changed: {why}");
        }
    }
}

/// Looks, for `--check`, whether files could be made in a folder, which may be made itself. Nothing
/// is left behind. Permissions alone do not say it: of root's, and of file systems of the kernel's
/// own.
///
/// # Errors
/// The system's words.
pub(crate) fn could_make(folder: &Path) -> io::Result<()> {
    let there = folder.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let probe = there.join(format!(".millrace-check-{}", std::process::id()));
    match fs::create_dir(&probe) {
        Ok(()) => fs::remove_dir(&probe),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// An error with its causes, each once: some errors say theirs themselves.
#[must_use]
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Tells systemd where the program stands, if it started it (`NOTIFY_SOCKET`).
fn tell_service_manager(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT.
    ToEnd,
    /// SIGHUP.
    ToReload,
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
    pub fn heed() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::ToEnd,
            _ = self.interrupt.recv() => Asked::ToEnd,
            _ = self.hangup.recv() => Asked::ToReload,
        }
    }
}

/// Serves until the program is asked to end, and reloads when it is asked to; `reload` says what it
/// has changed.
pub async fn serve(mut signals: Signals, mut reload: impl FnMut() -> Result<Vec<String>, String>) {
    tell_service_manager(&[NotifyState::Ready]);
    while signals.next().await == Asked::ToReload {
        match NotifyState::monotonic_usec_now() {
            Ok(since) => tell_service_manager(&[NotifyState::Reloading, since]),
            Err(error) => tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)"),
        }
        tell_reload(&reload());
        tell_service_manager(&[NotifyState::Ready]);
    }
    tracing::info!("stopping");
    tell_service_manager(&[NotifyState::Stopping]);
}

/// Says something on standard error, whose reader may be gone.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says something on standard output, whose reader may be gone.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_not_built_in_is_the_next_one() {
        let filter = "trace, warn,millrace_gateway=TRACE,a=5,b[span]=info,off";
        let least = "debug, warn,millrace_gateway=debug,a=debug,b[span]=info,off";
        assert_eq!(built(filter, LevelFilter::DEBUG), least);
        assert_eq!(built(filter, LevelFilter::TRACE), filter);
    }

    #[test]
    fn misspelt_levels_of_the_log_are_refused() {
        for right in ["info", "warn,millrace_gateway=debug", "off", ""] {
            assert_eq!(check_filter(right), Ok(()), "{right}");
        }
        assert!(check_filter("inof").unwrap_err().contains("`inof` is no level"));
        assert!(check_filter("millrace_gateway=loud").is_err());
    }

    #[test]
    fn folders_that_cannot_be_made_are_found_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(could_make(&folder.path().join("a/b")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for nowhere in ["/dev/null/spool", "/proc/none/spool"] {
            assert!(could_make(Path::new(nowhere)).is_err(), "{nowhere}");
        }
    }
}
