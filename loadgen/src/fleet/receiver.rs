//! Receiving: streams of a connection's receivers, checked and timed as they are read.

use std::collections::HashMap;

use millrace_client::session::{
    ConnectionSession, DeliveredRun, DeliveriesSession, DeliverySink, PreambleReader, ReceiverConfig,
    ReceiverSession, SessionError, StreamFor,
};
use millrace_proto::control::OpenReceiver;
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, SubscriptionNumber, TagSet};
use millrace_quic::StreamId;
use millrace_verify::checker::FleetChecker;

use super::opening::Opening;
use super::tally::Tally;
use super::watch::Watch;

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
    /// Of all receivers.
    All,
}

/// The receiving half of one connection.
#[derive(Debug)]
pub(super) struct Receivers {
    receivers: Vec<Receiver>,
    streams: HashMap<StreamId, Stream, ahash::RandomState>,
    /// Reads the stream of all receivers, where the router has it.
    shared: DeliveriesSession,
    /// As [`Receiver::fresh`], on the stream of all receivers.
    shared_fresh: Vec<u64>,
    /// Bytes of run bodies that each receiver took from one chunk of it; empty between chunks.
    taken: Vec<(ReceiverNumber, u64)>,
    router: u8,
    config: ReceiverConfig,
    /// The receiver that stalls, and bytes that it has read and not let go.
    slow: Option<(usize, u64)>,
}

impl Receivers {
    pub(super) fn new(router: u8, config: ReceiverConfig) -> Self {
        Self {
            receivers: Vec::new(),
            streams: HashMap::default(),
            shared: DeliveriesSession::new(config.tables),
            shared_fresh: Vec::new(),
            taken: Vec::new(),
            router,
            config,
            slow: None,
        }
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
        // Which of the two counts its grant shows when the router opens streams; both begin alike.
        if self.shared.open(ReceiverNumber(number), opening.window_bytes, 0).is_err() {
            return;
        }
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
        let (number, held) = (ReceiverNumber(u32::try_from(*index).ok()?), std::mem::take(held));
        if self.streams.values().any(|stream| matches!(stream, Stream::All)) {
            self.shared.consumed(number, held);
            return self.shared.poll_grant();
        }
        let session = &mut self.receivers.get_mut(*index)?.session;
        session.consumed(held);
        Some((number, session.poll_grant()?))
    }

    /// The router opened a stream.
    pub(super) fn stream_opened(&mut self, stream: StreamId) {
        self.streams.insert(stream, Stream::Preamble(PreambleReader::new()));
    }

    /// Feeds bytes of a stream; `granted` is told grants at once, because checking is all that is
    /// done with them, but for the receiver that stalls.
    #[inline]
    pub(super) fn data(
        &mut self,
        stream: StreamId,
        mut chunk: &[u8],
        watch: &mut Watch,
        now_ns: u64,
        tally: &Tally,
        mut granted: impl FnMut(ReceiverNumber, u64),
    ) -> Result<(), SessionError> {
        let Some(state) = self.streams.get_mut(&stream) else { return Ok(()) };
        if let Stream::Preamble(preamble) = state {
            let Some((stream, taken)) = preamble.feed(chunk)? else { return Ok(()) };
            *state = match stream {
                StreamFor::Receiver(number) => Stream::Receiver(number.0 as usize),
                _ => Stream::All,
            };
            chunk = &chunk[taken..];
        }
        let index = match state {
            Stream::Receiver(index) => *index,
            _ => return self.shared_data(chunk, watch, now_ns, tally, granted),
        };
        let Some(Receiver { number, session, fresh }) = self.receivers.get_mut(index) else {
            return Ok(());
        };
        let watch_stalled = watch.stalled;
        let is_slow = self.slow.is_some_and(|(slow, _)| slow == index);
        let mut check = Check { router: self.router, watch, now_ns, tally, delivered: 0, crossed: 0 };
        session.data(chunk, &mut Sink { receiver: *number, is_slow, fresh, check: &mut check })?;
        check.count();
        if let Some((slow, held)) = &mut self.slow
            && *slow == index
            && watch_stalled
        {
            *held += chunk.len() as u64;
            return Ok(());
        }
        session.consumed(chunk.len() as u64);
        if let (Some(bytes), Ok(number)) = (session.poll_grant(), u32::try_from(index)) {
            granted(ReceiverNumber(number), bytes);
        }
        Ok(())
    }

