//! Holds at peers: publishers behind a lane whose runs crowd a receiver of this router.
//!
//! ```text
//! router B: a run of the lane crowds receiver 7 ──▶ Hold { receiver, publishers } on the lane
//! router A: tells its cores, as a core does that has the receiver itself
//! router B: receiver 7 is relieved ──▶ Hold { receiver }            router A: the streams are read again
//! ```
//!
//! The core that reads the lane asks, whether the receiver is its own or a sibling's that has asked
//! it. A hold that the peer does not hear of, or hears of late, costs what a late word between
//! cores does: see [`holds`](super::holds).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_proto::PublisherId;
use millrace_proto::limits::PUBLISHERS_PER_FRAME_MAX;
use millrace_proto::mesh::Hold;

use crate::message::CoreReceiver;
use crate::time::Time;
use crate::transport::ConnKey;

/// Most publishers that one core has peers hold back, for the reason of
/// [`HELD_MAX`](super::holds).
const ASKED_MAX: usize = 1024;

/// How often a hold for a receiver with policy `block` is renewed, also between cores.
pub(super) const RENEW_EVERY: Duration = Duration::from_millis(200);

/// A crowded receiver, and whether its policy is `block`.
type Crowded = (CoreReceiver, bool);

/// What this core has asked of peers.
#[derive(Debug, Default)]
pub(super) struct PeerHolds {
    /// The crowded receiver, whether its policy is `block`, and the time from which the peer may be
    /// asked again, or is, by lane and publisher.
    asked: BTreeMap<(ConnKey, PublisherId), (Crowded, Time)>,
    /// Frames for lanes, in order; taken at the end of each turn. A turn asks at most once for each
    /// entry of `asked`, and ends each at most once.
    frames: Vec<(ConnKey, Hold)>,
}

impl PeerHolds {
    /// Whether a peer may be asked to hold a publisher back: the last request is old enough.
    pub(super) fn may_ask(&self, lane: ConnKey, publisher: PublisherId, now: Time) -> bool {
        match self.asked.get(&(lane, publisher)) {
            Some(&((_, blocks), again)) => !blocks && again <= now,
            None => self.asked.len() < ASKED_MAX,
        }
    }

    /// Asks a peer to hold a publisher back; it may be asked again from `again` on.
    pub(super) fn ask(&mut self, lane: ConnKey, publisher: PublisherId, receiver: Crowded, again: Time) {
        self.asked.insert((lane, publisher), (receiver, again));
        match self.frames.last_mut() {
            // Another publisher of the same receiver. A frame without publishers ends holds.
            Some((last, hold))
                if *last == lane
                    && hold.receiver == number(receiver)
                    && (1..PUBLISHERS_PER_FRAME_MAX).contains(&hold.publishers.len()) =>
            {
                hold.publishers.push(publisher);
            }
            _ => self.frames.push((lane, Hold { receiver: number(receiver), publishers: vec![publisher] })),
        }
    }

    /// Ends the holds for a receiver, because it is relieved.
    pub(super) fn relieved(&mut self, receiver: CoreReceiver) {
        self.end(|other| other == receiver);
    }

    /// Whether any are for receivers with policy `block`.
    pub(super) fn any_blocks(&self) -> bool {
        self.asked.values().any(|&((_, blocks), _)| blocks)
    }

    /// Forgets holds that are over at the peer, too, ends those for receivers of this core that are
    /// relieved, and renews those for receivers that block, as long as what `stands` says: at the
    /// end of each turn.
    pub(super) fn settle(
        &mut self,
        now: Time,
        is_relieved: impl Fn(CoreReceiver) -> bool,
        stands: impl Fn(PublisherId, CoreReceiver) -> bool,
    ) {
        if self.asked.is_empty() {
            return;
        }
        self.end(is_relieved);
        let mut again = Vec::new();
        self.asked.retain(|&(lane, publisher), &mut ((receiver, blocks), due)| {
            let is_due = now >= due;
            let is_renewed = is_due && blocks && stands(publisher, receiver);
            if is_renewed {
                again.push((lane, publisher, (receiver, blocks)));
            }
            !is_due || is_renewed
        });
        for (lane, publisher, receiver) in again {
            self.ask(lane, publisher, receiver, now + RENEW_EVERY);
        }
    }

    /// Forgets what was asked of the peer of a lane.
    pub(super) fn lane_closed(&mut self, lane: ConnKey) {
        self.asked.retain(|&(other, _), _| other != lane);
    }

    /// Takes what lanes are to be told.
    pub(super) fn take_frames(&mut self) -> Vec<(ConnKey, Hold)> {
        std::mem::take(&mut self.frames)
    }

