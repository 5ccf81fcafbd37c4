//! A publisher that is a member of a standby set: whether it publishes, and what it keeps for the
//! moment in which it takes over.
//!
//! Two copies of one feed number their events alike. The one that holds the set publishes; the
//! other keeps its newest events, as far as routers may not have had them:
//!
//! ```text
//!            settled                next, as the router said last
//!  ─────────────┼──────────────────────┼───────────────────────►  source seqs
//!   let go       kept: sent again by    kept: nobody has had them
//!                who takes over, and    yet, so they never give way
//!                removed by receivers
//! ```
//!
//! `settled` is what the router said [`OVERLAP_NS`] ago: what entered since may still be in a queue
//! when the next generation overtakes it, and is fenced then.

use std::collections::VecDeque;

use millrace_proto::TagSet;
use millrace_proto::control::{SetState, Standby, Standing};
use millrace_proto::limits::{NAME_BYTES_MAX, RANK_MAX};

use super::error::PublishError;
use super::tags::{TagHandle, Tags};
use crate::time::{MILLISECOND_NS, Time};

/// What entered a router for so long is where it belongs.
const OVERLAP_NS: u64 = 2_000 * MILLISECOND_NS;
/// What has entered a router is where it belongs after so long, unless something is wrong: a member
/// whose numbers go back to there can take over.
const ABREAST_NS: u64 = 500 * MILLISECOND_NS;
/// Words of the router that are remembered for [`OVERLAP_NS`]; it says something each 250 ms.
const WORDS_MAX: usize = 64;
/// Bytes that a kept event costs besides its payload.
const EVENT_BYTES: usize = 64;

/// How a publisher takes part in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetWish {
    /// The set: at most 64 bytes. It belongs to the client's identity.
    pub set: String,
    /// Who takes over first: 1, the default, to 16.
    pub rank: u8,
    /// Whether it takes over from a holder of a higher rank, too, once it was there for 5 s.
    /// Default no.
    pub preempt: bool,
    /// Numbered events that it keeps while it waits, at most. Default 4,096.
    pub window_events: usize,
    /// Bytes of them, at most. Default 4 MiB.
    pub window_bytes: usize,
    /// The generation in which an earlier process published what its store holds. Default 0: nobody
    /// knows.
    pub known: u64,
}

impl SetWish {
    /// The defaults for a set.
    #[must_use]
    pub fn new(set: impl Into<String>) -> Self {
        Self {
            set: set.into(),
            rank: 1,
            preempt: false,
            window_events: 4096,
            window_bytes: 4 << 20,
            known: 0,
        }
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn check(&self) -> Result<(), String> {
        if self.set.is_empty() || self.set.len() > NAME_BYTES_MAX || self.set.chars().any(char::is_control) {
            return Err(format!(
                "a set has a name of 1 to {NAME_BYTES_MAX} bytes without control characters"
            ));
        }
        if self.rank == 0 || u32::from(self.rank) > RANK_MAX {
            return Err(format!("ranks of a set's members are 1 to {RANK_MAX}, not {}", self.rank));
        }
        Ok(())
    }
}

/// What a member of a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StandbyState {
    /// No router has said yet.
    #[default]
    Unknown,
    /// It holds the set: what it publishes is delivered.
    Active {
        /// The set's generation.
        generation: u64,
    },
    /// It waits.
    Waiting {
        /// The set's generation.
        generation: u64,
        /// Whether another member holds the set. Where nobody does, one claims it within seconds.
        is_held: bool,
    },
    /// It held the set, and another member does: it waits from here on.
    Fenced {
        /// The set's generation, in which that other member holds it.
        generation: u64,
    },
}

/// What became of a numbered event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Numbered {
    /// It is published, under this seq.
    Published(u64),
    /// It is kept, until this member takes over or the event is no more needed.
    Kept,
    /// Routers have had its number: it is passed over.
    PassedOver,
}

/// What a run says of its publisher's set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetStamp<'a> {
    pub(super) set: &'a str,
    /// In which the publisher holds it.
    pub(super) generation: u64,
    /// What came before the first number of this holder nobody may have got out.
    pub(super) is_behind_hole: bool,
}

/// An event that waits.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) source_seq: u64,
    tags: KeptTags,
    pub(super) time_ns: u64,
    pub(super) payload: Box<[u8]>,
}

#[derive(Debug)]
enum KeptTags {
    Handle(TagHandle),
    Set(TagSet),
}

impl Kept {
    pub(super) const fn tags(&self) -> Tags<'_> {
        match &self.tags {
            KeptTags::Handle(handle) => Tags::Handle(*handle),
            KeptTags::Set(set) => Tags::Set(set),
        }
    }

    const fn bytes(&self) -> usize {
        self.payload.len() + EVENT_BYTES
    }
}

