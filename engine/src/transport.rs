//! What a core asks of the connections below it. The router implements this on its QUIC loop, the simulator on a
//! simulated network.

use bytes::Bytes;
use millrace_proto::CloseCode;

/// A connection, named by the transport. Never used again for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey(pub u64);

/// A stream of one connection: its QUIC stream id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub u64);

impl StreamKey {
    /// Whether only its opener writes to it (RFC 9000 §2.1).
    #[must_use]
    pub const fn is_uni(self) -> bool {
        self.0 & 2 != 0
    }
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadState {
    /// All that has arrived was read.
    Drained,
    /// The limit was reached; more has arrived.
    More,
    /// The writer finished the stream, and all of it was read.
    Finished,
    /// The writer reset the stream, or the connection is gone: what was not read is lost.
    Lost,
}

/// The stream cannot be written any more: its reader stopped it, or its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamGone;

/// Connections and their streams.
pub trait Transport {
    /// Opens a unidirectional stream; `None` while the peer allows no more.
    fn open_uni(&mut self, conn: ConnKey) -> Option<StreamKey>;
    /// Opens a bidirectional stream; `None` while the peer allows no more.
    fn open_bi(&mut self, conn: ConnKey) -> Option<StreamKey>;
    /// Writes as much of `bytes` as the stream takes and advances it past that. What is left is to be written again when
    /// the stream is writable.
    ///
    /// What was taken is kept, as the same buffer, until the other host has acknowledged it or the stream is over, and
    /// then let go: that is how a core knows how far a stream runs ahead.
    ///
    /// # Errors
    /// [`StreamGone`].
    fn write(&mut self, conn: ConnKey, stream: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone>;
    /// Starts the way of what [`write`](Self::write) will read of a stream to the core, for transports whose memory is worth
    /// it: called for several streams in a row before the first of them is written.
    fn fetch(&mut self, conn: ConnKey, stream: StreamKey) {
        let _ = (conn, stream);
    }
    /// Reads up to about `limit` bytes, handing each piece to `sink`. What is not read exerts back-pressure.
    fn read(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState;
    /// Bytes that may be in flight on a connection; 0 when it is gone. Asked once for each receiver that is written.
    fn congestion_window(&self, conn: ConnKey) -> u64;
    /// Finishes a stream behind what was written.
    fn finish(&mut self, conn: ConnKey, stream: StreamKey);
    /// Tells the writer of a stream that the rest is not wanted.
    fn stop(&mut self, conn: ConnKey, stream: StreamKey, code: CloseCode);
    /// Closes a connection; `closed` is not reported for it any more, and what was written may be lost.
    fn close(&mut self, conn: ConnKey, code: CloseCode, reason: &str);
}
