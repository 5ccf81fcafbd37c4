//! A request that waits: what it takes to ask again, and what its waiter was not given yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use millrace_proto::TagSet;
use millrace_proto::data::optional::Addressed;
use tokio::time::Instant;

use super::options::Wanted;
use crate::event::{Event, GapReason};
use crate::publisher::Hears;
use crate::session::Outcome;

/// Replies to one request that wait for its application, at most: more are dropped.
const REPLIES_WAITING_MAX: u64 = 4096;

/// A request that waits for replies, with what it takes to ask again.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) tags: TagSet,
    pub(super) payload: Box<[u8]>,
    pub(super) to: Vec<String>,
    pub(super) deadline: Instant,
    /// The event that asks now, by its seq.
    pub(super) seq: u64,
    /// Why a reply may have been lost on its way.
    pub(super) missed: Option<GapReason>,
    pub(super) replies: Waiting,
    /// How many replies its router waits for; 0: as many as come.
    pub(super) wanted: u32,
}

/// What a waiter is told.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is handed on at once")]
pub(super) enum News {
    Reply(Event),
    /// Only that its outcome is known.
    Outcome,
    /// Its time is over.
    Overdue,
    /// No more replies come, because the requester has ended.
    Ended,
}

/// What became of the event that asks, until its waiter has heard it.
#[derive(Debug, Default)]
enum Fate {
    #[default]
    Unknown,
    At(u64),
    Other(Box<Outcome>),
}

impl Fate {
    fn take(&mut self) -> Option<Outcome> {
        match std::mem::take(self) {
            Self::Unknown => None,
            Self::At(receivers) => Some(Outcome::Confirmed { receivers }),
            Self::Other(outcome) => Some(*outcome),
        }
    }
}

/// Replies that wait for their application. Takes memory when there are some: most requests wait
/// for one reply, and many wait at a time.
#[derive(Debug)]
pub(super) struct Waiting {
    events: VecDeque<Event>,
    /// How many there is room for.
    room: u16,
    is_ended: bool,
    is_overdue: bool,
    fate: Fate,
    /// Who waits for the next one.
    waker: Option<Waker>,
}

impl Waiting {
    /// Room for as many replies as are wanted, within bounds.
    pub(super) fn new(wanted: Wanted) -> Self {
        let most = match wanted {
            Wanted::First => 1,
            Wanted::Count(count) => count.clamp(1, REPLIES_WAITING_MAX),
            Wanted::All => REPLIES_WAITING_MAX,
        };
        let room = u16::try_from(most).unwrap_or(u16::MAX);
        let (events, fate) = (VecDeque::new(), Fate::default());
        Self { events, room, is_ended: false, is_overdue: false, fate, waker: None }
    }

    /// Takes a reply in, if there is room; who is to be woken then.
    pub(super) fn push(&mut self, event: Event) -> Option<Waker> {
        if self.events.len() >= usize::from(self.room) {
            return None;
        }
        if self.events.capacity() == 0 {
            self.events.reserve_exact(1);
        }
        self.events.push_back(event);
        self.waker.take()
    }

    /// What is new: the oldest reply before all else. With it comes the outcome, if that is news.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<(Option<Outcome>, News)> {
        let outcome = self.fate.take();
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready((outcome, News::Reply(event)));
        }
        if outcome.is_some() {
            return Poll::Ready((outcome, News::Outcome));
        }
        if self.is_ended {
            return Poll::Ready((None, News::Ended));
        }
        if self.is_overdue {
            return Poll::Ready((None, News::Overdue));
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The outcome, if its waiter has not heard it.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        self.fate.take()
    }

    /// How many receivers have the request, if its waiter has not heard it.
    pub(super) const fn receivers(&self) -> Option<u64> {
        match self.fate {
            Fate::At(receivers) => Some(receivers),
            _ => None,
        }
    }

    /// No more come; who is to be woken then.
    pub(super) fn end(&mut self) -> Option<Waker> {
        self.is_ended = true;
        self.waker.take()
    }

    /// Its time is over; who is to be woken then.
    pub(super) fn overdue(&mut self) -> Option<Waker> {
        self.is_overdue = true;
        self.waker.take()
    }
}