/// A member of a set.
#[derive(Debug)]
pub(super) struct Member {
    wish: SetWish,
    state: StandbyState,
    /// Whether it held the set when it was told last, on an earlier connection, too: then events
    /// are queued until it is told again.
    was_active: bool,
    /// Its store holds events of an earlier process, which are sent only if nobody else has held
    /// the set since.
    has_old: bool,
    /// The highest generation that it has heard of.
    generation: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Whether a router has said anything yet.
    has_heard: bool,
    /// What the router said of the next source seq in this generation, and when; nothing while it
    /// holds the set.
    words: VecDeque<(Time, u64)>,
    settled: u64,
    /// The highest source seq of its application.
    last: Option<u64>,
    /// The number from which on it has, or has published, all that its application gives; none
    /// before the first. What the set is missing below, others may have.
    from: Option<u64>,
    /// What routers had had of the set, plus one, [`ABREAST_NS`] ago; it stays while it holds the
    /// set.
    entered: u64,
    /// What they had had when it became active last.
    began_at: u64,
    /// What its router was told of [`Member::is_abreast`], since the set was lost last: that voids
    /// what was told before.
    told_abreast: Option<bool>,
    passed_over: u64,
}

impl Member {
    const fn new(wish: SetWish, has_old: bool) -> Self {
        Self {
            has_old,
            generation: wish.known,
            wish,
            state: StandbyState::Unknown,
            was_active: false,
            kept: VecDeque::new(),
            kept_bytes: 0,
            has_heard: false,
            words: VecDeque::new(),
            settled: 0,
            last: None,
            from: None,
            entered: 0,
            began_at: 0,
            told_abreast: None,
            passed_over: 0,
        }
    }

    /// A member as a publisher's settings ask for it, if they do.
    pub(super) fn of(wish: &Option<SetWish>, has_old: bool) -> Option<Box<Self>> {
        wish.clone().map(|wish| Box::new(Self::new(wish, has_old)))
    }

    /// Why an event without a number is not taken; none: it is queued.
    pub(super) const fn refusal(&self) -> Option<PublishError> {
        match (self.queues(), self.is_in_doubt()) {
            (true, _) => None,
            // Whether it takes over shows within seconds.
            (false, true) => Some(PublishError::WouldBlock),
            (false, false) => Some(PublishError::OnStandby),
        }
    }

    /// What it is.
    pub(super) const fn state(&self) -> StandbyState {
        self.state
    }

