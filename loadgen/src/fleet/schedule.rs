//! The schedule of one thread's emitters: which event is due when, whatever the system does (open
//! loop).
//!
//! Emitters take turns, a run each. An event that could not be offered in time is offered as soon
//! as it can be, with the time at which it was due: latency counts from there.

use millrace_measure::figures::whole;
use std::time::{Duration, Instant};

use millrace_client::session::{PublishError, TagHandle};
use millrace_verify::payload::Stamp;
use millrace_verify::workload::{Words, Workload};

use super::clock::Epochs;
use super::latency::{LATENCY_MAX_US, Latency, empty_latency};
use super::order::Stretch;
use super::tally::Tally;

/// Events offered between two looks at the sockets: bounds how long a thread that fell behind is
/// deaf.
const EVENTS_PER_TURN_MAX: u64 = 8192;

/// One emitter.
#[derive(Debug, Clone, Copy)]
struct Emitter {
    number: u32,
    /// Its publisher, as an index into the thread's.
    publisher: u32,
    handle: TagHandle,
    next_n: u64,
}

/// A stretch as one thread follows it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    order: u64,
    start: Instant,
    interval_ns: f64,
    done: u64,
    events: u64,
    measured: bool,
}

impl Pace {
    /// Scheduled time of the thread's event with this index.
    fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_nanos(whole(index as f64 * self.interval_ns))
    }
}

/// An event that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct DueEvent<'a> {
    /// Its publisher, as an index into the thread's.
    pub(super) publisher: u32,
    pub(super) tags: TagHandle,
    pub(super) scheduled_ns: u64,
    pub(super) payload: &'a [u8],
}

/// The emitters of one thread, and their schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    emitters: Vec<Emitter>,
    next: usize,
    run: u64,
    events_per_run: u64,
    words: Words,
    payload: Vec<u8>,
    pace: Option<Pace>,
    share: f64,
    /// How long an event may wait for others after it is due, because its publisher lingers.
    patience: Duration,
    /// How late events of the measured part were offered, beyond that, microseconds.
    lag: Latency,
}

impl Schedule {
    /// `share` is this thread's part of all emitters; an event may wait for `patience` after it is
    /// due.
    pub(super) fn new(workload: &Workload, share: f64, patience: Duration) -> Self {
        Self {
            emitters: Vec::new(),
            next: 0,
            run: 0,
            events_per_run: u64::from(workload.events_per_run.max(1)),
            words: workload.words.clone(),
            payload: vec![0; workload.payload_bytes as usize],
            pace: None,
            share,
            patience,
            lag: empty_latency(),
        }
    }

    /// Adds an emitter, whose tags are registered with its publisher.
    pub(super) fn add(&mut self, number: u32, publisher: u32, handle: TagHandle) {
        self.emitters.push(Emitter { number, publisher, handle, next_n: 0 });
    }

    /// Follows a new stretch; the first thread settles what rounding leaves over.
    pub(super) fn begin(&mut self, order: u64, stretch: &Stretch, first: bool) {
        if stretch.reset {
            for emitter in &mut self.emitters {
                emitter.next_n = 0;
            }
            self.lag.reset();
        }
        let rate = (stretch.events_per_second * self.share).max(1e-3);
        let mut events = whole(stretch.events as f64 * self.share);
        if first && stretch.events > 0 {
            events += 1;
        }
        let events = if self.emitters.is_empty() { 0 } else { events };
        let interval_ns = 1e9 / rate;
        let (start, measured) = (stretch.start, stretch.measured);
        self.pace = Some(Pace { order, start, interval_ns, done: 0, events, measured });
    }

