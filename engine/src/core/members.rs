//! The members of groups that are receivers of this core, and what their owners are to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::CoreConfig;
use super::slot::ReceiverSlot;
use super::timers::{Timer, Timers};
use crate::groups::{MEMBER_NUMBERS, MemberIndex, MemberState};
use crate::matching::{Index, LocalTarget};
use crate::message::{CoreIndex, TicketAnswer};
use crate::time::Time;
use crate::transport::ConnKey;

/// Groups and members are looked after this often: no time of theirs is shorter.
const TICK: Duration = Duration::from_millis(50);
/// In so many ticks, all members' numbers are told, whether or not they matter to the choice.
const TICKS_PER_REPORT: u32 = 5;

/// The members of groups that are receivers of this core.
#[derive(Debug)]
pub(super) struct Members {
    core: CoreIndex,
    cores: CoreIndex,
    /// By member number.
    slots: BTreeMap<u32, ReceiverSlot>,
    /// Their places in the directory, by member number.
    indexes: BTreeMap<u32, MemberIndex>,
    next: u32,
    /// What they want. No run is looked up here: it counts first and last references.
    pub(super) interest: Index<LocalTarget>,
    /// Clients that have members or named receivers, with how many.
    clients: BTreeMap<ConnKey, u32>,
    /// Answers for siblings, by core.
    to_siblings: Vec<Vec<TicketAnswer>>,
    /// Answers for peers, by lane.
    to_lanes: BTreeMap<ConnKey, Vec<TicketAnswer>>,
    /// How members are, for control.
    news: BTreeMap<u32, MemberState>,
    due: Option<Time>,
    /// Something is to be told when groups and members are looked after next.
    wants_tick: bool,
    ticks: u32,
}

impl Members {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            core: config.core,
            cores: config.cores,
            slots: BTreeMap::new(),
            indexes: BTreeMap::new(),
            next: 0,
            interest: Index::new(config.seed),
            clients: BTreeMap::new(),
            to_siblings: vec![Vec::new(); usize::from(config.cores)],
            to_lanes: BTreeMap::new(),
            news: BTreeMap::new(),
            due: None,
            wants_tick: false,
            ticks: 0,
        }
    }

    /// The core of a member of this router.
    pub(super) fn core_of(&self, member: u32) -> CoreIndex {
        CoreIndex::try_from(member % u32::from(self.cores)).unwrap_or_default()
    }

    /// A number for a new member; none when all are taken. One is used again after as many members
    /// as there are numbers.
    pub(super) fn next_number(&mut self) -> Option<u32> {
        let numbers = MEMBER_NUMBERS / u32::from(self.cores);
        for _ in 0..=self.slots.len() {
            let number = self.next % numbers * u32::from(self.cores) + u32::from(self.core);
            self.next = (self.next + 1) % numbers;
            if !self.slots.contains_key(&number) {
                return Some(number);
            }
        }
        None
    }

    /// A receiver is a member from here on.
    pub(super) fn insert(&mut self, number: u32, slot: ReceiverSlot, client: ConnKey) {
        self.slots.insert(number, slot);
        self.watch(client);
    }

    /// A member is gone.
    pub(super) fn remove(&mut self, number: u32, client: ConnKey) {
        self.slots.remove(&number);
        self.news.remove(&number);
        self.unwatch(client);
    }

    /// Asks a client from here on whether it is there: it has a member, or a named receiver, more.
    pub(super) fn watch(&mut self, client: ConnKey) {
        *self.clients.entry(client).or_insert(0) += 1;
    }

    /// A client has a member, or a named receiver, less.
    pub(super) fn unwatch(&mut self, client: ConnKey) {
        if let Some(watched) = self.clients.get_mut(&client) {
            *watched -= 1;
            if *watched == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Whether any client is asked whether it is there.
    pub(super) fn are_watched(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The receiver that a member is.
    pub(super) fn slot(&self, number: u32) -> Option<ReceiverSlot> {
        self.slots.get(&number).copied()
    }

    /// All members: their numbers and receivers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, ReceiverSlot)> {
        self.slots.iter().map(|(&number, &slot)| (number, slot))
    }

    /// The clients that have members or named receivers.
    pub(super) fn clients(&self) -> Vec<ConnKey> {
        self.clients.keys().copied().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A member's place in the directory, as control says; none: it has none any more.
    pub(super) fn set_index(&mut self, number: u32, index: Option<MemberIndex>) {
        match index {
            Some(index) => drop(self.indexes.insert(number, index)),
            None => drop(self.indexes.remove(&number)),
        }
    }

    /// A member's place in the directory.
    pub(super) fn index(&self, number: u32) -> Option<MemberIndex> {
        self.indexes.get(&number).copied()
    }

    /// Forgets who has a place in the directory.
    pub(super) fn forget_index(&mut self, index: MemberIndex) {
        self.indexes.retain(|_, other| *other != index);
    }

    /// Answers a sibling.
    pub(super) fn answer_sibling(&mut self, core: CoreIndex, answer: TicketAnswer) {
        if let Some(answers) = self.to_siblings.get_mut(usize::from(core)) {
            answers.push(answer);
        }
    }

    /// Answers a peer.
    pub(super) fn answer_lane(&mut self, lane: ConnKey, answer: TicketAnswer) {
        self.to_lanes.entry(lane).or_default().push(answer);
    }

    /// The answers for a sibling, if there are any.
    pub(super) fn take_answers_to(&mut self, core: CoreIndex) -> Option<Vec<TicketAnswer>> {
        let answers = self.to_siblings.get_mut(usize::from(core)).map(std::mem::take)?;
        (!answers.is_empty()).then_some(answers)
    }

    /// The answers for peers.
    pub(super) fn take_answers_to_lanes(&mut self) -> BTreeMap<ConnKey, Vec<TicketAnswer>> {
        std::mem::take(&mut self.to_lanes)
    }

    /// How a member is, for control.
    pub(super) fn note(&mut self, number: u32, state: MemberState) {
        self.news.insert(number, state);
    }

    /// What control is to be told.
    pub(super) fn take_news(&mut self) -> Vec<(u32, MemberState)> {
        std::mem::take(&mut self.news).into_iter().collect()
    }

    /// Whether control or peers are to be told something.
    #[inline]
    pub(super) fn has_words(&self) -> bool {
        !self.news.is_empty() || !self.to_lanes.is_empty() || self.wants_tick
    }

    /// Has groups and members looked after within a tick, because something is to be told.
    pub(super) const fn want_tick(&mut self) {
        self.wants_tick = self.due.is_none();
    }

    /// Has groups and members looked after, if they are not.
    pub(super) fn arm(&mut self, now: Time, timers: &mut Timers) {
        self.wants_tick = false;
        if self.due.is_none() {
            let due = (now + TICK).rounded_up(TICK);
            self.due = Some(due);
            timers.set(due, Timer::Groups);
        }
    }

    /// The timer has fired. Says whether all members' numbers are to be told.
    pub(super) const fn fired(&mut self) -> bool {
        self.due = None;
        self.ticks = (self.ticks + 1) % TICKS_PER_REPORT;
        self.ticks == 0
    }
}
