//! Holds: publishers whose runs crowd a receiver on another core of this router wait for it, too.
//!
//! ```text
//! core 2: a run that a sibling handed over crowds receiver 7 ──▶ Crowded { publisher, (2, 7) } to all cores
//! core 0: reads a run of that publisher: its stream waits, as for a receiver of its own
//! core 2: receiver 7 is relieved ──▶ Relieved { (2, 7) }            core 0: the stream is read again
//! ```
//!
//! A run does not say on which core its publisher's stream is, so that the word goes to every core,
//! and the one that reads the next run of the publisher acts on it. A word that comes late, or not
//! at all, costs a receiver what its own queue drops, and a publisher at most
//! [`CoreLimits::pace_max`](super::CoreLimits::pace_max).
//!
//! The receiver's core judges by what it sees: how fast its own receivers take what comes. It knows
//! nothing of those on other cores, which wait with the publisher. See [`pacing`](super::pacing)
//! for the rules.
//!
//! Where the run came over a lane, the core that reads the lane asks the peer ([`peer_holds`]), and
//! what a peer asks goes to every core, too. One hop: what one peer asks is told to no other.
//!
//! [`peer_holds`]: super::peer_holds

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_proto::PublisherId;
use millrace_proto::mesh::Hold;

use super::config::CoreConfig;
use super::peer_holds::PeerHolds;
use super::receivers::Receivers;
use super::slot::ReceiverSlot;
use crate::message::{CoreIndex, CoreReceiver, CrowdedReceiver, ToSibling};
use crate::time::Time;
use crate::transport::ConnKey;

/// Most publishers that one core holds back, or asks others to hold back. Beyond it receivers'
/// queues drop events as they would without holds: among a thousand publishers, one alone drowns
/// nobody.
const HELD_MAX: usize = 1024;

/// Holds that this core has asked siblings for, and holds that siblings have asked it for.
#[derive(Debug)]
pub(super) struct Holds {
    core: CoreIndex,
    pace_max: Duration,
    /// Publishers that siblings were asked to hold back, with the crowded receiver and the time
    /// from which they may be asked again.
    asked: BTreeMap<PublisherId, (ReceiverSlot, Time)>,
    /// Publishers that this core holds back, with the crowded receiver and the latest end of the
    /// hold.
    held: BTreeMap<PublisherId, (CrowdedReceiver, Time)>,
    /// What peers were asked to hold back.
    peers: PeerHolds,
    /// Messages for each sibling, in order.
    words: Vec<VecDeque<ToSibling>>,
}

