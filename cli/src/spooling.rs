//! The spool of `millrace pub`: its options, and what happens in it, in words.

use std::path::PathBuf;

use anyhow::anyhow;
use bytesize::ByteSize;
use clap::Args;
use millrace_client::spool::{Compression, Full, OnFull, Opened, SpoolConfig, SyncPolicy};
use millrace_client::{ConnectError, Publisher, PublisherStats, SpoolOptions};

use crate::failure::Failure;
use crate::options::bytes;
use crate::tell::tell;

/// Heading of the options that say where events stand on disk.
const SPOOL: &str = "Events on disk";

/// Where events stand on disk until they are final.
#[derive(Debug, Clone, Args)]
pub(crate) struct Spooling {
    /// Put events into the spool in this folder first, which is made when it is missing; send what
    /// is pending there, too. One process at a time.
    #[arg(long, help_heading = SPOOL, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// Most bytes of the spool, at least 10MiB.
    #[arg(long, help_heading = SPOOL, value_name = "BYTES", default_value = "1GiB", value_parser = bytes, requires = "spool")]
    spool_bytes: u64,
    /// Part of the file system that stays free whatever --spool-bytes says, in percent.
    #[arg(long, help_heading = SPOOL, value_name = "PERCENT", default_value_t = 1, requires = "spool",
        value_parser = clap::value_parser!(u8).range(0..=100))]
    spool_free: u8,
    /// What happens when the spool is full: `block` waits until events are final, `shed-oldest` and
    /// `shed-newest` give events up, `refuse` ends the command.
    #[arg(long, help_heading = SPOOL, value_name = "block|shed-oldest|shed-newest|refuse",
        default_value = "block", requires = "spool")]
    spool_full: OnFull,
    /// When what was written is made safe from a power loss: `batch`, before it is sent;
    /// `interval:DURATION`, at most 100ms; `never`. It is safe from the end of the process in any
    /// case.
    #[arg(long, help_heading = SPOOL, value_name = "batch|interval:100ms|never",
        default_value = "interval:100ms", value_parser = sync, requires = "spool")]
    spool_sync: SyncPolicy,
    /// Whether payloads are compressed on disk: `zstd` stores those of at least 256 bytes in fewer
    /// bytes, where that saves an eighth. Programs read both, whatever this says; versions that do
    /// not know compression set such files aside.
    #[arg(long, help_heading = SPOOL, value_name = "none|zstd", default_value = "none", requires = "spool")]
    spool_compression: Compression,
}

impl Spooling {
    /// The spool, if one is named.
    pub(crate) fn options(&self) -> Option<SpoolOptions> {
        let folder = self.spool.clone()?;
        let config = SpoolConfig {
            max_bytes: self.spool_bytes,
            free_percent: self.spool_free,
            on_full: self.spool_full,
            sync: self.spool_sync,
            compression: self.spool_compression,
            ..SpoolConfig::default()
        };
        Some(SpoolOptions::new(folder).config(config))
    }
}

fn sync(text: &str) -> Result<SyncPolicy, String> {
    let policy = match text {
        "batch" => "each-batch",
        "interval" => "100ms",
        _ => text.strip_prefix("interval:").unwrap_or(text),
    };
    policy.parse().map_err(|_| "write batch, interval:DURATION from 0ms to 100ms, or never".to_owned())
}

/// A spool that cannot be opened: what to try next.
pub(crate) fn cannot_open(error: ConnectError) -> Failure {
    Failure::other(error.into())
        .hint("`millrace spool inspect DIR` shows what is in a spool, also while a program uses it.")
}