    /// What each of its runs says of the set; none while it must not publish.
    pub(super) fn stamp(&self) -> Option<SetStamp<'_>> {
        let StandbyState::Active { generation } = self.state else { return None };
        // Of a set without numbers routers know none. What they had had just before is no help: it
        // may be fenced.
        let is_behind_hole = self.began_at > 0 && self.from.is_some() && !self.is_abreast();
        Some(SetStamp { set: &self.wish.set, generation, is_behind_hole })
    }

    /// Whether it can take over without loss: what routers may not have had, it has, or is going to
    /// be given.
    fn is_abreast(&self) -> bool {
        self.from.is_some_and(|from| from <= self.entered.max(self.settled))
    }

    /// Whether events without a number are queued, perhaps to be published later.
    pub(super) const fn queues(&self) -> bool {
        match self.state {
            StandbyState::Active { .. } => true,
            StandbyState::Unknown => self.was_active,
            _ => false,
        }
    }

    /// Whether it is to be known soon whether it takes over: events without a number wait for that.
    pub(super) const fn is_in_doubt(&self) -> bool {
        matches!(self.state, StandbyState::Unknown | StandbyState::Waiting { is_held: false, .. })
    }

    /// What a router is to be asked for on a new connection.
    pub(super) fn request(&mut self, number: u64, index: u64) -> Standby {
        self.state = StandbyState::Unknown;
        let wishes = self.wishes(number, index);
        // Whether it has lost the set meanwhile, and what it had on its way, it is about to hear.
        let abreast = wishes.abreast && !self.was_active;
        self.told_abreast = Some(abreast);
        Standby { abreast, ..wishes }
    }

    /// What its router is to be told besides: whether it is abreast, when that is news.
    pub(super) fn news(&mut self, number: u64, index: u64) -> Option<Standby> {
        let is_abreast = Some(self.is_abreast());
        let is_news = self.state != StandbyState::Unknown && is_abreast != self.told_abreast;
        is_news.then(|| self.wishes(number, index))
    }

    fn wishes(&mut self, number: u64, index: u64) -> Standby {
        let abreast = self.is_abreast();
        self.told_abreast = Some(abreast);
        Standby {
            set: self.wish.set.clone(),
            publisher: number,
            rank: self.wish.rank.into(),
            preempt: self.wish.preempt,
            leave: false,
            index,
            generation: self.generation,
            abreast,
        }
    }

    /// The connection is gone, and with it what the router knows of this member.
    pub(super) const fn disconnected(&mut self) {
        self.state = StandbyState::Unknown;
    }

    /// The router says what it is. True when it was active and is so no more: what it has queued is
    /// not to be sent.
    pub(super) fn hear(&mut self, now: Time, said: &SetState) -> bool {
        if said.set != self.wish.set {
            return false;
        }
        let is_first = !std::mem::replace(&mut self.has_heard, true);
        self.let_go(now);
        let old = self.words.iter().rfind(|&&(at, _)| now.nanos_since(at) >= ABREAST_NS);
        self.entered = self.entered.max(old.map_or(0, |&(_, next)| next));
        if said.generation > self.generation || said.standing == Standing::Active {
            // What entered last before a takeover may be fenced. The new holder publishes it again,
            // and this member, if it is the one, nothing but that and what it is given.
            self.words.clear();
        }
        self.generation = self.generation.max(said.generation);
        let (generation, is_held) = (said.generation, !said.vacant);
        let was_active = self.was_active;
        if said.standing == Standing::Active && self.state != (StandbyState::Active { generation }) {
            self.began_at = self.began_at.max(said.next_source_seq);
        }
        if matches!(self.state, StandbyState::Active { .. }) && said.standing != Standing::Active {
            self.told_abreast = None;
        }
        self.state = match said.standing {
            Standing::Active => StandbyState::Active { generation },
            Standing::Fenced => StandbyState::Fenced { generation },
            // What this version does not know must not publish.
            _ => StandbyState::Waiting { generation, is_held },
        };
        if said.standing != Standing::Active {
            if self.words.len() == WORDS_MAX {
                self.words.pop_front();
            }
            self.words.push_back((now, said.next_source_seq));
        }
        if is_first && !is_held && said.standing == Standing::Waiting {
            // Nobody has held the set for a while: nothing is on its way.
            self.settled = said.next_source_seq;
        }
        self.was_active = said.standing == Standing::Active;
        // Nobody else has been active where nobody holds the set: it may go on.
        self.was_active |= was_active && self.is_in_doubt() && said.standing != Standing::Fenced;
        self.let_go(now);
        let is_superseded = match self.state {
            StandbyState::Active { generation } => generation > self.wish.known + 1,
            StandbyState::Waiting { is_held, .. } => is_held,
            _ => true,
        };
        let is_old_over = self.has_old && is_superseded;
        self.has_old &= !is_superseded && !self.was_active;
        let is_over = was_active && !self.was_active;
        if is_over && let Some(last) = self.last {
            // What it had queued, and what was on its way, it has no more. That its own numbers
            // have entered does not say that others have published them: they have when the next
            // one has.
            self.from = Some(self.kept.front().map_or(last + 1, |first| first.source_seq) + 1);
        }
        is_old_over || is_over
    }

    /// Whether an event with this number is to be taken; if not, it is passed over.
    pub(super) fn takes(&mut self, now: Time, source_seq: u64) -> bool {
        self.let_go(now);
        self.from.get_or_insert(source_seq);
        let takes = self.last.is_none_or(|last| source_seq > last) && source_seq >= self.settled;
        self.passed_over += u64::from(!takes);
        takes
    }

    /// The application has given an event with this number.
    pub(super) const fn note(&mut self, source_seq: u64) {
        self.last = Some(source_seq);
    }

    /// Whether numbered events are kept, because it waits or others wait before them.
    pub(super) fn keeps(&self) -> bool {
        !self.queues() || !self.kept.is_empty()
    }

    /// Keeps an event. False when there is no room: those that are kept may be needed.
    pub(super) fn keep(&mut self, source_seq: u64, tags: Tags<'_>, time_ns: u64, payload: &[u8]) -> bool {
        let next = self.words.back().map_or(0, |&(_, next)| next);
        let needs = payload.len() + EVENT_BYTES;
        while !self.has_room(needs)
            && !self.queues()
            && let Some(first) = self.kept.front().filter(|first| first.source_seq < next)
        {
            self.kept_bytes -= first.bytes();
            self.kept.pop_front();
        }
        if !self.has_room(needs) && !self.kept.is_empty() {
            return false;
        }
        let tags = match tags {
            Tags::Handle(handle) => KeptTags::Handle(handle),
            Tags::Set(set) => KeptTags::Set(set.clone()),
        };
        let event = Kept { source_seq, tags, time_ns, payload: payload.into() };
        self.kept_bytes += event.bytes();
        self.kept.push_back(event);
        true
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.kept.len() < self.wish.window_events && self.kept_bytes + bytes <= self.wish.window_bytes
    }

    /// The oldest kept event, when it is to be published.
    pub(super) fn next_kept(&self) -> Option<&Kept> {
        self.kept.front().filter(|_| self.queues())
    }

    /// The oldest kept event is published.
    pub(super) fn published_kept(&mut self) {
        if let Some(first) = self.kept.pop_front() {
            self.kept_bytes -= first.bytes();
        }
    }

    /// Events that it keeps.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Events that were passed over, because routers have had their numbers.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Lets go of what entered long enough ago.
    fn let_go(&mut self, now: Time) {
        while let Some(&(at, next)) = self.words.front()
            && now.nanos_since(at) >= OVERLAP_NS
            // The last word stays: it says which of the kept events may give way.
            && self.words.len() > 1
        {
            self.settled = self.settled.max(next);
            self.words.pop_front();
        }
        if let Some(&(at, next)) = self.words.front()
            && now.nanos_since(at) >= OVERLAP_NS
        {
            self.settled = self.settled.max(next);
        }
        while let Some(first) = self.kept.front().filter(|first| first.source_seq < self.settled) {
            self.kept_bytes -= first.bytes();
            self.kept.pop_front();
        }
    }
}
