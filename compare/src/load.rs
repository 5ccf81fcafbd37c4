//! The load that every system gets: which event comes next, how many may be under way, and whether
//! what arrives is right.
//!
//! A *saturating* stretch is closed by a window: publishers go on while fewer than so many events
//! are under way to the slowest receiver. A stretch *at a rate* is open: events are due by a
//! schedule, and latency counts from their scheduled time. Payloads
//! name their event and carry a checksum. What else is checked follows from the [`Pattern`]: where
//! every receiver gets every event, numbers have no holes and no repetitions per receiver and
//! emitter, because every transport compared here keeps its order; where an event goes to one of
//! several, or comes back to who asked, each number comes once, in any order.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millrace_verify::payload::Stamp;

use millrace_measure::figures::whole;

use crate::once::Once;

/// A closed load is topped up when this part of the window is free: publishers write batches, not
/// events.
const TOP_UP: u64 = 8;

/// Who gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Pattern {
    /// Every receiver.
    #[default]
    Everyone,
    /// One of the receivers, which share the work.
    Group,
    /// Receivers answer with the payload, and who published gets it back.
    Request,
}

/// Who sends how much to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Connections that publish.
    pub publishers: u32,
    /// Connections that receive.
    pub receivers: u32,
    /// Who of them gets an event.
    #[serde(default)]
    pub pattern: Pattern,
    /// Tag sets, subjects, or what a system calls them; dealt out to the publishers.
    pub emitters: u32,
    /// Events that one emitter publishes in a row.
    pub events_per_run: u32,
    /// Bytes of each payload, at least 28.
    pub payload_bytes: u32,
    /// Events under way at most, while the load is closed.
    pub window: u64,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    Idle,
    Closed { until: Instant },
    Open { start: Instant, start_ns: u64, interval_ns: f64, until: Instant, done: u64 },
}

/// What was wrong with deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Faults {
    /// Events that were skipped.
    pub skipped: u64,
    /// Events that came again, or late.
    pub repeated: u64,
    /// Payloads that are not what was published.
    pub corrupted: u64,
}

/// One load, with its checker.
#[derive(Debug)]
pub struct Load {
    shape: Shape,
    base: Instant,
    base_ns: u64,
    /// Text and filler stay, each event puts its stamp on it.
    payload: Vec<u8>,
    /// A moment, and its nanoseconds since 1970: events that are published together share both.
    looked_at: (Instant, u64),
    /// Number of each emitter's next event.
    next_n: Vec<u64>,
    emitter: usize,
    in_run: u32,
    published: u64,
    pace: Pace,
    /// Deliveries of each receiver.
    delivered: Vec<u64>,
    /// What each receiver had not got when the stretch began, and never will.
    missing: Vec<u64>,
    /// The next number expected, by receiver and emitter.
    expected: Vec<u64>,
    /// What has come of each emitter, where events do not come to everyone.
    once: Vec<Once>,
    faults: Faults,
    latency: Histogram<u64>,
}

