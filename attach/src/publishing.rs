//! The publish stream of one connection: what a publisher's session has to write goes to a stream.

use bytes::Bytes;
use millrace_client::session::PublisherSession;
use millrace_client::session::publisher::Store;
use millrace_sansio::{ConnId, Time, Transport};

use crate::outgoing::Outgoing;

/// The publish stream of one connection. [`ClientConnection`](crate::ClientConnection) has one; for
/// itself it serves peers that take publish streams and have no control stream, such as relays.
///
/// A publisher that gets another connection gets another one of these.
#[derive(Debug, Default)]
pub struct Publishing {
    out: Outgoing,
}

impl Publishing {
    /// A stream that is opened with the first bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether part of a chunk waits for the stream, so that the publisher's time to write is when
    /// the stream is writable.
    #[inline]
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.out.is_blocked()
    }

    /// Writes what is due, as far as credit and the stream allow. Returns how many chunks, of at
    /// most 64 KiB or one run, were taken from the session.
    #[inline]
    pub fn write<S: Store>(
        &mut self,
        transport: &mut impl Transport,
        conn: ConnId,
        now: Time,
        publisher: &mut PublisherSession<S>,
    ) -> u64 {
        self.write_from(transport, conn, || publisher.take_output(now))
    }

    /// Writes what `next` gives, as a link to another cluster does, which has no publisher's
    /// session. Returns how many chunks it gave.
    #[inline]
    pub fn write_from(
        &mut self,
        transport: &mut impl Transport,
        conn: ConnId,
        next: impl FnMut() -> Option<Bytes>,
    ) -> u64 {
        self.out.write(transport, conn, |transport| transport.open_uni(conn), next)
    }
}
