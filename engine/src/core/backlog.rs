//! Streams that were left unread and take turns: one that always has more holds up no other.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::transport::{ConnKey, StreamKey};

/// Control streams that wait to be read, each at most once: at most one for each connection.
#[derive(Debug)]
pub(super) struct Backlog {
    streams: BTreeSet<(ConnKey, StreamKey)>,
    /// The one that was read last.
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

    /// `false` if it waits already.
    pub(super) fn insert(&mut self, conn: ConnKey, stream: StreamKey) -> bool {
        self.streams.insert((conn, stream))
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<(ConnKey, StreamKey)> {
        let later = self.streams.range((Bound::Excluded(self.last), Bound::Unbounded)).next().copied();
        let next = later.or_else(|| self.streams.first().copied())?;
        self.streams.remove(&next);
        self.last = next;
        Some(next)
    }
}
