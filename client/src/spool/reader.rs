//! A walk over the records of one segment, and where the last one ended.

use super::packing::Unpacker;
use super::record::{self, Body, Found, Record};
use super::segment::Place;
use crate::session::publisher::Finals;

/// Where the last reading ended.
#[derive(Debug)]
pub(super) struct Reader<F> {
    /// The open segment, by its first seq. The tail's is open already.
    pub(super) file: Option<(u64, F)>,
    pub(super) place: Option<(u64, Place)>,
    pub(super) unpacker: Unpacker,
}

impl<F> Default for Reader<F> {
    fn default() -> Self {
        Self { file: None, place: None, unpacker: Unpacker::default() }
    }
}

impl<F> Reader<F> {
    /// The segment is going away.
    pub(super) fn forget(&mut self, first_seq: u64) {
        self.file.take_if(|(first, _)| *first == first_seq);
        self.place.take_if(|(first, _)| *first == first_seq);
    }
}

/// How a walk over a segment ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// The visitor had enough, before this place.
    Stopped(Place),
    /// At the end of what is there.
    Done(Place),
    /// At something that is no record.
    Damaged(Place),
}

/// Where a walk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) first_seq: u64,
    pub(super) from: Place,
    /// One past the last seq.
    pub(super) next_seq: u64,
    /// Where the records end.
    pub(super) end: usize,
}

/// Shows the records of a stretch that are not final, until `take` refuses one. Only those are
/// unpacked.
pub(super) fn walk(
    bytes: &[u8],
    stretch: Stretch,
    from: u64,
    finals: &Finals,
    unpacker: &mut Unpacker,
    take: &mut impl FnMut(&Record<'_>) -> bool,
) -> Walk {
    let mut place = stretch.from;
    let mut wanted = finals.next_pending(from);
    while place.seq < stretch.next_seq {
        let Found::Record(stored, next) = record::read(bytes, stretch.first_seq, place.at, stretch.end)
        else {
            return Walk::Damaged(place);
        };
        if stored.seq != place.seq {
            return Walk::Damaged(place);
        }
        if stored.seq >= wanted {
            let payload = match stored.body {
                Body::Plain(payload) => Some(payload),
                Body::Packed { frame, payload_bytes } => unpacker.unpack(frame, payload_bytes as usize),
            };
            let Some(payload) = payload else { return Walk::Damaged(place) };
            let (seq, time_ns, tags) = (stored.seq, stored.time_ns, stored.tags);
            if !take(&Record { seq, time_ns, tags, payload }) {
                return Walk::Stopped(place);
            }
            wanted = finals.next_pending(seq + 1);
        }
        place = Place { seq: place.seq + 1, at: next };
    }
    Walk::Done(place)
}