impl Load {
    /// A load that has not begun.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let (base, base_ns) = (Instant::now(), u64::try_from(since.as_nanos()).unwrap_or(0));
        let mut payload = vec![0; shape.payload_bytes as usize];
        // The size of payloads was checked before.
        let _ = Stamp { emitter: 0, n: 0, scheduled_ns: 0 }.encode(b"", &mut payload);
        let (emitters, receivers) = (shape.emitters.max(1) as usize, shape.receivers.max(1) as usize);
        Self {
            shape,
            base,
            base_ns,
            payload,
            looked_at: (base, base_ns),
            next_n: vec![0; emitters],
            emitter: 0,
            in_run: 0,
            published: 0,
            pace: Pace::Idle,
            delivered: vec![0; receivers],
            missing: vec![0; receivers],
            expected: vec![0; receivers * emitters],
            once: vec![Once::default(); emitters],
            faults: Faults::default(),
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound"),
        }
    }

    /// Its shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The publisher that an emitter belongs to.
    #[must_use]
    pub const fn publisher_of(&self, emitter: usize) -> usize {
        emitter % self.shape.publishers as usize
    }

    /// Begins a stretch of this length; with `rate`, events per second, it is open.
    pub fn begin(&mut self, rate: Option<f64>, length: Duration) {
        let start = Instant::now();
        let until = start + length;
        let all = self.delivered();
        for (missing, delivered) in self.missing.iter_mut().zip(&self.delivered) {
            let delivered = if self.shape.pattern == Pattern::Everyone { *delivered } else { all };
            *missing = self.published - delivered;
        }
        self.latency.reset();
        self.pace = rate.map_or(Pace::Closed { until }, |rate| Pace::Open {
            start,
            start_ns: self.ns(start),
            interval_ns: 1e9 / rate.max(1.0),
            until,
            done: 0,
        });
    }

    /// Publishes no more.
    pub fn end(&mut self) {
        self.pace = Pace::Idle;
    }

    /// Events that may be published at this moment.
    #[must_use]
    pub fn budget(&self, now: Instant) -> u64 {
        match self.pace {
            Pace::Idle => 0,
            Pace::Closed { until } if now >= until => 0,
            Pace::Closed { .. } => {
                let free = self.shape.window.saturating_sub(self.under_way());
                if free < (self.shape.window / TOP_UP).max(1) { 0 } else { free }
            }
            Pace::Open { start, interval_ns, until, done, .. } => {
                let due = now.min(until).saturating_duration_since(start).as_nanos() as f64 / interval_ns;
                whole(due).saturating_sub(done)
            }
        }
    }

    /// Whether events are due by a schedule.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }

    /// Events that the slowest receiver has yet to get.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        let settled = match self.shape.pattern {
            Pattern::Everyone => {
                let each = self.delivered.iter().zip(&self.missing);
                each.map(|(delivered, missing)| delivered + missing).min()
            }
            Pattern::Group | Pattern::Request => {
                self.missing.first().map(|missing| self.delivered() + missing)
            }
        };
        self.published.saturating_sub(settled.unwrap_or(0))
    }

    /// Writes the next event: its emitter, its time in nanoseconds since 1970, its payload. It
    /// counts once [`Load::taken`].
    #[inline]
    pub fn next(&mut self, now: Instant) -> (usize, u64, &[u8]) {
        let scheduled_ns = match self.pace {
            Pace::Open { start_ns, interval_ns, done, .. } => start_ns + whole(done as f64 * interval_ns),
            Pace::Idle | Pace::Closed { .. } => {
                if self.looked_at.0 != now {
                    self.looked_at = (now, self.ns(now));
                }
                self.looked_at.1
            }
        };
        let emitter = u32::try_from(self.emitter).unwrap_or(u32::MAX);
        let stamp = Stamp { emitter, n: self.next_n[self.emitter], scheduled_ns };
        let _ = stamp.stamp_again(&mut self.payload);
        (self.emitter, scheduled_ns, &self.payload)
    }

    /// The payload that [`Load::next`] wrote last.
    #[inline]
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.payload
    }

    /// The event written last was taken by the system.
    #[inline]
    pub fn taken(&mut self) {
        self.next_n[self.emitter] += 1;
        self.published += 1;
        if let Pace::Open { done, .. } = &mut self.pace {
            *done += 1;
        }
        self.in_run += 1;
        if self.in_run >= self.shape.events_per_run {
            self.in_run = 0;
            self.emitter = (self.emitter + 1) % self.next_n.len();
        }
    }

    /// Checks one delivery, or one answer: then `receiver` is 0.
    #[inline]
    pub fn deliver(&mut self, receiver: usize, payload: &[u8], now_ns: u64) {
        let Ok(stamp) = Stamp::decode(payload) else {
            self.faults.corrupted += 1;
            return;
        };
        let emitter = stamp.emitter as usize;
        if self.next_n.get(emitter).is_none_or(|&next| stamp.n >= next) {
            self.faults.corrupted += 1;
            return;
        }
        let is_new = match self.shape.pattern {
            Pattern::Everyone => {
                let expected = &mut self.expected[receiver * self.next_n.len() + emitter];
                let is_new = stamp.n >= *expected;
                if is_new {
                    self.faults.skipped += stamp.n - *expected;
                    *expected = stamp.n + 1;
                }
                is_new
            }
            Pattern::Group | Pattern::Request => self.once[emitter].take(stamp.n),
        };
        if !is_new {
            self.faults.repeated += 1;
            return;
        }
        self.delivered[receiver] += 1;
        if matches!(self.pace, Pace::Open { .. }) {
            self.latency.saturating_record(now_ns.saturating_sub(stamp.scheduled_ns) / 1000);
        }
    }

    /// Nanoseconds since 1970 at a moment.
    #[inline]
    #[must_use]
    pub fn ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_nanos();
        self.base_ns + u64::try_from(since).unwrap_or(0)
    }

    /// Events published so far.
    #[must_use]
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Deliveries so far, over all receivers.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.iter().sum()
    }

    /// Deliveries that have not happened, of all that were published so far.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        match self.shape.pattern {
            Pattern::Everyone => self.delivered.iter().map(|delivered| self.published - delivered).sum(),
            Pattern::Group | Pattern::Request => self.published - self.delivered(),
        }
    }

    /// What was wrong so far.
    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// Scheduled time to receipt of the open stretch, microseconds.
    #[must_use]
    pub const fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        publishers: 2,
        receivers: 2,
        pattern: Pattern::Everyone,
        emitters: 4,
        events_per_run: 3,
        payload_bytes: 64,
        window: 16,
    };

    fn publish(load: &mut Load) -> Vec<u8> {
        let payload = load.next(Instant::now()).2.to_vec();
        load.taken();
        payload
    }

    #[test]
    fn a_closed_load_stops_at_its_window_until_the_slowest_receiver_has_caught_up() {
        let mut load = Load::new(SHAPE);
        load.begin(None, Duration::from_secs(3600));
        assert_eq!(load.budget(Instant::now()), 16);
        let payloads: Vec<_> = (0..16).map(|_| publish(&mut load)).collect();
        assert_eq!(load.budget(Instant::now()), 0);
        payloads.iter().for_each(|payload| load.deliver(0, payload, 0));
        assert_eq!(load.budget(Instant::now()), 0, "receiver 1 has nothing");
        payloads.iter().for_each(|payload| load.deliver(1, payload, 0));
        assert_eq!(load.budget(Instant::now()), 16);
        assert_eq!((load.undelivered(), load.faults()), (0, Faults::default()));
    }

    #[test]
    fn holes_repetitions_and_damage_are_told_apart() {
        let mut load = Load::new(Shape { receivers: 1, emitters: 1, ..SHAPE });
        load.begin(None, Duration::from_secs(3600));
        let payloads: Vec<_> = (0..4).map(|_| publish(&mut load)).collect();
        load.deliver(0, &payloads[0], 0);
        load.deliver(0, &payloads[3], 0);
        load.deliver(0, &payloads[3], 0);
        load.deliver(0, &payloads[3][..40], 0);
        assert_eq!(load.faults(), Faults { skipped: 2, repeated: 1, corrupted: 1 });
        assert_eq!(load.undelivered(), 2);
    }

    #[test]
    fn an_event_of_a_group_is_for_one_receiver_in_any_order() {
        let mut load = Load::new(Shape { pattern: Pattern::Group, emitters: 1, ..SHAPE });
        load.begin(None, Duration::from_secs(3600));
        let payloads: Vec<_> = (0..16).map(|_| publish(&mut load)).collect();
        for (number, payload) in payloads.iter().enumerate().rev().skip(1) {
            load.deliver(number % 2, payload, 0);
        }
        assert_eq!((load.under_way(), load.undelivered(), load.faults()), (1, 1, Faults::default()));
        load.deliver(0, &payloads[3], 0);
        assert_eq!((load.undelivered(), load.faults().repeated), (1, 1), "another member had it");
        load.begin(None, Duration::from_secs(3600));
        assert_eq!((load.under_way(), load.budget(Instant::now())), (0, 16), "what is lost does not hold up");
        load.deliver(1, &payloads[15], 0);
        assert_eq!(load.undelivered(), 0);
    }

    #[test]
    fn what_nobody_has_published_is_no_event() {
        for pattern in [Pattern::Everyone, Pattern::Group, Pattern::Request] {
            let shape = Shape { pattern, emitters: 1, ..SHAPE };
            let (mut theirs, mut load) = (Load::new(shape), Load::new(shape));
            load.deliver(0, &publish(&mut theirs), 0);
            assert_eq!((load.faults().corrupted, load.delivered()), (1, 0), "{pattern:?}");
        }
    }

    #[test]
    fn an_open_load_is_due_by_its_schedule_whatever_has_arrived() {
        let mut load = Load::new(SHAPE);
        load.begin(Some(1000.0), Duration::from_secs(2));
        let begun = Instant::now();
        let due = load.budget(begun + Duration::from_secs(1));
        assert!((990..=1001).contains(&due), "{due}");
        assert!(load.budget(begun + Duration::from_secs(60)) <= 2000, "the stretch has an end");
    }
}
