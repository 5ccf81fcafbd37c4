//! What one core asks of owners about their history, what it is asked, and what it passes on
//! between its lanes and its siblings.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::allowance::Allowance;
use super::mail::PendingSubscription;
use super::outlet::{Charge, Total};
use super::slot::ReceiverSlot;
use crate::history::{Asker, FarOwners, HistoryAnswer, HistoryAsk, HistoryWord};
use crate::message::{CoreIndex, Effective};
use crate::time::Time;
use crate::transport::ConnKey;

/// Requests of one core to owners of its router that are not answered, at most: each may bring a
/// chunk.
const ASKS_MAX: usize = 64;
/// Requests of one core to owners of other routers, at most: those for one lane wait for each other
/// at the core that has it.
const FAR_ASKS_MAX: usize = 256;

/// Bytes of one chunk, about: what a replay holds of each source.
pub(super) const CHUNK_BYTES: usize = 32 * 1024;
/// Bytes that were read for receivers of this core and wait for them: this part of what may wait
/// for receivers in their queues.
const READ_PART: u64 = 8;
/// But so much in any case, so that replays go on.
const READ_BYTES_MIN: u64 = 16 * CHUNK_BYTES as u64;

/// What one core asks of owners, and what it is asked.
#[derive(Debug)]
pub(super) struct Replays {
    last: u64,
    /// Receivers with a replay.
    pub(super) active: BTreeSet<ReceiverSlot>,
    /// Receivers that have nothing to do until something is known of other routers: late runs of
    /// theirs are told from those that come first.
    pub(super) awaiting: BTreeSet<ReceiverSlot>,
    /// Requests that wait for this core's ring: at most [`ASKS_MAX`] of each core, and as many of
    /// each lane as its session takes.
    pub(super) asks: VecDeque<(Asker, HistoryAsk)>,
    /// Words for each sibling.
    words: Vec<VecDeque<HistoryWord>>,
    /// Requests for owners of other routers whose lanes this core has.
    to_lanes: VecDeque<(CoreIndex, HistoryAsk)>,
    /// What this core's ring has answered to peers.
    from_ring: VecDeque<(ConnKey, HistoryAnswer)>,
    /// Clients that are to be told that a subscription is effective in the cluster.
    to_tell: Vec<(PendingSubscription, Effective)>,
    /// Owners of other routers.
    pub(super) far: Arc<FarOwners>,
    /// Requests of this core that are not answered: to owners of its router, and of others.
    open: [usize; 2],
    /// Bytes that were read and wait for their receivers.
    read: Total,
    /// As many of them as may wait.
    read_max: u64,
    /// Somebody may not ask, because as much as may be was read: those who cannot be given what was
    /// read for them give it back.
    is_short: bool,
    /// What a turn may spend.
    pub(super) allowance: Allowance,
    /// The receiver whose turn it is.
    pub(super) turn: ReceiverSlot,
    /// A replay can go on in the next turn.
    pub(super) has_more: bool,
}

impl Replays {
    pub(super) fn new(cores: CoreIndex) -> Self {
        Self {
            last: 0,
            active: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            asks: VecDeque::new(),
            words: vec![VecDeque::new(); usize::from(cores)],
            to_lanes: VecDeque::new(),
            from_ring: VecDeque::new(),
            to_tell: Vec::new(),
            far: Arc::default(),
            open: [0; 2],
            read: Total::default(),
            read_max: READ_BYTES_MIN,
            is_short: false,
            allowance: Allowance::new(),
            turn: 0,
            has_more: false,
        }
    }

    /// Begins a turn: the receivers with a replay, beginning with the one whose turn it is, so that
    /// all go on.
    pub(super) fn begin_turn(&mut self, queue_budget_bytes: u64) -> Vec<ReceiverSlot> {
        self.has_more = false;
        self.read_max = (queue_budget_bytes / READ_PART).max(READ_BYTES_MIN);
        self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect()
    }

