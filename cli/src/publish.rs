//! `millrace pub`: payloads of the command line, or lines of standard input, as events.

use std::io::Write;

use anyhow::{Context, anyhow};
use millrace_client::{PublishError, Publisher, PublisherOptions, PublisherStats};
use millrace_proto::{PublisherKey, TagSet};
use serde::Serialize;
use tokio::io::BufReader;

use crate::Failure;
use crate::args::{Pub, Reach};
use crate::lines::{Line, Lines};
use crate::reach;

/// Schema of the object that `pub --json` prints at the end.
const SUMMARY_SCHEMA: &str = "millrace.pub/2";

/// Bytes of standard input read at once.
const READ_BYTES: usize = 64 * 1024;

pub(crate) async fn run(reach: &Reach, command: &Pub) -> Result<(), Failure> {
    let tags = TagSet::from_texts(&command.tags).map_err(|error| Failure::usage(error.into()))?;
    let client = reach::client(reach)?;
    let options = PublisherOptions {
        id: command.publisher_id,
        linger: command.linger,
        connections: command.connections,
        shard: Some(tags.shard()),
        ..PublisherOptions::default()
    };
    let publisher = client.publisher(options).await.map_err(reach::unreachable)?;
    let keys: Vec<PublisherKey> = publisher.keys().collect();
    let publish = async {
        if command.lines {
            publish_lines(&publisher, &tags).await
        } else {
            publish_payloads(&publisher, &tags, command).await
        }
    };
    let (skipped, interrupted) = tokio::select! {
        skipped = publish => (skipped?, false),
        signal = interrupt() => {
            signal?;
            (0, true)
        }
    };
    if interrupted {
        eprintln!(
            "millrace: interrupted; waiting for the router to receive what was published (again to give up)"
        );
    }
    let so_far = publisher.stats();
    let end = tokio::select! {
        closed = tokio::time::timeout(command.timeout, publisher.close()) => closed.map_err(|_| {
            Failure::other(anyhow!(
                "{} of {} events were not received within {}",
                so_far.published - so_far.received - so_far.unknown,
                so_far.published,
                humantime::format_duration(command.timeout)
            ))
            .hint("Is a router reachable? --timeout waits longer.")
        }),
        signal = interrupt() => {
            signal?;
            Err(Failure::interrupted(anyhow!("gave up waiting for the last events to be received")))
        }
    };
    client.close().await;
    let stats = end?;
    let summary = Summary::new(stats, skipped, &keys);
    summary.show(reach, command)?;
    if stats.unknown > 0 {
        let error =
            anyhow!("{} events may be lost: a connection broke while they were on their way", stats.unknown);
        return Err(Failure::other(error));
    }
    if skipped > 0 {
        return Err(Failure::other(anyhow!("{skipped} lines were too long for an event and were skipped")));
    }
    Ok(())
}

async fn publish_payloads(publisher: &Publisher, tags: &TagSet, command: &Pub) -> Result<u64, Failure> {
    for payload in &command.payloads {
        publisher.publish(tags, payload).await.map_err(|error| Failure::usage(error.into()))?;
    }
    Ok(0)
}

/// Publishes standard input; returns how many lines were too long.
async fn publish_lines(publisher: &Publisher, tags: &TagSet) -> Result<u64, Failure> {
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, tokio::io::stdin()));
    let mut skipped = 0;
    loop {
        match lines.next().await.context("cannot read standard input").map_err(Failure::other)? {
            Line::End => return Ok(skipped),
            Line::TooLong => skipped += 1,
            Line::Whole => match publisher.publish(tags, lines.line()).await {
                Ok(_) => {}
                Err(PublishError::TooLarge { .. }) => skipped += 1,
                Err(error) => return Err(Failure::other(error.into())),
            },
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn interrupt() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(anyhow!(error).context("cannot wait for signals"));
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
        _ = terminate.recv() => Ok(()),
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
    unknown: u64,
    skipped: u64,
    connections: u64,
}

impl Summary {
    fn new(stats: PublisherStats, skipped: u64, keys: &[PublisherKey]) -> Self {
        Self {
            schema: SUMMARY_SCHEMA,
            publishers: keys.iter().map(|key| key.publisher.to_string()).collect(),
            epoch: keys.first().map(|key| format!("{:016x}", key.epoch.0)).unwrap_or_default(),
            published: stats.published,
            received: stats.received,
            unknown: stats.unknown,
            skipped,
            connections: stats.connections,
        }
    }

    fn show(&self, reach: &Reach, command: &Pub) -> Result<(), Failure> {
        if command.verbose {
            eprintln!(
                "millrace: {} events published, {} received, {} unknown, {} lines skipped",
                self.published, self.received, self.unknown, self.skipped
            );
        }
        if reach.json {
            let text = serde_json::to_string(self).map_err(|error| Failure::other(error.into()))?;
            writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::other(error.into()))?;
        }
        Ok(())
    }
}
