//! Receiving: streams of a connection's receivers, checked and timed as they are read.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use millrace_client::session::{
    ConnectionSession, DeliveredRun, DeliverySink, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError,
};
use millrace_proto::control::OpenReceiver;
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, SubscriptionNumber, TagSet};
use millrace_quic::StreamId;
use millrace_verify::checker::{FleetChecker, Verdict};
use millrace_verify::oracle::Expected;

use super::tally::Tally;

/// Latency from the scheduled time to the application, microseconds, three digits.
pub type Latency = Histogram<u64>;

/// An empty histogram up to one minute.
pub(super) fn empty_latency() -> Latency {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound")
}

/// What a thread's receivers share.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) checker: FleetChecker,
    pub(super) latency: Latency,
    pub(super) measured: bool,
    /// Router of each emitter and of each receiver, for counting what crossed the mesh.
    pub(super) emitter_router: Vec<u8>,
    tag_sets: Vec<TagSet>,
    wrong_tags: u64,
}

impl Watch {
    pub(super) fn new(
        expected: &Expected,
        mine: impl Fn(u32) -> bool,
        emitter_router: Vec<u8>,
        tag_sets: Vec<TagSet>,
    ) -> Self {
        Self {
            checker: FleetChecker::new(expected, mine),
            latency: empty_latency(),
            measured: false,
            emitter_router,
            tag_sets,
            wrong_tags: 0,
        }
    }

    /// Starts over: numbers from 0.
    pub(super) fn reset(&mut self, expected: &Expected, mine: impl Fn(u32) -> bool) {
        self.checker = FleetChecker::new(expected, mine);
        self.latency.reset();
        self.wrong_tags = 0;
    }

    /// The verdict, given how often each emitter has published.
    pub(super) fn verdict(&self, published: &[u64]) -> Verdict {
        let mut verdict = self.checker.verdict(published);
        verdict.corrupted += self.wrong_tags;
        verdict
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
}

impl Receivers {
    pub(super) fn new(router: u8, config: ReceiverConfig) -> Self {
        Self { receivers: Vec::new(), streams: HashMap::default(), router, config }
    }

    /// Opens a receiver and asks for its subscriptions; returns how many they are.
    pub(super) fn open(
        &mut self,
        connection: &mut ConnectionSession,
        receiver: u32,
        linger_us: u64,
        subscriptions: Vec<(u32, Vec<String>)>,
    ) -> u64 {
        let Ok(number) = u32::try_from(self.receivers.len()) else { return 0 };
        let session = ReceiverSession::new(self.config);
        connection.open_receiver(&OpenReceiver {
            receiver: ReceiverNumber(number),
            linger_us,
            grant: session.first_grant(),
            queue_bytes: 4 << 20,
            ..OpenReceiver::default()
        });
        let count = subscriptions.len() as u64;
        for (subscription, selectors) in subscriptions {
            connection.subscribe(ReceiverNumber(number), SubscriptionNumber(subscription), &selectors);
        }
        self.receivers.push(Receiver { number: receiver, session, fresh: Vec::new() });
        count
    }

    /// The router opened a stream.
    pub(super) fn stream_opened(&mut self, stream: StreamId) {
        self.streams.insert(stream, Stream::Preamble(PreambleReader::new()));
    }

    /// Feeds bytes of a stream; grants follow at once, because checking is all that is done with them.
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
                let Some((number, taken)) = preamble.feed(chunk)? else { return Ok(None) };
                let index = number.0 as usize;
                *state = Stream::Receiver(index);
                chunk = &chunk[taken..];
                index
            }
        };
        let Some(Receiver { number, session, fresh }) = self.receivers.get_mut(index) else {
            return Ok(None);
        };
        let mut sink = Sink {
            receiver: *number,
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
        session.consumed(chunk.len() as u64);
        let grant = session.poll_grant();
        Ok(grant.and_then(|bytes| Some((ReceiverNumber(u32::try_from(index).ok()?), bytes))))
    }
}

struct Sink<'a> {
    receiver: u32,
    router: u8,
    fresh: &'a mut Vec<u64>,
    watch: &'a mut Watch,
    now_ns: u64,
    tally: &'a Tally,
    delivered: u64,
    crossed: u64,
}

impl DeliverySink for Sink<'_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let mut emitter = None;
        for event in run.events() {
            self.delivered += 1;
            let Some(stamp) = self.watch.checker.deliver(self.receiver, event.payload) else { continue };
            emitter = Some(stamp.emitter);
            if self.watch.measured {
                let latency_us = self.now_ns.saturating_sub(stamp.scheduled_ns) / 1000;
                self.watch.latency.saturating_record(latency_us);
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

    fn gap(&mut self, gap: &Gap) {
        self.watch.checker.gap(gap);
        self.tally.gaps.add(1);
        self.tally.gap_events.add(gap.events);
    }

    fn tags_defined(&mut self, number: u64, _: &TagSet) {
        self.fresh.push(number);
    }
}
