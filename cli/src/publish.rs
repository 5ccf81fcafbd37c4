//! `millrace pub`: payloads of the command line, or lines of standard input, as events.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use millrace_client::{
    Changes, Client, ConfirmLevel, ConnectError, Lost, Outcome, OutcomeReason, PublishError, Publisher,
    PublisherOptions, PublisherStats, Unconfirmed,
};
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::{PublisherKey, TagSet};
use serde::Serialize;
use tokio::io::BufReader;

use crate::args::{Pub, Reach};
use crate::failure::Failure;
use crate::lines::{Line, Lines};
use crate::outage::Outage;
use crate::signal::interrupt;
use crate::tell::tell;
use crate::{reach, tags};

/// Schema of the object that `pub --json` prints at the end.
const SUMMARY_SCHEMA: &str = "millrace.pub/2";

/// Bytes of standard input read at once.
const READ_BYTES: usize = 64 * 1024;

/// How often a command that is asked to says how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How often lines that were left out are told: the first at once, the rest as a number.
const SKIPPED_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(reach: &Reach, command: &Pub) -> Result<(), Failure> {
    let texts = command.tags.iter().flat_map(|argument| tags::split(argument));
    let tags = TagSet::from_texts(texts).map_err(|error| {
        Failure::usage(error.into()).hint(r"A comma separates tags; write \, for one within a value.")
    })?;
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let options = PublisherOptions::default()
        .linger(command.linger)
        .connections(command.connections)
        .shard(tags.shard())
        .min_receivers(command.min_receivers);
    let (publisher, level) = connect(&client, options, command).await?;
    let (skipped, failures) = (Skipped::default(), Failures::default());
    let publish = async {
        if command.lines {
            publish_lines(&publisher, &tags, command.keep_cr, &skipped).await
        } else {
            publish_payloads(&publisher, &tags, command).await
        }
    };
    let published = tokio::select! {
        published = publish => published,
        signal = interrupt() => signal.map(|()| {
            tell("interrupted; waiting for what becomes of what was published (again to give up)");
        }),
        never = watch(&publisher, &mut changes, &mut outage, &skipped, &failures, command.verbose) => match never {},
    };
    let keys: Vec<PublisherKey> = publisher.keys().collect();
    let flushed = tokio::select! {
        flushed = tokio::time::timeout(command.timeout, publisher.flush()) => Ok(flushed.is_ok()),
        signal = interrupt() => signal.map(|()| false).and(Err(Failure::interrupted(anyhow!(
            "gave up waiting for what becomes of the last events"
        )))),
        never = watch(&publisher, &mut changes, &mut outage, &skipped, &failures, command.verbose) => match never {},
    };
    while let Some(lost) = publisher.try_lost() {
        tell_lost(&lost);
    }
    while let Some(unconfirmed) = publisher.try_unconfirmed() {
        failures.add(&unconfirmed);
    }
    let stats = match flushed {
        Ok(true) => publisher.close().await,
        Ok(false) | Err(_) => publisher.stats(),
    };
    client.close().await;
    let summary = Summary::new(stats, level, skipped.count.get(), &keys);
    summary.show(reach, command)?;
    published?;
    let waiting = summary.waiting();
    if !flushed? {
        let limit = humantime::format_duration(command.timeout);
        let what = if level.is_confirmed() { "have no outcome" } else { "were not received" };
        return Err(Failure::other(anyhow!("{waiting} of {} events {what} within {limit}", stats.published))
            .hint("Is a router reachable? --timeout waits longer."));
    }
    failures.check()?;
    if stats.unknown > 0 {
        let error =
            anyhow!("{} events may be lost: a connection broke while they were on their way", stats.unknown);
        return Err(Failure::other(error));
    }
    match skipped.count.get() {
        0 => Ok(()),
        1 => Err(Failure::other(anyhow!("1 line was too long for an event and was skipped"))),
        lines => Err(Failure::other(anyhow!("{lines} lines were too long for an event and were skipped"))),
    }
}

