//! A publishing client that is a member of a standby set: its program gives the events of a source
//! that other members give, too.

use millrace_attach::ClientConnection;
use millrace_client::session::Tags;
use millrace_client::session::publisher::{PublishError, StandbyState};
use millrace_engine::time::Time;
use millrace_verify::checker::Findings;
use millrace_verify::checker::standby::Standby;
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};
use rand::RngExt;

use super::publisher::{Life, Publisher};
use super::surroundings::Surroundings;
use crate::source::{SetSource, emitter};

impl Publisher {
    /// The set that it is a member of, if it is one of any.
    #[must_use]
    pub fn set(&self) -> Option<u32> {
        self.setup.source.as_ref().map(|source| source.set)
    }

    /// Whether it holds its set, as far as it knows; none while its process is gone.
    #[must_use]
    pub fn holds_set(&self) -> Option<bool> {
        let standing = self.life.as_ref()?.session.standby()?;
        Some(matches!(standing, StandbyState::Active { .. }))
    }

    /// Joins its set on a new connection, if it is a member of one.
    pub(super) fn join_set(&mut self, connection: &mut ClientConnection) {
        let request = self.life.as_mut().and_then(|life| life.session.standby_request());
        if let Some(request) = request.filter(|_| connection.has_sets()) {
            connection.join_set(&request);
        }
    }

    /// Tells its router what it has to know of it in its set, when that is news.
    pub(super) fn tell_set(&mut self, connection: &mut ClientConnection) {
        let news = self.life.as_mut().and_then(|life| life.session.standby_news());
        if let Some(news) = news {
            connection.join_set(&news);
        }
    }

    /// Where a process that begins goes on: with numbers, at the first event that the source still
    /// knows, because what others have published is passed over, or as it follows the source from
    /// its end; without, at the newest.
    pub(super) fn begin_source(&mut self, now: Time) {
        if let Some(SetSource { source, follows, .. }) = &self.setup.source {
            let is_from_beginning = source.is_numbered && !follows;
            self.count = if is_from_beginning { 0 } else { born(source.from, source.every, now) };
        }
    }

    /// Gives what its source has given since the last time.
    pub(super) fn publish_of_source(&mut self, wall_ns: u64, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let Some(source) = self.setup.source.clone() else { return };
        let latest = born(source.source.from, source.source.every, now).min(self.setup.events);
        for _ in 0..self.setup.burst * 8 {
            if self.count >= latest || !self.publish_one_of_source(&source, latest, wall_ns, around) {
                return;
            }
        }
    }

    /// Gives one event; whether another may follow at once.
    fn publish_one_of_source(
        &mut self,
        source: &SetSource,
        latest: u64,
        wall_ns: u64,
        around: &mut Surroundings<'_>,
    ) -> bool {
        let (now, n, emitter) = (around.queue.now(), self.count, emitter(source.set));
        let Some(Life { session, .. }) = &mut self.life else { return false };
        self.payload.resize(PAYLOAD_BYTES_MIN + around.rng.random_range(0..200), 0);
        if let Err(error) = (Stamp { emitter, n, scheduled_ns: now.0 }).encode(b"", &mut self.payload) {
            around.record.findings.add("session", || format!("event {n} of set {}: {error}", source.set));
            return false;
        }
        let tags = Tags::Set(&source.tags);
        let outcome = if source.source.is_numbered {
            session.publish_numbered(now, tags, wall_ns, &self.payload, n).map(drop)
        } else {
            session.publish(now, tags, wall_ns, &self.payload).map(drop)
        };
        match outcome {
            Ok(()) => self.count += 1,
            // Another one publishes what it leaves out.
            Err(PublishError::OnStandby) => self.count = latest,
            Err(PublishError::WouldBlock) => return false,
            Err(error) => {
                let set = source.set;
                around.record.findings.add("session", || format!("event {n} of set {set}: {error}"));
                return false;
            }
        }
        true
    }

    /// Notes whether it has lost its set. What ended as confirmed before that was told in time.
    pub(super) fn note_standing(&mut self) {
        let Some(Life { session, part, .. }) = &mut self.life else { return };
        let is_lost = match session.standby() {
            Some(StandbyState::Active { .. }) => {
                part.was_active = true;
                false
            }
            Some(StandbyState::Fenced { .. }) => true,
            Some(StandbyState::Waiting { is_held, .. }) => is_held,
            _ => false,
        };
        if is_lost && std::mem::take(&mut part.was_active) {
            part.fenced_below = session.next_seq();
        }
    }

    /// Some event has ended as confirmed.
    pub(super) fn note_confirmed(&self, seq: u64, findings: &mut Findings) {
        if self.life.as_ref().is_some_and(|life| seq < life.part.fenced_below) {
            Standby::confirmed_behind(self.setup.config.key.publisher, seq, findings);
        }
    }
}

/// Events that a source has given by now.
fn born(from: u64, every: u64, now: Time) -> u64 {
    now.0.checked_sub(from).map_or(0, |since| since / every + 1)
}
