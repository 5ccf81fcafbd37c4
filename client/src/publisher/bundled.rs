//! The publishers of a bundle on one connection after the other: what the task of the connection
//! does for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_proto::PublisherSecret;
use millrace_proto::control::Welcome;
use quinn::{Connection, WriteError};
use tokio::sync::Notify;

use super::outgoing::Turned;
use super::pen::Pen;
use super::state::Shared;
use super::voice::{Knows, Spoken, Voice};
use crate::disconnect::Disconnect;
use crate::session::publisher::SharedStream;
use crate::session::{ConnectionEvent, ConnectionSession, SessionError};
use crate::time::Time;

/// Publishers of one bundle, at most: the task of its connection looks at each of them in each
/// turn.
pub const BUNDLE_PUBLISHERS_MAX: usize = 256;

/// How publishers come to the task of their connection.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    /// Tells the task that there is something to do. All publishers of the bundle share it.
    pub(super) work: Arc<Notify>,
    waiting: Mutex<Waiting>,
    /// Publishers that are there or come.
    present: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Waiting {
    joined: Vec<Member>,
    is_closed: bool,
}

/// The place of one publisher in a bundle, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Entrance {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more publisher; `None` when there is none.
    pub(super) fn seat(&self) -> Option<Seat> {
        let more = |present| (present < BUNDLE_PUBLISHERS_MAX).then_some(present + 1);
        let seated = self.present.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        seated.ok().map(|_| Seat(self.present.clone()))
    }

    /// Gives a publisher to the task.
    pub(super) fn join(&self, seat: Seat, shared: Arc<Shared>) {
        let member = Member { number: None, voice: Voice::new(shared), _seat: seat };
        self.lock().joined.push(member);
        self.work.notify_one();
    }

    /// Nobody joins any more: the task ends when those that are there have.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_one();
    }
}

/// One publisher.
#[derive(Debug)]
struct Member {
    /// Its number on the present stream.
    number: Option<u64>,
    voice: Voice,
    _seat: Seat,
}

/// Moves the events of several publishers to the present connection.
#[derive(Debug)]
pub(crate) struct Bundled {
    entrance: Arc<Entrance>,
    secret: PublisherSecret,
    /// In turns: the first one writes first.
    members: VecDeque<Member>,
    present: Option<Present>,
    pen: Pen,
}

/// The connection that there is.
#[derive(Debug)]
struct Present {
    stream: SharedStream,
    identity: String,
    knows: Knows,
}

impl Present {
    /// Gives a publisher its number. `false`: there is none left.
    fn admit(&mut self, member: &mut Member, secret: &PublisherSecret) -> bool {
        member.voice.identified(secret, &self.identity);
        member.number = member.voice.begin(self.knows, |ways, _| self.stream.join(ways.first_mut()));
        member.number.is_some()
    }
}

impl Bundled {
    pub(super) fn new(entrance: Arc<Entrance>, secret: PublisherSecret) -> Self {
        Self { entrance, secret, members: VecDeque::new(), present: None, pen: Pen::default() }
    }

    /// A connection begins.
    pub(super) fn begin(&mut self, welcome: &Welcome, connection: &ConnectionSession) {
        self.present = Some(Present {
            stream: SharedStream::new(welcome.tables),
            identity: welcome.identity.clone(),
            knows: Knows::of(connection),
        });
    }

    /// The connection is gone: what was on its way is reported as unknown, or goes out again.
    pub(super) fn lost(&mut self, reason: &Disconnect) {
        self.present = None;
        self.pen = Pen::default();
        for member in &mut self.members {
            member.number = None;
            member.voice.lost(reason.clone());
        }
    }

    /// Takes what the router said on the control stream.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol, and the caller closes the connection.
    pub(super) fn event(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        match event {
            ConnectionEvent::Credit { bytes } => {
                if let Some(present) = &mut self.present {
                    present.stream.on_credit(*bytes);
                }
                Ok(())
            }
            ConnectionEvent::Received { publisher, .. } => self.said_of(*publisher, event),
            ConnectionEvent::Outcome(outcome) => self.said_of(outcome.publisher, event),
            _ => Ok(()),
        }
    }

    /// Something was said of the publisher of this number.
    fn said_of(&mut self, number: u64, event: &ConnectionEvent) -> Result<(), SessionError> {
        if let Some(member) = self.members.iter_mut().find(|member| member.number == Some(number)) {
            return member.voice.hear(event);
        }
        // It may have left without waiting for answers.
        match &self.present {
            Some(present) if present.stream.is_given(number) => Ok(()),
            _ => Err(SessionError::Unexpected { frame: "an answer to a publisher that was not defined" }),
        }
    }

    /// Takes those in that have come, and lets those go that have ended. Returns whether all are
    /// gone and nobody comes any more.
    pub(super) fn is_done(&mut self) -> bool {
        let mut waiting = self.entrance.lock();
        self.members.extend(waiting.joined.drain(..));
        let is_closed = waiting.is_closed;
        drop(waiting);
        let present = &mut self.present;
        self.members.retain(|member| {
            let is_done = member.voice.is_done();
            if is_done && let (Some(present), Some(number)) = (present.as_mut(), member.number) {
                present.stream.leave(number, member.voice.shared.lock().ways.first());
            }
            !is_done
        });
        is_closed && self.members.is_empty()
    }

    /// Takes the next bytes to write, of each publisher in its turn. `is_leaving`: no more events
    /// go out on this connection.
    pub(super) fn turn(&mut self, now: Time, is_leaving: bool) -> Turned {
        if self.is_done() {
            return Turned::Ended;
        }
        let Self { secret, members, present, pen, .. } = self;
        let Some(present) = present else {
            return Turned::Serving { deadline: None, expects_answer: false, has_left: true };
        };
        for member in members.iter_mut().filter(|member| member.number.is_none()) {
            if !present.admit(member, secret) {
                return Turned::NoNumbers;
            }
        }
        if pen.is_empty()
            && let Some(rest) = present.stream.take_rest()
        {
            pen.take(rest);
        }
        let (mut deadline, mut expects_answer, mut is_waiting) = (None, false, false);
        let mut wrote = None;
        for (index, member) in members.iter_mut().enumerate() {
            let was_empty = pen.is_empty();
            let spoken = member.voice.speak(now, is_leaving, pen, Some(&mut present.stream));
            if was_empty && !pen.is_empty() {
                wrote = Some(index);
            }
            let Spoken { deadline: due, expects_answer: expects, is_waiting: waits } = spoken;
            deadline = deadline.into_iter().chain(due).min();
            expects_answer |= expects;
            is_waiting |= waits;
        }
        if let Some(index) = wrote {
            members.rotate_left(index + 1);
        }
        let has_left = is_leaving && pen.is_empty() && !is_waiting;
        Turned::Serving { deadline, expects_answer, has_left }
    }

    /// Writes what a turn took. Waits for ever when there is nothing to write. May be dropped at
    /// any time.
    pub(super) async fn write(&mut self, connection: &Connection) -> Result<(), WriteError> {
        self.pen.write(connection).await
    }

    /// Tells that a publisher wants something, or that one comes.
    pub(super) fn work(&self) -> Arc<Notify> {
        self.entrance.work.clone()
    }
}

impl Drop for Bundled {
    fn drop(&mut self) {
        let has_rest = self.present.as_mut().is_some_and(|present| present.stream.take_rest().is_some());
        if has_rest || !self.pen.is_empty() || self.members.iter().any(|member| !member.voice.is_flushed()) {
            self.pen.reset();
        }
    }
}
