//! Receiving: streams of a connection's receivers, checked and timed as they are read.

use std::collections::HashMap;

use millrace_client::session::{
    ConnectionSession, DeliveredRun, DeliverySink, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError, StreamFor,
};
use millrace_proto::control::OpenReceiver;
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{ReceiverNumber, SubscriptionNumber, TagSet};
use millrace_quic::StreamId;
use millrace_verify::checker::FleetChecker;
use millrace_verify::oracle::Expected;

use super::latency::Recorder;
use super::order::Stretch;
use super::tally::Tally;
use super::thread::{Gaps, Judged, SlowJudged};

/// The receiver that stalls, where one does.
pub(super) const SLOW: u32 = 0;

/// What a thread's receivers share.
#[derive(Debug)]
pub(super) struct Watch {
    checker: FleetChecker,
    /// Checks the receiver that stalls, if it is one of this thread's.
    slow: Option<FleetChecker>,
    recorder: Recorder,
    stalled: bool,
    /// Router of each emitter, for counting what crossed the mesh.
    emitter_router: Vec<u8>,
    tag_sets: Vec<TagSet>,
    wrong_tags: u64,
}

/// The checkers of a thread: of the receivers that are `mine`, and of the slow one apart.
pub(super) fn checkers(
    expected: &Expected,
    slow: bool,
    mine: impl Fn(u32) -> bool,
) -> (FleetChecker, Option<FleetChecker>) {
    let has_slow = slow && mine(SLOW);
    let others = FleetChecker::new(expected, |receiver| mine(receiver) && !(has_slow && receiver == SLOW));
    (others, has_slow.then(|| FleetChecker::new(expected, |receiver| receiver == SLOW)))
}

impl Watch {
    pub(super) fn new(
        (checker, slow): (FleetChecker, Option<FleetChecker>),
        emitter_router: Vec<u8>,
        tag_sets: Vec<TagSet>,
    ) -> Self {
        let recorder = Recorder::new();
        Self { checker, slow, recorder, stalled: false, emitter_router, tag_sets, wrong_tags: 0 }
    }

    /// Starts over: numbers from 0.
    pub(super) fn reset(&mut self, (checker, slow): (FleetChecker, Option<FleetChecker>)) {
        (self.checker, self.slow) = (checker, slow);
        self.recorder.reset();
        self.wrong_tags = 0;
    }

    /// A stretch begins at `start_ns`.
    pub(super) fn begin(&mut self, stretch: &Stretch, start_ns: u64) {
        self.recorder.begin(stretch.measured, start_ns);
        self.stalled = stretch.stalled;
    }

    /// Time goes by.
    #[inline]
    pub(super) fn turn_slice(&mut self, now_ns: u64) {
        self.recorder.turn(now_ns);
    }

    /// Takes a delivery to a receiver that never stalls.
    pub(super) fn deliver(&mut self, receiver: u32, router: u8, payload: &[u8], now_ns: u64, tally: &Tally) {
        tally.delivered.add(1);
        let Some(stamp) = self.checker.deliver(receiver, payload) else { return };
        self.recorder.record(now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
        let crossed = self.emitter_router.get(stamp.emitter as usize) != Some(&router);
        tally.crossed.add(u64::from(crossed));
    }

    /// Takes a gap marker of a receiver that never stalls.
    pub(super) fn gap(&mut self, gap: &Gap, tally: &Tally) {
        self.checker.gap(gap);
        tally.gaps.add(1);
        tally.gap_events.add(gap.events);
    }

    /// The 99th percentile of latency in the half second that ended last, microseconds.
    pub(super) const fn last_p99_us(&self) -> u64 {
        self.recorder.last_p99_us()
    }

    /// Faults so far that a person should see at once.
    pub(super) fn faults(&self) -> u64 {
        let seen = self.checker.so_far();
        seen.duplicated + seen.reordered + seen.corrupted + seen.unexpected
    }

    /// What came of it, given how often each emitter has published.
    pub(super) fn judge(&mut self, published: &[u64]) -> Judged {
        let mut verdict = self.checker.verdict(published);
        verdict.corrupted += self.wrong_tags;
        let slow = self.slow.as_ref().map(|checker| SlowJudged {
            verdict: checker.verdict(published),
            overflowed: checker.gaps().get(&GapReason::Overflow).map_or(0, |count| count.events),
        });
        let (latency, slices) = self.recorder.result();
        let gaps: Gaps = self.checker.gaps().clone();
        Judged { verdict, latency, slices, gaps, slow, ..Judged::default() }
    }
}

/// One receiver.
#[derive(Debug)]
struct Receiver {
    number: u32,
    session: ReceiverSession,
    /// A tag set was defined that no run has used: the next run with it shows whether it is right.
    fresh: Vec<u64>,
}

/// A stream that the router opened.
#[derive(Debug)]
enum Stream {
    Preamble(PreambleReader),
    Receiver(usize),
}

/// The receiving half of one connection.
#[derive(Debug)]
pub(super) struct Receivers {
    receivers: Vec<Receiver>,
    streams: HashMap<StreamId, Stream, ahash::RandomState>,
    router: u8,
    config: ReceiverConfig,
    /// The receiver that stalls, and bytes that it has read and not let go.
    slow: Option<(usize, u64)>,
}

/// How a receiver is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) linger_us: u64,
    pub(super) window_bytes: u64,
    pub(super) queue_bytes: u64,
    /// It is the one that stalls.
    pub(super) slow: bool,
}

