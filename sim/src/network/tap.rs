//! Listens on a lane's data stream: which events cross, for the checker of copies.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_proto::DecodeError;
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::stream::stream_kind;
use millrace_verify::payload::Stamp;

use millrace_verify::checker::copies::Place;

/// One event on its way between two cores.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// Its emitter.
    pub emitter: u32,
    /// Its number.
    pub n: u64,
    /// The core that sent it.
    pub from: Place,
    /// The core that gets it.
    pub to: Place,
    /// It was handed to its owner, not routed yet.
    pub handed_over: bool,
}

/// Where crossings gather until the world takes them.
pub(crate) type Crossings = Rc<RefCell<Vec<Crossing>>>;

/// Listens on one stream.
#[derive(Debug)]
pub(crate) struct Tap {
    reader: FrameReader,
    preamble: bool,
    /// It answers a request for history, which is no way of its own for an event.
    is_replay: bool,
    from: Place,
    to: Place,
    crossings: Crossings,
}

impl Tap {
    pub(crate) fn new(from: Place, to: Place, crossings: Crossings) -> Self {
        Self { reader: FrameReader::new(), preamble: true, is_replay: false, from, to, crossings }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Self { reader, preamble, is_replay, from, to, crossings } = self;
        // What the program writes is well-formed; if it is not, its reader says so and closes.
        let _ = reader.feed::<DecodeError>(bytes, data::FRAME_BYTES_MAX, |kind, body| {
            if std::mem::take(preamble) {
                *is_replay = kind == stream_kind::REPLAY;
            } else if !*is_replay {
                note(kind, body, (*from, *to), crossings);
            }
            Ok(())
        });
    }
}

/// Listens on one batch between sibling cores.
pub(crate) fn batch(bytes: &[u8], from: Place, to: Place, crossings: &Crossings) {
    let _ = FrameReader::new().feed::<DecodeError>(bytes, data::FRAME_BYTES_MAX, |kind, body| {
        note(kind, body, (from, to), crossings);
        Ok(())
    });
}

fn note(kind: u64, body: &[u8], (from, to): (Place, Place), crossings: &Crossings) {
    let Ok(DataFrame::Run { hop, body }) = data::decode(kind, body) else { return };
    let handed_over = hop.flags & data::flag::UNROUTED != 0 && from.router == to.router;
    let mut crossings = crossings.borrow_mut();
    for event in body.events() {
        if let Ok(Stamp { emitter, n, .. }) = Stamp::decode(event.payload) {
            crossings.push(Crossing { emitter, n, from, to, handed_over });
        }
    }
}