impl Asking {
    /// Its address, for an event of this number that goes out at `now`.
    pub(super) fn addressed(&self, number: u32, now: Instant) -> Addressed<'_> {
        let left = self.deadline.saturating_duration_since(now);
        Addressed {
            to: self.to.iter().map(String::as_str).collect(),
            request: Some(number.into()),
            // A request without time left would have the default.
            deadline_us: u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1),
            replies: self.wanted.into(),
            ..Addressed::default()
        }
    }
}

impl Hears for Mutex<Asking> {
    /// Who waits for one reply need not know how many receivers may give it.
    fn hear(&self, outcome: &Outcome) {
        let mut asking = locked(self);
        let waits_on = match outcome {
            &Outcome::Confirmed { receivers } => {
                asking.replies.fate = Fate::At(receivers);
                receivers > 0 && asking.wanted == 1
            }
            other => {
                asking.replies.fate = Fate::Other(Box::new(other.clone()));
                false
            }
        };
        let waker = if waits_on { None } else { asking.replies.waker.take() };
        drop(asking);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A request, to be looked at or changed.
pub(super) fn locked(asking: &Mutex<Asking>) -> MutexGuard<'_, Asking> {
    asking.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::SystemTime;

    use millrace_proto::id::EventId;
    use millrace_proto::{Epoch, PublisherId, PublisherKey};

    use super::*;

    #[derive(Default)]
    pub(in crate::requests) struct Woken(AtomicU32);

    impl Woken {
        pub(in crate::requests) fn times(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(in crate::requests) fn reply(seq: u64) -> Event {
        let publisher = PublisherKey { publisher: PublisherId(1), epoch: Epoch(1) };
        Event {
            tags: TagSet::from_texts(["kind=reply"]).unwrap(),
            id: EventId { publisher, seq },
            time: SystemTime::UNIX_EPOCH,
            payload: bytes::Bytes::new(),
            matched: Arc::new([]),
            maybe_duplicate: false,
            replayed: false,
            reply_to: None,
            answers: Some(7),
        }
    }

    pub(in crate::requests) fn asking(wanted: Wanted) -> Asking {
        Asking {
            tags: TagSet::from_texts(["kind=question"]).unwrap(),
            payload: Box::default(),
            to: Vec::new(),
            deadline: Instant::now(),
            seq: 0,
            missed: None,
            replies: Waiting::new(wanted),
            wanted: wanted.at_router(),
        }
    }

    #[test]
    fn routers_hear_how_many_replies_are_wanted() {
        let wants = [(Wanted::First, 1), (Wanted::Count(3), 3), (Wanted::Count(0), 1), (Wanted::All, 0)];
        for (wanted, at_router) in wants {
            let addressed = asking(wanted);
            assert_eq!(addressed.addressed(7, Instant::now()).replies, at_router, "{wanted:?}");
        }
    }

    #[test]
    fn who_waits_for_one_reply_is_woken_for_an_outcome_only_when_none_can_come() {
        let confirmed = |receivers| Outcome::Confirmed { receivers };
        let cases = [
            (Wanted::First, confirmed(2), false),
            (Wanted::Count(1), confirmed(1), false),
            (Wanted::First, confirmed(0), true),
            (Wanted::First, Outcome::Unknown, true),
            (Wanted::Count(2), confirmed(1), true),
            (Wanted::All, confirmed(1), true),
        ];
        for (wanted, outcome, wakes) in cases {
            let (asked, woken) = (Mutex::new(asking(wanted)), Arc::new(Woken::default()));
            let waker = woken.clone().into();
            let context = Context::from_waker(&waker);
            assert!(locked(&asked).replies.poll(&context).is_pending());
            asked.hear(&outcome);
            assert_eq!(woken.times(), u32::from(wakes), "{wanted:?} {outcome:?}");
            // And hears it whenever it looks, the reply first.
            locked(&asked).replies.push(reply(5));
            let told = locked(&asked).replies.poll(&context);
            assert_eq!(told, Poll::Ready((Some(outcome), News::Reply(reply(5)))));
            assert!(locked(&asked).replies.poll(&context).is_pending());
        }
    }
}
