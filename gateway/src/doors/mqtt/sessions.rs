//! Sessions by the names of their clients: who comes back finds what was kept, and who comes twice
//! takes over.
//!
//! Sessions are in this gateway's memory. A client that comes back to another gateway, or to this
//! one after a restart, finds no session, and is told so.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::inflight::Inflight;
use super::subscriptions::Subscriptions;
use super::will::LastWill;
use crate::counters::Door;
use crate::room::Room;
use crate::upstream::Mailbox;

/// Seconds for which a session is kept at most: a day.
pub(super) const EXPIRY_MAX_S: u32 = 24 * 60 * 60;
/// Sessions that are kept when their connection ends, at most. Each has a mailbox, which is small
/// as long as little arrives.
const KEPT_MAX: usize = 10_000;
/// A connection that is taken over hands its session on within this time, or not at all.
const HANDED_ON_WITHIN: Duration = Duration::from_secs(5);

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) subscriptions: Subscriptions,
    pub(super) inflight: Inflight,
    /// Messages of QoS 2 that were taken, and that the client may send again.
    pub(super) received: BTreeSet<u16>,
}

impl SessionState {
    /// A session of nothing.
    pub(super) fn new(room: &Room) -> Self {
        Self {
            mailbox: Mailbox::new(Door::Mqtt, room.counters.clone()),
            subscriptions: Subscriptions::default(),
            inflight: Inflight::default(),
            received: BTreeSet::new(),
        }
    }

    /// A client without a connection does no work: other members of its groups do.
    fn leave_groups(&mut self) {
        self.subscriptions.leave_groups();
        self.inflight.leave_groups();
    }
}

/// Whose session it is. An identity cannot reach the sessions of another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) identity: String,
    pub(super) client: String,
}

/// All sessions of the door. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    places: Arc<Mutex<Places>>,
    room_for_kept: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Places {
    by_key: HashMap<Key, Place>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    /// A connection, and how to ask for its session.
    Live(oneshot::Sender<Takeover>),
    Kept(Box<Kept>),
}

/// A session without a connection.
#[derive(Debug)]
struct Kept {
    state: SessionState,
    will: Option<LastWill>,
    /// Ends it.
    timer: AbortHandle,
    _permit: OwnedSemaphorePermit,
}

/// What a connection finds in its place.
enum Before {
    Nothing,
    /// A connection, which was asked for its session.
    Asked(oneshot::Receiver<SessionState>),
    Kept(Box<Kept>),
}

/// Another connection has the client's name.
#[derive(Debug)]
pub(super) struct Takeover {
    /// Whether it goes on with the session.
    resumes: bool,
    hand_on: oneshot::Sender<SessionState>,
}

/// A connection's place among the sessions.
#[derive(Debug)]
pub(super) struct Seat {
    sessions: Sessions,
    key: Key,
    number: u64,
    /// Room for the session when the connection ends; `None` if it is not kept.
    permit: Option<OwnedSemaphorePermit>,
    /// `None` when nobody can ask.
    asked: Option<oneshot::Receiver<Takeover>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { places: Arc::default(), room_for_kept: Arc::new(Semaphore::new(KEPT_MAX)) }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a client. Returns the session that it goes on with, if it wants one and
    /// there is one. `is_kept` asks for room for when the connection ends.
    pub(super) async fn open(
        &self,
        key: Key,
        resumes: bool,
        is_kept: bool,
        room: &Room,
    ) -> (Seat, Option<SessionState>) {
        let (sender, asked) = oneshot::channel();
        let permit = is_kept.then(|| self.room_for_kept.clone().try_acquire_owned().ok()).flatten();
        let (number, before) = self.take_place(&key, sender, resumes);
        let state = match before {
            Before::Nothing => None,
            Before::Asked(handed) => timeout(HANDED_ON_WITHIN, handed).await.ok().and_then(Result::ok),
            Before::Kept(kept) => {
                kept.timer.abort();
                if let Some(will) = kept.will.filter(|_| !resumes) {
                    will.publish(room);
                }
                Some(kept.state)
            }
        };
        let seat = Seat { sessions: self.clone(), key, number, permit, asked: Some(asked) };
        (seat, state.filter(|_| resumes))
    }

    /// Puts a connection into the place of its client, and asks the one that it finds there for the
    /// session: under the lock, so that whoever finds its place taken has been asked.
    fn take_place(&self, key: &Key, sender: oneshot::Sender<Takeover>, resumes: bool) -> (u64, Before) {
        let mut places = self.lock();
        places.next += 1;
        let number = places.next;
        let before = places.by_key.insert(key.clone(), Place { number, holder: Holder::Live(sender) });
        let before = match before.map(|place| place.holder) {
            Some(Holder::Live(before)) => {
                let (hand_on, handed) = oneshot::channel();
                // It may be about to end, without a session to hand on.
                let _ = before.send(Takeover { resumes, hand_on });
                Before::Asked(handed)
            }
            Some(Holder::Kept(kept)) => Before::Kept(kept),
            None => Before::Nothing,
        };
        (number, before)
    }

    /// The will of a kept session, if it is still the one of this number.
    fn take_will(&self, key: &Key, number: u64) -> Option<LastWill> {
        match self.lock().by_key.get_mut(key) {
            Some(Place { number: found, holder: Holder::Kept(kept) }) if *found == number => kept.will.take(),
            _ => None,
        }
    }

