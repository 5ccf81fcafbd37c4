//! A transport with one stream to read at a time.

use bytes::Bytes;
use millrace_engine::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};
use millrace_proto::frame::FrameReader;
use millrace_proto::{DecodeError, data};

use super::CONTROL;

/// One stream to read at a time; what is written is acknowledged at once.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) input: Vec<u8>,
    next_uni: u64,
    pub(crate) written_bytes: u64,
    /// Members of a group, with the runs that each was given since it has acknowledged some.
    pub(crate) members: Vec<(ConnKey, FrameReader, u64)>,
}

impl Transport for Pipe {
    fn open_uni(&mut self, _: ConnKey) -> Option<StreamKey> {
        self.next_uni += 4;
        Some(StreamKey(self.next_uni - 1))
    }
    fn open_bi(&mut self, _: ConnKey) -> Option<StreamKey> {
        None
    }
    fn write(&mut self, conn: ConnKey, stream: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone> {
        self.written_bytes += bytes.len() as u64;
        let is_member = |(member, ..): &&mut (ConnKey, FrameReader, u64)| *member == conn;
        if stream != CONTROL
            && let Some((_, reader, given)) = self.members.iter_mut().find(is_member)
        {
            let mut each = |kind: u64, _: &[u8]| {
                *given += u64::from(kind == data::kind::RUN);
                Ok(())
            };
            reader.feed::<DecodeError>(bytes, data::FRAME_BYTES_MAX, &mut each).unwrap();
        }
        *bytes = Bytes::new();
        Ok(())
    }
    fn read(&mut self, _: ConnKey, _: StreamKey, _: usize, sink: &mut dyn FnMut(&[u8])) -> ReadState {
        sink(&self.input);
        self.input.clear();
        ReadState::Drained
    }
    fn congestion_window(&self, _: ConnKey) -> u64 {
        1 << 20
    }
    fn finish(&mut self, _: ConnKey, _: StreamKey) {}
    fn stop(&mut self, _: ConnKey, _: StreamKey, code: u64) {
        panic!("stopped: {code:?}");
    }
    fn close(&mut self, _: ConnKey, code: u64, reason: &str) {
        panic!("closed: {code:?} {reason}");
    }
}
