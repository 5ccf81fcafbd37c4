//! The requests of one requester that wait for replies, and when their time is over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::asking::{Asking, locked};
use crate::event::{Event, GapReason};

/// Requests of one requester that are open, at most.
const OPEN_MAX: usize = 131_072;
/// Deadlines that are kept beside twice those of open requests, at most.
const SPARE_DEADLINES: usize = 1024;

/// Open requests, by number.
#[derive(Debug, Default)]
struct Table {
    asking: HashMap<u32, Arc<Mutex<Asking>>, ahash::RandomState>,
    next: u32,
    /// The deadlines of all, the first one on top, among those of some that have ended.
    due: BinaryHeap<Reverse<(Instant, u32)>>,
    /// When the table is looked through next.
    alarm: Option<Instant>,
    /// Connections that were lost so far.
    lost: u64,
    /// Why no replies come any more.
    ended: Option<Arc<str>>,
}

impl Table {
    /// Notes a deadline. Whether it comes before all that are waited for.
    fn note(&mut self, deadline: Instant, number: u32) -> bool {
        if self.due.len() >= 2 * self.asking.len() + SPARE_DEADLINES {
            self.due.retain(|Reverse((_, number))| self.asking.contains_key(number));
        }
        self.due.push(Reverse((deadline, number)));
        let is_first = self.alarm.is_none_or(|alarm| deadline < alarm);
        if is_first {
            self.alarm = Some(deadline);
        }
        is_first
    }
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
pub(super) struct Open {
    table: Mutex<Table>,
    /// Tells that a deadline comes before those that were waited for.
    sooner: Notify,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request. Its number, and how many connections were lost so far.
    pub(super) fn add(&self, asking: Asking) -> Result<(u32, Arc<Mutex<Asking>>, u64), Refused> {
        let (deadline, asking) = (asking.deadline, Arc::new(Mutex::new(asking)));
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
        let (number, losses) = (table.next, table.lost);
        table.next = number.wrapping_add(1);
        table.asking.insert(number, asking.clone());
        let is_sooner = table.note(deadline, number);
        drop(table);
        if is_sooner {
            self.sooner.notify_one();
        }
        Ok((number, asking, losses))
    }

