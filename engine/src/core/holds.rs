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
//! A hold for a receiver with policy `block` is renewed for as long as the receiver is crowded, and
//! stands for [`BLOCKED_MAX`] after that was said last: the streams of its publishers are left
//! unread until it is relieved, or its core or router is gone.
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
use super::peer_holds::{self, PeerHolds, RENEW_EVERY};
use super::receivers::Receivers;
use super::slot::ReceiverSlot;
use crate::message::{CoreIndex, CoreReceiver, CrowdedReceiver, ToSibling};
use crate::time::Time;
use crate::transport::ConnKey;

/// Most publishers that one core holds back, or asks others to hold back. Beyond it receivers'
/// queues drop events as they would without holds: among a thousand publishers, one alone drowns
/// nobody.
const HELD_MAX: usize = 1024;

/// How long a hold for a receiver with policy `block` stands that is not renewed, which it is each
/// [`RENEW_EVERY`].
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// A receiver that siblings hold a publisher back for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    slot: ReceiverSlot,
    /// From when on they may be asked again, or are.
    again: Time,
    blocks: bool,
}

/// A receiver that this core holds a publisher back for.
#[derive(Debug, Clone, Copy)]
struct Held {
    receiver: CrowdedReceiver,
    until: Time,
    blocks: bool,
}

