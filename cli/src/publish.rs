//! `millrace pub`: payloads of the command line, or lines of standard input, as events.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, anyhow};
use millrace_client::{
    Changes, Client, ConfirmLevel, ConnectError, Connections, Lost, PublishError, Publisher, PublisherOptions,
};
use millrace_proto::limits::{PAYLOAD_BYTES_MAX, RECIPIENTS_MAX};
use millrace_proto::{PublisherKey, TagSet};
use tokio::io::BufReader;

use crate::failure::Failure;
use crate::lines::{Line, Lines};
use crate::options::Reach;
use crate::outage::{self, Outage};
use crate::publishing::Pub;
use crate::signal::interrupt;
#[cfg(unix)]
use crate::spooling::{self, SpoolWatch};
use crate::summary::{Failures, Summary, told};
use crate::tell::tell;
use crate::{reach, standby, tags};

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
    let changes = client.changes();
    let (publisher, level) = connect(&client, options(command, &tags)?, command).await?;
    let (skipped, failures) = (Skipped::default(), Failures::default());
    let mut watch = Watch::new(&publisher, changes, &skipped, &failures, command);
    let publish = async {
        if command.lines {
            publish_lines(&publisher, &tags, command, &skipped).await
        } else {
            publish_payloads(&publisher, &tags, command, &skipped).await
        }
    };
    let mut is_forbidden = false;
    let published = tokio::select! {
        published = publish => published,
        signal = interrupt() => signal.map(|()| {
            tell("interrupted; waiting for what becomes of what was published (again to give up)");
        }),
        forbidden = watch.run() => {
            is_forbidden = true;
            Err(forbidden)
        }
    };
    let flushed = tokio::select! {
        biased;
        // Nothing more becomes of them at this router.
        () = std::future::ready(()), if is_forbidden => Ok(false),
        flushed = tokio::time::timeout(command.timeout, publisher.flush()) => Ok(flushed.is_ok()),
        signal = interrupt() => signal.map(|()| false).and(Err(Failure::interrupted(anyhow!(
            "gave up waiting for what becomes of the last events"
        )))),
        forbidden = watch.run() => Err(forbidden),
    };
    let drops = watch.finish();
    let keys: Vec<PublisherKey> = publisher.keys().collect();
    let is_spooled = publisher.spool_opened().is_some();
    #[cfg(unix)]
    let lost = publisher.spool_opened().map_or(0, |opened| opened.lost_events());
    let at_recipients = publisher.at_recipients();
    let stats = match flushed {
        Ok(true) => publisher.close().await,
        Ok(false) | Err(_) => publisher.stop().await,
    };
    client.close().await;
    let lines = (skipped.all(), skipped.on_standby.get());
    let summary = Summary::new(stats, level, lines, &keys, is_spooled).at(&at_recipients);
    summary.show(reach, command)?;
    published?;
    let waiting = summary.waiting();
    let flushed = flushed?;
    let limit = humantime::format_duration(command.timeout);
    #[cfg(unix)]
    if let Some(folder) = command.spooling.spool.as_ref().filter(|_| !flushed && stats.pending > 0) {
        let reached = if stats.connections == 0 { "no router was reached" } else { "they have no outcome" };
        return Err(spooling::left(&stats, folder, &format!("{reached} within {limit}")));
    }
    if !flushed {
        let what = if level.is_confirmed() { "have no outcome" } else { "were not received" };
        return Err(Failure::other(anyhow!("{waiting} of {} events {what} within {limit}", stats.published))
            .hint("Is a router reachable? --timeout waits longer."));
    }
    failures.check()?;
    if drops {
        return Err(Failure::other(anyhow!("events were dropped, because this client may not publish them")));
    }
    if stats.unknown > 0 {
        let error =
            anyhow!("{} events may be lost: a connection broke while they were on their way", stats.unknown);
        return Err(Failure::other(error));
    }
    #[cfg(unix)]
    spooling::check_lost(lost, &stats)?;
    skipped.check()
}

/// The options of the publisher.
fn options(command: &Pub, tags: &TagSet) -> Result<PublisherOptions, Failure> {
    let options = PublisherOptions::default()
        .linger(command.linger)
        .connections(command.connections)
        .shard(tags.shard())
        .min_receivers(command.min_receivers)
        .quench(command.quench)
        .ttl(command.ttl)
        .redundant(command.redundant)
        .standby(standby::options(command));
    if command.redundant && command.connections != Connections::One {
        let one = anyhow!("a publisher on two routers has one connection to each");
        return Err(Failure::usage(one).hint("Leave --connections out, or --redundant."));
    }
    #[cfg(unix)]
    if let Some(spool) = command.spooling.options() {
        if command.connections != Connections::One {
            let one = anyhow!("a publisher with a spool has one connection");
            return Err(Failure::usage(one).hint("Leave --connections out, or use a spool for each."));
        }
        if command.source_seq.is_some() {
            let both = anyhow!("a spool holds no events with source seqs");
            return Err(Failure::usage(both).hint("Leave --source-seq out, or --spool."));
        }
        return Ok(options.spool(spool));
    }
    Ok(options)
}

