//! `millrace spool replay`: sends what is pending in a spool.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use millrace_client::{
    ConfirmLevel, ConnectError, Publisher, PublisherOptions, PublisherStats, SpoolOptions,
};

use super::folder;
use crate::failure::Failure;
use crate::figures::events;
use crate::options::{Confirm, Reach, some_time, time};
use crate::outage::Outage;
use crate::reach;
use crate::signal::interrupt;
use crate::spooling::{self, SpoolWatch};
use crate::summary::Failures;
use crate::tell::tell;

/// How often the command says how far it has come, and looks whether it has come further.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What to send, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What to be told about each event before it is removed, as in `pub`.
    #[arg(
        long,
        value_name = "none|routed|delivered",
        value_enum,
        default_value = "routed",
        hide_possible_values = true
    )]
    confirm: Confirm,
    /// How long to go on while no event becomes final.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time)]
    timeout: Duration,
    /// Give up events that happened longer ago, instead of sending them.
    #[arg(long, value_name = "DURATION", value_parser = some_time)]
    ttl: Option<Duration>,
    /// Do not say on the way how far it has come.
    #[arg(long, short)]
    quiet: bool,
}

/// How the sending ended.
enum End {
    Empty,
    Stuck,
    Interrupted,
}

pub(crate) async fn run(reach: &Reach, args: &Replay) -> Result<(), Failure> {
    folder::look(&args.folder).map_err(Failure::other)?;
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let options = PublisherOptions::default()
        .level(ConfirmLevel::from(args.confirm))
        .spool(SpoolOptions::new(&args.folder))
        .ttl(args.ttl);
    let publisher = client.publisher(options).await.map_err(|error| match error {
        ConnectError::Spool(_) => spooling::cannot_open(error),
        error => reach::unreachable(error),
    })?;
    let mut lost = 0;
    if let Some(opened) = publisher.spool_opened() {
        spooling::tell_opened(opened, &publisher.stats());
        lost = opened.lost_events();
    }
    let (failures, mut watch) = (Failures::default(), SpoolWatch::default());
    let end = tokio::select! {
        end = send(&publisher, args, &failures, &mut watch) => end,
        signal = interrupt() => signal.map(|()| End::Interrupted)?,
        never = async {
            loop {
                match changes.next().await {
                    Some(change) => outage.tell(&change),
                    None => std::future::pending::<()>().await,
                }
            }
        } => never,
    };
    watch.tell(&publisher);
    failures.take(&publisher);
    let stats = publisher.stop().await;
    client.close().await;
    show(reach, &stats)?;
    let limit = humantime::format_duration(args.timeout);
    match end {
        _ if stats.pending == 0 => failures.check().and(spooling::check_lost(lost, &stats)),
        End::Interrupted => Err(Failure::interrupted(anyhow!(
            "interrupted: {} are still pending in {}",
            events(stats.pending),
            args.folder.display()
        ))),
        End::Empty | End::Stuck if stats.connections == 0 => {
            Err(spooling::left(&stats, &args.folder, &format!("no router was reached within {limit}")))
        }
        End::Empty | End::Stuck => {
            Err(spooling::left(&stats, &args.folder, &format!("none became final for {limit}")))
        }
    }
}

/// Waits until nothing is pending, or until nothing has happened for too long.
async fn send(publisher: &Publisher, args: &Replay, failures: &Failures, watch: &mut SpoolWatch) -> End {
    let (mut pending, mut idle) = (publisher.stats().pending, Duration::ZERO);
    let found = pending;
    let mut flushed = std::pin::pin!(publisher.flush());
    while pending > 0 {
        tokio::select! {
            () = &mut flushed => return End::Empty,
            () = tokio::time::sleep(PROGRESS_EVERY.min(args.timeout)) => {}
        }
        watch.tell(publisher);
        failures.take(publisher);
        let left = publisher.stats().pending;
        if left < pending {
            idle = Duration::ZERO;
            if !args.quiet {
                tell(format_args!("{} of {found} events are final, {left} pending", found - left));
            }
        } else {
            idle += PROGRESS_EVERY;
            if idle >= args.timeout {
                return End::Stuck;
            }
        }
        pending = left;
    }
    End::Empty
}

/// Says what became of the events.
fn show(reach: &Reach, stats: &PublisherStats) -> Result<(), Failure> {
    if reach.json {
        let object = serde_json::json!({
            "schema": folder::SCHEMA,
            "type": "replayed",
            "found": stats.found,
            "received": stats.received,
            "confirmed": stats.confirmed,
            "partial": stats.partial,
            "dropped": stats.dropped,
            "unknown": stats.unknown,
            "expired": stats.expired,
            "unreadable": stats.unreadable,
            "pending": stats.pending,
            "connections": stats.connections,
        });
        writeln!(std::io::stdout(), "{object}").map_err(|error| Failure::other(error.into()))?;
    } else {
        let sent = stats.found - stats.pending - stats.expired - stats.unreadable;
        tell(format_args!("{} of {} are final", events(sent), stats.found));
    }
    Ok(())
}
