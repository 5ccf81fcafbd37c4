//! One receiver: its queue, its stream, and its subscriptions.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::ReceiverNumber;
use millrace_proto::selector::Claim;

use super::delivery::Delivery;
use super::joins::Joins;
use super::outlet::{DeliveryStream, LINGER_BYTES, ReceiverQueue};
use super::selectors::Selectors;
use super::slot::{DeliverySlot, ReceiverSlot};
use crate::groups::Intake;
use crate::matching::LocalTarget;
use crate::message::Token;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

/// How far a receiver's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It takes runs, but QUIC has not allowed its stream yet.
    Opening,
    /// Its stream is open.
    Live(StreamKey),
    /// Its runs go to the stream that the receivers of its connection share.
    Shared,
    /// Its client has closed it: the stream, if there is one, is finished behind what was written.
    Closing(Option<StreamKey>),
}

/// Where a receiver's runs are written.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "what a delivery touches lies in one place")]
pub(super) enum Outlet {
    /// To a stream of its own.
    Own(DeliveryStream),
    /// To the stream that the receivers of its connection share.
    Shared(DeliverySlot),
}

/// One receiver. What a delivery touches comes first and begins a cache line, so that it lies in
/// few of them, and in the same ones for each receiver.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Receiver {
    pub(super) queue: ReceiverQueue,
    /// When gathered runs are due; none while nothing waits.
    pub(super) due: Option<Time>,
    /// Whether it stands in the list of receivers that have something to write.
    pub(super) dirty: bool,
    /// Whether it stands in the line of those that write to their shared stream in turns.
    pub(super) in_line: bool,
    /// Whether its client acknowledges runs.
    pub(super) acknowledges: bool,
    pub(super) number: ReceiverNumber,
    /// Replays, while there are any.
    pub(super) joins: Option<Box<Joins>>,
    pub(super) outlet: Outlet,
    pub(super) selectors: Selectors,
    pub(super) state: State,
    pub(super) conn: ConnKey,
    pub(super) linger: Duration,
    /// Events that its queue dropped, without those that were skipped.
    pub(super) dropped: u64,
    /// The newest request of the client when it opened: older ones were meant for another receiver
    /// of the same number.
    pub(super) opened: Token,
    /// What it has as a member of a group; none for a receiver that is in no group.
    pub(super) member: Option<Box<Intake>>,
    pub(super) address: Address,
}

/// What may be addressed to a receiver.
#[derive(Debug)]
pub(super) struct Address {
    /// The name that it holds; none for a receiver without one.
    pub(super) name: Option<Arc<Claim>>,
    /// Whether its client reads what is addressed, and can reply.
    pub(super) is_read: bool,
    /// Whether its client reads which set of standby publishers a run is of.
    pub(super) reads_sets: bool,
}

impl Receiver {
    /// Whether a run for these targets is passed over, of a receiver that is.
    #[inline]
    pub(super) fn is_skipped(&self, targets: &[LocalTarget]) -> bool {
        self.queue.is_plain() || (self.joins.is_none() && !self.selectors.is_by_payload(targets))
    }

    /// Events that it did not get, because its queue dropped them or passed them over.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped + self.queue.skipped()
    }

    /// Its stream, once it has one.
    pub(super) const fn stream(&self) -> Option<StreamKey> {
        match self.state {
            State::Opening | State::Shared => None,
            State::Live(stream) => Some(stream),
            State::Closing(stream) => stream,
        }
    }

    /// Its own stream, unless it shares one.
    #[inline]
    pub(super) const fn own(&self) -> Option<&DeliveryStream> {
        match &self.outlet {
            Outlet::Own(stream) => Some(stream),
            Outlet::Shared(_) => None,
        }
    }

    /// Its queue and its own stream, unless it shares one.
    #[inline]
    pub(super) const fn own_mut(&mut self) -> Option<(&mut ReceiverQueue, &mut DeliveryStream)> {
        match &mut self.outlet {
            Outlet::Own(stream) => Some((&mut self.queue, stream)),
            Outlet::Shared(_) => None,
        }
    }

    /// Whether its client has closed it.
    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing(_))
    }

    /// Whether it was closed, and everything that was written for it was handed to the transport.
    pub(super) fn is_over(&self) -> bool {
        let is_written = self.own().is_none_or(|own| !own.has_output()) && self.queue.is_empty();
        self.is_closing() && (self.stream().is_none() || is_written)
    }

    /// Joins the line for its shared stream, if something waits and grant is left.
    #[inline]
    pub(super) fn line_up(&mut self, slot: ReceiverSlot, delivery: &mut Delivery) {
        if !self.in_line && self.queue.has_grant() && !self.queue.is_empty() {
            self.in_line = true;
            delivery.line_up(slot);
        }
    }

    /// Whether lingering is useless, because nothing more can be gathered.
    pub(super) fn has_gathered(&self) -> bool {
        self.linger.is_zero()
            || self
                .own()
                .is_none_or(|own| own.out_bytes() >= LINGER_BYTES || self.queue.can_gather_no_more(own))
    }

    /// Reads a word of each cache line that a delivery touches.
    #[inline]
    pub(super) fn lines(&self) -> usize {
        usize::from(self.queue.has_grant())
            ^ self.own().map_or(0, DeliveryStream::lines)
            ^ usize::from(self.selectors.has_patterns())
            ^ usize::from(self.dirty)
    }
}
