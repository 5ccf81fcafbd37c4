//! What became of the events of a command: counts, words, JSON, and whether that is a failure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;

use anyhow::anyhow;
use millrace_client::{
    ConfirmLevel, Outcome, OutcomeReason, Publisher, PublisherStats, RecipientFate, Unconfirmed,
};
use millrace_proto::PublisherKey;
use serde::Serialize;

use crate::failure::Failure;
use crate::options::Reach;
use crate::publishing::Pub;
use crate::tell::tell;

/// Schema of the object that `pub --json` prints at the end.
const SUMMARY_SCHEMA: &str = "millrace.pub/2";

/// Events that ended and are not confirmed: how many, by how and why.
#[derive(Debug, Default)]
pub(crate) struct Failures(RefCell<BTreeMap<String, u64>>);

impl Failures {
    /// Adds what the publisher has to report.
    pub(crate) fn take(&self, publisher: &Publisher) {
        while let Some(unconfirmed) = publisher.try_unconfirmed() {
            self.add(&unconfirmed);
        }
    }

    pub(crate) fn add(&self, unconfirmed: &Unconfirmed) {
        let names = |reasons: &[OutcomeReason]| {
            let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
            names.join(", ")
        };
        let how = match &unconfirmed.outcome {
            Outcome::Partial { reasons, .. } => format!("partial ({})", names(reasons)),
            Outcome::Dropped { reason } => format!("dropped ({})", reason.name()),
            Outcome::AtRecipients { recipients } => {
                let missed = recipients.iter().filter(|one| one.fate != RecipientFate::Delivered);
                let missed: Vec<String> =
                    missed.map(|one| format!("{} ({})", one.name, one.fate.name())).collect();
                format!("not at {}", missed.join(", "))
            }
            Outcome::GivenUp { why } => why.name().to_owned(),
            _ => "unknown".to_owned(),
        };
        *self.0.borrow_mut().entry(how).or_default() += unconfirmed.seqs.end - unconfirmed.seqs.start;
    }

    /// Whether every event that ended is confirmed.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let counts = self.0.borrow();
        if counts.is_empty() {
            return Ok(());
        }
        let events: u64 = counts.values().sum();
        let how: Vec<String> = counts.iter().map(|(how, count)| format!("{count} {how}")).collect();
        Err(Failure::other(anyhow!("{events} events are not confirmed: {}", how.join("; "))))
    }
}

/// What became of the events, as far as the publisher is told.
pub(crate) fn told(stats: &PublisherStats, level: ConfirmLevel, skipped: u64) -> String {
    let PublisherStats { published, found, received, unknown, confirmed, partial, dropped, .. } = *stats;
    let (mut text, waits) = match level {
        ConfirmLevel::None => {
            (format!("{published} published, {received} received by a router"), "not received yet")
        }
        _ => (format!("{published} published, {confirmed} confirmed"), "without an outcome"),
    };
    if found > 0 {
        text = format!("{found} found in the spool, {text}");
    }
    let waits = if stats.pending > 0 { "pending in the spool" } else { waits };
    let counts = [
        (partial, "partial"),
        (dropped, "dropped"),
        (unknown, "may be lost"),
        (stats.shed, "shed"),
        (stats.expired, "expired"),
        (stats.unreadable, "unreadable"),
        (stats.fenced, "fenced"),
        (stats.kept, "kept on standby"),
        (stats.passed_over, "published before"),
        (waiting(stats, level), waits),
        (skipped, "lines skipped"),
    ];
    for (count, what) in counts {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if stats.by_one > 0 {
        text.push_str(&format!(", {} of them by one router only", stats.by_one));
    }
    if stats.skipped > 0 {
        text.push_str(&format!(", {} skipped: nobody wants them", stats.skipped));
    }
    text
}

/// Events that the publisher still waits for.
pub(crate) const fn waiting(stats: &PublisherStats, level: ConfirmLevel) -> u64 {
    let given_up = stats.shed + stats.expired + stats.unreadable + stats.fenced + stats.unknown;
    let ended = match level {
        ConfirmLevel::None => stats.received,
        _ => stats.confirmed + stats.partial + stats.dropped,
    };
    (stats.found + stats.published).saturating_sub(ended + given_up)
}

#[derive(Serialize)]
pub(crate) struct Summary {
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
    /// Events of earlier commands that were pending in the spool.
    found: u64,
    /// Events that went through the spool.
    spooled: u64,
    /// Events that are left in the spool.
    pending: u64,
    shed: u64,
    expired: u64,
    unreadable: u64,
    /// Events that were given up, because another member of the set took over.
    fenced: u64,
    /// Numbered events that were kept on standby, or passed over because routers have had them.
    kept: u64,
    passed_over: u64,
    /// Events that were read while another member was active, and not kept.
    on_standby: u64,
    skipped: u64,
    /// Events that were not sent, because nobody wants them.
    quenched: u64,
    /// Events of `--redundant` whose end one router alone has told.
    by_one: u64,
    connections: u64,
    /// Of events for recipients: how many ended how at each of them, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    recipients: BTreeMap<String, BTreeMap<&'static str, u64>>,
    #[serde(skip)]
    stats: PublisherStats,
    #[serde(skip)]
    level: ConfirmLevel,
}

impl Summary {
    pub(crate) fn new(
        stats: PublisherStats,
        level: ConfirmLevel,
        (skipped, on_standby): (u64, u64),
        keys: &[PublisherKey],
        is_spooled: bool,
    ) -> Self {
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
            found: stats.found,
            spooled: if is_spooled { stats.published } else { 0 },
            pending: stats.pending,
            shed: stats.shed,
            expired: stats.expired,
            unreadable: stats.unreadable,
            fenced: stats.fenced,
            kept: stats.kept,
            passed_over: stats.passed_over,
            on_standby,
            skipped,
            quenched: stats.skipped,
            by_one: stats.by_one,
            connections: stats.connections,
            recipients: BTreeMap::new(),
            stats,
            level,
        }
    }

    /// With what became of events at each recipient.
    pub(crate) fn at(mut self, recipients: &BTreeMap<String, BTreeMap<RecipientFate, u64>>) -> Self {
        let named = |fates: &BTreeMap<RecipientFate, u64>| {
            fates.iter().map(|(fate, &events)| (fate.name(), events)).collect()
        };
        self.recipients = recipients.iter().map(|(name, fates)| (name.clone(), named(fates))).collect();
        self
    }

    /// Events that the publisher still waits for.
    pub(crate) const fn waiting(&self) -> u64 {
        waiting(&self.stats, self.level)
    }

    pub(crate) fn show(&self, reach: &Reach, command: &Pub) -> Result<(), Failure> {
        if command.verbose || !(command.quiet || reach.json) {
            tell(told(&self.stats, self.level, self.skipped));
            if self.on_standby > 0 {
                tell(format_args!(
                    "{} events were not published: another member was active",
                    self.on_standby
                ));
            }
            for (name, fates) in &self.recipients {
                let fates: Vec<String> =
                    fates.iter().map(|(fate, events)| format!("{events} {fate}")).collect();
                tell(format_args!("{name}: {}", fates.join(", ")));
            }
        }
        if reach.json {
            let text = serde_json::to_string(self).map_err(|error| Failure::other(error.into()))?;
            writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::other(error.into()))?;
        }
        Ok(())
    }
}