/// Makes the publisher, and says which level it has: the one that was asked for, else *routed*
/// where the router confirms.
async fn connect(
    client: &Client,
    options: PublisherOptions,
    command: &Pub,
) -> Result<(Publisher, ConfirmLevel), Failure> {
    let usual = if command.to.is_empty() { ConfirmLevel::Routed } else { ConfirmLevel::Delivered };
    let level = command.confirm.map_or(usual, ConfirmLevel::from);
    check_recipients(command, level)?;
    if command.min_receivers > 0 && !level.is_confirmed() {
        return Err(Failure::usage(anyhow!("--min-receivers needs confirms: leave --confirm none out")));
    }
    match client.publisher(options.clone().level(level)).await {
        Ok(publisher) => {
            #[cfg(unix)]
            if let Some(opened) = publisher.spool_opened() {
                spooling::tell_opened(opened, &publisher.stats());
            }
            Ok((publisher, level))
        }
        Err(error @ ConnectError::ConfirmsUnavailable { .. })
            if command.confirm.is_none() && command.min_receivers == 0 && command.to.is_empty() =>
        {
            tell(format_args!("{error}; going on without (--confirm none says nothing of it)"));
            let level = ConfirmLevel::None;
            let publisher = client.publisher(options.level(level)).await.map_err(reach::unreachable)?;
            Ok((publisher, level))
        }
        Err(error @ ConnectError::ConfirmsUnavailable { .. }) => Err(Failure::other(error.into())),
        #[cfg(unix)]
        Err(error @ ConnectError::Spool(_)) => Err(spooling::cannot_open(error)),
        Err(error) => Err(reach::unreachable(error)),
    }
}

/// What is wrong with the recipients of the command, if something is.
fn check_recipients(command: &Pub, level: ConfirmLevel) -> Result<(), Failure> {
    if command.to.is_empty() {
        return Ok(());
    }
    if command.to.len() > RECIPIENTS_MAX {
        return Err(Failure::usage(anyhow!("--to may be given {RECIPIENTS_MAX} times at most")));
    }
    if !level.is_confirmed() {
        return Err(Failure::usage(anyhow!("--to needs confirms: leave --confirm none out")));
    }
    #[cfg(unix)]
    if command.spooling.spool.is_some() {
        return Err(Failure::usage(anyhow!(
            "a spool holds no events for recipients: leave --spool or --to out"
        )));
    }
    Ok(())
}

/// Lines that no event can carry.
#[derive(Debug, Default)]
struct Skipped {
    count: Cell<u64>,
    /// As many as were told.
    told: Cell<u64>,
    /// Lines that do not begin with a number, where they are to.
    unnumbered: Cell<u64>,
    /// Events that were read while another member of the set was active.
    on_standby: Cell<u64>,
}

impl Skipped {
    /// Lines that were skipped.
    const fn all(&self) -> u64 {
        self.count.get() + self.unnumbered.get()
    }

    /// Whether no line was skipped.
    fn check(&self) -> Result<(), Failure> {
        let why = match (self.unnumbered.get(), self.count.get()) {
            (0, 0) => return Ok(()),
            (0, 1) => anyhow!("1 line was too long for an event and was skipped"),
            (0, lines) => anyhow!("{lines} lines were too long for an event and were skipped"),
            (lines, _) => anyhow!("{lines} lines do not begin with a number and were skipped"),
        };
        Err(Failure::other(why))
    }

    fn skip_unnumbered(&self) {
        self.unnumbered.set(self.unnumbered.get() + 1);
        if self.unnumbered.get() == 1 {
            tell("a line does not begin with a number and was skipped; others will be, too");
        }
    }

    fn pass_on_standby(&self) {
        self.on_standby.set(self.on_standby.get() + 1);
    }

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

/// Says what happens while it happens: connections that break, lines that are skipped, what a spool
/// gives up and, when asked to, how far the command has come.
struct Watch<'a> {
    publisher: &'a Publisher,
    changes: Changes,
    outage: Outage,
    skipped: &'a Skipped,
    failures: &'a Failures,
    verbose: bool,
    /// The publisher is a member of a set.
    is_member: bool,
    /// Fenced events that were told.
    fenced: u64,
    #[cfg(unix)]
    spool: SpoolWatch,
}

impl<'a> Watch<'a> {
    fn new(
        publisher: &'a Publisher,
        changes: Changes,
        skipped: &'a Skipped,
        failures: &'a Failures,
        command: &Pub,
    ) -> Self {
        Self {
            publisher,
            changes,
            outage: Outage::default(),
            skipped,
            failures,
            verbose: command.verbose,
            is_member: command.standby.is_some(),
            fenced: 0,
            #[cfg(unix)]
            spool: SpoolWatch::default(),
        }
    }