    /// A name for a new replay.
    pub(super) const fn name(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Ends a turn: those who might not ask go on when there is room.
    pub(super) fn end_turn(&mut self) {
        if self.is_short && self.has_room() {
            self.is_short = false;
            self.has_more = true;
        }
    }

    /// Whether room is missing for what others would ask for.
    pub(super) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Counts what was read for a receiver, for as long as it is there.
    pub(super) fn charge(&self, bytes: u64) -> Charge {
        self.read.charge(bytes)
    }

    /// Bytes that were read and wait for their receivers.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read.bytes()
    }

    /// Whether what is asked for, and one answer more, has room.
    fn has_room(&self) -> bool {
        let asked = (self.open[0] + self.open[1] + 1) * CHUNK_BYTES;
        self.read.bytes() + asked as u64 <= self.read_max
    }

    /// When something can be done, if something can be done without waiting for others.
    pub(super) fn due(&self) -> Option<Time> {
        if self.has_mail() {
            Some(Time::ZERO)
        } else {
            (self.has_more || !self.asks.is_empty()).then(|| self.allowance.ready_at())
        }
    }

    /// Whether something waits for a lane, or for a client to be told.
    pub(super) fn has_mail(&self) -> bool {
        !self.to_lanes.is_empty() || !self.from_ring.is_empty() || !self.to_tell.is_empty()
    }

    /// Whether another request may be made; `is_far`: of another router.
    pub(super) fn may_ask(&mut self, is_far: bool) -> bool {
        if !self.is_short && !self.has_room() {
            self.is_short = true;
            // In the next turn those give back who came before in this one.
            self.has_more = true;
        }
        !self.is_short && self.has_place(is_far)
    }

    const fn has_place(&self, is_far: bool) -> bool {
        self.open[is_far as usize] < if is_far { FAR_ASKS_MAX } else { ASKS_MAX }
    }

    /// Counts a request of this core.
    pub(super) const fn asked(&mut self, is_far: bool) {
        self.open[is_far as usize] += 1;
    }

    /// A request of this core was answered.
    pub(super) const fn answered(&mut self, is_far: bool) {
        // Replays that could not ask go on.
        self.has_more |= !self.has_place(is_far);
        let open = &mut self.open[is_far as usize];
        *open = open.saturating_sub(1);
    }

    /// Says something to a sibling.
    pub(super) fn say(&mut self, core: CoreIndex, word: HistoryWord) {
        if let Some(words) = self.words.get_mut(usize::from(core)) {
            words.push_back(word);
        }
    }

    /// The next word for a sibling.
    pub(super) fn next_word(&mut self, core: CoreIndex) -> Option<HistoryWord> {
        self.words.get_mut(usize::from(core))?.pop_front()
    }

    /// A core asks an owner of another router.
    pub(super) fn ask_lane(&mut self, core: CoreIndex, ask: HistoryAsk) {
        self.to_lanes.push_back((core, ask));
    }

    /// The next request for a lane.
    pub(super) fn next_ask(&mut self) -> Option<(CoreIndex, HistoryAsk)> {
        self.to_lanes.pop_front()
    }

    /// This core's ring answers a peer.
    pub(super) fn answer_lane(&mut self, conn: ConnKey, answer: HistoryAnswer) {
        self.from_ring.push_back((conn, answer));
    }

    /// The next answer for a lane.
    pub(super) fn next_answer(&mut self) -> Option<(ConnKey, HistoryAnswer)> {
        self.from_ring.pop_front()
    }

    /// A client is to be told how far its subscription has come.
    pub(super) fn tell(&mut self, told: Option<(PendingSubscription, Effective)>) {
        self.to_tell.extend(told);
    }

    /// Takes what clients are to be told.
    pub(super) fn take_told(&mut self) -> Vec<(PendingSubscription, Effective)> {
        std::mem::take(&mut self.to_tell)
    }
}
