//! Connections and their streams, as a state machine uses them.
//!
//! One trait serves both sides. A router's core and a client's session do the same with a
//! connection: they open streams, write buffers as far as flow control allows, read what has
//! arrived, and finish, stop or close. What differs is who calls whom. Arrivals (a stream was
//! opened, is readable or writable; a connection is closed) come from the loop as calls of the
//! state machine, and the loop lends its transport for the time of such a call. So dialling, timers
//! and wake-ups stay with the loop, because each loop has its own way for them.
//!
//! The QUIC loop's `Io` and the simulator's `Wire` implement the trait. The tokio shell of the
//! client library does not: quinn's streams are tasks that wait, so the shell drives the sessions
//! directly.

use bytes::Bytes;

use crate::{ConnId, StreamId};

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
    fn open_uni(&mut self, conn: ConnId) -> Option<StreamId>;
    /// Opens a bidirectional stream; `None` while the peer allows no more.
    fn open_bi(&mut self, conn: ConnId) -> Option<StreamId>;
    /// Writes as much of `bytes` as the stream takes and advances it past that. The caller writes
    /// what is left again when the stream is writable.
    ///
    /// The transport keeps what it took, as the same buffer, until the other host has acknowledged
    /// it or the stream is over, and then drops it: that tells a writer how far its stream runs
    /// ahead.
    ///
    /// # Errors
    /// [`StreamGone`].
    fn write(&mut self, conn: ConnId, stream: StreamId, bytes: &mut Bytes) -> Result<(), StreamGone>;
    /// Prefetches into the processor's cache what [`write`](Self::write) will read of a stream.
    /// Called for several streams in a row before the first of them is written. Changes
    /// nothing.
    fn prefetch(&mut self, conn: ConnId, stream: StreamId) {
        let _ = (conn, stream);
    }
    /// Reads up to about `limit` bytes and hands each piece to `sink`. What is not read exerts
    /// back-pressure.
    fn read(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState;
    /// Bytes that may be in flight on a connection; 0 when it is gone.
    fn congestion_window(&self, conn: ConnId) -> u64;
    /// Finishes a stream behind what was written.
    fn finish(&mut self, conn: ConnId, stream: StreamId);
    /// Tells the writer of a stream, with a code of the application, that the rest is not wanted.
    fn stop(&mut self, conn: ConnId, stream: StreamId, code: u64);
    /// Closes a connection with a code of the application and words for people. What was written
    /// and not acknowledged may be lost. Loops of routers do not report this end to their core
    /// again.
    fn close(&mut self, conn: ConnId, code: u64, reason: &str);
}