    /// Runs until the client may not publish any more, or it is dropped; may run again.
    async fn run(&mut self) -> Failure {
        let mut progress = tokio::time::interval(PROGRESS_EVERY);
        let mut skips = tokio::time::interval(SKIPPED_EVERY);
        progress.reset();
        loop {
            tokio::select! {
                lost = self.publisher.lost() => tell_lost(&lost),
                unconfirmed = self.publisher.unconfirmed() => self.failures.add(&unconfirmed),
                _ = skips.tick() => self.tell_counts(),
                _ = progress.tick(), if self.verbose => {
                    let stats = self.publisher.stats();
                    tell(told(&stats, self.publisher.level(), self.skipped.all()));
                }
                Some(change) = self.changes.next() => {
                    let refused = standby::end(&change).filter(|_| self.is_member);
                    match outage::end(&change).or(refused) {
                        Some(failure) => return failure,
                        None => self.outage.tell(&change),
                    }
                }
            }
        }
    }

    fn tell_counts(&mut self) {
        self.skipped.tell();
        if self.is_member {
            let fenced = self.publisher.stats().fenced;
            if fenced > self.fenced {
                let more = fenced - std::mem::replace(&mut self.fenced, fenced);
                tell(format_args!("{more} events are fenced: another member of the set took over"));
            }
        }
        #[cfg(unix)]
        self.spool.tell(self.publisher);
    }

    /// Tells what is left to tell; says whether a router has dropped what the client may not
    /// publish.
    fn finish(mut self) -> bool {
        while let Some(change) = self.changes.try_next() {
            self.outage.tell(&change);
        }
        while let Some(lost) = self.publisher.try_lost() {
            tell_lost(&lost);
        }
        self.failures.take(self.publisher);
        self.tell_counts();
        self.outage.drops
    }
}

fn tell_lost(lost: &Lost) {
    let Lost { seqs, reason, .. } = lost;
    match seqs.end - seqs.start {
        1 => tell(format_args!("1 event may be lost: {reason}")),
        events => tell(format_args!("{events} events may be lost: {reason}")),
    }
}

/// Publishes an event, to recipients if there are any.
async fn publish(
    publisher: &Publisher,
    tags: &TagSet,
    to: &[String],
    payload: &[u8],
) -> Result<(), PublishError> {
    if to.is_empty() {
        return publisher.publish(tags, payload).await.map(drop);
    }
    // The publisher counts what becomes of it.
    publisher.publish_to(tags, to, payload).await.map(drop)
}

async fn publish_payloads(
    publisher: &Publisher,
    tags: &TagSet,
    command: &Pub,
    skipped: &Skipped,
) -> Result<(), Failure> {
    for payload in &command.payloads {
        match publish(publisher, tags, &command.to, payload.as_bytes()).await {
            Ok(()) => {}
            Err(PublishError::OnStandby) => skipped.pass_on_standby(),
            Err(error @ PublishError::TooLarge { .. }) => return Err(Failure::usage(error.into())),
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(())
}

/// An event was not taken: what to try next.
fn refused(error: PublishError) -> Failure {
    #[cfg(unix)]
    if let PublishError::Refused(full) = error {
        let hint =
            "--spool-full block waits for room instead. `millrace spool replay DIR` sends what is pending.";
        let what =
            anyhow!("{}; an event was refused, and what follows it was not read", spooling::in_words(&full));
        return Failure::other(what).hint(hint);
    }
    Failure::other(error.into())
}

/// Publishes standard input; counts lines that are too long.
async fn publish_lines(
    publisher: &Publisher,
    tags: &TagSet,
    command: &Pub,
    skipped: &Skipped,
) -> Result<(), Failure> {
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, tokio::io::stdin()), command.keep_cr);
    let mut count = 0;
    loop {
        match lines.next().await.context("cannot read standard input").map_err(Failure::other)? {
            Line::End => return Ok(()),
            Line::TooLong => {
                count += 1;
                skipped.skip();
            }
            Line::Whole => {
                count += 1;
                let published = match command.source_seq {
                    None => publish(publisher, tags, &command.to, lines.line()).await,
                    Some(how) => match standby::source_seq(how, count, lines.line()) {
                        Some(seq) => publisher.publish_numbered(tags, seq, lines.line()).await.map(drop),
                        None => {
                            skipped.skip_unnumbered();
                            continue;
                        }
                    },
                };
                match published {
                    Ok(()) => {}
                    Err(PublishError::TooLarge { .. }) => skipped.skip(),
                    Err(PublishError::OnStandby) => skipped.pass_on_standby(),
                    Err(error) => return Err(refused(error)),
                }
            }
        }
    }
}
