//! What cores of one router say to each other about history: a core asks an owner for a stretch of
//! its ring, and the owner answers. Each request brings one chunk, so that what is on its way is
//! bounded by who asks.
//!
//! The owner may be a core of another router. The core that has the lane to it passes the request
//! on, and the answer back.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::data::{GapReason, Source};

use super::read::{Begin, Chunk, Span, Which};

/// Which replay a word is about: only the core that asks knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayId {
    /// The receiver's slot.
    pub receiver: u32,
    /// The replay's number on the core.
    pub replay: u64,
}

/// Where a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The first one: the owner pins where the replay ends.
    Pin(Begin),
    /// A later one: from here to there.
    On {
        /// First position.
        from: u64,
        /// Position behind the last.
        to: u64,
    },
}

/// Read your ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryAsk {
    /// For which replay.
    pub id: ReplayId,
    /// Whose ring is meant.
    pub owner: Source,
    /// Which stretch.
    pub ask: Ask,
    /// What of it is wanted.
    pub selectors: Arc<[Arc<Selector>]>,
    /// How much of what they match.
    pub which: Which,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The ring was read.
    Read {
        /// What is replayed in all: in the answer to the first request.
        span: Option<Span>,
        /// The runs.
        chunk: Chunk,
    },
    /// Nobody answers, and later requests find nobody either: the gap that stands for the rest.
    Lost(GapReason),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryAnswer {
    /// For which replay.
    pub id: ReplayId,
    /// Whose ring it is.
    pub owner: Source,
    /// What was found.
    pub found: Found,
}

/// A word about history between two cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryWord {
    /// A request.
    Ask(HistoryAsk),
    /// An answer.
    Answer(HistoryAnswer),
}