impl Holds {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            core: config.core,
            pace_max: config.limits.pace_max,
            asked: BTreeMap::new(),
            held: BTreeMap::new(),
            peers: PeerHolds::default(),
            words: vec![VecDeque::new(); usize::from(config.cores)],
        }
    }

    /// How long a publisher is held back at most.
    pub(super) const fn set_pace_max(&mut self, pace_max: Duration) {
        self.pace_max = pace_max;
    }

    /// Whether siblings may be asked to hold a publisher back: the last request is old enough.
    pub(super) fn may_ask(&self, publisher: PublisherId, now: Time) -> bool {
        match self.asked.get(&publisher) {
            Some(&(_, again)) => again <= now,
            None => self.asked.len() < HELD_MAX,
        }
    }

    /// Asks all cores to hold a publisher back for the sake of a receiver of this one.
    pub(super) fn ask(&mut self, publisher: PublisherId, receiver: ReceiverSlot, now: Time) {
        self.asked.insert(publisher, (receiver, now + self.pace_max));
        let receiver = CrowdedReceiver::Here(self.own(receiver));
        self.say(ToSibling::Crowded { publisher, receiver });
        // This core may be the one that reads the publisher's stream, too.
        self.crowded(publisher, receiver, now);
    }

    /// Whether a peer may be asked to hold a publisher back.
    pub(super) fn may_ask_peer(&self, lane: ConnKey, publisher: PublisherId, now: Time) -> bool {
        self.peers.may_ask(lane, publisher, now)
    }

    /// Asks the peer of a lane to hold a publisher back for the sake of a receiver of this core.
    pub(super) fn ask_peer(
        &mut self,
        lane: ConnKey,
        publisher: PublisherId,
        receiver: ReceiverSlot,
        now: Time,
    ) {
        self.peers.ask(lane, publisher, self.own(receiver), now + self.pace_max);
    }

    /// A run of a publisher has come over a lane: asks the peer to hold the publisher back, if
    /// siblings ask this core for that.
    pub(super) fn pass_on(&mut self, lane: ConnKey, publisher: PublisherId, now: Time) {
        let Some(CrowdedReceiver::Here(receiver)) = self.get(publisher) else { return };
        if self.peers.may_ask(lane, publisher, now) {
            self.peers.ask(lane, publisher, receiver, now + self.pace_max);
        }
    }

    /// A peer asks for publishers to be held back, or says that its receiver is relieved.
    pub(super) fn peer_told(&mut self, lane: ConnKey, hold: &Hold, now: Time) {
        let receiver = CrowdedReceiver::There { core: self.core, lane, receiver: hold.receiver };
        for &publisher in &hold.publishers {
            self.say(ToSibling::Crowded { publisher, receiver });
            self.crowded(publisher, receiver, now);
        }
        if hold.publishers.is_empty() {
            self.say(ToSibling::Relieved { receiver });
            self.relieved(receiver);
        }
    }

    /// Takes what peers are to be told, by lane.
    pub(super) fn take_frames(&mut self) -> Vec<(ConnKey, Hold)> {
        self.peers.take_frames()
    }

    /// Holds a publisher back, because a sibling, a peer or this core asks for it.
    pub(super) fn crowded(&mut self, publisher: PublisherId, receiver: CrowdedReceiver, now: Time) {
        if self.held.len() < HELD_MAX || self.held.contains_key(&publisher) {
            self.held.insert(publisher, (receiver, now + self.pace_max));
        }
    }

    /// Ends the holds for a receiver, because it is relieved.
    pub(super) fn relieved(&mut self, receiver: CrowdedReceiver) {
        self.held.retain(|_, (other, _)| *other != receiver);
        if let CrowdedReceiver::Here(receiver) = receiver {
            self.peers.relieved(receiver);
        }
    }

    /// Whether any publisher is held back.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The receiver for which a publisher is held back.
    pub(super) fn get(&self, publisher: PublisherId) -> Option<CrowdedReceiver> {
        self.held.get(&publisher).map(|&(receiver, _)| receiver)
    }

    /// Whether a publisher is held back for this receiver.
    pub(super) fn has(&self, receiver: CrowdedReceiver) -> bool {
        self.held.values().any(|&(other, _)| other == receiver)
    }

    /// Forgets holds that are over, and tells siblings which receivers are relieved: at the end of
    /// each turn.
    pub(super) fn settle(&mut self, now: Time, receivers: &Receivers) {
        if !self.held.is_empty() {
            self.held.retain(|_, &mut (_, until)| now < until);
        }
        let is_relieved = |slot| receivers.get(slot).is_none_or(|receiver| receiver.queue.is_relieved());
        let core = self.core;
        self.peers.settle(now, |receiver| receiver.core == core && is_relieved(receiver.receiver));
        if self.asked.is_empty() {
            return;
        }
        let mut relieved = BTreeSet::new();
        self.asked.retain(|_, &mut (slot, again)| {
            let is_over = is_relieved(slot);
            if is_over {
                relieved.insert(slot);
            }
            !is_over && now < again
        });
        for slot in relieved {
            let receiver = CrowdedReceiver::Here(self.own(slot));
            self.say(ToSibling::Relieved { receiver });
            self.relieved(receiver);
        }
    }

    const fn own(&self, receiver: ReceiverSlot) -> CoreReceiver {
        CoreReceiver { core: self.core, receiver }
    }

    /// Takes the next message for a sibling.
    pub(super) fn next_word(&mut self, to: CoreIndex) -> Option<ToSibling> {
        self.words.get_mut(usize::from(to))?.pop_front()
    }

    /// Queues a message for all siblings. One that does not read misses messages: it then holds
    /// nobody back, or holds a publisher for the longest time allowed.
    fn say(&mut self, word: ToSibling) {
        for (core, words) in self.words.iter_mut().enumerate() {
            if core != usize::from(self.core) && words.len() < 2 * HELD_MAX {
                words.push_back(word.clone());
            }
        }
    }
}
