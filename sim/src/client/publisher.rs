//! A client that publishes: a program with several emitters on one publisher session, in one or
//! several lives of its process.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use millrace_attach::ClientConnection;
use millrace_client::session::publisher::{MemoryStore, Outcome, PublishError};
use millrace_client::session::{ConfirmLevel, PublisherConfig, PublisherSession, Tags};
use millrace_engine::time::Time;
use millrace_proto::control::Welcome;
use millrace_proto::{Epoch, PublisherSecret, RouterId, TagSet};
use millrace_verify::checker::publication::{Cause, Level, Sent};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};
use rand::RngExt;

use super::disk::{Disk, DiskSetup};
use super::held::Held;
use super::part::Part;
use super::published::{Fate, Known, Published};
use super::surroundings::Surroundings;
use super::told::told;
use crate::network::Wire;
use crate::record::Record;
use crate::source::SetSource;

/// Wall-clock time at the start of a run, ns since 1970.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;
/// Smallest room that payloads leave for a word.
const WORD_BYTES: usize = 24;

/// What a publisher is to do.
#[derive(Debug, Clone)]
pub struct PublisherSetup {
    /// Its session.
    pub config: PublisherConfig,
    /// How long it says that it can wait for `Received`; `None` says nothing, and counts on what
    /// `config` says.
    pub received_within: Option<Duration>,
    /// What proves its id; with a confirm level only.
    pub secret: Option<PublisherSecret>,
    /// Where it spools; `None`: its events are in memory.
    pub disk: Option<DiskSetup>,
    /// Its emitters.
    pub emitters: Vec<(u32, TagSet)>,
    /// Events to publish.
    pub events: u64,
    /// Most events at a time.
    pub burst: u64,
    /// What it publishes as a member of a standby set, instead of events of emitters.
    pub source: Option<SetSource>,
}

/// A publishing client.
#[derive(Debug)]
pub struct Publisher {
    pub(super) setup: PublisherSetup,
    /// The process; `None` while there is none.
    pub(super) life: Option<Life>,
    lives: u64,
    disk: Option<Disk>,
    /// Of the present epoch.
    published: Published,
    /// Events published in all lives.
    pub(super) count: u64,
    /// What was left out since the router was heard last: at most what is published in that time.
    left_out: Vec<(u32, u64)>,
    pub(super) payload: Vec<u8>,
}

/// One life of the process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) session: PublisherSession<Held>,
    /// First seq whose entry router was not noted for the present stream.
    entered: u64,
    pub(super) part: Part,
}

/// How an attempt to publish ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// There is more to publish.
    Goes,
    /// Everything is published.
    Done,
}