    /// A request waits for no more replies.
    pub(super) fn remove(&self, number: u32) {
        // Its memory is freed behind the lock.
        let asking = self.lock().asking.remove(&number);
        drop(asking);
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

    /// Ends requests whose time is over, for as long as it is polled: one timer for all of them.
    pub(super) async fn watch(&self) {
        loop {
            let next = self.end_overdue(Instant::now());
            tokio::select! {
                () = async { tokio::time::sleep_until(next.expect("there is one")).await }, if next.is_some() => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Ends requests whose time is over. When the next one is due.
    fn end_overdue(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut table = self.lock();
            let next = loop {
                let Some(&Reverse((deadline, number))) = table.due.peek() else { break None };
                match table.asking.get(&number) {
                    Some(_) if deadline > now => break Some((deadline, None)),
                    Some(asking) => {
                        let asking = asking.clone();
                        table.due.pop();
                        break Some((deadline, Some(asking)));
                    }
                    None => drop(table.due.pop()),
                }
            };
            table.alarm = next.as_ref().map(|&(deadline, _)| deadline);
            drop(table);
            let (deadline, overdue) = next?;
            let Some(overdue) = overdue else { return Some(deadline) };
            let mut asking = locked(&overdue);
            // A number is given again when all others were.
            let waker = if asking.deadline <= now { asking.replies.overdue() } else { None };
            drop(asking);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// All requests that are open, the oldest first.
    fn all(&self) -> Vec<(u32, Arc<Mutex<Asking>>)> {
        let table = self.lock();
        let mut all: Vec<_> = table.asking.iter().map(|(&number, asking)| (number, asking.clone())).collect();
        let next = table.next;
        drop(table);
        all.sort_unstable_by_key(|&(number, _)| number.wrapping_sub(next));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use super::super::asking::News;
    use super::super::asking::tests::{Woken, asking, reply};
    use super::super::options::Wanted;
    use super::*;

    #[test]
    fn a_request_holds_as_many_replies_as_it_wants_and_memory_for_those_that_are_there() {
        for (wanted, room) in [(Wanted::First, 1), (Wanted::Count(3), 3), (Wanted::Count(u64::MAX), 4096)] {
            let open = Open::default();
            let (number, asked, _) = open.add(asking(wanted)).unwrap();
            let woken = Arc::new(Woken::default());
            let waker = woken.clone().into();
            let context = Context::from_waker(&waker);
            assert!(locked(&asked).replies.poll(&context).is_pending());
            for seq in 0..5000 {
                open.reply(number.into(), reply(seq));
            }
            assert_eq!(woken.times(), 1, "who waits is woken once");
            for seq in 0..room {
                let told = locked(&asked).replies.poll(&context);
                assert_eq!(told, Poll::Ready((None, News::Reply(reply(seq)))), "{wanted:?}");
            }
            assert!(locked(&asked).replies.poll(&context).is_pending());
        }
        // With the request's tags and payload.
        assert!(size_of::<Mutex<Asking>>() <= 192, "{}", size_of::<Mutex<Asking>>());
    }

    #[test]
    fn requests_end_with_their_requester_behind_the_replies_that_are_there_and_none_is_added() {
        let open = Open::default();
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let context = Context::from_waker(&waker);
        let asked: Vec<_> = (0..2).map(|_| open.add(asking(Wanted::Count(2))).unwrap()).collect();
        open.reply(asked[0].0.into(), reply(3));
        for (_, asked, _) in &asked {
            let _ = locked(asked).replies.poll(&context);
        }
        open.end("it was dropped");
        open.end("again");
        assert_eq!(woken.times(), 1, "the second one waits, and is told");
        for (_, asked, _) in &asked {
            assert_eq!(locked(asked).replies.poll(&context), Poll::Ready((None, News::Ended)));
        }
        assert_eq!(open.add(asking(Wanted::First)).err(), Some(Refused::Ended("it was dropped".into())));
    }

    #[test]
    fn what_is_missed_is_noted_at_the_requests_that_are_open_then() {
        let open = Open::default();
        let (_, before, _) = open.add(asking(Wanted::First)).unwrap();
        open.missed(GapReason::Overflow);
        let (_, after, losses) = open.add(asking(Wanted::First)).unwrap();
        assert_eq!((locked(&before).missed, locked(&after).missed), (Some(GapReason::Overflow), None));
        assert_eq!((losses, open.lost().len(), open.losses()), (0, 2, 1));
    }

    #[test]
    fn requests_are_asked_again_in_their_order_whatever_their_numbers() {
        let open = Open::default();
        open.lock().next = u32::MAX - 1;
        let numbers: Vec<u32> = (0..5).map(|_| open.add(asking(Wanted::First)).unwrap().0).collect();
        assert_eq!(numbers, [u32::MAX - 1, u32::MAX, 0, 1, 2]);
        assert!(open.lost().into_iter().map(|(number, _)| number).eq(numbers));
    }

    #[test]
    fn each_request_ends_at_its_own_deadline_and_those_that_have_ended_leave_nothing() {
        let (open, start) = (Open::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let add = |ms| open.add(Asking { deadline: at(ms), ..asking(Wanted::First) }).unwrap();
        let (late, soon, gone) = (add(300), add(100), add(50));
        assert_eq!(open.end_overdue(start), Some(at(50)));
        open.remove(gone.0);
        let overdue = |asked: &Mutex<Asking>| {
            let woken = Arc::new(Woken::default()).into();
            let told = locked(asked).replies.poll(&Context::from_waker(&woken));
            told == Poll::Ready((None, News::Overdue))
        };
        assert_eq!(open.end_overdue(at(99)), Some(at(100)));
        assert_eq!((overdue(&soon.1), overdue(&late.1)), (false, false));
        assert_eq!(open.end_overdue(at(100)), Some(at(300)));
        assert_eq!((overdue(&soon.1), overdue(&late.1)), (true, false));
        for _ in 0..10_000 {
            open.remove(add(60_000).0);
        }
        assert!(open.lock().due.len() <= SPARE_DEADLINES + 8, "{}", open.lock().due.len());
        assert_eq!(open.end_overdue(at(300)), None);
        assert_eq!((overdue(&late.1), open.lock().due.len()), (true, 0));
    }

    #[tokio::test]
    async fn whoever_watches_is_told_of_a_deadline_that_comes_before_the_others() {
        let open = Arc::new(Open::default());
        let watched = open.clone();
        let watch = tokio::spawn(async move { watched.watch().await });
        let start = Instant::now();
        let mut asked = Vec::new();
        for ms in [60_000, 20, 40] {
            let deadline = start + Duration::from_millis(ms);
            asked.push(open.add(Asking { deadline, ..asking(Wanted::First) }).unwrap().1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for (asked, ms) in asked[1..].iter().zip([20, 40]) {
            let told = std::future::poll_fn(|context| locked(asked).replies.poll(context)).await;
            let waited = start.elapsed();
            assert_eq!(told, (None, News::Overdue));
            assert!(waited >= Duration::from_millis(ms) && waited < Duration::from_secs(30), "{waited:?}");
        }
        watch.abort();
    }
}
