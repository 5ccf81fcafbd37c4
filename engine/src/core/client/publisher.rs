//! The router's side of a publish stream: reads runs, tells the publisher what was received, and grants it credit.

use std::time::Duration;

use millrace_proto::control::{Credit, Received, TableCapacity};
use millrace_proto::data::{Gap, HopHeader};
use millrace_proto::stream::stream_kind;
use millrace_proto::{CloseCode, DecodeError};

use crate::core::metrics::DropReason;
use crate::core::path::{Entered, KnownTags, Path, RunIn, RunPublisher, RunReader, RunSink, Scope, Window};
use crate::core::turn::Close;
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamKey, Transport};

/// Times at which publishers are told what was received are whole multiples of this: those that are due within it are told
/// in one turn.
const RECEIVED_STEP: Duration = Duration::from_millis(1);

/// How far one publisher of the stream was read.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    next_seq: u64,
    reported: u64,
}

/// One publish stream.
#[derive(Debug)]
pub(super) struct PublishStream {
    pub(super) stream: StreamKey,
    reader: RunReader,
    /// By publisher number; numbers are dense, the table bounds them.
    progress: Vec<Progress>,
    bytes_read: u64,
    unreported_bytes: u64,
    /// The publisher has asked to be told at once.
    asked: bool,
    /// When the core looks at this publisher again, to tell it `received`, if there is such a time.
    pub(super) due: Option<Time>,
    pub(super) finished: bool,
}

impl PublishStream {
    pub(super) fn new(stream: StreamKey, tables: TableCapacity) -> Self {
        Self {
            stream,
            reader: RunReader::new(tables, true),
            progress: Vec::new(),
            bytes_read: 0,
            unreported_bytes: 0,
            asked: false,
            due: None,
            finished: false,
        }
    }

    /// Reads up to `limit` bytes and routes what they hold. Says whether more has arrived.
    pub(super) fn read(
        &mut self,
        conn: ConnKey,
        transport: &mut dyn Transport,
        path: &mut Path,
        credit: u64,
        limit: usize,
    ) -> Result<bool, Close> {
        let mut wrong = None;
        let Self { reader, progress, bytes_read, unreported_bytes, asked, .. } = self;
        let state = transport.read(conn, self.stream, limit, &mut |chunk| {
            if wrong.is_some() {
                return;
            }
            *bytes_read += chunk.len() as u64;
            *unreported_bytes += chunk.len() as u64;
            path.metrics.bytes_in += chunk.len() as u64;
            if let Err(error) = reader.feed(chunk, &mut Sink { path, progress, asked }) {
                wrong = Some(error);
            }
        });
        if let Some(error) = wrong {
            return Err(Close::undecodable("publish stream", &error));
        }
        if self.bytes_read > credit {
            return Err(Close::new(CloseCode::Limit, "publish stream: more than the credit"));
        }
        match state {
            ReadState::Drained => Ok(false),
            ReadState::More => Ok(true),
            ReadState::Finished if self.is_cut() => {
                Err(Close::new(CloseCode::Malformed, "publish stream: ends within a frame"))
            }
            ReadState::Finished | ReadState::Lost => {
                path.metrics.drop(DropReason::StreamLost, u64::from(self.is_cut()));
                self.finished = true;
                Ok(false)
            }
        }
    }

    /// Has the publisher told by `time`, or a little later, together with others. Returns when.
    pub(super) fn set_due(&mut self, time: Time) -> Time {
        let due = time.rounded_up(RECEIVED_STEP);
        self.due = Some(due);
        due
    }

    /// Whether a run was begun and not read to its end.
    pub(super) fn is_cut(&self) -> bool {
        !self.reader.at_frame_boundary()
    }

    /// Whether there is something to tell the publisher.
    pub(super) fn unreported(&self) -> bool {
        self.progress.iter().any(|progress| progress.next_seq > progress.reported)
    }

    /// Whether the publisher is to be told at once: it has asked for that, or `bytes` were read since it was told last.
    pub(super) const fn is_pressing(&self, bytes: u64) -> bool {
        self.asked || self.unreported_bytes >= bytes
    }

    /// Appends what the publisher has not been told.
    pub(super) fn report(&mut self, out: &mut Vec<u8>) {
        self.unreported_bytes = 0;
        self.asked = false;
        for (number, progress) in self.progress.iter_mut().enumerate() {
            if progress.next_seq > progress.reported {
                progress.reported = progress.next_seq;
                Received { publisher: number as u64, next_seq: progress.next_seq }.encode(out);
            }
        }
    }

    /// Appends a higher credit when a quarter of `window` was used, and with it what was received; returns the credit in
    /// force.
    pub(super) fn extend_credit(&mut self, credit: u64, window: u64, out: &mut Vec<u8>) -> u64 {
        if credit.saturating_sub(self.bytes_read) > window / 4 * 3 {
            return credit;
        }
        let credit = self.bytes_read + window;
        Credit { bytes: credit }.encode(out);
        self.report(out);
        credit
    }
}

struct Sink<'a> {
    path: &'a mut Path,
    progress: &'a mut Vec<Progress>,
    asked: &'a mut bool,
}

impl RunSink for Sink<'_> {
    fn prefetch(&mut self, window: &Window) {
        self.path.prefetch(window, Scope::All);
    }

    #[inline]
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        self.path.metrics.runs_in += 1;
        self.path.metrics.events_in += run.body.count();
        let entered = Entered { publisher: publisher.key, flags: hop.flags, run, from: None };
        self.path.enter(tags, &entered);
        if let Some(index) = publisher.number.and_then(|number| usize::try_from(number).ok()) {
            if self.progress.len() <= index {
                self.progress.resize(index + 1, Progress::default());
            }
            let progress = &mut self.progress[index];
            progress.next_seq = progress.next_seq.max(run.body.last_seq() + 1);
        }
    }

    fn publisher_defined(&mut self, number: u64) {
        let index = usize::try_from(number).ok();
        if let Some(progress) = index.and_then(|index| self.progress.get_mut(index)) {
            *progress = Progress::default();
        }
    }

    fn gap(&mut self, _: &Gap) -> Result<(), DecodeError> {
        Err(DecodeError::Malformed { what: "publish stream: gap" })
    }

    fn preamble(&mut self, kind: u64, _: &[u8]) -> Result<(), DecodeError> {
        if kind == stream_kind::PUBLISH {
            Ok(())
        } else {
            Err(DecodeError::Malformed { what: "stream preamble" })
        }
    }

    fn report(&mut self) {
        *self.asked = true;
    }

    fn skipped(&mut self) {
        self.path.metrics.frames_skipped += 1;
    }
}
