//! What the core lends a session for one call.
//!
//! A session acts through its [`Turn`], and ends its connection by returning a [`Close`]. It never
//! looks itself up, and never reaches another session.

use std::borrow::Cow;

use bytes::Bytes;
use millrace_proto::{CloseCode, DecodeError};

use super::agenda::Agenda;
use super::config::CoreConfig;
use super::mail::Mail;
use super::path::Path;
use super::standing::Standing;
use super::timers::Timers;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};

/// One call into a core, as its sessions see it.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) transport: &'a mut dyn Transport,
    pub(super) config: &'a CoreConfig,
    /// The router's standing.
    pub(super) standing: &'a Standing,
    pub(super) path: &'a mut Path,
    pub(super) mail: &'a mut Mail,
    pub(super) timers: &'a mut Timers,
    pub(super) agenda: &'a mut Agenda,
}

/// Why a connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
}

impl Close {
    pub(super) fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The other side wrote bytes that cannot be decoded; `place` says where.
    pub(super) fn undecodable(place: &str, error: &DecodeError) -> Self {
        Self::new(error.close_code(), format!("{place}: {error}"))
    }
}

impl Turn<'_> {
    /// Whether publish streams stay unread because a sibling core does not keep up.
    pub(super) fn is_pressed(&self) -> bool {
        self.agenda.pressed || self.path.locations.siblings_pressed(self.config.limits.link_queue_bytes)
    }

    /// Leaves a client's control stream unread until its turn comes, and counts that once.
    pub(super) fn put_client_behind(&mut self, conn: ConnKey, stream: StreamKey) {
        if self.agenda.clients.insert(conn, stream) {
            self.path.metrics.control_paused += 1;
        }
    }

    /// Leaves a lane's control stream unread until its turn comes, and counts that once.
    pub(super) fn put_lane_behind(&mut self, conn: ConnKey, stream: StreamKey) {
        if self.agenda.lanes.insert(conn, stream) {
            self.path.metrics.control_paused += 1;
        }
    }

    /// Writes control frames; `out` keeps the bytes that the stream does not take.
    pub(super) fn write_out(&mut self, conn: ConnKey, stream: StreamKey, out: &mut Vec<u8>) {
        if out.is_empty() {
            return;
        }
        let mut bytes = Bytes::from(std::mem::take(out));
        if self.transport.write(conn, stream, &mut bytes).is_ok() && !bytes.is_empty() {
            out.extend_from_slice(&bytes);
        }
    }
}