impl Publisher {
    /// A publisher whose process has not begun.
    #[must_use]
    pub fn new(setup: PublisherSetup) -> Self {
        Self {
            disk: setup.disk.clone().map(Disk::new),
            setup,
            life: None,
            lives: 0,
            published: Published::default(),
            count: 0,
            left_out: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Whether everything was published and has its outcome, was received, or is known to be
    /// unknown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.count >= self.setup.events && self.life.as_ref().is_some_and(|life| life.session.is_flushed())
    }

    /// Bytes queued, and their bound.
    #[must_use]
    pub fn queued(&self) -> (u64, u64) {
        // One event always fits an empty queue, so the bound is exceeded by one at most. A disk is
        // bounded by its size.
        let held = self.setup.disk.as_ref().map_or(self.setup.config.buffer_bytes as u64, |disk| disk.total);
        let queued = self.life.as_ref().map_or(0, |life| life.session.queued_bytes());
        (queued as u64, held + (1 << 16))
    }

    /// Whether there is a process.
    pub(super) const fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    /// A process begins, if there is none. Behind a loss of its host's power when so told.
    pub(super) fn begin(&mut self, power_lost: bool, record: &mut Record) {
        if self.life.is_some() {
            return;
        }
        self.lives += 1;
        let mut config = self.setup.config.clone();
        if let Some(wait) = self.setup.received_within {
            config.received_within_ns = nanos(wait);
        }
        let held = match (&mut self.disk, self.setup.secret) {
            (Some(disk), Some(secret)) => {
                disk.restart(power_lost);
                match disk.open(secret, config.flush_bytes, (&mut self.published, power_lost), record) {
                    Ok((store, epoch)) => {
                        config.key.epoch = epoch;
                        Held::Spool(Box::new(store))
                    }
                    Err(error) => {
                        record.findings.add("spool", || format!("it does not open: {error}"));
                        return;
                    }
                }
            }
            _ => {
                config.key.epoch = Epoch(self.lives);
                Held::Memory(MemoryStore::new(0, config.buffer_bytes, config.flush_bytes))
            }
        };
        let session = PublisherSession::with_store(config, held);
        self.life = Some(Life { entered: session.unreceived().end, session, part: Part::default() });
    }

    /// The process is about to end, within one of the next `changes` of its disk. Whether it has
    /// ended at once, because it has none.
    pub(super) fn end_after(&self, changes: u64) -> bool {
        match &self.disk {
            Some(disk) if self.life.is_some() => {
                disk.end_after(changes);
                false
            }
            _ => true,
        }
    }

    /// Whether the process has ended while it used its disk.
    pub(super) fn has_ended(&self) -> bool {
        self.life.is_some() && self.disk.as_ref().is_some_and(Disk::has_ended)
    }

    /// The process is gone, and what it had in memory.
    pub(super) fn die(&mut self, record: &mut Record) {
        self.life = None;
        self.left_out.clear();
        if self.disk.is_some() {
            return;
        }
        for (_, Known { event: (emitter, n), .. }) in self.published.pending() {
            record.checker.gone(emitter, n, Cause::ProcessEnded);
        }
        self.published.clear();
    }

    /// As its Hello says it; 0 says nothing.
    pub(super) fn received_within_us(&self) -> u64 {
        self.setup.received_within.map_or(0, nanos) / 1000
    }

    pub(super) const fn secret(&self) -> Option<PublisherSecret> {
        self.setup.secret
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.setup.config.level.is_confirmed()
    }

    /// Whether it leaves out what nobody wants.
    pub(super) const fn skips(&self) -> bool {
        !self.is_confirmed() && self.setup.source.is_none()
    }

    pub(super) fn expects_answer(&self, now: Time) -> bool {
        self.life.as_ref().is_some_and(|life| life.session.expects_answer(now))
    }

    /// Publishes some events of one emitter; `router` is the last one that it was connected to.
    pub(super) fn publish(
        &mut self,
        router: Option<RouterId>,
        clock_offset_ns: i64,
        around: &mut Surroundings<'_>,
    ) -> Attempt {
        let now = around.queue.now();
        let wall_ns = (EPOCH_NS + now.0).saturating_add_signed(clock_offset_ns);
        if self.setup.source.is_some() {
            self.publish_of_source(wall_ns, around);
            return Attempt::Goes;
        }
        let (emitter, tags) =
            self.setup.emitters[around.rng.random_range(0..self.setup.emitters.len())].clone();
        for _ in 0..around.rng.random_range(1..=self.setup.burst) {
            if self.count >= self.setup.events || !self.publish_one(emitter, &tags, (router, wall_ns), around)
            {
                break;
            }
        }
        if let Some(life) = self.life.as_mut().filter(|_| around.rng.random_range(0..8) == 0) {
            life.session.flush();
            life.session.report();
        }
        if self.count < self.setup.events { Attempt::Goes } else { Attempt::Done }
    }

    /// Publishes one event; whether another may follow at once.
    fn publish_one(
        &mut self,
        emitter: u32,
        tags: &TagSet,
        (router, wall_ns): (Option<RouterId>, u64),
        around: &mut Surroundings<'_>,
    ) -> bool {
        let now = around.queue.now();
        let Some(Life { session, .. }) = &mut self.life else { return false };
        let large = around.rng.random_range(0..400) == 0;
        let extra = around.rng.random_range(0..if large { 20_000 } else { 100 });
        let bytes = PAYLOAD_BYTES_MIN + WORD_BYTES + extra;
        let queued = session.queued_bytes();
        if queued > 0 && queued + bytes > self.setup.config.buffer_bytes {
            return false;
        }
        let n = around.record.checker.history().events(emitter).len() as u64;
        self.payload.resize(bytes, 0);
        let text = around.record.checker.history().words().text(emitter, n).as_bytes();
        let stamp = Stamp { emitter, n, scheduled_ns: now.0 };
        if let Err(error) = stamp.encode(text, &mut self.payload) {
            around.record.findings.add("session", || format!("event {n} of emitter {emitter}: {error}"));
            return false;
        }
        if let Some(router) = router.filter(|_| self.setup.config.level == ConfirmLevel::None)
            && session.skips(|| now, Tags::Set(tags))
        {
            self.count += 1;
            let publisher = self.setup.config.key.publisher;
            around.record.left_out(emitter, n, publisher, Sent { at: now.0, router });
            self.left_out.push((emitter, n));
            return true;
        }
        let seq = session.next_seq();
        let outcome = session.publish(now, tags, wall_ns, &self.payload);
        // An event whose process ended while it was written may be on disk.
        let has_ended = self.disk.as_ref().is_some_and(Disk::has_ended);
        match outcome {
            Err(PublishError::WouldBlock) if !has_ended => return false,
            Err(error) if !has_ended => {
                around.record.findings.add("session", || format!("event {n} of emitter {emitter}: {error}"));
                return false;
            }
            Ok(_) | Err(_) => {}
        }
        self.count += 1;
        around.record.checker.published(emitter, now.0, None);
        self.published.add(seq, (emitter, n));
        if let Some(level) = level(self.setup.config.level) {
            around.record.checker.asked_confirm(emitter, n, level, self.setup.config.min_receivers);
        }
        !has_ended
    }

    pub(super) fn started(&mut self, welcome: &Welcome, confirms: bool) {
        let is_confirmed = self.is_confirmed();
        let Some(Life { session, .. }) = &mut self.life else { return };
        session.stream_started(welcome.tables);
        if is_confirmed && !confirms {
            session.cannot_confirm();
        }
    }

    pub(super) fn session(&mut self) -> Option<&mut PublisherSession<Held>> {
        self.life.as_mut().map(|life| &mut life.session)
    }

    pub(super) fn received(&mut self, seqs: Range<u64>, router: RouterId, now: Time, record: &mut Record) {
        for (_, (emitter, n)) in self.published.within(seqs) {
            record.checker.received(emitter, n, router, now.0);
        }
    }

    /// Something came from `router`: it was there when what was left out since the last time would
    /// have been written.
    pub(super) fn heard(&mut self, router: RouterId, now: Time, record: &mut Record) {
        for (emitter, n) in self.left_out.drain(..) {
            record.checker.received(emitter, n, router, now.0);
        }
    }

    /// Notes what `router` has said of how events ended.
    pub(super) fn take_ended(&mut self, router: RouterId, now: Time, record: &mut Record) {
        let has_ended = self.has_ended();
        while let Some(ended) = self.life.as_mut().and_then(|life| life.session.poll_ended()) {
            if matches!(ended.outcome, Outcome::Confirmed { .. }) {
                self.note_confirmed(ended.seqs.start, &mut record.findings);
            }
            let events: Vec<_> = self.published.within(ended.seqs).collect();
            for (seq, (emitter, n)) in events {
                if has_ended {
                    self.published.set(seq, Fate::Untold);
                    continue;
                }
                self.published.set(seq, Fate::Ended);
                record.checker.ended(emitter, n, told(&ended.outcome, router, now));
            }
        }
        self.note_standing();
    }

    /// Takes no more events for this connection, and asks for what was received.
    pub(super) fn hold(&mut self) {
        if let Some(life) = &mut self.life {
            life.session.hold();
        }
    }

    /// Whether events are on their way, so that leaving now would make them unknown, or sent again.
    pub(super) fn is_waiting(&self, connection: &ClientConnection) -> bool {
        let is_waiting = |life: &Life| !life.session.unreceived().is_empty() || life.session.is_waiting();
        connection.is_publish_blocked() || self.life.as_ref().is_some_and(is_waiting)
    }

    pub(super) fn lost(&mut self) {
        self.left_out.clear();
        if let Some(life) = &mut self.life {
            life.session.stream_lost();
            life.entered = life.session.unreceived().end;
        }
    }

    pub(super) fn write(
        &mut self,
        now: Time,
        router: RouterId,
        connection: &mut ClientConnection,
        wire: &mut Wire<'_>,
        record: &mut Record,
    ) {
        self.tell_set(connection);
        let Some(Life { session, entered, .. }) = &mut self.life else { return };
        connection.publish(wire, now, session);
        let taken = session.unreceived().end;
        if *entered < taken {
            if let Some(SetSource { set, .. }) = self.setup.source {
                record.standby.given(set, router, now.0);
            }
            for (_, (emitter, n)) in self.published.within(*entered..taken) {
                record.entered(emitter, n, Sent { at: now.0, router });
            }
            *entered = taken;
        }
    }

    /// Has its disk do what is due.
    pub(super) fn tend_disk(&mut self, now: Time, record: &mut Record) {
        let (Some(life), Some(disk)) = (&mut self.life, &mut self.disk) else { return };
        if let Held::Spool(store) = life.session.store_mut()
            && let Err(error) = disk.tend(store, now)
            && !disk.has_ended()
        {
            record.findings.add("spool", || error.to_string());
        }
    }

    /// When its disk has something to do.
    pub(super) fn disk_due(&self) -> Option<Time> {
        self.disk.as_ref().filter(|_| self.life.is_some()).and_then(Disk::poll_timeout)
    }

    /// When it has more to write, or begins to expect an answer.
    pub(super) fn poll_timeout(&self, now: Time, connection: &ClientConnection) -> Option<Time> {
        let session = &self.life.as_ref()?.session;
        let output = session.poll_timeout().filter(|_| !connection.is_publish_blocked());
        let answer = session.answer_due().filter(|&due| due > now);
        output.into_iter().chain(answer).min()
    }
}

const fn level(level: ConfirmLevel) -> Option<Level> {
    match level {
        ConfirmLevel::Routed => Some(Level::Routed),
        ConfirmLevel::Delivered => Some(Level::Delivered),
        _ => None,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, published {} of {}", self.setup.config.level, self.count, self.setup.events)?;
        let Some(Life { session, .. }) = &self.life else { return write!(f, ", no process") };
        write!(
            f,
            ", received {}, settled {}, on the way {:?}, {} bytes queued, standby {:?}",
            session.received(),
            session.settled(),
            session.unreceived(),
            session.queued_bytes(),
            session.standby()
        )
    }
}
