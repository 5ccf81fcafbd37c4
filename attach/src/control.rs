//! The control stream of one connection: what arrives goes to the session, what the session has to
//! say goes to the stream.

use millrace_client::session::{ConnectionSession, SessionError};
use millrace_sansio::{ConnId, ReadState, StreamId, Time, Transport};

use crate::outgoing::Outgoing;

/// The control stream of one connection, and its session.
/// [`ClientConnection`](crate::ClientConnection) has one; for itself it serves owners that read
/// delivery streams in their own way, such as a load generator that judges what it reads.
#[derive(Debug)]
pub struct ControlStream {
    conn: ConnId,
    /// What the router says becomes its events; what is asked of it goes to the router.
    pub session: ConnectionSession,
    is_connected: bool,
    out: Outgoing,
}

impl ControlStream {
    /// The control stream of a connection that was dialled.
    #[must_use]
    pub fn new(conn: ConnId, session: ConnectionSession) -> Self {
        Self { conn, session, is_connected: false, out: Outgoing::default() }
    }

    /// The connection's name on the transport.
    #[inline]
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.conn
    }

    /// Whether this is the control stream.
    #[inline]
    #[must_use]
    pub fn is(&self, stream: StreamId) -> bool {
        self.out.is(stream)
    }

    /// The handshake is complete: the stream can be opened, here or at the next
    /// [`flush`](Self::flush) after the router allows it.
    pub fn connected(&mut self, transport: &mut impl Transport) {
        self.is_connected = true;
        self.out.open(|| transport.open_bi(self.conn));
    }

    /// Reads about `limit` bytes; the session has events afterwards. Says how the read ended; with
    /// [`ReadState::More`] the owner comes back.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol. The owner closes the connection.
    pub fn read(
        &mut self,
        transport: &mut impl Transport,
        now: Time,
        stream: StreamId,
        limit: usize,
    ) -> Result<ReadState, SessionError> {
        let session = &mut self.session;
        let mut wrong = None;
        let state = transport.read(self.conn, stream, limit, &mut |chunk| {
            if wrong.is_none() {
                wrong = session.control_data(now, chunk).err();
            }
        });
        wrong.map_or(Ok(state), Err)
    }

    /// Whether [`flush`](Self::flush) has something to write.
    #[inline]
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.out.is_blocked() || self.session.has_output()
    }

    /// Writes what the session has to say: the Hello, requests, grants, pings and pongs.
    pub fn flush(&mut self, transport: &mut impl Transport) {
        if !self.is_connected {
            return;
        }
        let Self { conn, session, out, .. } = self;
        out.open(|| transport.open_bi(*conn));
        out.write(transport, *conn, |_| None, || session.poll_control_output());
    }
}
