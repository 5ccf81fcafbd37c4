//! What a lane has under way of requests for history, both ways: their bounds, and their end
//! without an answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::Selector;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{GapReason, Source};

use super::stretch::Stretch;
use crate::core::path::{Path, RunReader};
use crate::history::{HistoryAsk, ReplayId};
use crate::message::CoreIndex;
use crate::transport::StreamKey;

/// Requests of this side on one lane that are not answered, at most: with a chunk each, a small
/// part of the connection's window, so that live runs pass. Others wait here.
const ASKED_MAX: usize = 8;
/// Requests of a peer on one lane that wait for the ring, or whose answers wait for their streams,
/// at most. More are not served.
const SERVED_MAX: usize = 64;
/// A request of this side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) core: CoreIndex,
    pub(super) id: ReplayId,
    pub(super) owner: Source,
    /// It is an earlier life.
    pub(super) is_past: bool,
}

/// A stream that answers a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) stream: StreamKey,
    pub(super) reader: RunReader,
    pub(super) stretch: Stretch,
}

/// Requests for history on a lane.
#[derive(Debug, Default)]
pub(super) struct LaneHistory {
    pub(super) last: u64,
    pub(super) waiting: VecDeque<(CoreIndex, HistoryAsk)>,
    pub(super) asked: BTreeMap<u64, Asked>,
    /// Requests that ended without an answer while the lane lives: their answers come yet.
    late: usize,
    pub(super) answers: Vec<Answer>,
    /// Requests of the peer that wait for the ring.
    pub(super) serving: usize,
    /// The selectors that the peer has asked with last: most requests of a replay repeat them.
    read: (Vec<String>, Arc<[Arc<Selector>]>),
    /// Answers that wait for a stream, or for room in theirs.
    pub(super) writing: VecDeque<(Option<StreamKey>, Bytes)>,
}

impl LaneHistory {
    /// Whether the peer may open one more stream beside that of its runs.
    pub(super) fn expects_stream(&self) -> bool {
        self.answers.len() < self.asked.len() + self.late
    }

    /// Whether one more request of the peer is served.
    pub(super) fn has_place(&self) -> bool {
        self.serving + self.writing.len() < SERVED_MAX
    }

    /// Whether one more request may be made.
    pub(super) fn may_ask(&self) -> bool {
        self.asked.len() + self.late < ASKED_MAX
    }

    /// A request has its answer; returns it unless it had ended before.
    pub(super) fn answered(&mut self, request: u64) -> Option<Asked> {
        let asked = self.asked.remove(&request);
        self.late = self.late.saturating_sub(usize::from(asked.is_none()));
        asked
    }

    /// The peer opened a stream that answers a request.
    pub(super) fn opened(&mut self, stream: StreamKey) {
        let reader = RunReader::new(TableCapacity::CLIENT, true);
        self.answers.push(Answer { stream, reader, stretch: Stretch::default() });
    }

    /// Whether a stream answers a request.
    pub(super) fn has_stream(&self, stream: StreamKey) -> bool {
        self.answers.iter().any(|answer| answer.stream == stream)
    }

    /// Ends all requests of this side without an answer.
    pub(super) fn lose(&mut self, path: &mut Path) {
        let waiting = std::mem::take(&mut self.waiting);
        let waiting = waiting.into_iter().map(|(core, ask)| Asked {
            core,
            id: ask.id,
            owner: ask.owner,
            is_past: ask.owner != ask.server,
        });
        self.late += self.asked.len();
        for lost in std::mem::take(&mut self.asked).into_values().chain(waiting) {
            path.history_lost(lost.core, lost.id, lost.owner, GapReason::RouterLost);
        }
    }

    /// The selectors of a request of the peer, if they can be read.
    pub(super) fn parse(&mut self, texts: Vec<String>) -> Option<Arc<[Arc<Selector>]>> {
        if texts != self.read.0 {
            let read = texts.iter().map(|text| Selector::parse(text).map(Arc::new));
            let read: Result<Arc<[_]>, _> = read.collect();
            self.read = (texts, read.ok()?);
        }
        Some(Arc::clone(&self.read.1))
    }
}
