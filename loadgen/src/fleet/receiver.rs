//! Receiving: what the receivers of a connection get, checked and timed as it is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use millrace_attach::ClientConnection;
use millrace_client::session::{DeliveredRun, DeliverySink, StreamFor};
use millrace_proto::control::OpenReceiver;
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, SubscriptionNumber, TagSet};
use millrace_verify::checker::FleetChecker;

use super::opening::Opening;
use super::tally::Tally;
use super::watch::Watch;

/// The receivers of one connection.
#[derive(Debug)]
pub(super) struct Receivers {
    /// In the workload, by their numbers on the connection. Alone, because each delivery looks
    /// here.
    numbers: Vec<u32>,
    /// Tag sets that were defined on the stream of all receivers and that no run has used: the next
    /// run with one shows whether it is right.
    shared_fresh: Vec<u64>,
    /// The same on each receiver's own stream, by its number on the connection, if there are any.
    fresh: HashMap<u32, Vec<u64>, ahash::RandomState>,
    router: u8,
    /// How many of them, the first ones, stall where the scenario says so.
    slow: u32,
}

impl Receivers {
    pub(super) fn new(router: u8) -> Self {
        Self { numbers: Vec::new(), shared_fresh: Vec::new(), fresh: HashMap::default(), router, slow: 0 }
    }

    /// Opens a receiver and asks for its subscriptions.
    pub(super) fn open(
        &mut self,
        connection: &mut ClientConnection,
        receiver: u32,
        opening: Opening,
        subscriptions: Vec<(u32, Vec<String>)>,
    ) {
        let Ok(number) = u32::try_from(self.numbers.len()).map(ReceiverNumber) else { return };
        let request = OpenReceiver {
            receiver: number,
            linger_us: opening.linger_us,
            queue_bytes: opening.queue_bytes,
            ..OpenReceiver::default()
        };
        if connection.open_receiver(request, opening.window_bytes).is_err() {
            return;
        }
        self.slow += u32::from(opening.slow);
        for (subscription, selectors) in subscriptions {
            connection.subscribe(number, SubscriptionNumber(subscription), &selectors);
        }
        self.numbers.push(receiver);
    }

    /// The receivers that stall, if they are here.
    pub(super) fn slow(&self) -> impl Iterator<Item = ReceiverNumber> + use<> {
        (0..self.slow).map(ReceiverNumber)
    }

    /// Takes and checks what is read `now_ns`.
    pub(super) const fn reading<'a>(
        &'a mut self,
        watch: &'a mut Watch,
        now_ns: u64,
        tally: &'a Tally,
    ) -> Reading<'a> {
        Reading { receivers: self, watch, now_ns, tally, delivered: 0, crossed: 0 }
    }
}

/// One read of a delivery stream.
pub(super) struct Reading<'a> {
    receivers: &'a mut Receivers,
    watch: &'a mut Watch,
    now_ns: u64,
    tally: &'a Tally,
    delivered: u64,
    crossed: u64,
}

impl Reading<'_> {
    #[inline]
    fn checker(&mut self, is_slow: bool) -> &mut FleetChecker {
        match &mut self.watch.slow {
            Some(slow) if is_slow => slow,
            _ => &mut self.watch.checker,
        }
    }

    /// Counts what was read.
    pub(super) fn count(&self) {
        self.tally.delivered.add(self.delivered);
        self.tally.crossed.add(self.crossed);
    }
}

impl DeliverySink for Reading<'_> {
    #[inline]
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let Some(&number) = self.receivers.numbers.get(run.receiver.0 as usize) else { return };
        let is_slow = run.receiver.0 < self.receivers.slow;
        let mut emitter = None;
        for event in run.events() {
            self.delivered += 1;
            let Some(stamp) = self.checker(is_slow).deliver(number, event.payload) else { continue };
            emitter = Some(stamp.emitter);
            if !is_slow {
                self.watch.recorder.record(self.now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
            }
            let router = self.watch.emitter_router.get(stamp.emitter as usize);
            self.crossed += u64::from(router != Some(&self.receivers.router));
        }
        let (Some(emitter), Some(number)) = (emitter, run.tag_number) else { return };
        let Receivers { shared_fresh, fresh, .. } = &mut *self.receivers;
        // A connection has streams of one kind: numbers stand in one of the two lists.
        if shared_fresh.is_empty() && fresh.is_empty() {
            return;
        }
        let is_used = take_fresh(shared_fresh, number)
            | match fresh.entry(run.receiver.0) {
                Entry::Vacant(_) => false,
                Entry::Occupied(mut own) => {
                    let is_used = take_fresh(own.get_mut(), number);
                    if own.get().is_empty() {
                        own.remove();
                    }
                    is_used
                }
            };
        if is_used {
            let set = self.watch.tag_sets.get(emitter as usize);
            let is_right = set.is_some_and(|tags| tags.borrow() == run.tags);
            self.watch.wrong_tags += u64::from(!is_right);
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        let is_slow = receiver.0 < self.receivers.slow;
        self.checker(is_slow).gap(gap);
        self.tally.gaps.add(1);
        self.tally.gap_events.add(gap.events);
    }

    fn tags_defined(&mut self, stream: StreamFor, number: u64, _: &TagSet) {
        let Receivers { numbers, shared_fresh, fresh, .. } = &mut *self.receivers;
        match stream {
            StreamFor::All => shared_fresh.push(number),
            StreamFor::Receiver(ReceiverNumber(receiver)) => {
                if (receiver as usize) < numbers.len() {
                    fresh.entry(receiver).or_default().push(number);
                }
            }
        }
    }
}

/// Takes a number off a list; whether it stood there.
fn take_fresh(fresh: &mut Vec<u64>, number: u64) -> bool {
    let before = fresh.len();
    fresh.retain(|&other| other != number);
    fresh.len() < before
}

/// What a connection without receivers gets.
pub(super) struct Nothing;

impl DeliverySink for Nothing {
    fn run(&mut self, _: &DeliveredRun<'_>) {}

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {}
}
