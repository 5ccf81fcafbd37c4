//! An app that records what it is told, sends what it was given, and echoes if asked to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use millrace_quic::{
    App, CloseReason, ConnId, ConnectedInfo, ForeignSegment, Io, ReadState, StreamId, WriteError,
};

type Key = (ConnId, StreamId);

#[derive(Debug, Default)]
struct Sending {
    chunks: VecDeque<Bytes>,
    finish: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connected: Vec<(ConnId, ConnectedInfo)>,
    pub(crate) closed: Vec<(ConnId, CloseReason)>,
    pub(crate) opened: Vec<Key>,
    pub(crate) received: BTreeMap<Key, Vec<u8>>,
    pub(crate) ended: BTreeMap<Key, ReadState>,
    pub(crate) stopped: Vec<(Key, u64)>,
    pub(crate) available: usize,
    pub(crate) turns: u64,
    /// Foreign segments, kept instead of dropped when there is a place for them.
    pub(crate) foreign: Option<Vec<(u16, ForeignSegment)>>,
    /// Writes what arrives on bidirectional streams back.
    pub(crate) echo: bool,
    /// Whether `readable` reads at all.
    pub(crate) reading: bool,
    /// Bytes per read; asks to be woken for the rest.
    pub(crate) read_max: usize,
    sending: BTreeMap<Key, Sending>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            connected: Vec::new(),
            closed: Vec::new(),
            opened: Vec::new(),
            received: BTreeMap::new(),
            ended: BTreeMap::new(),
            stopped: Vec::new(),
            available: 0,
            turns: 0,
            foreign: None,
            echo: false,
            reading: true,
            read_max: usize::MAX,
            sending: BTreeMap::new(),
        }
    }
}

impl Peer {
    pub(crate) fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    /// Echoes, and keeps foreign segments.
    pub(crate) fn of_many_cores() -> Self {
        Self { foreign: Some(Vec::new()), ..Self::echo() }
    }

    /// Queues bytes for a stream, and its end.
    pub(crate) fn send(&mut self, io: &mut Io<'_>, key: Key, bytes: &[u8], finish: bool) {
        let sending = self.sending.entry(key).or_default();
        sending.chunks.extend(bytes.chunks(16 << 10).map(Bytes::copy_from_slice));
        sending.finish |= finish;
        self.pump(io, key);
    }

    /// Whether everything that was queued has been taken by quinn.
    pub(crate) fn sent_all(&self) -> bool {
        self.sending.is_empty()
    }

    pub(crate) fn is_connected(&self, conn: ConnId) -> bool {
        self.connected.iter().any(|(id, _)| *id == conn)
    }

    pub(crate) fn reason(&self, conn: ConnId) -> Option<&CloseReason> {
        self.closed.iter().find(|(id, _)| *id == conn).map(|(_, reason)| reason)
    }

    /// Reads what was left unread while `reading` was off.
    pub(crate) fn read_now(&mut self, io: &mut Io<'_>, (conn, stream): Key) {
        self.reading = true;
        self.readable(io, conn, stream);
    }

    fn pump(&mut self, io: &mut Io<'_>, key: Key) {
        let Some(sending) = self.sending.get_mut(&key) else { return };
        let written = io.write(key.0, key.1, sending.chunks.make_contiguous());
        while sending.chunks.front().is_some_and(Bytes::is_empty) {
            sending.chunks.pop_front();
        }
        match written {
            Ok(_) if sending.chunks.is_empty() => {
                if sending.finish {
                    io.finish(key.0, key.1).unwrap();
                }
                self.sending.remove(&key);
            }
            Ok(_) => {}
            Err(WriteError::Stopped(_) | WriteError::Closed) => {
                self.sending.remove(&key);
            }
        }
    }
}

impl App for Peer {
    fn connected(&mut self, _: &mut Io<'_>, conn: ConnId, info: &ConnectedInfo) {
        self.connected.push((conn, info.clone()));
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        self.opened.push((conn, stream));
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        if !self.reading {
            return;
        }
        let mut bytes = Vec::new();
        let outcome = io.read(conn, stream, self.read_max, &mut |piece| bytes.extend_from_slice(piece));
        assert_eq!(outcome.bytes, bytes.len());
        assert!(bytes.len() <= self.read_max);
        self.received.entry((conn, stream)).or_default().extend_from_slice(&bytes);
        let over = matches!(outcome.state, ReadState::Finished | ReadState::Reset(_));
        if over {
            self.ended.insert((conn, stream), outcome.state);
        }
        if outcome.state == ReadState::More {
            io.wake(conn, stream);
        }
        if self.echo && !stream.is_uni() {
            self.send(io, (conn, stream), &bytes, over);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        self.pump(io, (conn, stream));
    }

    fn stream_stopped(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId, code: u64) {
        self.sending.remove(&(conn, stream));
        self.stopped.push(((conn, stream), code));
    }

    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {
        self.available += 1;
    }

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        assert!(self.reason(conn).is_none(), "closed is told once");
        self.closed.push((conn, reason.clone()));
    }

    fn turn(&mut self, _: &mut Io<'_>) {
        self.turns += 1;
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn foreign(&mut self, io: &mut Io<'_>, core: u16, segment: ForeignSegment) {
        match &mut self.foreign {
            Some(kept) => kept.push((core, segment)),
            None => io.drop_foreign(),
        }
    }
}