/// Tells what is wrong with a spool that was opened, and what is pending in it.
pub(crate) fn tell_opened(opened: &Opened, stats: &PublisherStats) {
    if stats.found > 0 {
        tell(format_args!("{} events are pending in the spool, and go out first", stats.found));
    }
    for lost in &opened.lost {
        tell(format_args!("the spool cannot read the events with seqs {}..{}", lost.start, lost.end));
    }
    if let Some(doubtful) = &opened.doubtful {
        tell(format_args!(
            "the host or the disk failed since the spool was used: seqs {}..{} may be missing, and are not given again",
            doubtful.start, doubtful.end
        ));
    }
    if opened.identity_lost {
        tell("the spool's publisher cannot be read: what is pending goes out under another id");
    }
    if opened.journal_lost || opened.notes_lost > 0 {
        tell("the spool cannot read all of what is final: some events go out once more");
    }
    for file in &opened.set_aside {
        tell(format_args!("the spool has set {} aside: {}", file.name, file.why));
    }
}

/// What keeps the spool from growing, and the option that says so.
pub(crate) fn in_words(full: &Full) -> String {
    match *full {
        Full::Bound { max_bytes } => {
            format!("the spool is full: it holds what --spool-bytes {} allows", ByteSize(max_bytes))
        }
        Full::Floor { free, floor } => format!(
            "the spool is full: {} of its file system are free, and {} are to stay so (--spool-free)",
            ByteSize(free),
            ByteSize(floor)
        ),
        Full::Disk => "the spool is full: no space is left on its file system".to_owned(),
        _ => format!("the spool is full: {full}"),
    }
}

/// Tells what the spool gives up, and when it is full, once for each time.
#[derive(Debug, Default)]
pub(crate) struct SpoolWatch {
    told: PublisherStats,
    full: Option<Full>,
}

impl SpoolWatch {
    /// Tells what is new.
    pub(crate) fn tell(&mut self, publisher: &Publisher) {
        let stats = publisher.stats();
        let full = publisher.spool_full();
        if let Some(why) = full.filter(|_| self.full.is_none()) {
            tell(format_args!("{}; waiting for room", in_words(&why)));
        }
        self.full = full;
        for (now, before, what) in [
            (stats.shed, self.told.shed, "shed: the spool is full"),
            (stats.expired, self.told.expired, "expired: they were not sent in time"),
            (stats.unreadable, self.told.unreadable, "lost: the disk does not give them back"),
        ] {
            match now - before {
                0 => {}
                1 => tell(format_args!("1 event was {what}")),
                events => tell(format_args!("{events} events were {what}")),
            }
        }
        self.told = stats;
    }
}

/// Whether all that was in the spool could be read. What is lost is told once, by the command that
/// finds it, and nobody else can say so with its exit code.
pub(crate) fn check_lost(lost_at_opening: u64, stats: &PublisherStats) -> Result<(), Failure> {
    match lost_at_opening + stats.unreadable {
        0 => Ok(()),
        lost => {
            let lost = crate::figures::events(lost);
            Err(Failure::other(anyhow!("{lost} of the spool are lost: the disk does not give them back")))
        }
    }
}

/// Events are left in the spool: which, why, and the command that sends them.
pub(crate) fn left(stats: &PublisherStats, folder: &std::path::Path, why: &str) -> Failure {
    let shown = folder.display();
    let left = anyhow!("{} are pending in the spool {shown}: {why}", crate::figures::events(stats.pending));
    let failure = if stats.connections == 0 { Failure::unreachable(left) } else { Failure::other(left) };
    failure.hint(format!("They are safe there. Send them with: millrace spool replay {shown}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sync_policies_read_as_the_help_says() {
        let interval = |millis| Ok(SyncPolicy::Interval(Duration::from_millis(millis)));
        assert_eq!(sync("batch"), Ok(SyncPolicy::EachBatch));
        assert_eq!(sync("never"), Ok(SyncPolicy::Never));
        assert_eq!(
            (sync("interval:20ms"), sync("interval"), sync("5ms")),
            (interval(20), interval(100), interval(5))
        );
        assert!(sync("interval:1s").is_err() && sync("often").is_err());
    }
}