    /// Forgets a session, if it is still the one of this number.
    fn forget(&self, key: &Key, number: u64) -> Option<Place> {
        let mut places = self.lock();
        let is_it = places.by_key.get(key).is_some_and(|place| place.number == number);
        is_it.then(|| places.by_key.remove(key)).flatten()
    }
}

impl Seat {
    /// Whether the session is kept when the connection ends.
    pub(super) const fn is_kept(&self) -> bool {
        self.permit.is_some()
    }

    /// Waits until another connection takes over.
    pub(super) async fn taken_over(&mut self) -> Takeover {
        if let Some(asked) = &mut self.asked
            && let Ok(takeover) = asked.await
        {
            return takeover;
        }
        self.asked = None;
        std::future::pending().await
    }

    /// Another connection goes on with the session, or begins a new one.
    pub(super) fn hand_on(
        self,
        takeover: Takeover,
        mut state: SessionState,
        will: Option<LastWill>,
        room: &Room,
    ) {
        let goes_on = takeover.resumes && self.is_kept();
        // The will of a client that is back before its delay is not published.
        if let Some(will) = will.filter(|will| !goes_on || will.delay.is_zero()) {
            will.publish(room);
        }
        if self.is_kept() {
            state.leave_groups();
            // The other connection may be gone already.
            let _ = takeover.hand_on.send(state);
        }
    }

    /// The connection has ended: the session is kept for `expiry`, and `will` is published within
    /// that time.
    pub(super) fn leave(
        mut self,
        mut state: SessionState,
        expiry: Duration,
        will: Option<LastWill>,
        room: &Room,
    ) {
        if let Some(takeover) = self.asked.as_mut().and_then(|asked| asked.try_recv().ok()) {
            return self.hand_on(takeover, state, will, room);
        }
        let permit = self.permit.take().filter(|_| !expiry.is_zero());
        let Self { sessions, key, number, .. } = self;
        let Some(permit) = permit else {
            sessions.forget(&key, number);
            if let Some(will) = will {
                will.publish(room);
            }
            return;
        };
        state.leave_groups();
        let delay = will.as_ref().map_or(Duration::ZERO, |will| will.delay.min(expiry));
        // The timer finds the session, because it waits for the lock.
        let mut places = sessions.lock();
        let timer = tokio::spawn(wait(sessions.clone(), key.clone(), number, delay, expiry, room.clone()));
        let Some(place) = places.by_key.get_mut(&key).filter(|place| place.number == number) else {
            timer.abort();
            return;
        };
        place.holder =
            Holder::Kept(Box::new(Kept { state, will, timer: timer.abort_handle(), _permit: permit }));
    }
}

/// Publishes the will of a kept session, then ends the session.
async fn wait(sessions: Sessions, key: Key, number: u64, delay: Duration, expiry: Duration, room: Room) {
    sleep(delay).await;
    if let Some(will) = sessions.take_will(&key, number) {
        will.publish(&room);
    }
    sleep(expiry - delay).await;
    sessions.forget(&key, number);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use millrace_client::Config;
    use tokio::sync::watch;

    use super::*;
    use crate::counters::Counters;
    use crate::upstream::Upstream;

    fn room() -> Room {
        let counters = Arc::new(Counters::default());
        let nowhere = Config::new(["127.0.0.1:9".parse().unwrap()]);
        let upstream = Upstream::open(&nowhere, counters.clone()).unwrap();
        Room { upstream, lobby: crate::lobby::Lobby { counters, stopping: watch::channel(false).1 } }
    }

    fn key() -> Key {
        Key { identity: "local".to_owned(), client: "one".to_owned() }
    }

    #[tokio::test]
    async fn who_finds_no_other_connection_waits_for_none() {
        let (sessions, room) = (Sessions::default(), room());
        let (seat, state) = sessions.open(key(), true, true, &room).now_or_never().unwrap();
        assert!(state.is_none() && seat.is_kept());
        seat.leave(SessionState::new(&room), Duration::from_secs(60), None, &room);
        let (seat, state) = sessions.open(key(), true, true, &room).now_or_never().unwrap();
        assert!(state.is_some(), "it was kept");
        seat.leave(SessionState::new(&room), Duration::from_secs(60), None, &room);
        let (seat, state) = sessions.open(key(), false, false, &room).now_or_never().unwrap();
        assert!(state.is_none(), "a clean start finds nothing");
        seat.leave(SessionState::new(&room), Duration::ZERO, None, &room);
        assert!(sessions.lock().by_key.is_empty());
    }

    #[tokio::test]
    async fn a_connection_hands_its_session_on_to_the_next_one() {
        let (sessions, room) = (Sessions::default(), room());
        let (mut first, _) = sessions.open(key(), true, true, &room).await;
        let handing = async {
            let takeover = first.taken_over().await;
            first.hand_on(takeover, SessionState::new(&room), None, &room);
        };
        let ((second, state), ()) = tokio::join!(sessions.open(key(), true, true, &room), handing);
        assert!(state.is_some());
        // One that ends before it has heard of the next one hands on, too.
        let (mut opening, leaving) = (Box::pin(sessions.open(key(), true, true, &room)), second);
        assert!(opening.as_mut().now_or_never().is_none());
        leaving.leave(SessionState::new(&room), Duration::from_secs(60), None, &room);
        assert!(opening.await.1.is_some());
    }
}