impl Receivers {
    pub(super) fn new(router: u8, config: ReceiverConfig) -> Self {
        Self { receivers: Vec::new(), streams: HashMap::default(), router, config, slow: None }
    }

    /// Opens a receiver and asks for its subscriptions.
    pub(super) fn open(
        &mut self,
        connection: &mut ConnectionSession,
        receiver: u32,
        opening: Opening,
        subscriptions: Vec<(u32, Vec<String>)>,
    ) {
        let Ok(number) = u32::try_from(self.receivers.len()) else { return };
        let session =
            ReceiverSession::new(ReceiverConfig { window_bytes: opening.window_bytes, ..self.config });
        if opening.slow {
            self.slow = Some((self.receivers.len(), 0));
        }
        connection.open_receiver(&OpenReceiver {
            receiver: ReceiverNumber(number),
            linger_us: opening.linger_us,
            grant: session.first_grant(),
            queue_bytes: opening.queue_bytes,
            ..OpenReceiver::default()
        });
        for (subscription, selectors) in subscriptions {
            connection.subscribe(ReceiverNumber(number), SubscriptionNumber(subscription), &selectors);
        }
        self.receivers.push(Receiver { number: receiver, session, fresh: Vec::new() });
    }

    /// The receiver that stalled takes what waits; its new grant, if it is here.
    pub(super) fn release(&mut self) -> Option<(ReceiverNumber, u64)> {
        let (index, held) = self.slow.as_mut()?;
        let session = &mut self.receivers.get_mut(*index)?.session;
        session.consumed(std::mem::take(held));
        Some((ReceiverNumber(u32::try_from(*index).ok()?), session.poll_grant()?))
    }

    /// The router opened a stream.
    pub(super) fn stream_opened(&mut self, stream: StreamId) {
        self.streams.insert(stream, Stream::Preamble(PreambleReader::new()));
    }

    /// Feeds bytes of a stream; grants follow at once, because checking is all that is done with them, but for the receiver
    /// that stalls.
    #[inline]
    pub(super) fn data(
        &mut self,
        stream: StreamId,
        mut chunk: &[u8],
        watch: &mut Watch,
        now_ns: u64,
        tally: &Tally,
    ) -> Result<Option<(ReceiverNumber, u64)>, SessionError> {
        let Some(state) = self.streams.get_mut(&stream) else { return Ok(None) };
        let index = match state {
            Stream::Receiver(index) => *index,
            Stream::Preamble(preamble) => {
                let Some((stream, taken)) = preamble.feed(chunk)? else { return Ok(None) };
                let StreamFor::Receiver(number) = stream else {
                    return Err(SessionError::Unexpected { frame: "a stream that was not asked for" });
                };
                let index = number.0 as usize;
                *state = Stream::Receiver(index);
                chunk = &chunk[taken..];
                index
            }
        };
        let Some(Receiver { number, session, fresh }) = self.receivers.get_mut(index) else {
            return Ok(None);
        };
        let watch_stalled = watch.stalled;
        let is_slow = self.slow.is_some_and(|(slow, _)| slow == index);
        let mut sink = Sink {
            receiver: *number,
            is_slow,
            router: self.router,
            fresh,
            watch,
            now_ns,
            tally,
            delivered: 0,
            crossed: 0,
        };
        session.data(chunk, &mut sink)?;
        tally.delivered.add(sink.delivered);
        tally.crossed.add(sink.crossed);
        if let Some((slow, held)) = &mut self.slow
            && *slow == index
            && watch_stalled
        {
            *held += chunk.len() as u64;
            return Ok(None);
        }
        session.consumed(chunk.len() as u64);
        let grant = session.poll_grant();
        Ok(grant.and_then(|bytes| Some((ReceiverNumber(u32::try_from(index).ok()?), bytes))))
    }
}

struct Sink<'a> {
    receiver: u32,
    is_slow: bool,
    router: u8,
    fresh: &'a mut Vec<u64>,
    watch: &'a mut Watch,
    now_ns: u64,
    tally: &'a Tally,
    delivered: u64,
    crossed: u64,
}

impl Sink<'_> {
    #[inline]
    fn checker(&mut self) -> &mut FleetChecker {
        match &mut self.watch.slow {
            Some(slow) if self.is_slow => slow,
            _ => &mut self.watch.checker,
        }
    }
}

impl DeliverySink for Sink<'_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let mut emitter = None;
        for event in run.events() {
            self.delivered += 1;
            let receiver = self.receiver;
            let Some(stamp) = self.checker().deliver(receiver, event.payload) else { continue };
            emitter = Some(stamp.emitter);
            if !self.is_slow {
                self.watch.recorder.record(self.now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
            }
            let crossed = self.watch.emitter_router.get(stamp.emitter as usize) != Some(&self.router);
            self.crossed += u64::from(crossed);
        }
        let (Some(emitter), Some(number)) = (emitter, run.tag_number) else { return };
        if !self.fresh.is_empty() && self.fresh.contains(&number) {
            self.fresh.retain(|&fresh| fresh != number);
            let right =
                self.watch.tag_sets.get(emitter as usize).is_some_and(|tags| tags.borrow() == run.tags);
            self.watch.wrong_tags += u64::from(!right);
        }
    }

    fn gap(&mut self, _: ReceiverNumber, gap: &Gap) {
        self.checker().gap(gap);
        self.tally.gaps.add(1);
        self.tally.gap_events.add(gap.events);
    }

    fn tags_defined(&mut self, number: u64, _: &TagSet) {
        self.fresh.push(number);
    }
}
