//! Bugs on purpose: changes of the bytes between two routers, as a defect of the program would make
//! them.
//!
//! They show that the checkers notice. A stream that is tampered with is taken apart into frames
//! and put together again.

use bytes::Bytes;
use millrace_proto::data::{self, DataFrame, HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::frame::FrameReader;
use millrace_proto::mesh::{LinkFrame, MeshFrame};
use millrace_proto::{DecodeError, varint};

/// A bug that can be put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Bug {
    /// A change of interest never reaches the peer.
    LostInterestDelta,
    /// Two runs of a lane change places.
    ReorderedLane,
    /// A number of a lane's table is given to another tag set while it is in use.
    ReusedTableSlot,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LostInterestDelta, Self::ReorderedLane, Self::ReusedTableSlot];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostInterestDelta => "lost-interest-delta",
            Self::ReorderedLane => "reordered-lane",
            Self::ReusedTableSlot => "reused-table-slot",
        }
    }
}

/// Every so many-th pair of neighbouring runs changes places.
const SWAP_EVERY: u64 = 4;

/// Passes one stream on, with a bug.
#[derive(Debug)]
pub(super) struct Tamper {
    bug: Bug,
    reader: FrameReader,
    /// Frames of interest for this bug that went by.
    seen: u64,
    /// A run that waits for the next one, to go behind it.
    held: Vec<u8>,
    /// The number that was given away, and the one whose tag set it is given to.
    slots: Option<(u64, u64)>,
    preamble: bool,
}

impl Tamper {
    pub(super) fn new(bug: Bug) -> Self {
        Self { bug, reader: FrameReader::new(), seen: 0, held: Vec::new(), slots: None, preamble: true }
    }

    /// Whether a bug is one of control streams, or else of data streams.
    pub(super) fn concerns_control(bug: Bug) -> bool {
        bug == Bug::LostInterestDelta
    }

    /// What becomes of the next bytes of the stream.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Bytes {
        let mut reader = std::mem::take(&mut self.reader);
        let mut out = Vec::with_capacity(bytes.len());
        let outcome = reader.feed::<DecodeError>(bytes, data::FRAME_BYTES_MAX, |kind, body| {
            self.frame(kind, body, &mut out);
            Ok(())
        });
        self.reader = reader;
        // A pair changes places only when it is written at once: nothing waits here for a run that
        // may not come.
        out.append(&mut self.held);
        if outcome.is_err() {
            out.extend_from_slice(bytes);
        }
        out.into()
    }

    fn frame(&mut self, kind: u64, body: &[u8], out: &mut Vec<u8>) {
        let mut frame = Vec::with_capacity(body.len() + 8);
        varint::put(&mut frame, kind);
        varint::put_prefixed(&mut frame, body);
        match self.bug {
            Bug::LostInterestDelta => {
                if let Ok(MeshFrame::Link(LinkFrame::Interest(interest))) = MeshFrame::decode(kind, body)
                    && !interest.reset
                    && interest.from > 0
                {
                    self.seen += 1;
                    if self.seen == 1 {
                        return;
                    }
                }
                out.append(&mut frame);
            }
            Bug::ReorderedLane => {
                let first = std::mem::take(&mut self.preamble);
                let run = !first && kind == data::kind::RUN;
                self.seen += u64::from(run);
                if run && self.held.is_empty() && self.seen.is_multiple_of(SWAP_EVERY) {
                    self.held = frame;
                    return;
                }
                if run {
                    out.append(&mut frame);
                    out.append(&mut self.held);
                } else {
                    out.append(&mut self.held);
                    out.append(&mut frame);
                }
            }
            Bug::ReusedTableSlot => {
                if std::mem::take(&mut self.preamble) {
                    out.append(&mut frame);
                } else {
                    self.reuse(kind, body, frame, out);
                }
            }
        }
    }

    /// The third tag set that is defined takes the place of the one before it.
    fn reuse(&mut self, kind: u64, body: &[u8], mut frame: Vec<u8>, out: &mut Vec<u8>) {
        match data::decode(kind, body) {
            Ok(DataFrame::DefineTags { number, tags }) => {
                self.seen += 1;
                if self.seen == 3 && number > 0 {
                    self.slots = Some((number, number - 1));
                }
                match self.slots {
                    Some((from, to)) if from == number => data::put_define_tags(out, to, tags),
                    _ => out.append(&mut frame),
                }
            }
            Ok(DataFrame::Run { hop, body }) => match (self.slots, hop.tags, hop.publisher) {
                (Some((from, to)), TagsOnStream::Number(number), PublisherOnStream::Number(_))
                    if number == from =>
                {
                    data::put_run(out, &HopHeader { tags: TagsOnStream::Number(to), ..hop }, body.bytes());
                }
                _ => out.append(&mut frame),
            },
            _ => out.append(&mut frame),
        }
    }
}
