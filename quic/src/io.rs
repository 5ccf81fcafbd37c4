//! What an app can do from inside its callbacks.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::Dir;

use crate::{
    ConnId, ConnStats, ConnectError, Dial, Driver, ForeignSegment, Metrics, Network, ReadOutcome, SocketId,
    StreamId, WriteError,
};

/// The core's connections and sockets, lent to the app for one callback.
///
/// No call blocks, and nothing leaves before the end of the turn. Calls on a connection or stream
/// that is gone do nothing, and say so where they return something.
pub struct Io<'a> {
    driver: &'a mut Driver,
    net: &'a mut dyn Network,
    now: Instant,
}

impl<'a> Io<'a> {
    pub(crate) fn new(driver: &'a mut Driver, net: &'a mut dyn Network, now: Instant) -> Self {
        Self { driver, net, now }
    }

    /// The turn's clock, which is read a few times per turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Begins to dial. `connected` or `closed` follows, never within this call.
    ///
    /// # Errors
    /// [`ConnectError`]: nothing was begun.
    pub fn connect(&mut self, dial: &Dial) -> Result<ConnId, ConnectError> {
        self.driver.connect(self.now, self.net, dial)
    }

    /// Binds a socket of its own port, for dialling; port 0 lets the system choose.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn add_socket(&mut self, local: SocketAddr) -> io::Result<SocketId> {
        self.net.add_socket(local)
    }

    /// Closes a socket made by [`Io::add_socket`]. Connections that still use it hear nothing and
    /// time out: close or migrate them before.
    pub fn remove_socket(&mut self, socket: SocketId) {
        self.net.remove_socket(socket);
    }

    /// The address a socket is bound to.
    pub fn local_addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.net.local_addr(socket)
    }

    /// Opens a stream that only we write; `None` while the remote allows no more
    /// (`streams_available` follows) or the connection is gone. The remote learns of it with the
    /// first byte.
    pub fn open_uni(&mut self, conn: ConnId) -> Option<StreamId> {
        self.driver.open(conn, Dir::Uni)
    }

    /// Opens a stream that both sides write; see [`Io::open_uni`].
    pub fn open_bi(&mut self, conn: ConnId) -> Option<StreamId> {
        self.driver.open(conn, Dir::Bi)
    }

    /// Reads at most `bytes_max` bytes in order. `sink` gets them piece by piece, borrowed from the
    /// received packets: copy what is needed beyond the call.
    ///
    /// The remote may send as many bytes as were read; unread bytes are bounded by the stream's
    /// receive window.
    pub fn read(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        bytes_max: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadOutcome {
        self.driver.read(conn, stream, bytes_max, sink)
    }

    /// Writes as much as the stream takes, and returns the number of bytes. Chunks that were taken
    /// whole are left empty, and one that was taken in part is advanced. After a short write (even
    /// of 0 bytes) `writable` follows when there is room.
    ///
    /// A caller puts everything that it has for a stream into one chunk per turn, of some KiB where
    /// there is so much. This layer never merges chunks: each stays as it is until all of it is
    /// acknowledged, and for each stream frame quinn walks the list of those chunks from its begin,
    /// so that n small ones in flight cost n² steps.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: the stream takes no more.
    pub fn write(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        chunks: &mut [Bytes],
    ) -> Result<usize, WriteError> {
        self.driver.write(conn, stream, chunks)
    }

    /// Prefetches what [`Io::write`] reads of a stream. The processor overlaps the cache misses of
    /// several calls in a row, because none waits for the one before. Changes nothing.
    pub fn prefetch(&mut self, conn: ConnId, stream: StreamId) {
        self.driver.prefetch(conn, stream);
    }

    /// Ends our side of a stream after what was written.
    ///
    /// # Errors
    /// [`WriteError`]: it was over already.
    pub fn finish(&mut self, conn: ConnId, stream: StreamId) -> Result<(), WriteError> {
        self.driver.finish(conn, stream)
    }

    /// Abandons our side of a stream: what was not delivered is forgotten.
    pub fn reset(&mut self, conn: ConnId, stream: StreamId, code: u64) {
        self.driver.reset(conn, stream, code);
    }

    /// Tells the remote that we read no more of a stream, and forgets its unread bytes.
    pub fn stop(&mut self, conn: ConnId, stream: StreamId, code: u64) {
        self.driver.stop(conn, stream, code);
    }

    /// Asks for one `readable` in the next turn, for a stream that was not read to its end. The
    /// core does not sleep before.
    pub fn wake(&mut self, conn: ConnId, stream: StreamId) {
        self.driver.wake(conn, stream);
    }

    /// Closes a connection at once: bytes that were written but not acknowledged may be lost.
    /// `closed` follows within the turn or the next, with [`crate::CloseReason::Local`].
    pub fn close(&mut self, conn: ConnId, code: u64, reason: &[u8]) {
        self.driver.close(self.now, conn, code, reason);
    }

    /// Bytes that may be in flight on a connection; 0 when it is gone.
    pub fn congestion_window(&self, conn: ConnId) -> u64 {
        self.driver.congestion_window(conn)
    }

    /// The smoothed round-trip time; zero when the connection is gone.
    pub fn rtt(&self, conn: ConnId) -> Duration {
        self.driver.rtt(conn).unwrap_or_default()
    }

    /// The remote's address at this moment: it changes when the remote migrates.
    pub fn remote_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.driver.remote(conn)
    }

    /// What a connection has done so far.
    pub fn stats(&self, conn: ConnId) -> Option<ConnStats> {
        self.driver.stats(conn)
    }

    /// Moves a connection that we dialled to another of our sockets. `false` when there is no such
    /// connection or socket, or the remote dialled it.
    pub fn migrate(&mut self, conn: ConnId, via: SocketId) -> bool {
        self.net.local_addr(via).is_some() && self.driver.migrate(conn, via)
    }

    /// Takes a segment that another core received for us, as handed to its [`crate::App::foreign`].
    pub fn inject(&mut self, segment: ForeignSegment) {
        self.driver.inject(self.now, self.net, segment);
    }

    /// Counts a segment of another core that could not be handed over.
    pub fn drop_foreign(&mut self) {
        self.driver.metrics_mut().drops.foreign += 1;
    }

    /// The core's counters so far.
    pub fn metrics(&self) -> &Metrics {
        self.driver.metrics()
    }
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("now", &self.now).finish_non_exhaustive()
    }
}
