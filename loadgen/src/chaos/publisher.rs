//! The program of a publisher's process: it publishes at its rate on a spool, and says on its
//! standard output what it did and how its events ended. It may be killed at any instant.
//!
//! When its standard input ends, it publishes no more; it ends when nothing is pending.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use millrace_client::spool::SpoolConfig;
use millrace_client::{
    Change, Changes, Client, Config, PublishError, Publisher, PublisherOptions, SpoolOptions, TagHandle,
    TagSet, Trust,
};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::said::{End, Label, Said};
use super::settings::{Confirm, EMITTERS_PER_PUBLISHER, addresses, tags};
use crate::clock::Clock;

/// Between two looks at what is due; a look publishes one run.
const TICK: Duration = Duration::from_millis(4);
/// Between two words about what is pending.
const LEFT_EVERY_US: u64 = 100_000;
/// Of what could not be published in time, at most so much is made up for at once.
const CATCH_UP_US: u64 = 200_000;
/// How long the library gathers events.
const LINGER: Duration = Duration::from_millis(2);
/// Bytes of a spool: minutes without a router.
const SPOOL_BYTES: u64 = 256 << 20;
/// Longest pause between attempts to reconnect: a router is away for a second or two.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// What a publisher's process is told.
#[derive(Debug, Clone)]
pub struct PublisherPart {
    /// Its number, from 0.
    pub number: u16,
    /// Which start of it this is, from 0.
    pub life: u16,
    /// Where routers are reached; their order numbers them.
    pub routers: Vec<SocketAddr>,
    /// The authority of their certificates, PEM.
    pub ca: PathBuf,
    /// Its spool.
    pub spool: PathBuf,
    /// Events per second.
    pub rate: f64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// What it asks for.
    pub confirm: Confirm,
    /// Parts into which events are divided.
    pub parts: u32,
    /// When the run began, microseconds since 1970.
    pub epoch_us: u64,
}

/// Publishes until standard input ends, then until nothing is pending.
///
/// # Errors
/// What keeps the spool from being opened, or the run from being told.
pub fn publish(part: &PublisherPart) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let told = stopped.clone();
    std::thread::spawn(move || {
        // An error ends the input, too.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    runtime.block_on(async {
        let config = Config::new(addresses(&part.routers)?)
            .trust(Trust::File(part.ca.clone()))
            .backoff_max(BACKOFF_MAX);
        let client = Client::new(config)?;
        let changes = client.changes();
        let spool = SpoolConfig { max_bytes: SPOOL_BYTES, free_percent: 1, ..SpoolConfig::default() };
        let options = PublisherOptions::default()
            .level(part.confirm.level())
            .linger(LINGER)
            .report_settled(true)
            .spool(SpoolOptions::new(&part.spool).config(spool));
        let publisher = client.publisher(options).await?;
        let mut desk = Desk::new(part, &publisher, changes)?;
        while !(stopped.load(Ordering::Relaxed) && publisher.stats().pending == 0) {
            desk.turn(!stopped.load(Ordering::Relaxed))?;
            tokio::time::sleep(TICK).await;
        }
        desk.turn(false)?;
        publisher.stop().await;
        client.close().await;
        Ok(())
    })
}

/// The state of a publisher's process between two looks.
struct Desk<'a> {
    part: &'a PublisherPart,
    publisher: &'a Publisher,
    changes: Changes,
    clock: Clock,
    emitters: Vec<(u32, TagHandle)>,
    payload: Vec<u8>,
    label: Label,
    /// Which emitter's run is next.
    next: usize,
    /// Since when the rate counts, and events published since.
    since: Instant,
    published: u64,
    left_said_us: u64,
    lines: Vec<u8>,
}