    fn end(&mut self, is_over: impl Fn(CoreReceiver) -> bool) {
        let mut ended = BTreeSet::new();
        self.asked.retain(|&(lane, _), &mut ((receiver, blocks), _)| {
            let is_over = is_over(receiver);
            if is_over {
                ended.insert((lane, (receiver, blocks)));
            }
            !is_over
        });
        let end = |(lane, receiver)| (lane, Hold { receiver: number(receiver), publishers: Vec::new() });
        self.frames.extend(ended.into_iter().map(end));
    }
}

/// Set in the number of a receiver with policy `block`. A peer that does not know of it holds its
/// publishers for as long as it holds others, and hears of them again before that is over.
const BLOCKS: u64 = 1 << 48;

/// Whether the receiver that a peer names so has policy `block`.
pub(super) const fn blocks(number: u64) -> bool {
    number & BLOCKS != 0
}

/// The number by which peers know a receiver.
const fn number((CoreReceiver { core, receiver }, blocks): Crowded) -> u64 {
    (core as u64) << 32 | receiver as u64 | if blocks { BLOCKS } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: ConnKey = ConnKey(9);

    fn receiver(receiver: u32) -> CoreReceiver {
        CoreReceiver { core: 1, receiver }
    }

    fn told(holds: &mut PeerHolds) -> Vec<(u64, usize)> {
        let told = |(lane, hold): (ConnKey, Hold)| {
            assert_eq!(lane, LANE);
            (hold.receiver & 0xffff, hold.publishers.len())
        };
        holds.take_frames().into_iter().map(told).collect()
    }

    #[test]
    fn publishers_of_one_receiver_are_told_together_and_end_together() {
        let mut holds = PeerHolds::default();
        for publisher in 0..3 {
            holds.ask(LANE, PublisherId(publisher), (receiver(7), false), Time(250));
        }
        holds.ask(LANE, PublisherId(9), (receiver(8), false), Time(250));
        assert_eq!(told(&mut holds), [(7, 3), (8, 1)]);
        assert!(!holds.may_ask(LANE, PublisherId(0), Time(249)));
        assert!(holds.may_ask(LANE, PublisherId(0), Time(250)));
        holds.relieved(receiver(7));
        assert_eq!(told(&mut holds), [(7, 0)]);
        holds.settle(Time(1), |other| other == receiver(8), |_, _| true);
        assert_eq!(told(&mut holds), [(8, 0)]);
    }

    #[test]
    fn a_hold_behind_an_end_of_the_same_receiver_is_a_frame_of_its_own() {
        let mut holds = PeerHolds::default();
        holds.ask(LANE, PublisherId(1), (receiver(7), false), Time(250));
        holds.relieved(receiver(7));
        holds.ask(LANE, PublisherId(2), (receiver(7), false), Time(250));
        assert_eq!(told(&mut holds), [(7, 1), (7, 0), (7, 1)]);
    }

    #[test]
    fn a_hold_that_is_over_is_forgotten_without_a_word() {
        let mut holds = PeerHolds::default();
        holds.ask(LANE, PublisherId(1), (receiver(7), false), Time(250));
        told(&mut holds);
        holds.settle(Time(250), |_| false, |_, _| true);
        holds.relieved(receiver(7));
        assert_eq!(told(&mut holds), []);
    }

    #[test]
    fn no_more_are_asked_for_than_the_bound() {
        let mut holds = PeerHolds::default();
        for publisher in 0..ASKED_MAX as u128 {
            assert!(holds.may_ask(LANE, PublisherId(publisher), Time(0)));
            holds.ask(LANE, PublisherId(publisher), (receiver(7), false), Time(250));
        }
        assert!(!holds.may_ask(LANE, PublisherId(1 << 90), Time(0)));
    }

    #[test]
    fn a_hold_for_a_receiver_that_blocks_is_renewed_until_it_is_relieved() {
        let mut holds = PeerHolds::default();
        let blocking = (receiver(7), true);
        holds.ask(LANE, PublisherId(1), blocking, Time(250));
        let frames = holds.take_frames();
        assert!(frames.iter().all(|(_, hold)| blocks(hold.receiver)) && frames.len() == 1);
        assert!(!holds.may_ask(LANE, PublisherId(1), Time(300)), "it is renewed without that");
        holds.settle(Time(249), |_| false, |_, _| true);
        assert_eq!(told(&mut holds), []);
        holds.settle(Time(250), |_| false, |_, _| true);
        assert_eq!(told(&mut holds), [(7, 1)]);
        holds.settle(Time(251), |other| other == receiver(7), |_, _| true);
        assert_eq!(told(&mut holds), [(7, 0)]);
        holds.ask(LANE, PublisherId(1), blocking, Time(300));
        told(&mut holds);
        holds.settle(Time(300), |_| false, |_, _| false);
        assert_eq!((told(&mut holds), holds.any_blocks()), (vec![], false), "a sibling asks no more");
    }
}
