//! Writes a run once for all receivers that share a stream and can take it at once.
//!
//! Targets are sorted by receiver, and the receivers of one connection mostly stand together: while
//! they do, their numbers are gathered in one buffer. Where receivers of several connections stand
//! between each other, because they were opened in turns, what has been gathered for one stream is
//! set aside when a receiver of another one comes, and taken up again when it is that stream's
//! turn. So a run costs a frame for each stream, however receivers stand. A receiver that cannot
//! take the run at once queues it for itself.

use std::time::Duration;

use millrace_proto::limits::TARGETS_BYTES_MAX;

use super::fate::{Copied, Fates};
use super::leg::{Leg, put_target, queue};
use crate::core::delivery::{Deliveries, Delivery};
use crate::core::run::{Fate, RunOut};
use crate::core::slot::DeliverySlot;
use crate::matching::LocalTarget;

/// Bytes of targets with which a frame is written: the largest target takes less than a quarter of
/// a frame's limit.
const GATHERED_BYTES_MAX: usize = TARGETS_BYTES_MAX / 4 * 3;
/// Bytes of targets for which memory is kept between runs, for each stream that was set aside.
const KEPT_BYTES_MAX: usize = 256;

/// Memory for the targets of one run, which the next one uses again.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Of the stream whose receivers are being gathered.
    bytes: Vec<u8>,
    /// Streams that were set aside, each once; only the first `used` are this run's.
    aside: Vec<Aside>,
    used: usize,
}

/// A stream whose receivers are gathered further when the next one of them comes.
#[derive(Debug, Default)]
struct Aside {
    at: DeliverySlot,
    gathered: Gathered,
    bytes: Vec<u8>,
}

/// Receivers of a run that share one stream and can take the run at once.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    at: Option<DeliverySlot>,
    /// Whether the stream takes the run.
    takes: bool,
    receivers: u64,
    /// The shortest linger among them.
    linger: Duration,
}

impl Gathered {
    fn begin(at: DeliverySlot, deliveries: &Deliveries) -> Self {
        let takes = deliveries.get(at).is_some_and(Delivery::takes);
        Self { at: Some(at), takes, receivers: 0, linger: Duration::MAX }
    }

    /// Turns to the stream of the next receiver.
    #[inline]
    pub(super) fn turn_to(
        &mut self,
        at: DeliverySlot,
        deliveries: &mut Deliveries,
        targets: &mut Targets,
        run: &RunOut<'_>,
    ) {
        if self.at == Some(at) && targets.bytes.len() < GATHERED_BYTES_MAX {
            return;
        }
        if let Some(before) = self.at {
            return self.turn_from(before, at, deliveries, targets, run);
        }
        targets.bytes.clear();
        *self = Self::begin(at, deliveries);
    }

    /// Writes the run where one frame has all the targets that it may have, and otherwise sets the
    /// stream aside for another one.
    #[cold]
    fn turn_from(
        &mut self,
        before: DeliverySlot,
        at: DeliverySlot,
        deliveries: &mut Deliveries,
        targets: &mut Targets,
        run: &RunOut<'_>,
    ) {
        if before == at {
            self.write(deliveries, &targets.bytes, run);
            targets.bytes.clear();
            *self = Self::begin(at, deliveries);
            return;
        }
        if let Some(place) = deliveries.get_mut(before).map(|delivery| &mut delivery.set_aside) {
            let number = *place.get_or_insert_with(|| targets.next());
            let aside = &mut targets.aside[number];
            aside.at = before;
            std::mem::swap(&mut aside.gathered, self);
            std::mem::swap(&mut aside.bytes, &mut targets.bytes);
        }
        targets.bytes.clear();
        match deliveries.get(at).and_then(|delivery| delivery.set_aside) {
            Some(number) => {
                let aside = &mut targets.aside[number];
                *self = std::mem::take(&mut aside.gathered);
                std::mem::swap(&mut aside.bytes, &mut targets.bytes);
            }
            None => *self = Self::begin(at, deliveries),
        }
    }

    /// Adds a receiver, or queues the run for it.
    #[inline]
    pub(super) fn add(
        &mut self,
        leg: &mut Leg<'_>,
        group: &[LocalTarget],
        targets: &mut Targets,
        run: &RunOut<'_>,
        fates: &mut Fates<'_>,
    ) {
        let targets = &mut targets.bytes;
        let receiver = &mut *leg.receiver;
        let before = targets.len();
        let subscriptions = group.iter().map(|target| target.subscription);
        put_target(targets, receiver.number, run.flags, subscriptions);
        let copied = fates.begin(run, receiver.acknowledges);
        let entry = if copied == Copied::Open { run.entry } else { None };
        let mut fate = Fate::Kept;
        if self.takes && receiver.queue.may_pass() {
            receiver.queue.count(run, entry);
            self.receivers += 1;
            self.linger = self.linger.min(receiver.linger);
        } else {
            if let Some(delivery) = self.at.and_then(|at| leg.deliveries.get_mut(at)) {
                let run = RunOut { fields: &targets[before..], entry, ..*run };
                fate = queue(receiver, leg.slot, delivery, &run, fates);
            }
            targets.truncate(before);
        }
        if let Copied::Counted(kept) = copied {
            fates.count(run, kept, fate);
        }
    }

    /// Writes the run for all receivers that were gathered. Inlined, because most runs are for
    /// receivers of one stream, and a call costs a tenth of what the rest does.
    #[inline(always)]
    pub(super) fn flush(&self, deliveries: &mut Deliveries, targets: &mut Targets, run: &RunOut<'_>) {
        self.write(deliveries, &targets.bytes, run);
        if targets.used > 0 {
            targets.flush(deliveries, run);
        }
    }

    #[inline(always)]
    fn write(&self, deliveries: &mut Deliveries, targets: &[u8], run: &RunOut<'_>) {
        let Some(at) = self.at else { return };
        if self.receivers > 0
            && let Some(delivery) = deliveries.get_mut(at)
        {
            delivery.write(run, targets, self.receivers, self.linger);
        }
        deliveries.mark(at);
    }
}

impl Targets {
    /// A place for one more stream that is set aside.
    fn next(&mut self) -> usize {
        if self.aside.len() == self.used {
            self.aside.push(Aside::default());
        }
        self.used += 1;
        self.used - 1
    }

    /// Writes the run to the streams that were set aside.
    #[cold]
    fn flush(&mut self, deliveries: &mut Deliveries, run: &RunOut<'_>) {
        for Aside { at, gathered, bytes } in self.aside.iter_mut().take(self.used) {
            std::mem::take(gathered).write(deliveries, bytes, run);
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES_MAX);
            if let Some(delivery) = deliveries.get_mut(*at) {
                delivery.set_aside = None;
            }
        }
        self.used = 0;
    }
}