impl<'a> Desk<'a> {
    fn new(part: &'a PublisherPart, publisher: &'a Publisher, changes: Changes) -> anyhow::Result<Self> {
        let first = u32::from(part.number) * EMITTERS_PER_PUBLISHER;
        let mut emitters = Vec::new();
        for emitter in first..first + EMITTERS_PER_PUBLISHER {
            let tags = TagSet::from_texts(tags(emitter, part.parts).iter().map(String::as_str))?;
            emitters.push((emitter, publisher.register(&tags)?));
        }
        Ok(Self {
            part,
            publisher,
            changes,
            clock: Clock::since(part.epoch_us),
            emitters,
            payload: vec![b'.'; part.payload_bytes.max(PAYLOAD_BYTES_MIN)],
            label: Label { life: part.life, session: 0, count: 0 },
            next: 0,
            since: Instant::now(),
            published: 0,
            left_said_us: 0,
            lines: Vec::new(),
        })
    }

    /// Says what has ended and changed, and publishes what is due.
    fn turn(&mut self, publishes: bool) -> anyhow::Result<()> {
        self.tell_ends();
        self.tell_attachments();
        if publishes {
            self.publish_due()?;
        }
        let at_us = self.clock.now_us();
        if at_us >= self.left_said_us + LEFT_EVERY_US || !publishes {
            self.left_said_us = at_us;
            self.say(&Said::Left { at_us, pending: self.publisher.stats().pending });
        }
        let mut out = io::stdout().lock();
        out.write_all(&self.lines)?;
        out.flush()?;
        self.lines.clear();
        Ok(())
    }

    fn say(&mut self, said: &Said) {
        // Writing to memory does not fail.
        let _ = writeln!(self.lines, "{said}");
    }

    fn tell_ends(&mut self) {
        while let Some(settled) = self.publisher.try_settled() {
            let (end, receivers) = End::of(&settled.outcome);
            let at_us = self.clock.now_us();
            self.say(&Said::Ended { at_us, seqs: settled.seqs, end, receivers });
        }
    }

    fn tell_attachments(&mut self) {
        while let Some(change) = self.changes.try_next() {
            let Change::Attached { address, .. } = change else { continue };
            let Some(router) = self.part.routers.iter().position(|&front| front == address) else { continue };
            self.label.session += 1;
            let (at_us, session) = (self.clock.now_us(), self.label.session);
            self.say(&Said::Attached { at_us, router: u16::try_from(router).unwrap_or(u16::MAX), session });
        }
    }

    /// Publishes one run of what is due.
    fn publish_due(&mut self) -> anyhow::Result<()> {
        let elapsed = self.since.elapsed();
        let due = millrace_measure::figures::whole(elapsed.as_secs_f64() * self.part.rate);
        let most = millrace_measure::figures::whole(CATCH_UP_US as f64 / 1e6 * self.part.rate).max(1);
        if due > self.published + most {
            self.published = due - most;
        }
        let (emitter, handle) = self.emitters[self.next];
        let (at_us, time) = (self.clock.now_us(), SystemTime::now());
        let mut seqs = 0..0;
        while self.published < due {
            let stamp = Stamp { emitter, n: self.label.number(), scheduled_ns: at_us * 1_000 };
            stamp.stamp_again(&mut self.payload)?;
            match self.publisher.try_publish_at(handle, time, &self.payload) {
                Ok(id) if seqs.end == id.seq && !seqs.is_empty() => seqs.end += 1,
                Ok(id) => {
                    self.tell_published(at_us, seqs, emitter);
                    seqs = id.seq..id.seq + 1;
                }
                Err(PublishError::WouldBlock) => break,
                Err(error) => return Err(error.into()),
            }
            self.published += 1;
            self.label.count += 1;
        }
        if !seqs.is_empty() {
            self.next = (self.next + 1) % self.emitters.len();
        }
        self.tell_published(at_us, seqs, emitter);
        Ok(())
    }

    fn tell_published(&mut self, at_us: u64, seqs: std::ops::Range<u64>, emitter: u32) {
        if !seqs.is_empty() {
            self.say(&Said::Published { at_us, seqs, emitter });
        }
    }
}
