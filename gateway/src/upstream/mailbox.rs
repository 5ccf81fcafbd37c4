//! The bounded queue of one local client. Who does not keep up loses the oldest events, and finds a
//! gap where they were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_client::Gap;
use millrace_client::GapReason;
use tokio::sync::Notify;

use super::arrival::Arrival;
use super::receipt::Receipt;
use crate::counters::{Counters, Door, Reason};

/// Events that wait for one local client, at most: a second of a busy stream.
pub const MAILBOX_EVENTS_MAX: usize = 4096;
/// Bytes that wait for one local client, at most, unless they are those of
/// [`MAILBOX_ALWAYS`] events.
pub const MAILBOX_BYTES_MAX: usize = 1 << 20;
/// Events that may wait however large they are: one that several subscriptions of a client match
/// comes for each of them at once.
pub const MAILBOX_ALWAYS: usize = 4;

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
            let Some(oldest) = self.queue.pop_front() else { break };
            self.bytes -= oldest.bytes();
            let (own, events) = match &oldest.delivery {
                Delivery::Event(_) => (1, 1),
                // What was missing before is missing still, but others have counted it.
                Delivery::Gap(gap) => (0, gap.events),
            };
            dropped += own;
            *self.lost.entry(oldest.subscription).or_default() += events;
        }
        self.bytes += bytes;
        self.queue.push_back(letter);
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
        let had_none = state.queue.is_empty();
        let room = MAILBOX_EVENTS_MAX - state.queue.len();
        state.queue.reserve(letters.len().min(room));
        for letter in letters {
            dropped += state.push(letter);
        }
        let is_filled = had_none && !state.queue.is_empty();
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
        if state.lost.is_empty() && state.queue.len() <= events_max {
            state.bytes = 0;
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
        let count = state.queue.len().min(events_max);
        taken.extend(state.queue.drain(..count));
        state.bytes -= taken.iter().skip(taken.len() - count).map(Letter::bytes).sum::<usize>();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        } else {
            self.filled.notify_one();
        }
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::TagSet;

    use super::*;

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
        assert_eq!(seqs(&mailbox.take(9).await.unwrap()), [Err(1), Ok(1), Ok(2), Ok(3), Ok(4)]);
        mailbox.end("over");
        assert_eq!(mailbox.take(9).await.unwrap_err().as_ref(), "over");
    }
}
