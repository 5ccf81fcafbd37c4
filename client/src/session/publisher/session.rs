//! One publisher: what it holds, the stream that it writes now, and when output is due.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use millrace_proto::control;
use millrace_proto::data::put_report;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::{PublisherKey, TagSet, varint};

use super::config::PublisherConfig;
use super::error::PublishError;
use super::memory::MemoryStore;
use super::outcome::{Ended, Outcome};
use super::reports::Reports;
use super::retries::Retries;
use super::speaker::Speaker;
use super::standby::Member;
use super::store::{NewEvent, Store};
use super::stream::PublishStream;
use super::tags::{Handles, HandlesExhausted, TagHandle, Tags};
use super::window::{Outgoing, Window};
use crate::session::SessionError;
use crate::time::Time;

/// Most bytes of one output chunk that holds more than one run: large enough for full GSO batches.
const OUTPUT_BYTES: usize = 64 * 1024;
/// What the last run of a chunk may add to it: the head of a run, above the bound.
const OUTPUT_SLACK_BYTES: usize = 512;

/// One publisher, across the connections that carry it.
#[derive(Debug)]
pub struct PublisherSession<S = MemoryStore> {
    pub(super) config: PublisherConfig,
    pub(super) handles: Handles,
    pub(super) window: Window<S>,
    /// When the oldest event came that was not handed to a stream.
    oldest: Time,
    flush_wanted: bool,
    /// No more events are taken for this stream.
    pub(super) held: bool,
    /// The stream; of one that several publishers write, only while it is lent.
    pub(super) stream: Option<PublishStream>,
    /// How it names itself on the present stream.
    pub(super) speaker: Option<Speaker>,
    pub(super) reports: Reports,
    /// Events that ended and were not told; each once, so that the window bounds them.
    pub(super) ended: VecDeque<Ended>,
    pub(super) retries: Retries,
    /// Its part in a standby set, if it has one.
    pub(super) standby: Option<Box<Member>>,
    /// The time of the last turn.
    pub(super) turned: Time,
}

impl PublisherSession {
    /// A publisher without a stream, whose events are held in memory.
    #[must_use]
    pub fn new(config: PublisherConfig) -> Self {
        let store = MemoryStore::new(config.first_seq, config.buffer_bytes, config.flush_bytes);
        Self::with_store(config, store)
    }
}

impl<S: Store> PublisherSession<S> {
    /// A publisher without a stream, that goes on with what `store` holds.
    #[must_use]
    pub fn with_store(config: PublisherConfig, store: S) -> Self {
        let window = Window::new(store, &config);
        Self {
            handles: Handles::default(),
            oldest: Time::ZERO,
            flush_wanted: false,
            held: false,
            stream: None,
            speaker: None,
            reports: Reports::new(window.received(), config.received_within_ns),
            ended: VecDeque::new(),
            retries: Retries::default(),
            standby: Member::of(&config.set, window.settled() < window.next_seq()),
            turned: Time::ZERO,
            window,
            config,
        }
    }

    /// Who publishes.
    #[must_use]
    pub const fn key(&self) -> PublisherKey {
        self.config.key
    }