/// Holds that this core has asked siblings for, and holds that siblings have asked it for.
#[derive(Debug)]
pub(super) struct Holds {
    core: CoreIndex,
    pace_max: Duration,
    /// Publishers that siblings were asked to hold back.
    asked: BTreeMap<PublisherId, Asked>,
    /// Publishers that this core holds back.
    held: BTreeMap<PublisherId, Held>,
    /// When the timer is due that renews holds; none is set otherwise.
    renewed_at: Option<Time>,
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
            renewed_at: None,
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
            Some(asked) => !asked.blocks && asked.again <= now,
            None => self.asked.len() < HELD_MAX,
        }
    }

    /// Asks all cores to hold a publisher back for the sake of a receiver of this one.
    pub(super) fn ask(&mut self, publisher: PublisherId, slot: ReceiverSlot, blocks: bool, now: Time) {
        let again = now + if blocks { RENEW_EVERY } else { self.pace_max };
        self.asked.insert(publisher, Asked { slot, again, blocks });
        let receiver = CrowdedReceiver::Here(self.own(slot));
        self.say(ToSibling::Crowded { publisher, receiver, blocks });
        // This core may be the one that reads the publisher's stream, too.
        self.crowded(publisher, receiver, blocks, now);
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
        blocks: bool,
        now: Time,
    ) {
        let again = now + if blocks { RENEW_EVERY } else { self.pace_max };
        self.peers.ask(lane, publisher, (self.own(receiver), blocks), again);
    }

    /// A run of a publisher has come over a lane: asks the peer to hold the publisher back, if
    /// siblings ask this core for that.
    pub(super) fn pass_on(&mut self, lane: ConnKey, publisher: PublisherId, now: Time) {
        let Some((CrowdedReceiver::Here(receiver), blocks)) = self.get(publisher) else { return };
        if self.peers.may_ask(lane, publisher, now) {
            let again = now + if blocks { RENEW_EVERY } else { self.pace_max };
            self.peers.ask(lane, publisher, (receiver, blocks), again);
        }
    }

    /// A peer asks for publishers to be held back, or says that its receiver is relieved.
    pub(super) fn peer_told(&mut self, lane: ConnKey, hold: &Hold, now: Time) {
        let receiver = CrowdedReceiver::There { core: self.core, lane, receiver: hold.receiver };
        let blocks = peer_holds::blocks(hold.receiver);
        for &publisher in &hold.publishers {
            self.say(ToSibling::Crowded { publisher, receiver, blocks });
            self.crowded(publisher, receiver, blocks, now);
        }
        if hold.publishers.is_empty() {
            self.say(ToSibling::Relieved { receiver });
            self.relieved(receiver);
        }
    }

    /// Forgets what was asked of the peer of a lane.
    pub(super) fn lane_closed(&mut self, lane: ConnKey) {
        self.peers.lane_closed(lane);
    }

    /// Takes what peers are to be told, by lane.
    pub(super) fn take_frames(&mut self) -> Vec<(ConnKey, Hold)> {
        self.peers.take_frames()
    }

    /// Holds a publisher back, because a sibling, a peer or this core asks for it.
    pub(super) fn crowded(
        &mut self,
        publisher: PublisherId,
        receiver: CrowdedReceiver,
        blocks: bool,
        now: Time,
    ) {
        let known = self.held.get(&publisher);
        // Who waits until a receiver is relieved waits for no other one meanwhile.
        let has_longer = known.is_some_and(|held| held.blocks && !blocks && now < held.until);
        if has_longer || (known.is_none() && self.held.len() >= HELD_MAX) {
            return;
        }
        let until = now + if blocks { BLOCKED_MAX } else { self.pace_max };
        self.held.insert(publisher, Held { receiver, until, blocks });
    }

    /// Ends the holds for a receiver, because it is relieved.
    pub(super) fn relieved(&mut self, receiver: CrowdedReceiver) {
        self.held.retain(|_, held| held.receiver != receiver);
        if let CrowdedReceiver::Here(receiver) = receiver {
            self.peers.relieved(receiver);
        }
    }

    /// Whether any publisher is held back.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The receiver for which a publisher is held back, and whether its policy is `block`.
    pub(super) fn get(&self, publisher: PublisherId) -> Option<(CrowdedReceiver, bool)> {
        self.held.get(&publisher).map(|held| (held.receiver, held.blocks))
    }

    /// Whether a publisher is held back for this receiver.
    pub(super) fn has(&self, receiver: CrowdedReceiver) -> bool {
        self.held.values().any(|held| held.receiver == receiver)
    }

    /// Forgets holds that are over, renews those for receivers that block, and tells siblings which
    /// receivers are relieved: at the end of each turn. Returns when it is to be called again at
    /// the latest, if no timer is set for that.
    pub(super) fn settle(&mut self, now: Time, receivers: &Receivers) -> Option<Time> {
        if !self.held.is_empty() {
            self.held.retain(|_, held| now < held.until);
        }
        self.renewed_at = self.renewed_at.filter(|&due| now < due);
        let is_relieved = |slot| receivers.get(slot).is_none_or(|receiver| receiver.queue.is_relieved());
        let core = self.core;
        let held = &self.held;
        let stands = |publisher: PublisherId, receiver: CoreReceiver| {
            receiver.core == core
                || held.get(&publisher).is_some_and(|held| held.receiver == CrowdedReceiver::Here(receiver))
        };
        self.peers.settle(now, |receiver| receiver.core == core && is_relieved(receiver.receiver), stands);
        if self.asked.is_empty() {
            return self.renew_at(now);
        }
        let mut relieved = BTreeSet::new();
        let mut again = Vec::new();
        self.asked.retain(|&publisher, asked| {
            let is_over = is_relieved(asked.slot);
            if is_over {
                relieved.insert(asked.slot);
            } else if asked.blocks && now >= asked.again {
                again.push((publisher, asked.slot));
            }
            !is_over && (asked.blocks || now < asked.again)
        });
        for (publisher, slot) in again {
            self.ask(publisher, slot, true, now);
        }
        for slot in relieved {
            let receiver = CrowdedReceiver::Here(self.own(slot));
            self.say(ToSibling::Relieved { receiver });
            self.relieved(receiver);
        }
        self.renew_at(now)
    }

    /// When holds are renewed next, if any are and no timer is set for it.
    fn renew_at(&mut self, now: Time) -> Option<Time> {
        let blocks = self.peers.any_blocks() || self.asked.values().any(|asked| asked.blocks);
        if !blocks || self.renewed_at.is_some() {
            return None;
        }
        self.renewed_at = Some(now + RENEW_EVERY);
        self.renewed_at
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
