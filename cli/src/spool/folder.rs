//! `millrace spool inspect` and `drop`: what is in a spool's folder, and away with it.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use bytesize::ByteSize;
use millrace_client::spool::{DiskStorage, Fate, Identity, Inspection, OpenError, Spool, SpoolConfig};
use serde::Serialize;

use crate::failure::Failure;
use crate::figures::events;
use crate::tell;

/// Schema of the object that `spool inspect --json` prints.
pub(super) const SCHEMA: &str = "millrace.spool/1";
/// Ranges of lost seqs that a person is shown.
const RANGES_SHOWN_MAX: usize = 10;

pub(super) fn look(folder: &Path) -> Result<Inspection, anyhow::Error> {
    let storage = DiskStorage::look(folder)?;
    Inspection::take(&storage).with_context(|| format!("cannot look at {}", folder.display()))
}

pub(super) fn inspect(folder: &Path, json: bool) -> Result<(), anyhow::Error> {
    let found = look(folder)?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &Shown::of(folder, &found))?;
        writeln!(out)?;
    } else {
        for (what, value) in table(&found, SystemTime::now()) {
            writeln!(out, "{what:<12} {value}")?;
        }
    }
    out.flush()?;
    Ok(())
}

pub(super) fn drop_pending(folder: &Path, yes: bool, json: bool) -> Result<(), Failure> {
    let found = look(folder).map_err(Failure::other)?;
    if !yes {
        let what = format!("{} would be given up, for good", events(found.pending));
        return Err(Failure::usage(anyhow!(what)).hint("say --yes to do it"));
    }
    let dropped = open(folder).and_then(|mut spool| {
        let dropped = spool.drop_pending()?;
        spool.close()?;
        Ok(dropped)
    });
    let dropped = dropped.map_err(|error| Failure::other(error.into()))?;
    if json {
        let object = serde_json::json!({ "schema": SCHEMA, "type": "dropped", "events": dropped });
        writeln!(std::io::stdout(), "{object}").map_err(|error| Failure::other(error.into()))?;
    } else {
        tell::line(format!("{} given up", events(dropped)));
    }
    Ok(())
}

/// Opens a spool that is there. Its bound and its policy do not matter to one who only removes.
fn open(folder: &Path) -> Result<Spool<DiskStorage>, OpenError> {
    let storage = DiskStorage::open(folder)?;
    let (spool, _) = Spool::open(storage, SpoolConfig::default(), Identity::random())?;
    Ok(spool)
}

/// What a person is shown.
fn table(found: &Inspection, now: SystemTime) -> Vec<(&'static str, String)> {
    let publisher = match (found.publisher, found.epoch) {
        (Some(publisher), Some(epoch)) => format!("{publisher} epoch {:x}", epoch.0),
        _ => "unknown: the file `publisher` cannot be read".to_owned(),
    };
    let mut rows = vec![
        ("publisher", publisher),
        ("pending", events(found.pending)),
        ("seqs", format!("{}..{}", found.seqs.start, found.seqs.end)),
    ];
    if let Some(oldest) = found.oldest_time_ns {
        let age = now.duration_since(UNIX_EPOCH + Duration::from_nanos(oldest)).unwrap_or_default();
        rows.push((
            "oldest",
            format!("{} ago", humantime::format_duration(Duration::from_secs(age.as_secs()))),
        ));
    }
    rows.push(("segments", found.segments.to_string()));
    rows.push(("size", ByteSize(found.bytes).to_string()));
    rows.push(("records", records(found)));
    let totals = found.totals.iter().filter(|(_, total)| *total > 0);
    let totals: Vec<String> = totals.map(|(fate, total)| format!("{} {total}", fate.name())).collect();
    if !totals.is_empty() {
        rows.push(("so far", totals.join(", ")));
    }
    if found.journal_lost {
        rows.push(("damaged", "finals: what is final is unknown, and will be sent again".to_owned()));
    }
    for lost in found.lost.iter().take(RANGES_SHOWN_MAX) {
        rows.push(("unreadable", format!("seqs {}..{}", lost.start, lost.end)));
    }
    if found.lost.len() > RANGES_SHOWN_MAX {
        rows.push(("", format!("and {} ranges more", found.lost.len() - RANGES_SHOWN_MAX)));
    }
    for file in &found.damaged {
        rows.push(("damaged", format!("{}: {}", file.name, file.why)));
    }
    for file in &found.set_aside {
        rows.push(("set aside", format!("{} ({})", file.name, ByteSize(file.bytes))));
    }
    rows
}

/// What the events of the segments take there.
fn records(found: &Inspection) -> String {
    let stored = ByteSize(found.records_bytes);
    if found.plain_bytes == found.records_bytes {
        return stored.to_string();
    }
    format!("{stored}, compressed from {}", ByteSize(found.plain_bytes))
}

/// What a program is shown.
#[derive(Serialize)]
struct Shown {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    folder: String,
    publisher: Option<String>,
    epoch: Option<String>,
    pending: u64,
    first_seq: u64,
    next_seq: u64,
    oldest_time_ns: Option<u64>,
    segments: usize,
    bytes: u64,
    records_bytes: u64,
    /// What the records would take without compression.
    plain_bytes: u64,
    totals: serde_json::Map<String, serde_json::Value>,
    finals_lost: bool,
    /// First seq and one past the last.
    unreadable: Vec<[u64; 2]>,
    damaged: Vec<String>,
    set_aside: Vec<String>,
}

impl Shown {
    fn of(folder: &Path, found: &Inspection) -> Self {
        let total = |&(fate, total): &(Fate, u64)| (fate.name().to_owned(), total.into());
        Self {
            schema: SCHEMA,
            kind: "spool",
            folder: folder.display().to_string(),
            publisher: found.publisher.map(|publisher| publisher.to_string()),
            epoch: found.epoch.map(|epoch| format!("{:016x}", epoch.0)),
            pending: found.pending,
            first_seq: found.seqs.start,
            next_seq: found.seqs.end,
            oldest_time_ns: found.oldest_time_ns,
            segments: found.segments,
            bytes: found.bytes,
            records_bytes: found.records_bytes,
            plain_bytes: found.plain_bytes,
            totals: found.totals.iter().map(total).collect(),
            finals_lost: found.journal_lost,
            unreadable: found.lost.iter().map(|lost| [lost.start, lost.end]).collect(),
            damaged: found.damaged.iter().map(|file| file.name.clone()).collect(),
            set_aside: found.set_aside.iter().map(|file| file.name.clone()).collect(),
        }
    }
}
