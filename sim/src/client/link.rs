//! One connection of a client: its control stream and its session.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_client::session::ConnectionSession;
use millrace_client::session::attachment::AttemptId;
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, StreamKey, Transport};
use millrace_proto::control::Welcome;

use crate::network::Wire;

/// A connection, from its dial on.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) attempt: AttemptId,
    pub(super) conn: ConnKey,
    pub(super) router: u32,
    pub(super) session: ConnectionSession,
    pub(super) control: Option<StreamKey>,
    pub(super) heard: Time,
    /// What the router said first, until the client's role begins on this connection.
    pub(super) welcome: Option<Box<Welcome>>,
    out: Outbox,
}

impl Link {
    pub(super) fn new(
        attempt: AttemptId,
        conn: ConnKey,
        router: u32,
        session: ConnectionSession,
        now: Time,
    ) -> Self {
        let out = Outbox::default();
        Self { attempt, conn, router, session, control: None, heard: now, welcome: None, out }
    }

    /// Lets the session's time pass.
    pub(super) fn tick(&mut self, now: Time) {
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
        }
    }

    /// Writes what the session has to say, once the control stream is open.
    pub(super) fn write(&mut self, wire: &mut Wire<'_>) {
        let Some(control) = self.control else { return };
        while let Some(bytes) = self.session.poll_control_output() {
            self.out.push(bytes);
        }
        self.out.write(wire, self.conn, control);
    }
}

/// Bytes that a stream has not taken.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Bytes>);

impl Outbox {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.0.push_back(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&mut self, wire: &mut Wire<'_>, conn: ConnKey, stream: StreamKey) {
        while let Some(bytes) = self.0.front_mut() {
            if wire.write(conn, stream, bytes).is_err() {
                self.0.clear();
            } else if bytes.is_empty() {
                self.0.pop_front();
            } else {
                return;
            }
        }
    }
}
