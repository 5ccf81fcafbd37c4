//! A client that publishes in one cluster: one emitter, on one connection that stays.

use millrace_attach::{ClientConnection, Event, Failure};
use millrace_client::session::publisher::PublishError;
use millrace_client::session::{ConfirmLevel, ConnectionConfig, PublisherConfig, PublisherSession, Tags};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey};
use millrace_proto::{Epoch, PublisherId, PublisherKey, PublisherSecret, TagSet};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::receiver::Nothing;
use crate::network::Wire;

/// Bytes that are read from a stream at a time.
const READ_BYTES: usize = 16 * 1024;

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) connection: ClientConnection,
    session: PublisherSession,
    emitter: u32,
    tags: TagSet,
    /// Its next event.
    pub(super) n: u64,
}

impl Publisher {
    pub(super) fn new(conn: ConnKey, emitter: u32, tags: TagSet, level: ConfirmLevel, now: Time) -> Self {
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&emitter.to_le_bytes());
        let secret = PublisherSecret(secret);
        let key = PublisherKey { publisher: PublisherId::derive(&secret, "", 0), epoch: Epoch(1) };
        let config = ConnectionConfig {
            secret: Some(secret),
            confirms: level.is_confirmed(),
            ..ConnectionConfig::default()
        };
        Self {
            connection: ClientConnection::new(conn, config, now),
            session: PublisherSession::new(PublisherConfig { level, ..PublisherConfig::new(key) }),
            emitter,
            tags,
            n: 0,
        }
    }

    pub(super) fn read(&mut self, wire: &mut Wire<'_>, now: Time, stream: StreamKey) -> Result<(), Failure> {
        while self.connection.readable(wire, now, stream, READ_BYTES, &mut Nothing)? == ReadState::More {}
        Ok(())
    }

    /// Publishes its next event. Whether it did.
    pub(super) fn publish(&mut self, now: Time, bytes: usize) -> Result<bool, PublishError> {
        let mut payload = vec![0; PAYLOAD_BYTES_MIN + bytes];
        let stamp = Stamp { emitter: self.emitter, n: self.n, scheduled_ns: now.0 };
        if !self.session.has_stream() || stamp.encode(b"", &mut payload).is_err() {
            return Ok(false);
        }
        match self.session.publish(now, Tags::Set(&self.tags), now.0, &payload) {
            Ok(_) => self.n += 1,
            Err(PublishError::WouldBlock) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    pub(super) fn flow(&mut self, wire: &mut Wire<'_>, now: Time) -> Result<(), Failure> {
        let Self { connection, session, .. } = self;
        connection.handle_timeout(now);
        while let Some(event) = connection.poll_event(wire, Some(&mut *session))? {
            if let Event::Welcomed(welcome) = event {
                session.stream_started(welcome.tables);
            }
        }
        while session.poll_ended().is_some() {}
        connection.publish(wire, now, session);
        connection.set_attentive(now, session.expects_answer(now));
        connection.flush(wire);
        Ok(())
    }

    pub(super) fn poll_timeout(&self, now: Time) -> Option<Time> {
        let output = self.session.poll_timeout().filter(|_| !self.connection.is_publish_blocked());
        let answer = self.session.answer_due().filter(|&due| due > now);
        output.into_iter().chain(answer).chain(self.connection.poll_timeout()).min()
    }
}
