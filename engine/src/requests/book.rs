//! The open requests of one core's clients.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use millrace_proto::limits::{REQUEST_DEADLINE_US, REQUEST_DEADLINE_US_MAX};
use millrace_proto::{PublisherSecret, RouterId};

use super::token::ReplyToken;
use crate::message::CoreIndex;
use crate::time::Time;
use crate::transport::ConnKey;

/// Requests that are open on one core, at most: 25 to 57 bytes each.
const OPEN_MAX: usize = 262_144;
/// The table is swept for the first time when it has so many requests.
const SWEEP_MIN: usize = 1024;

/// A client that has asked something.
#[derive(Debug, Clone, Copy)]
struct Session {
    conn: ConnKey,
    /// The receiver that replies to it go to, once it was looked for: its place on this core.
    inbox: Option<u32>,
}

/// A request that waits for replies.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Until when replies are let through.
    deadline: Time,
    /// How many more it wants; 0: as many as come.
    wanted: u32,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Its number of the request.
    pub request: u64,
    /// The time that the request has, in microseconds; 0: as long as requests have.
    pub deadline_us: u64,
    /// How many replies it wants; 0: as many as come.
    pub replies: u64,
}

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// Too many requests are open on this core.
    Full,
    /// The request's number does not fit a token.
    Number,
}

/// Why a reply reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// This core has not made the token.
    Forged,
    /// The request is over: its deadline has passed, or it has the replies that it wants.
    Late,
    /// The requester's session has ended.
    Gone,
}

/// The open requests of one core's clients. See the [module](super).
#[derive(Debug)]
pub struct Requests {
    secret: PublisherSecret,
    router: RouterId,
    core: CoreIndex,
    cores: CoreIndex,
    sessions: BTreeMap<u32, Session>,
    by_conn: BTreeMap<ConnKey, u32>,
    /// Sessions so far.
    begun: u32,
    /// By session and request.
    open: HashMap<(u32, u32), Waiting, ahash::RandomState>,
    sweep_at: usize,
}

