//! What a receiver wants of the past, and how far it has come.

use std::time::Duration;

use millrace_proto::control::SourcePosition;
use millrace_proto::data::Source;

use super::cursor::Cursor;
use crate::time::Time;

/// What a receiver wants of the past.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The application asked for it; otherwise nothing is asked of routers.
    is_wanted: bool,
    /// How far back it begins where the cursor says nothing.
    since: Duration,
    /// When the first connection was asked.
    asked_at: Option<Time>,
    /// What has arrived here, also what the application has not taken.
    arrived: Cursor,
    /// What the application has taken.
    taken: Cursor,
    /// A connection was lost: only a router that keeps history is asked to fill what it may have
    /// missed.
    pub(super) was_lost: bool,
}

impl Past {
    pub(super) fn new(since: Option<Duration>, cursor: Option<Cursor>) -> Self {
        let is_wanted = since.is_some() || cursor.is_some();
        let (arrived, taken) = (cursor.clone().unwrap_or_default(), cursor.unwrap_or_default());
        Self { is_wanted, since: since.unwrap_or_default(), asked_at: None, arrived, taken, was_lost: false }
    }

    /// Whether routers are asked for the past.
    pub(super) const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// What is asked of a router now: microseconds back, at least 1, because 0 asks for nothing,
    /// and positions.
    pub(super) fn ask(&mut self, now: Time) -> (u64, Vec<SourcePosition>) {
        let asked_at = *self.asked_at.get_or_insert(now);
        let back = self.since + now.since(asked_at);
        let since_us = u64::try_from(back.as_micros()).unwrap_or(u64::MAX);
        (since_us.clamp(1, millrace_proto::varint::MAX), self.arrived.positions())
    }

    /// Everything of a source below a position has arrived.
    pub(super) fn arrived(&mut self, places: &[(usize, Source, u64)]) {
        for &(_, source, position) in places {
            self.arrived.pass(source, position);
        }
    }

    /// The application has taken what stands before these places.
    pub(super) fn taken(&mut self, places: impl Iterator<Item = (Source, u64)>) {
        places.for_each(|(source, position)| self.taken.pass(source, position));
    }

    /// How far the application has come.
    pub(super) fn cursor(&self) -> Cursor {
        self.taken.clone()
    }
}
