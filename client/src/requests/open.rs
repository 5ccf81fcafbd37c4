//! The requests of one requester that wait for replies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use millrace_proto::TagSet;
use millrace_proto::data::optional::Addressed;
use tokio::time::Instant;

use super::options::Wanted;
use crate::event::{Event, GapReason};

/// Requests of one requester that are open, at most.
const OPEN_MAX: usize = 131_072;
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

/// Replies that wait for their application. Takes memory when there are some: most requests wait
/// for one reply, and many wait at a time.
#[derive(Debug)]
pub(super) struct Waiting {
    events: VecDeque<Event>,
    /// How many there is room for.
    room: usize,
    /// Who waits for the next one.
    waker: Option<Waker>,
    /// No more come, because the requester has ended.
    is_ended: bool,
}

impl Waiting {
    /// Room for as many replies as are wanted, within bounds.
    pub(super) fn new(wanted: Wanted) -> Self {
        let most = match wanted {
            Wanted::First => 1,
            Wanted::Count(count) => count.clamp(1, REPLIES_WAITING_MAX),
            Wanted::All => REPLIES_WAITING_MAX,
        };
        let room = usize::try_from(most).unwrap_or(usize::MAX);
        Self { events: VecDeque::new(), room, waker: None, is_ended: false }
    }

    /// Takes a reply in, if there is room; who is to be woken then.
    fn push(&mut self, event: Event) -> Option<Waker> {
        if self.events.len() >= self.room {
            return None;
        }
        if self.events.capacity() == 0 {
            self.events.reserve_exact(1);
        }
        self.events.push_back(event);
        self.waker.take()
    }

    /// The oldest reply, as soon as there is one; none when no more come.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if self.is_ended {
            return Poll::Ready(None);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// No more come; who is to be woken then.
    fn end(&mut self) -> Option<Waker> {
        self.is_ended = true;
        self.waker.take()
    }
}

impl Asking {
    /// Its address, for an event of this number.
    pub(super) fn addressed(&self, number: u32) -> Addressed<'_> {
        let left = self.deadline.saturating_duration_since(Instant::now());
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

/// Open requests, by number.
#[derive(Debug, Default)]
struct Table {
    asking: BTreeMap<u32, Arc<Mutex<Asking>>>,
    next: u32,
    /// Connections that were lost so far.
    lost: u64,
    /// Why no replies come any more.
    ended: Option<Arc<str>>,
}

/// Why a request is not added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many are open.
    TooMany,
    /// The requester has ended, for this reason.
    Ended(Arc<str>),
}

