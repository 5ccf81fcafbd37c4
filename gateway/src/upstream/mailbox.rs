//! The bounded queue of one local client. Who does not keep up loses the oldest events, and finds a
//! gap where they were.
//!
//! All queues of a program have a bound together, too, because tens of thousands of clients may
//! take nothing at once: beyond it, those that have taken nothing for a second have their share of
//! it alone, and beyond twice as much, every one does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::Gap;
use millrace_client::GapReason;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::arrival::Arrival;
use super::receipt::Receipt;
use crate::counters::{Counters, Door, Reason, Waiting};

/// Events that wait for one local client, at most: a second of a busy stream.
pub const MAILBOX_EVENTS_MAX: usize = 4096;
/// Bytes that wait for one local client, at most, unless they are those of
/// [`MAILBOX_ALWAYS`] events.
pub const MAILBOX_BYTES_MAX: usize = 1 << 20;
/// Events that may wait however large they are: one that several subscriptions of a client match
/// comes for each of them at once.
pub const MAILBOX_ALWAYS: usize = 4;
/// Bytes that wait for all local clients of a program before it keeps no more for one than its
/// share of them. An event that waits for several clients counts for each.
pub(crate) const ALL_MAILBOXES_BYTES: u64 = 256 << 20;
/// A client's share, however many there are; it may be one event that is larger.
pub(crate) const SHARE_BYTES_MIN: u64 = 16 << 10;
/// A client that has taken nothing for this time while something waits does not keep up.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// Bytes that are taken at once, unless they are one event: what is taken is out of every bound
/// until the client has it.
const TAKEN_BYTES_MAX: usize = 64 << 10;

/// What arrives for a local client.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// An event.
    Event(Arc<Arrival>),
    /// Events are missing here.
    Gap(Gap),
}

/// A delivery, and the client's own number of the subscription that it is for.
#[derive(Debug)]
pub struct Letter {
    /// The subscription's number.
    pub subscription: u64,
    /// What arrived.
    pub delivery: Delivery,
    /// Who is a member of a group by itself says with it that the event is done.
    pub receipt: Option<Receipt>,
}

