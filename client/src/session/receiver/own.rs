//! Reads the stream of one receiver.
//!
//! The grant is a position in the stream behind which the router writes nothing. The application
//! *consumes* bytes as it takes events; when a quarter of the window is used up, the session raises
//! the grant to `consumed + window`. A chunk counts whole, its incomplete last frame included,
//! because a frame larger than the window must still arrive.

use millrace_proto::ReceiverNumber;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;

use super::preamble::StreamFor;
use super::sink::DeliverySink;
use super::tables::Tables;
use crate::session::SessionError;

/// Default of [`ReceiverConfig::window_bytes`].
pub const WINDOW_BYTES: u64 = 1024 * 1024;

/// Settings of one receiver's stream.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// The receiver, for the sink. Default 0.
    pub receiver: ReceiverNumber,
    /// Bytes that may be on the way or waiting in this process. Default 1 MiB; fleets of many
    /// receivers use 64 KiB.
    pub window_bytes: u64,
    /// What the connection's Hello announced.
    pub tables: TableCapacity,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self { receiver: ReceiverNumber(0), window_bytes: WINDOW_BYTES, tables: TableCapacity::CLIENT }
    }
}

/// The stream of one receiver on one connection.
#[derive(Debug)]
pub struct ReceiverSession {
    receiver: ReceiverNumber,
    reader: FrameReader,
    tables: Tables,
    window_bytes: u64,
    arrived: u64,
    consumed: u64,
    granted: u64,
    /// Runs that have arrived.
    runs: u64,
}

impl ReceiverSession {
    /// The session of a stream that has not begun.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        let ReceiverConfig { receiver, window_bytes, tables } = config;
        Self {
            receiver,
            reader: FrameReader::new(),
            tables: Tables::new(tables),
            window_bytes,
            arrived: 0,
            consumed: 0,
            granted: window_bytes,
            runs: 0,
        }
    }

    /// The grant that opens the receiver:
    /// [`OpenReceiver::grant`](millrace_proto::control::OpenReceiver::grant).
    #[must_use]
    pub const fn first_grant(&self) -> u64 {
        self.window_bytes
    }

    /// Feeds bytes of the stream from behind its preamble; `sink` gets what they complete.
    ///
    /// # Errors
    /// [`SessionError`] for bytes that no router sends; the stream cannot be read further.
    pub fn data(&mut self, chunk: &[u8], sink: &mut impl DeliverySink) -> Result<(), SessionError> {
        self.arrived += chunk.len() as u64;
        // The frame that crosses the grant may be finished; more is an attack on this side's
        // memory.
        if self.arrived > self.granted + data::FRAME_BYTES_MAX as u64 {
            return Err(SessionError::Limit { what: "the receiver's grant" });
        }
        let (tables, receiver, runs) = (&mut self.tables, self.receiver, &mut self.runs);
        sink.used(receiver, chunk.len() as u64);
        self.reader.feed::<SessionError>(chunk, data::FRAME_BYTES_MAX, |kind, body| {
            match data::decode(kind, body)? {
                DataFrame::Run { hop, body } => {
                    let mut run = tables.read(&hop, body)?.with_header(receiver, &hop, *runs);
                    run.replayed = tables.is_replayed(run.place);
                    sink.run(&run);
                    *runs += 1;
                }
                DataFrame::Gap(gap) => sink.gap(receiver, &gap),
                DataFrame::Cursor(cursor) => tables.cursor(receiver, &cursor, sink),
                DataFrame::Mark(mark) => sink.marked(receiver, &mark),
                frame => tables.common(StreamFor::Receiver(receiver), &frame, sink)?,
            }
            Ok(())
        })
    }

    /// The application has taken `bytes` of what was fed.
    pub fn consumed(&mut self, bytes: u64) {
        self.consumed = (self.consumed + bytes).min(self.arrived);
    }

    /// A new grant for the router, when a quarter of the window is used up: a router stops a replay
    /// at half of what it was granted, and what the application has taken is told by quarters.
    pub fn poll_grant(&mut self) -> Option<u64> {
        let wanted = self.consumed + self.window_bytes;
        if wanted.saturating_sub(self.granted) < (self.window_bytes / 4).max(1) {
            return None;
        }
        self.granted = wanted;
        Some(wanted)
    }

    /// Bytes that arrived and are not consumed.
    #[must_use]
    pub const fn unconsumed(&self) -> u64 {
        self.arrived - self.consumed
    }
}