    /// Feeds bytes of the stream of all receivers.
    fn shared_data(
        &mut self,
        chunk: &[u8],
        watch: &mut Watch,
        now_ns: u64,
        tally: &Tally,
        mut granted: impl FnMut(ReceiverNumber, u64),
    ) -> Result<(), SessionError> {
        let Self { receivers, shared, shared_fresh: fresh, taken, router, slow, .. } = self;
        let stalled = watch.stalled;
        let slow_index = slow.map(|(index, _)| index);
        let mut check = Check { router: *router, watch, now_ns, tally, delivered: 0, crossed: 0 };
        shared
            .data(chunk, &mut SharedSink { receivers, slow: slow_index, fresh, taken, check: &mut check })?;
        check.count();
        for (number, bytes) in taken.drain(..) {
            match slow {
                Some((index, held)) if stalled && *index == number.0 as usize => *held += bytes,
                _ => shared.consumed(number, bytes),
            }
        }
        while let Some((receiver, bytes)) = shared.poll_grant() {
            granted(receiver, bytes);
        }
        Ok(())
    }
}

/// What is checked and counted of what one chunk holds.
struct Check<'a> {
    router: u8,
    watch: &'a mut Watch,
    now_ns: u64,
    tally: &'a Tally,
    delivered: u64,
    crossed: u64,
}

impl Check<'_> {
    #[inline]
    fn checker(&mut self, is_slow: bool) -> &mut FleetChecker {
        match &mut self.watch.slow {
            Some(slow) if is_slow => slow,
            _ => &mut self.watch.checker,
        }
    }

    #[inline]
    fn run(&mut self, receiver: u32, is_slow: bool, run: &DeliveredRun<'_>, fresh: &mut Vec<u64>) {
        let mut emitter = None;
        for event in run.events() {
            self.delivered += 1;
            let Some(stamp) = self.checker(is_slow).deliver(receiver, event.payload) else { continue };
            emitter = Some(stamp.emitter);
            if !is_slow {
                self.watch.recorder.record(self.now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
            }
            let crossed = self.watch.emitter_router.get(stamp.emitter as usize) != Some(&self.router);
            self.crossed += u64::from(crossed);
        }
        let (Some(emitter), Some(number)) = (emitter, run.tag_number) else { return };
        if !fresh.is_empty() && fresh.contains(&number) {
            fresh.retain(|&fresh| fresh != number);
            let right =
                self.watch.tag_sets.get(emitter as usize).is_some_and(|tags| tags.borrow() == run.tags);
            self.watch.wrong_tags += u64::from(!right);
        }
    }

    fn gap(&mut self, is_slow: bool, gap: &Gap) {
        self.checker(is_slow).gap(gap);
        self.tally.gaps.add(1);
        self.tally.gap_events.add(gap.events);
    }

    fn count(&self) {
        self.tally.delivered.add(self.delivered);
        self.tally.crossed.add(self.crossed);
    }
}

/// One receiver's stream.
struct Sink<'a, 'w> {
    receiver: u32,
    is_slow: bool,
    fresh: &'a mut Vec<u64>,
    check: &'a mut Check<'w>,
}

impl DeliverySink for Sink<'_, '_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        self.check.run(self.receiver, self.is_slow, run, self.fresh);
    }

    fn gap(&mut self, _: ReceiverNumber, gap: &Gap) {
        self.check.gap(self.is_slow, gap);
    }

    fn tags_defined(&mut self, _: StreamFor, number: u64, _: &TagSet) {
        self.fresh.push(number);
    }
}

/// The stream of all receivers.
struct SharedSink<'a, 'w> {
    receivers: &'a [Receiver],
    slow: Option<usize>,
    fresh: &'a mut Vec<u64>,
    taken: &'a mut Vec<(ReceiverNumber, u64)>,
    check: &'a mut Check<'w>,
}

impl DeliverySink for SharedSink<'_, '_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let index = run.receiver.0 as usize;
        let Some(receiver) = self.receivers.get(index) else { return };
        self.check.run(receiver.number, self.slow == Some(index), run, self.fresh);
        self.taken.push((run.receiver, run.bytes() as u64));
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        self.check.gap(self.slow == Some(receiver.0 as usize), gap);
    }

    fn tags_defined(&mut self, _: StreamFor, number: u64, _: &TagSet) {
        self.fresh.push(number);
    }
}
