//! A stream that this side writes: what it has not taken waits here, and nothing more is asked for
//! meanwhile. So what a session has to say is gathered while the stream is blocked.

use bytes::Bytes;
use millrace_sansio::{ConnId, StreamId, Transport};

/// One stream that is written, once it is open.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    stream: Option<StreamId>,
    /// Of one chunk, what the stream has not taken.
    pending: Bytes,
}

impl Outgoing {
    /// Whether this is the stream.
    #[inline]
    pub(crate) fn is(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }

    /// Whether part of a chunk waits for the stream.
    #[inline]
    pub(crate) const fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what waits and what `next` gives, as far as the stream takes it. `open` makes the
    /// stream when it is first needed. Returns how many chunks `next` gave.
    ///
    /// A stream that is gone takes everything, because its connection goes with it and its session
    /// counts what was handed out as lost.
    #[inline]
    pub(crate) fn write<T: Transport>(
        &mut self,
        transport: &mut T,
        conn: ConnId,
        open: impl FnOnce(&mut T) -> Option<StreamId>,
        mut next: impl FnMut() -> Option<Bytes>,
    ) -> u64 {
        let mut open = Some(open);
        let mut chunks = 0;
        loop {
            if self.pending.is_empty() {
                let Some(bytes) = next() else { return chunks };
                chunks += 1;
                self.pending = bytes;
            }
            if self.stream.is_none() {
                self.stream = open.take().and_then(|open| open(transport));
            }
            let Some(stream) = self.stream else { return chunks };
            if transport.write(conn, stream, &mut self.pending).is_err() {
                self.pending = Bytes::new();
            } else if !self.pending.is_empty() {
                return chunks;
            }
        }
    }

    /// Opens the stream, if that has not been possible so far.
    pub(crate) fn open(&mut self, open: impl FnOnce() -> Option<StreamId>) {
        if self.stream.is_none() {
            self.stream = open();
        }
    }
}