impl Letter {
    fn bytes(&self) -> usize {
        match &self.delivery {
            Delivery::Event(arrival) => arrival.payload.len() + arrival.tags.canonical().len() + 64,
            Delivery::Gap(_) => 64,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Letter>,
    bytes: usize,
    /// Events that gave way since the last taking, by subscription. They all stood in front of what
    /// is queued.
    lost: BTreeMap<u64, u64>,
    /// Since when the first letter waits to be taken.
    since: Option<Instant>,
    /// Why nothing more will come.
    ended: Option<Arc<str>>,
}

impl State {
    /// Adds a letter. Returns how many events gave way to it.
    fn push(&mut self, letter: Letter) -> u64 {
        let (bytes, mut dropped) = (letter.bytes(), 0);
        while self.queue.len() >= MAILBOX_EVENTS_MAX
            || (self.bytes + bytes > MAILBOX_BYTES_MAX && self.queue.len() >= MAILBOX_ALWAYS)
        {
            dropped += self.give_way();
        }
        self.bytes += bytes;
        self.queue.push_back(letter);
        dropped
    }

    /// Gives up the oldest letter. Returns how many events that are.
    fn give_way(&mut self) -> u64 {
        let Some(oldest) = self.queue.pop_front() else { return 0 };
        self.bytes -= oldest.bytes();
        let (own, events) = match &oldest.delivery {
            Delivery::Event(_) => (1, 1),
            // What was missing before is missing still, but others have counted it.
            Delivery::Gap(gap) => (0, gap.events),
        };
        *self.lost.entry(oldest.subscription).or_default() += events;
        own
    }

    /// Keeps no more than a share, if so much waits for all clients that this one may not have
    /// more. Returns how many events gave way.
    fn squeeze(&mut self, all: Waiting) -> u64 {
        let is_stalled = || self.since.is_some_and(|since| since.elapsed() >= STALLED_AFTER);
        if all.bytes <= ALL_MAILBOXES_BYTES || (all.bytes <= 2 * ALL_MAILBOXES_BYTES && !is_stalled()) {
            return 0;
        }
        let share = (ALL_MAILBOXES_BYTES / all.queues.max(1)).max(SHARE_BYTES_MIN);
        let mut dropped = 0;
        while self.bytes as u64 > share && self.queue.len() > 1 {
            dropped += self.give_way();
        }
        if dropped > 0 {
            self.queue.shrink_to_fit();
        }
        dropped
    }
}

/// The queue of one local client, over all its subscriptions.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    filled: Notify,
    door: Door,
    counters: Arc<Counters>,
}

impl Mailbox {
    /// An empty mailbox of a client at `door`.
    #[must_use]
    pub fn new(door: Door, counters: Arc<Counters>) -> Arc<Self> {
        counters.queue_made();
        Arc::new(Self { state: Mutex::default(), filled: Notify::new(), door, counters })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a letter; the oldest give way where there is no room.
    pub fn push(&self, letter: Letter) {
        self.push_all([letter]);
    }

    /// Adds letters in their order, at once; the oldest give way where there is no room.
    pub fn push_all(&self, letters: impl IntoIterator<Item = Letter, IntoIter: ExactSizeIterator>) {
        let letters = letters.into_iter();
        let mut dropped = 0;
        let mut state = self.lock();
        let (had_none, before) = (state.queue.is_empty(), state.bytes);
        let room = MAILBOX_EVENTS_MAX - state.queue.len();
        state.queue.reserve(letters.len().min(room));
        for letter in letters {
            dropped += state.push(letter);
        }
        let is_filled = had_none && !state.queue.is_empty();
        if is_filled {
            state.since = Some(Instant::now());
        }
        self.counters.waits(self.door, before, state.bytes);
        let filled = state.bytes;
        dropped += state.squeeze(self.counters.waiting());
        if state.bytes < filled {
            self.counters.waits(self.door, filled, state.bytes);
        }
        drop(state);
        if dropped > 0 {
            self.counters.dropped(self.door, Reason::Overflow, dropped);
        }
        if is_filled {
            self.filled.notify_one();
        }
    }

    /// Nothing more will come; `why` is for people. What waits can still be taken.
    pub fn end(&self, why: &str) {
        self.lock().ended.get_or_insert_with(|| why.into());
        self.filled.notify_one();
    }

    /// Takes up to `events_max` letters, waiting for the first; for one task. May be dropped at any
    /// time.
    ///
    /// # Errors
    /// Why nothing more will come.
    pub async fn take(&self, events_max: usize) -> Result<Vec<Letter>, Arc<str>> {
        loop {
            let filled = self.filled.notified();
            if let Some(taken) = self.try_take(events_max)? {
                return Ok(taken);
            }
            filled.await;
        }
    }

    /// Takes what is there; `None` when that is nothing.
    ///
    /// # Errors
    /// Why nothing more will come.
    pub fn try_take(&self, events_max: usize) -> Result<Option<Vec<Letter>>, Arc<str>> {
        let mut state = self.lock();
        if state.queue.is_empty() && state.lost.is_empty() {
            return state.ended.clone().map_or(Ok(None), Err);
        }
        if state.lost.is_empty() && state.queue.len() <= events_max && state.bytes <= TAKEN_BYTES_MAX {
            self.counters.waits(self.door, std::mem::take(&mut state.bytes), 0);
            state.since = None;
            // The queue goes as it is, and what is empty keeps no room: tens of thousands of
            // clients have one each.
            return Ok(Some(std::mem::take(&mut state.queue).into()));
        }
        let mut taken: Vec<Letter> = std::mem::take(&mut state.lost)
            .into_iter()
            .map(|(subscription, events)| {
                let gap = Gap { reason: GapReason::Overflow, events, router: None };
                Letter { subscription, delivery: Delivery::Gap(gap), receipt: None }
            })
            .collect();
        let (before, mut bytes) = (state.bytes, 0);
        for count in 0..events_max {
            let Some(next) = state.queue.front().map(Letter::bytes) else { break };
            if count > 0 && bytes + next > TAKEN_BYTES_MAX {
                break;
            }
            bytes += next;
            taken.extend(state.queue.pop_front());
        }
        state.bytes -= bytes;
        self.counters.waits(self.door, before, state.bytes);
        if state.queue.is_empty() {
            (state.queue, state.since) = (VecDeque::new(), None);
        } else {
            state.since = Some(Instant::now());
            self.filled.notify_one();
        }
        Ok(Some(taken))
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.counters.queue_gone(self.door, bytes);
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::TagSet;

    use super::*;
    use crate::counters::FAMILIES;

    fn letter(subscription: u64, seq: u64, payload_bytes: usize) -> Letter {
        let tags = TagSet::from_texts(["a=b"]).unwrap();
        let arrival = Arrival::test(tags, seq, vec![0; payload_bytes]);
        Letter { subscription, delivery: Delivery::Event(Arc::new(arrival)), receipt: None }
    }

    fn seqs(letters: &[Letter]) -> Vec<Result<u64, u64>> {
        let seq = |letter: &Letter| match &letter.delivery {
            Delivery::Event(arrival) => Ok(arrival.id.seq),
            Delivery::Gap(gap) => Err(gap.events),
        };
        letters.iter().map(seq).collect()
    }

    #[tokio::test]
    async fn the_oldest_give_way_and_leave_a_gap_in_their_subscription() {
        let counters = Arc::new(Counters::default());
        let mailbox = Mailbox::new(Door::Web, counters.clone());
        for seq in 0..MAILBOX_EVENTS_MAX as u64 + 3 {
            mailbox.push(letter(seq % 2, seq, 1));
        }
        let taken = mailbox.take(2).await.unwrap();
        assert_eq!(seqs(&taken), [Err(2), Err(1), Ok(3), Ok(4)]);
        assert_eq!((taken[0].subscription, taken[1].subscription), (0, 1));
        let taken = mailbox.take(1).await.unwrap();
        assert_eq!(seqs(&taken), [Ok(5)]);
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_some_large_events_always_fit() {
        let mailbox = Mailbox::new(Door::Web, Arc::default());
        for seq in 0..=MAILBOX_ALWAYS as u64 {
            mailbox.push(letter(0, seq, MAILBOX_BYTES_MAX));
        }
        assert_eq!(seqs(&mailbox.take(9).await.unwrap()), [Err(1), Ok(1)], "one that is large at a time");
        for seq in 2..=MAILBOX_ALWAYS as u64 {
            assert_eq!(seqs(&mailbox.take(9).await.unwrap()), [Ok(seq)]);
        }
        mailbox.end("over");
        assert_eq!(mailbox.take(9).await.unwrap_err().as_ref(), "over");
    }

    #[tokio::test]
    async fn all_that_waits_is_counted_until_it_is_taken_or_its_client_is_gone() {
        let counters = Arc::new(Counters::default());
        let (taking, going) =
            (Mailbox::new(Door::Web, counters.clone()), Mailbox::new(Door::Nats, counters.clone()));
        taking.push_all([letter(0, 0, 100), letter(0, 1, 100)]);
        going.push(letter(0, 0, 1000));
        let all = counters.waiting();
        assert!((1200..2000).contains(&all.bytes) && all.queues == 2, "{all:?}");
        taking.take(1).await.unwrap();
        taking.take(1).await.unwrap();
        drop(going);
        assert_eq!(counters.waiting(), Waiting { bytes: 0, queues: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_take_nothing_share_what_all_may_have_and_those_that_do_keep_theirs() {
        const PAYLOAD: usize = 8 << 10;
        let counters = Arc::new(Counters::default());
        let shared = letter(0, 0, PAYLOAD).delivery;
        let more = || Letter { subscription: 0, delivery: shared.clone(), receipt: None };
        let fill = |mailbox: &Mailbox| (0..126).for_each(|_| mailbox.push(more()));
        let stalled: Vec<_> = (0..320).map(|_| Mailbox::new(Door::Web, counters.clone())).collect();
        stalled.iter().for_each(|mailbox| fill(mailbox));
        let before = counters.waiting().bytes;
        assert!(before > ALL_MAILBOXES_BYTES, "{before}");
        tokio::time::advance(STALLED_AFTER).await;
        let taking = Mailbox::new(Door::Web, counters.clone());
        fill(&taking);
        assert_eq!(taking.lock().queue.len(), 126, "it has not had the time to take anything");
        stalled.iter().for_each(|mailbox| mailbox.push(more()));
        let all = counters.waiting();
        assert!(all.bytes < ALL_MAILBOXES_BYTES + (2 << 20), "{all:?}");
        let dropped =
            counters.samples(FAMILIES.iter().find(|family| family.name == "dropped_events").unwrap());
        let told: u64 = stalled.iter().map(|mailbox| mailbox.lock().lost.values().sum::<u64>()).sum();
        assert_eq!(dropped[0].value, told, "each that gave way is counted, and leaves a gap");
        assert!(stalled[0].lock().queue.len() > 90, "as much as there is for each");
    }
}
