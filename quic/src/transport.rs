//! The loop's connections as a state machine uses them: [`Transport`] on [`Io`].

use bytes::Bytes;
use millrace_sansio::{ConnId, StreamGone, StreamId, Transport};

use crate::{Io, ReadState};

impl Transport for Io<'_> {
    #[inline]
    fn open_uni(&mut self, conn: ConnId) -> Option<StreamId> {
        Io::open_uni(self, conn)
    }

    #[inline]
    fn open_bi(&mut self, conn: ConnId) -> Option<StreamId> {
        Io::open_bi(self, conn)
    }

    #[inline]
    fn write(&mut self, conn: ConnId, stream: StreamId, bytes: &mut Bytes) -> Result<(), StreamGone> {
        Io::write(self, conn, stream, std::slice::from_mut(bytes)).map(|_| ()).map_err(|_| StreamGone)
    }

    #[inline]
    fn prefetch(&mut self, conn: ConnId, stream: StreamId) {
        Io::prefetch(self, conn, stream);
    }

    #[inline]
    fn read(
        &mut self,
        conn: ConnId,
        stream: StreamId,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> millrace_sansio::ReadState {
        match Io::read(self, conn, stream, limit, sink).state {
            // A stream that ended before: its end was reported then.
            ReadState::Blocked | ReadState::Unknown => millrace_sansio::ReadState::Drained,
            ReadState::More => millrace_sansio::ReadState::More,
            ReadState::Finished => millrace_sansio::ReadState::Finished,
            ReadState::Reset(_) => millrace_sansio::ReadState::Lost,
        }
    }

    #[inline]
    fn congestion_window(&self, conn: ConnId) -> u64 {
        Io::congestion_window(self, conn)
    }

    #[inline]
    fn finish(&mut self, conn: ConnId, stream: StreamId) {
        // An error means that it is over already.
        let _ = Io::finish(self, conn, stream);
    }

    #[inline]
    fn stop(&mut self, conn: ConnId, stream: StreamId, code: u64) {
        Io::stop(self, conn, stream, code);
    }

    #[inline]
    fn close(&mut self, conn: ConnId, code: u64, reason: &str) {
        Io::close(self, conn, code, reason.as_bytes());
    }
}