impl Requests {
    /// No requests. Marks are made with `secret`, which nobody else may know.
    #[must_use]
    pub fn new(secret: PublisherSecret, router: RouterId, core: CoreIndex, cores: CoreIndex) -> Self {
        Self {
            secret,
            router,
            core,
            cores: cores.max(1),
            sessions: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            begun: 0,
            open: HashMap::default(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// The microseconds that a request has which asks for so many; 0: for none in particular.
    #[must_use]
    pub const fn time_us(wished: u64) -> u64 {
        match wished {
            0 => REQUEST_DEADLINE_US,
            wished if wished > REQUEST_DEADLINE_US_MAX => REQUEST_DEADLINE_US_MAX,
            wished => wished,
        }
    }

    /// The core of a session of this router.
    #[must_use]
    pub fn core_of(&self, token: &ReplyToken) -> CoreIndex {
        CoreIndex::try_from(token.session % u32::from(self.cores)).unwrap_or_default()
    }

    /// Opens a request of a client, and returns its token. A request that is open
    /// already is prolonged.
    ///
    /// # Errors
    /// [`Unasked`] says why there is none.
    pub fn ask(&mut self, now: Time, conn: ConnKey, asked: Asked) -> Result<ReplyToken, Unasked> {
        let request = u32::try_from(asked.request).map_err(|_| Unasked::Number)?;
        if self.open.len() >= self.sweep_at {
            self.open.retain(|_, waiting| waiting.deadline > now);
            self.sweep_at = SWEEP_MIN.max(2 * self.open.len());
        }
        if self.open.len() >= OPEN_MAX {
            return Err(Unasked::Full);
        }
        let session = match self.by_conn.get(&conn) {
            Some(&session) => session,
            None => self.begin(conn),
        };
        let deadline = now + Duration::from_micros(Self::time_us(asked.deadline_us));
        // More than can be counted are as many as come.
        let wanted = u32::try_from(asked.replies).unwrap_or(0);
        self.open.insert((session, request), Waiting { deadline, wanted });
        Ok(ReplyToken::new(&self.secret, self.router, session, request))
    }

    /// Checks the token of a reply. Returns the requester's connection, the place of its receiver
    /// on this core if it was noted, and the number of its request.
    ///
    /// # Errors
    /// [`Unanswerable`] says why the reply is for nobody.
    pub fn answer(&self, now: Time, token: &ReplyToken) -> Result<(ConnKey, Option<u32>, u64), Unanswerable> {
        if !token.is_made_with(&self.secret) {
            return Err(Unanswerable::Forged);
        }
        let session = self.sessions.get(&token.session).ok_or(Unanswerable::Gone)?;
        match self.open.get(&(token.session, token.request)) {
            Some(waiting) if waiting.deadline > now => {
                Ok((session.conn, session.inbox, token.request.into()))
            }
            _ => Err(Unanswerable::Late),
        }
    }

    /// The requester has so many more replies: with the last one that it wants the request is over.
    pub fn replied(&mut self, token: &ReplyToken, replies: u64) {
        let key = (token.session, token.request);
        let Some(waiting) = self.open.get_mut(&key).filter(|waiting| waiting.wanted > 0) else { return };
        waiting.wanted = waiting.wanted.saturating_sub(u32::try_from(replies).unwrap_or(u32::MAX));
        if waiting.wanted == 0 {
            self.open.remove(&key);
        }
    }

    /// Notes the receiver that replies to a client go to: its place on this core.
    pub fn note_inbox(&mut self, token: &ReplyToken, inbox: u32) {
        if let Some(session) = self.sessions.get_mut(&token.session) {
            session.inbox = Some(inbox);
        }
    }

    /// Forgets a client that is gone.
    pub fn forget(&mut self, conn: ConnKey) {
        if let Some(session) = self.by_conn.remove(&conn) {
            self.sessions.remove(&session);
        }
        if self.sessions.is_empty() {
            self.open = HashMap::default();
            self.sweep_at = SWEEP_MIN;
        }
    }

    /// Requests in the table, those that are over and were not swept out included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives a client a session. Its number is used again after all others were.
    fn begin(&mut self, conn: ConnKey) -> u32 {
        let (core, cores) = (u32::from(self.core), u32::from(self.cores));
        let session = loop {
            self.begun = (self.begun + 1) % (u32::MAX / cores);
            let session = self.begun * cores + core;
            if !self.sessions.contains_key(&session) {
                break session;
            }
        };
        self.sessions.insert(session, Session { conn, inbox: None });
        self.by_conn.insert(conn, session);
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Requests {
        Requests::new(PublisherSecret([1; 32]), RouterId(5), 1, 4)
    }

    const fn asked(request: u64, deadline_us: u64) -> Asked {
        Asked { request, deadline_us, replies: 0 }
    }

    const fn seconds(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_reply_is_let_through_until_the_deadline_and_while_its_session_is_there() {
        let (mut requests, conn) = (requests(), ConnKey(7));
        let token = requests.ask(seconds(1), conn, asked(9, 0)).unwrap();
        assert_eq!((token.router, requests.core_of(&token)), (RouterId(5), 1));
        assert_eq!(requests.answer(seconds(5), &token), Ok((conn, None, 9)));
        requests.note_inbox(&token, 2);
        assert_eq!(
            requests.answer(seconds(6), &token),
            Err(Unanswerable::Late),
            "5 s unless it says otherwise"
        );
        let token = requests.ask(seconds(6), conn, asked(9, u64::MAX)).unwrap();
        assert_eq!(requests.answer(seconds(6 + 3599), &token), Ok((conn, Some(2), 9)));
        assert_eq!(requests.answer(seconds(6 + 3600), &token), Err(Unanswerable::Late), "an hour at most");
        requests.forget(conn);
        assert_eq!(requests.answer(seconds(7), &token), Err(Unanswerable::Gone));
        assert!(requests.is_empty());
    }

    #[test]
    fn a_request_is_over_with_the_last_reply_that_it_wants() {
        let (mut requests, conn) = (requests(), ConnKey(7));
        for (wanted, replies) in [(1, &[1][..]), (3, &[1, 1, 1]), (3, &[2, 2]), (3, &[1, u64::MAX])] {
            let asked = Asked { request: 9, deadline_us: 0, replies: wanted };
            let token = requests.ask(seconds(1), conn, asked).unwrap();
            for &count in replies {
                assert!(requests.answer(seconds(1), &token).is_ok(), "{wanted}: {replies:?}");
                requests.replied(&token, count);
            }
            assert_eq!(requests.answer(seconds(1), &token), Err(Unanswerable::Late), "{replies:?}");
            assert!(requests.is_empty());
        }
        for wanted in [0, u64::MAX] {
            let asked = Asked { request: 9, deadline_us: 0, replies: wanted };
            let token = requests.ask(seconds(1), conn, asked).unwrap();
            (0..100).for_each(|_| requests.replied(&token, 1 << 20));
            assert!(requests.answer(seconds(1), &token).is_ok(), "as many as come");
        }
    }

    #[test]
    fn what_no_token_says_is_forged_or_not_asked() {
        let mut requests = requests();
        assert_eq!(requests.ask(seconds(1), ConnKey(7), asked(1 << 32, 0)), Err(Unasked::Number));
        let other = Requests::new(PublisherSecret([2; 32]), RouterId(5), 1, 4);
        let token = requests.ask(seconds(1), ConnKey(7), asked(9, 0)).unwrap();
        assert_eq!(other.answer(seconds(1), &token), Err(Unanswerable::Forged));
    }

    #[test]
    fn requests_that_are_over_are_swept_out_and_the_open_ones_are_bounded() {
        let mut requests = requests();
        for round in 0..100 {
            for request in 0..1000 {
                requests.ask(seconds(round), ConnKey(round), asked(request, 500_000)).unwrap();
            }
        }
        assert!(requests.len() <= 2 * SWEEP_MIN, "{}", requests.len());
        let mut open = 0;
        while requests.ask(seconds(200), ConnKey(0), asked(open, 0)).is_ok() {
            open += 1;
        }
        assert_eq!(open, OPEN_MAX as u64);
        // What hashbrown takes for as many: a power of two of slots, at most 7/8 full.
        let slots_per_request = 16.0 / 7.0;
        assert!(
            (size_of::<((u32, u32), Waiting)>() + 1) as f64 * slots_per_request <= 64.0,
            "for each open request"
        );
    }
}