    /// Offers what is due; `publish` takes each event, or says why not. Whether it has to be called
    /// again at once.
    #[inline]
    pub(super) fn offer(
        &mut self,
        now: Instant,
        clock: Epochs,
        tally: &Tally,
        mut publish: impl FnMut(DueEvent<'_>) -> Result<(), PublishError>,
    ) -> bool {
        let Some(pace) = &mut self.pace else { return false };
        let elapsed_ns = now.saturating_duration_since(pace.start).as_nanos() as f64;
        // The first is due at the start.
        let due =
            if now < pace.start { 0 } else { (whole(elapsed_ns / pace.interval_ns) + 1).min(pace.events) };
        let limit = due.min(pace.done + EVENTS_PER_TURN_MAX);
        let before = pace.done;
        while pace.done < limit {
            let emitter = &mut self.emitters[self.next];
            let scheduled_ns = clock.ns(pace.due(pace.done));
            let stamp = Stamp { emitter: emitter.number, n: emitter.next_n, scheduled_ns };
            let text = self.words.text(emitter.number, emitter.next_n);
            if stamp.encode(text.as_bytes(), &mut self.payload).is_err() {
                break;
            }
            let (publisher, tags) = (emitter.publisher, emitter.handle);
            match publish(DueEvent { publisher, tags, scheduled_ns, payload: &self.payload }) {
                Ok(()) => {}
                Err(PublishError::WouldBlock) => {
                    tally.blocked.add(1);
                    break;
                }
                Err(_) => break,
            }
            emitter.next_n += 1;
            pace.done += 1;
            self.run += 1;
            if self.run == self.events_per_run {
                self.run = 0;
                self.next = (self.next + 1) % self.emitters.len();
            }
        }
        tally.published.add(pace.done - before);
        if pace.measured && pace.done > before {
            // The oldest one's, for all that were offered with it: never too small.
            let late = now.saturating_duration_since(pace.due(before) + self.patience).as_micros();
            let late_us = u64::try_from(late).unwrap_or(u64::MAX).min(LATENCY_MAX_US);
            // The bounds hold it.
            let _ = self.lag.record_n(late_us, pace.done - before);
        }
        tally.behind_ns.set(whole(due.saturating_sub(pace.done) as f64 * pace.interval_ns));
        let more = pace.done == limit && limit < due;
        if pace.done == pace.events {
            tally.published_order.set(pace.order);
            self.pace = None;
        }
        more
    }

    /// When the next event has to be offered at the latest, and when `events` of them are due:
    /// whichever is first.
    pub(super) fn deadline(&self, events: u64) -> Option<Instant> {
        let pace = self.pace.as_ref()?;
        let last = (pace.done + events - 1).min(pace.events.saturating_sub(1));
        Some((pace.due(pace.done) + self.patience).min(pace.due(last)))
    }

    /// How many events each emitter has published since the last reset.
    pub(super) fn published(&self) -> impl Iterator<Item = (u32, u64)> {
        self.emitters.iter().map(|emitter| (emitter.number, emitter.next_n))
    }

    /// How late events were offered since the last reset, beyond their time to wait for others.
    pub(super) const fn lag(&self) -> &Latency {
        &self.lag
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::session::{PublisherConfig, PublisherSession};
    use millrace_client::{Epoch, PublisherId, PublisherKey, TagSet};

    use super::*;

    /// A schedule of one emitter at a kilohertz, whose events may wait for `patience`.
    fn schedule(start: Instant, patience: Duration) -> Schedule {
        let workload = Workload::everything(1, 1);
        let mut schedule = Schedule::new(&workload, 1.0, patience);
        let stretch = Stretch {
            start,
            events: 1000,
            events_per_second: 1000.0,
            measured: true,
            reset: true,
            stalled: false,
        };
        let key = PublisherKey { publisher: PublisherId(1), epoch: Epoch(1) };
        let mut session = PublisherSession::new(PublisherConfig::new(key));
        schedule.add(0, 0, session.register(&TagSet::from_texts(["n=1"]).unwrap()).unwrap());
        schedule.begin(1, &stretch, false);
        schedule
    }

    fn offer(schedule: &mut Schedule, now: Instant) -> u64 {
        let mut offered = 0;
        schedule.offer(now, Epochs::now(), &Tally::default(), |_| {
            offered += 1;
            Ok(())
        });
        offered
    }

    #[test]
    fn the_deadline_is_the_patience_of_the_first_event_or_the_time_of_enough() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut patient = schedule(start, Duration::from_millis(5));
        assert_eq!(patient.deadline(100), Some(at(5)));
        assert_eq!(patient.deadline(3), Some(at(2)), "the third event is enough");
        assert_eq!(offer(&mut patient, at(5)), 6);
        assert_eq!(patient.deadline(100), Some(at(11)));
        assert_eq!(schedule(start, Duration::ZERO).deadline(100), Some(at(0)));
    }

    #[test]
    fn lateness_counts_from_the_end_of_the_patience() {
        let start = Instant::now();
        let mut patient = schedule(start, Duration::from_millis(5));
        offer(&mut patient, start + Duration::from_millis(5));
        assert_eq!(patient.lag().max(), 0);
        offer(&mut patient, start + Duration::from_millis(31));
        assert!((20_000..20_200).contains(&patient.lag().max()), "{}", patient.lag().max());
    }
}