    /// The index that its id follows from.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.config.index
    }

    /// Changes who publishes from the next stream on: for a publisher whose id follows from what
    /// its first router takes it for, and that began before it had one.
    pub const fn set_key(&mut self, key: PublisherKey) {
        self.config.key = key;
    }

    /// What holds the events.
    #[must_use]
    pub const fn store(&self) -> &S {
        self.window.store()
    }

    /// What holds the events, for what a session has no word for: a spool's syncs. What a session
    /// hands out and releases is left to the session, and what the store gives up meanwhile is told
    /// by [`PublisherSession::poll_ended`].
    pub const fn store_mut(&mut self) -> &mut S {
        self.window.store_mut()
    }

    /// Gives up events that happened before `time_ns`, nanoseconds since 1970, and are not on their
    /// way: their time to live is over.
    pub fn expire_before(&mut self, time_ns: u64) {
        self.window.store_mut().expire_before(time_ns);
    }

    /// Gives `tags` a handle that is good for the life of this publisher. Registering a set twice
    /// gives two handles.
    ///
    /// # Errors
    /// [`HandlesExhausted`] when there are [`TAG_HANDLES_MAX`](super::TAG_HANDLES_MAX).
    pub fn register(&mut self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        self.handles.register(tags)
    }

    /// The registered tag set behind `handle`.
    #[must_use]
    pub fn registered(&self, handle: TagHandle) -> Option<&TagSet> {
        self.handles.get(handle)
    }

    /// Queues an event and returns its seq. `time_ns` is when it happened, nanoseconds since 1970
    /// (62 bits are kept).
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    #[inline]
    pub fn publish<'t>(
        &mut self,
        now: Time,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<u64, PublishError> {
        self.publish_addressed(now, tags, time_ns, payload, &[])
    }

    /// As [`PublisherSession::publish`], for the recipients of `address`, or with what that asks or
    /// answers: [`Addressed`](millrace_proto::data::optional::Addressed), appended as a hop field.
    /// Routers that do not list the feature *names* do not know what it means.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    #[inline]
    pub fn publish_addressed<'t>(
        &mut self,
        now: Time,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
    ) -> Result<u64, PublishError> {
        if let Some(refusal) = self.standby.as_deref().and_then(Member::refusal) {
            return Err(refusal);
        }
        self.append(now, tags.into(), time_ns, payload, (address, None))
    }

    #[inline]
    pub(super) fn append(
        &mut self,
        now: Time,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        (address, source_seq): (&[u8], Option<u64>),
    ) -> Result<u64, PublishError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: payload.len() });
        }
        let Some(set) = self.handles.set(tags) else { return Err(PublishError::UnknownHandle) };
        let was_empty = self.window.unsent_bytes() == 0;
        let seq = self.window.next_seq();
        let time_ns = time_ns.min(varint::MAX);
        self.window.append(NewEvent { seq, tags, set, time_ns, payload, address, source_seq })?;
        if was_empty {
            self.oldest = now;
        }
        Ok(seq)
    }

    /// Makes everything that is queued due.
    pub fn flush(&mut self) {
        self.flush_wanted = self.window.unsent_bytes() > 0;
    }

    /// Asks the router to say that everything published so far is received as soon as it is, behind
    /// the last of these events. To be used with [`PublisherSession::flush`] by who waits for it:
    /// each such answer costs packets.
    pub fn report(&mut self) {
        self.reports.want(self.window.next_seq(), self.window.received());
    }

    /// The router allows `bytes` of this stream in all. Older, smaller values change nothing.
    pub fn on_credit(&mut self, bytes: u64) {
        if let Some(stream) = &mut self.stream {
            stream.on_credit(bytes);
        }
    }

    /// The router has read everything below `next_seq`.
    ///
    /// # Errors
    /// [`SessionError::Unexpected`] for events that were never sent.
    pub(crate) fn on_received(&mut self, next_seq: u64) -> Result<(), SessionError> {
        if next_seq > self.window.taken() {
            return Err(SessionError::Unexpected { frame: "Received for events that were never sent" });
        }
        if self.window.received_below(next_seq) {
            self.reports.answered(next_seq);
            if self.config.level.is_confirmed() && !self.window.is_confirmed() {
                self.finish(self.window.settled()..next_seq, &Outcome::Unknown);
            }
        }
        Ok(())
    }

    /// The router says what became of events: [`PublisherSession::poll_ended`] has those that had
    /// no outcome before.
    ///
    /// # Errors
    /// [`SessionError::Unexpected`] for events that were never sent, or without a level.
    pub(crate) fn on_outcome(&mut self, said: &control::Outcome) -> Result<(), SessionError> {
        let taken = self.window.taken();
        let is_sent = said.seqs.iter().all(|(first, count)| first + count <= taken);
        if !is_sent || !self.window.is_confirmed() {
            return Err(SessionError::Unexpected { frame: "Outcome for events that were never sent" });
        }
        let outcome = Outcome::of(said, self.config.min_receivers);
        let retry = self.config.retry_partial && outcome.may_improve();
        for (first, count) in said.seqs.iter() {
            self.window.told(count);
            if retry {
                self.postpone(first..first + count, &outcome);
            } else {
                self.finish(first..first + count, &outcome);
            }
        }
        Ok(())
    }

    /// These events ended so, and are to be sent again as far as they have tries left.
    fn postpone(&mut self, seqs: Range<u64>, outcome: &Outcome) {
        for pending in self.window.pending_in(seqs) {
            for seqs in self.retries.postpone(pending, self.turned) {
                self.finish(seqs, outcome);
            }
        }
    }

    /// Hands what is due once more to the store.
    fn try_again(&mut self) {
        for due in self.retries.take_due(self.turned) {
            for seqs in self.window.pending_in(due) {
                if !self.window.store_mut().again(seqs.clone()) {
                    self.finish(seqs, &Outcome::Unknown);
                }
            }
            self.flush_wanted = true;
        }
    }

    fn finish(&mut self, seqs: Range<u64>, outcome: &Outcome) {
        self.retries.forget(&seqs);
        let news = self.window.finish(seqs);
        self.ended.extend(news.into_iter().map(|seqs| Ended { seqs, outcome: outcome.clone() }));
    }

    /// Events that have had their outcome since the last call, or that the store gave up; with a
    /// confirm level, each event ends once. To be called until `None` after whatever the router
    /// said, and with a store that gives events up after every call.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        while self.ended.is_empty()
            && let Some((news, why)) = self.window.poll_given_up()
        {
            news.iter().for_each(|seqs| self.retries.forget(seqs));
            let outcome = Outcome::GivenUp { why };
            self.ended.extend(news.into_iter().map(|seqs| Ended { seqs, outcome: outcome.clone() }));
        }
        self.ended.pop_front()
    }

    /// The next bytes of the stream, if some are due and credit allows them. Call until `None`;
    /// write every chunk in order.
    pub fn take_output(&mut self, now: Time) -> Option<Bytes> {
        self.turned = now;
        if self.standby.is_some() {
            self.publish_kept(now);
        }
        if self.retries.next_due().is_some_and(|due| due <= now) && self.stream.is_some() {
            self.try_again();
        }
        let due = self.is_due(now);
        let report_due = self.reports.is_due(self.window.unreceived(), self.held);
        let (stream, speaker) = (self.stream.as_mut()?, self.speaker.as_mut()?);
        if stream.room() == 0 {
            return None;
        }
        if !stream.has_staged() && due {
            self.reports.taking(now, self.window.unreceived().is_empty());
            let bytes_max = usize::try_from(stream.room()).unwrap_or(usize::MAX).min(OUTPUT_BYTES);
            let capacity = bytes_max.min(self.window.unsent_bytes()) + OUTPUT_SLACK_BYTES;
            let mut out = Vec::with_capacity(capacity);
            let set = self.standby.as_deref().and_then(Member::stamp);
            while let Some(outgoing) = self.window.next_run() {
                let outgoing = Outgoing { set, ..outgoing };
                if !out.is_empty() && out.len() + outgoing.run.events.len() > bytes_max {
                    break;
                }
                stream.encode(&mut out, speaker, &outgoing, &self.handles);
                let (end_seq, count) = (outgoing.run.end_seq(), outgoing.run.count);
                self.window.sent(end_seq, count);
            }
            if self.reports.ask_behind(self.window.taken()) {
                put_report(&mut out);
            }
            stream.stage(out);
            self.flush_wanted &= self.window.unsent_bytes() > 0;
        } else if !stream.has_staged() && report_due {
            self.reports.ask(self.window.taken());
            let mut out = Vec::new();
            put_report(&mut out);
            stream.stage(out);
        }
        let chunk = stream.take_staged()?;
        self.reports.wrote(chunk.len());
        Some(chunk)
    }

    /// When [`PublisherSession::take_output`] will have something, if only time is missing. In the
    /// past when it has already.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let stream = self.stream.as_ref()?;
        if stream.room() == 0 {
            return None;
        }
        if stream.has_staged() || self.is_due(self.oldest) || self.is_report_due() {
            return Some(self.oldest);
        }
        let linger = (self.window.has_next() && !self.held && !self.waits_for_set())
            .then(|| self.oldest.after(self.config.linger_ns));
        linger.into_iter().chain(self.retries.next_due()).min()
    }

    /// Seq that the next event gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.window.next_seq()
    }

    /// First seq that the router has not said it read; everything below is received, or was
    /// reported by [`PublisherSession::stream_lost`].
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.window.received()
    }

    /// Whether an event has neither an outcome nor was given up; without a level, whether it is not
    /// received.
    #[must_use]
    pub fn is_pending(&self, seq: u64) -> bool {
        !self.window.pending_in(seq..seq + 1).is_empty()
    }

    /// Events on their way: what becomes unknown, or is sent again, if the stream is lost now.
    #[must_use]
    pub const fn unreceived(&self) -> Range<u64> {
        self.window.unreceived()
    }

    /// First seq that waits for something: with a confirm level for its outcome, else as
    /// [`PublisherSession::received`].
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.window.settled()
    }

    /// Whether some of what was taken for the present stream waits for something.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.window.settled() < self.window.taken()
    }

    /// Whether every event has its outcome or, without a confirm level, the router has received all
    /// (or the loss was reported).
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.window.settled() == self.window.next_seq() && !self.is_about_to_publish()
    }

    /// Whether events stay held until the router has received them, or has told their outcome.
    #[must_use]
    pub const fn resends(&self) -> bool {
        self.window.resends()
    }

    /// Bytes that wait to be taken for a stream; [`PublisherConfig::buffer_bytes`] bounds them.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.window.unsent_bytes()
    }

    /// Whether output is due but the router's credit is used up.
    #[must_use]
    pub fn is_out_of_credit(&self, now: Time) -> bool {
        self.stream.as_ref().is_some_and(|stream| {
            stream.room() == 0 && (stream.has_staged() || self.is_due(now) || self.is_report_due())
        })
    }

    /// From when on the silence of the router means something: it should have said what it has
    /// received. `None` when it has nothing to say; in the past when it was asked, or has read
    /// enough, and is expected to answer right away.
    #[must_use]
    pub fn answer_due(&self) -> Option<Time> {
        self.reports.answer_due(&self.window.unreceived())
    }

    /// Whether the router should be saying something: an answer or an outcome is due, or credit is
    /// missing. For
    /// [`ConnectionSession::set_attentive`](crate::session::ConnectionSession::set_attentive).
    #[must_use]
    pub fn expects_answer(&self, now: Time) -> bool {
        self.answer_due().is_some_and(|due| due <= now)
            || self.is_out_of_credit(now)
            || (self.config.level.is_confirmed() && self.is_waiting())
    }

    /// Whether a report is asked for by itself, because no more events go out with it.
    fn is_report_due(&self) -> bool {
        self.reports.is_due(self.window.unreceived(), self.held)
    }

    fn is_due(&self, now: Time) -> bool {
        !self.held
            && !self.waits_for_set()
            && self.window.has_next()
            && (self.flush_wanted
                || self.window.unsent_bytes() >= self.config.flush_bytes
                || now.nanos_since(self.oldest) >= self.config.linger_ns)
    }
}