/// Makes the publisher, and says which level it has: the one that was asked for, else *routed*
/// where the router confirms.
async fn connect(
    client: &Client,
    options: PublisherOptions,
    command: &Pub,
) -> Result<(Publisher, ConfirmLevel), Failure> {
    let level = command.confirm.map_or(ConfirmLevel::Routed, ConfirmLevel::from);
    if command.min_receivers > 0 && !level.is_confirmed() {
        return Err(Failure::usage(anyhow!("--min-receivers needs confirms: leave --confirm none out")));
    }
    match client.publisher(options.clone().level(level)).await {
        Ok(publisher) => Ok((publisher, level)),
        Err(error @ ConnectError::ConfirmsUnavailable { .. })
            if command.confirm.is_none() && command.min_receivers == 0 =>
        {
            tell(format_args!("{error}; going on without (--confirm none says nothing of it)"));
            let level = ConfirmLevel::None;
            let publisher = client.publisher(options.level(level)).await.map_err(reach::unreachable)?;
            Ok((publisher, level))
        }
        Err(error @ ConnectError::ConfirmsUnavailable { .. }) => Err(Failure::other(error.into())),
        Err(error) => Err(reach::unreachable(error)),
    }
}

/// Events that ended and are not confirmed: how many, by how and why.
#[derive(Debug, Default)]
struct Failures(RefCell<BTreeMap<String, u64>>);

impl Failures {
    fn add(&self, unconfirmed: &Unconfirmed) {
        let names = |reasons: &[OutcomeReason]| {
            let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
            names.join(", ")
        };
        let how = match &unconfirmed.outcome {
            Outcome::Partial { reasons, .. } => format!("partial ({})", names(reasons)),
            Outcome::Dropped { reason } => format!("dropped ({})", reason.name()),
            _ => "unknown".to_owned(),
        };
        *self.0.borrow_mut().entry(how).or_default() += unconfirmed.seqs.end - unconfirmed.seqs.start;
    }

    /// Whether every event that ended is confirmed.
    fn check(&self) -> Result<(), Failure> {
        let counts = self.0.borrow();
        if counts.is_empty() {
            return Ok(());
        }
        let events: u64 = counts.values().sum();
        let how: Vec<String> = counts.iter().map(|(how, count)| format!("{count} {how}")).collect();
        Err(Failure::other(anyhow!("{events} events are not confirmed: {}", how.join("; "))))
    }
}

/// Lines that no event can carry.
#[derive(Debug, Default)]
struct Skipped {
    count: Cell<u64>,
    /// As many as were told.
    told: Cell<u64>,
}

impl Skipped {
    fn skip(&self) {
        self.count.set(self.count.get() + 1);
        if self.told.get() == 0 {
            self.tell();
        }
    }

    /// Tells what was not told yet.
    fn tell(&self) {
        let (count, told) = (self.count.get(), self.told.replace(self.count.get()));
        match count - told {
            0 => {}
            1 => tell(format_args!(
                "a line was too long for an event ({PAYLOAD_BYTES_MAX} bytes) and was skipped"
            )),
            more => tell(format_args!(
                "{more} lines were too long for an event ({PAYLOAD_BYTES_MAX} bytes) and were skipped"
            )),
        }
    }
}

/// Says what happens while it happens: connections that break, lines that are skipped and, when
/// asked to, how far the command has come. Runs until it is dropped.
async fn watch(
    publisher: &Publisher,
    changes: &mut Changes,
    outage: &mut Outage,
    skipped: &Skipped,
    failures: &Failures,
    verbose: bool,
) -> Infallible {
    let mut progress = tokio::time::interval(PROGRESS_EVERY);
    let mut skips = tokio::time::interval(SKIPPED_EVERY);
    progress.reset();
    loop {
        tokio::select! {
            lost = publisher.lost() => tell_lost(&lost),
            unconfirmed = publisher.unconfirmed() => failures.add(&unconfirmed),
            _ = skips.tick() => skipped.tell(),
            _ = progress.tick(), if verbose => {
                tell(told(&publisher.stats(), publisher.level(), skipped.count.get()));
            }
            Some(change) = changes.next() => outage.tell(&change),
        }
    }
}