/// The requests that wait for replies.
#[derive(Debug, Default)]
pub(super) struct Open(Mutex<Table>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; its number.
    pub(super) fn add(&self, asking: Asking) -> Result<(u32, Arc<Mutex<Asking>>), Refused> {
        let mut table = self.lock();
        if let Some(why) = &table.ended {
            return Err(Refused::Ended(why.clone()));
        }
        if table.asking.len() >= OPEN_MAX {
            return Err(Refused::TooMany);
        }
        while table.asking.contains_key(&table.next) {
            table.next = table.next.wrapping_add(1);
        }
        let (number, asking) = (table.next, Arc::new(Mutex::new(asking)));
        table.next = number.wrapping_add(1);
        table.asking.insert(number, asking.clone());
        Ok((number, asking))
    }

    /// A request waits for no more replies.
    pub(super) fn remove(&self, number: u32) {
        self.lock().asking.remove(&number);
    }

    /// Passes a reply on. One that nobody waits for, or for which its waiter has no room, is
    /// dropped.
    pub(super) fn reply(&self, number: u64, event: Event) {
        let asking = u32::try_from(number).ok().and_then(|number| self.lock().asking.get(&number).cloned());
        if let Some(waker) = asking.and_then(|asking| locked(&asking).replies.push(event)) {
            waker.wake();
        }
    }

    /// Replies may have been lost for this reason: nobody can tell to which of the open requests.
    pub(super) fn missed(&self, reason: GapReason) {
        for (_, asking) in self.all() {
            locked(&asking).missed = Some(reason);
        }
    }

    /// A connection is lost, and what was asked on it is to be asked again.
    pub(super) fn lost(&self) -> Vec<(u32, Arc<Mutex<Asking>>)> {
        self.lock().lost += 1;
        self.all()
    }

    /// Connections that were lost so far.
    pub(super) fn losses(&self) -> u64 {
        self.lock().lost
    }

    /// No replies come any more: requests that wait end, and none is added.
    pub(super) fn end(&self, why: &str) {
        self.lock().ended.get_or_insert_with(|| why.into());
        for (_, asking) in self.all() {
            let waker = locked(&asking).replies.end();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// All requests that are open.
    fn all(&self) -> Vec<(u32, Arc<Mutex<Asking>>)> {
        self.lock().asking.iter().map(|(&number, asking)| (number, asking.clone())).collect()
    }
}

/// A request, to be looked at or changed.
pub(super) fn locked(asking: &Mutex<Asking>) -> MutexGuard<'_, Asking> {
    asking.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::SystemTime;

    use millrace_proto::id::EventId;
    use millrace_proto::{Epoch, PublisherId, PublisherKey};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reply(seq: u64) -> Event {
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

    fn asking(wanted: Wanted) -> Asking {
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
    fn a_request_holds_as_many_replies_as_it_wants_and_memory_for_those_that_are_there() {
        for (wanted, room) in [(Wanted::First, 1), (Wanted::Count(3), 3), (Wanted::Count(u64::MAX), 4096)] {
            let open = Open::default();
            let (number, asked) = open.add(asking(wanted)).unwrap();
            assert_eq!(locked(&asked).replies.events.capacity(), 0);
            let woken = Arc::new(Woken::default());
            let waker = woken.clone().into();
            assert!(locked(&asked).replies.poll(&Context::from_waker(&waker)).is_pending());
            for seq in 0..5000 {
                open.reply(number.into(), reply(seq));
            }
            assert_eq!(woken.0.load(Ordering::Relaxed), 1, "who waits is woken once");
            for seq in 0..room {
                let Poll::Ready(Some(event)) = locked(&asked).replies.poll(&Context::from_waker(&waker))
                else {
                    panic!("{wanted:?}: {seq} of {room}")
                };
                assert_eq!(event.id.seq, seq, "{wanted:?}");
            }
            assert!(locked(&asked).replies.poll(&Context::from_waker(&waker)).is_pending());
        }
        // With the request's tags and payload, and its place in the table.
        assert!(size_of::<Mutex<Asking>>() <= 192, "{}", size_of::<Mutex<Asking>>());
    }

    #[test]
    fn routers_hear_how_many_replies_are_wanted() {
        let wants = [(Wanted::First, 1), (Wanted::Count(3), 3), (Wanted::Count(0), 1), (Wanted::All, 0)];
        for (wanted, at_router) in wants {
            let addressed = asking(wanted);
            assert_eq!(addressed.addressed(7).replies, at_router, "{wanted:?}");
        }
    }

    #[test]
    fn requests_end_with_their_requester_behind_the_replies_that_are_there_and_none_is_added() {
        let open = Open::default();
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let context = Context::from_waker(&waker);
        let asked: Vec<_> = (0..2).map(|_| open.add(asking(Wanted::Count(2))).unwrap()).collect();
        open.reply(asked[0].0.into(), reply(3));
        for (_, asked) in &asked {
            let _ = locked(asked).replies.poll(&context);
        }
        open.end("it was dropped");
        open.end("again");
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "the second one waits, and is told");
        for (_, asked) in &asked {
            assert_eq!(locked(asked).replies.poll(&context), Poll::Ready(None));
        }
        assert_eq!(open.add(asking(Wanted::First)).err(), Some(Refused::Ended("it was dropped".into())));
    }

    #[test]
    fn what_is_missed_is_noted_at_the_requests_that_are_open_then() {
        let open = Open::default();
        let (_, before) = open.add(asking(Wanted::First)).unwrap();
        open.missed(GapReason::Overflow);
        let (_, after) = open.add(asking(Wanted::First)).unwrap();
        assert_eq!((locked(&before).missed, locked(&after).missed), (Some(GapReason::Overflow), None));
        assert_eq!((open.lost().len(), open.losses()), (2, 1));
    }
}
