//! Control streams that were left unread and are read in turns, so that a busy one holds up no
//! other.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::transport::{ConnKey, StreamKey};

/// Control streams that wait to be read, each once: at most one for each connection.
#[derive(Debug)]
pub(super) struct Backlog {
    streams: BTreeSet<(ConnKey, StreamKey)>,
    /// The stream that was read last; the next one in order has its turn.
    last: (ConnKey, StreamKey),
}

impl Backlog {
    pub(super) const fn new() -> Self {
        Self { streams: BTreeSet::new(), last: (ConnKey(0), StreamKey(0)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether a stream of this connection waits.
    pub(super) fn has(&self, conn: ConnKey) -> bool {
        self.streams.range((conn, StreamKey(0))..).next().is_some_and(|&(first, _)| first == conn)
    }

    /// Adds a stream; `false` if it waits already.
    pub(super) fn insert(&mut self, conn: ConnKey, stream: StreamKey) -> bool {
        self.streams.insert((conn, stream))
    }

    /// Takes the stream whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(ConnKey, StreamKey)> {
        let later = self.streams.range((Bound::Excluded(self.last), Bound::Unbounded)).next().copied();
        let next = later.or_else(|| self.streams.first().copied())?;
        self.streams.remove(&next);
        self.last = next;
        Some(next)
    }
}