fn tell_lost(lost: &Lost) {
    let Lost { seqs, reason, .. } = lost;
    match seqs.end - seqs.start {
        1 => tell(format_args!("1 event may be lost: {reason}")),
        events => tell(format_args!("{events} events may be lost: {reason}")),
    }
}

/// What became of the events, as far as the publisher is told.
fn told(stats: &PublisherStats, level: ConfirmLevel, skipped: u64) -> String {
    let PublisherStats { published, received, unknown, confirmed, partial, dropped, .. } = *stats;
    let (mut text, waits) = match level {
        ConfirmLevel::None => {
            (format!("{published} published, {received} received by a router"), "not received yet")
        }
        _ => (format!("{published} published, {confirmed} confirmed"), "without an outcome"),
    };
    let counts = [
        (partial, "partial"),
        (dropped, "dropped"),
        (unknown, "may be lost"),
        (waiting(stats, level), waits),
        (skipped, "lines skipped"),
    ];
    for (count, what) in counts {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// Events that the publisher still waits for.
const fn waiting(stats: &PublisherStats, level: ConfirmLevel) -> u64 {
    match level {
        ConfirmLevel::None => stats.published - stats.received - stats.unknown,
        _ => stats.published - stats.confirmed - stats.partial - stats.dropped - stats.unknown,
    }
}

async fn publish_payloads(publisher: &Publisher, tags: &TagSet, command: &Pub) -> Result<(), Failure> {
    for payload in &command.payloads {
        publisher.publish(tags, payload).await.map_err(|error| Failure::usage(error.into()))?;
    }
    Ok(())
}

/// Publishes standard input; counts lines that are too long.
async fn publish_lines(
    publisher: &Publisher,
    tags: &TagSet,
    keep_cr: bool,
    skipped: &Skipped,
) -> Result<(), Failure> {
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, tokio::io::stdin()), keep_cr);
    loop {
        match lines.next().await.context("cannot read standard input").map_err(Failure::other)? {
            Line::End => return Ok(()),
            Line::TooLong => skipped.skip(),
            Line::Whole => match publisher.publish(tags, lines.line()).await {
                Ok(_) => {}
                Err(PublishError::TooLarge { .. }) => skipped.skip(),
                Err(error) => return Err(Failure::other(error.into())),
            },
        }
    }
}

#[derive(Serialize)]
struct Summary {
    schema: &'static str,
    /// Who published: one for each connection.
    publishers: Vec<String>,
    epoch: String,
    published: u64,
    received: u64,
    confirmed: u64,
    partial: u64,
    dropped: u64,
    unknown: u64,
    skipped: u64,
    connections: u64,
    #[serde(skip)]
    stats: PublisherStats,
    #[serde(skip)]
    level: ConfirmLevel,
}

impl Summary {
    fn new(stats: PublisherStats, level: ConfirmLevel, skipped: u64, keys: &[PublisherKey]) -> Self {
        Self {
            schema: SUMMARY_SCHEMA,
            publishers: keys.iter().map(|key| key.publisher.to_string()).collect(),
            epoch: keys.first().map(|key| format!("{:016x}", key.epoch.0)).unwrap_or_default(),
            published: stats.published,
            received: stats.received,
            confirmed: stats.confirmed,
            partial: stats.partial,
            dropped: stats.dropped,
            unknown: stats.unknown,
            skipped,
            connections: stats.connections,
            stats,
            level,
        }
    }

    /// Events that the publisher still waits for.
    const fn waiting(&self) -> u64 {
        waiting(&self.stats, self.level)
    }

    fn show(&self, reach: &Reach, command: &Pub) -> Result<(), Failure> {
        if command.verbose || !(command.quiet || reach.json) {
            tell(told(&self.stats, self.level, self.skipped));
        }
        if reach.json {
            let text = serde_json::to_string(self).map_err(|error| Failure::other(error.into()))?;
            writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::other(error.into()))?;
        }
        Ok(())
    }
}
