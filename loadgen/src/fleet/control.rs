//! The control stream of one dialled connection: its session, and what it has to write.

use bytes::Bytes;
use millrace_client::session::ConnectionSession;
use millrace_client::time::Time;
use millrace_quic::{ConnId, Io, ReadState, StreamId};

/// Bytes read from one stream before the next one's turn.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// One connection's control half.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) id: ConnId,
    pub(crate) session: ConnectionSession,
    stream: Option<StreamId>,
    pending: Bytes,
}

impl Control {
    pub(crate) fn new(id: ConnId, session: ConnectionSession) -> Self {
        Self { id, session, stream: None, pending: Bytes::new() }
    }

    /// The handshake is complete.
    pub(crate) fn connected(&mut self, io: &mut Io<'_>) {
        self.stream = io.open_bi(self.id);
    }

    /// Whether this is the control stream.
    pub(crate) fn is(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }

    /// Reads what has arrived; events follow from the session. A connection that breaks the
    /// protocol is closed.
    pub(crate) fn read(&mut self, io: &mut Io<'_>, stream: StreamId, time: Time) -> bool {
        let (id, session) = (self.id, &mut self.session);
        let mut wrong = None;
        let outcome = io.read(id, stream, READ_BYTES, &mut |chunk| {
            if wrong.is_none() {
                wrong = session.control_data(time, chunk).err();
            }
        });
        if let Some(error) = wrong {
            io.close(id, error.close_code().code(), error.to_string().as_bytes());
            return false;
        }
        if outcome.state == ReadState::More {
            io.wake(id, stream);
        }
        true
    }

    /// Writes what the session has, as far as the stream takes it.
    pub(crate) fn write(&mut self, io: &mut Io<'_>) {
        let Some(stream) = self.stream else { return };
        loop {
            if self.pending.is_empty() {
                let Some(bytes) = self.session.poll_control_output() else { return };
                self.pending = bytes;
            }
            let mut chunks = [std::mem::take(&mut self.pending)];
            if io.write(self.id, stream, &mut chunks).is_err() {
                return;
            }
            let [rest] = chunks;
            self.pending = rest;
            if !self.pending.is_empty() {
                return;
            }
        }
    }
}
