//! What cores of one router say to each other about history: a core asks an owner for a stretch of
//! its ring, and the owner answers. Each request brings one chunk, so that what is on its way is
//! bounded by who asks.
//!
//! The owner may be a core of another router. The core that has the lane to it passes the request
//! on, and the answer back.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::data::{GapReason, Source};

use super::block::Block;
use super::past::{PastLives, PastSource};
use super::read::{Begin, Chunk, Span, Which};
use crate::transport::ConnKey;

/// Which replay a word is about: only the core that asks knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ReplayId {
    /// The receiver's slot.
    pub receiver: u32,
    /// The replay's number on the core.
    pub replay: u64,
    /// Another router answers.
    pub is_far: bool,
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
    /// Whose runs are meant.
    pub owner: Source,
    /// Who answers: the owner, or for an earlier life one of the router that keeps it.
    pub server: Source,
    /// Which stretch.
    pub ask: Ask,
    /// What of it is wanted.
    pub selectors: Arc<[Arc<Selector>]>,
    /// How much of what they match.
    pub which: Which,
    /// What arrived in earlier lives before this time of day is not wanted, nanoseconds since 1970.
    pub not_before: u64,
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
        /// Earlier lives of the owner's router that it keeps, the oldest first: in an answer to who
        /// asks for them.
        pasts: Box<[PastSource]>,
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

/// Who wants to know what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A core of this router.
    Core(u16),
    /// A peer, on a lane of the core that was asked.
    Lane(ConnKey),
}

/// From a core to whoever keeps the router's history files, in order.
#[derive(Debug)]
pub enum ToFiles {
    /// Runs that the core has routed, in order, with times of day.
    Keep(Block),
    /// A request for an earlier life.
    Ask {
        /// Who asks.
        asker: Asker,
        /// For what.
        ask: HistoryAsk,
    },
    /// The core has ended before this position, in order, and everything that it has routed was
    /// handed over.
    End {
        /// The position.
        next: u64,
    },
}

/// From whoever keeps the router's history files to a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromFiles {
    /// A request was answered.
    Answer {
        /// Who asked.
        asker: Asker,
        /// The answer.
        answer: Box<HistoryAnswer>,
    },
    /// What is kept of earlier lives has changed.
    Past(Arc<PastLives>),
}
