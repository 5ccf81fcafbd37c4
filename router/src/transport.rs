//! The engine's view of connections, on one core's QUIC.

use bytes::Bytes;
use millrace_engine::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};
use millrace_proto::CloseCode;
use millrace_quic::{ConnId, Io, StreamId};

/// Lent for the time of one call into the engine.
pub(crate) struct QuicTransport<'i, 'd>(pub(crate) &'i mut Io<'d>);

pub(crate) const fn conn_key(conn: ConnId) -> ConnKey {
    ConnKey(conn.to_u64())
}

pub(crate) const fn stream_key(stream: StreamId) -> StreamKey {
    StreamKey(stream.as_u64())
}

const fn conn_id(conn: ConnKey) -> ConnId {
    ConnId::from_u64(conn.0)
}

const fn stream_id(stream: StreamKey) -> StreamId {
    StreamId::new(stream.0)
}

impl Transport for QuicTransport<'_, '_> {
    fn open_uni(&mut self, conn: ConnKey) -> Option<StreamKey> {
        self.0.open_uni(conn_id(conn)).map(stream_key)
    }

    fn open_bi(&mut self, conn: ConnKey) -> Option<StreamKey> {
        self.0.open_bi(conn_id(conn)).map(stream_key)
    }

    fn write(&mut self, conn: ConnKey, stream: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone> {
        let chunks = std::slice::from_mut(bytes);
        self.0.write(conn_id(conn), stream_id(stream), chunks).map(|_| ()).map_err(|_| StreamGone)
    }

    fn fetch(&mut self, conn: ConnKey, stream: StreamKey) {
        self.0.fetch(conn_id(conn), stream_id(stream));
    }

    fn read(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState {
        match self.0.read(conn_id(conn), stream_id(stream), limit, sink).state {
            // A stream that ended before: its end was reported then.
            millrace_quic::ReadState::Blocked | millrace_quic::ReadState::Unknown => ReadState::Drained,
            millrace_quic::ReadState::More => ReadState::More,
            millrace_quic::ReadState::Finished => ReadState::Finished,
            millrace_quic::ReadState::Reset(_) => ReadState::Lost,
        }
    }

    fn congestion_window(&self, conn: ConnKey) -> u64 {
        self.0.congestion_window(conn_id(conn))
    }

    fn finish(&mut self, conn: ConnKey, stream: StreamKey) {
        // An error means that it is over already.
        let _ = self.0.finish(conn_id(conn), stream_id(stream));
    }

    fn stop(&mut self, conn: ConnKey, stream: StreamKey, code: CloseCode) {
        self.0.stop(conn_id(conn), stream_id(stream), code.code());
    }

    fn close(&mut self, conn: ConnKey, code: CloseCode, reason: &str) {
        self.0.close(conn_id(conn), code.code(), reason.as_bytes());
    }
}
