//! What a receiver wants of the past, and how far it has come.

use std::time::Duration;

use millrace_proto::data::Source;

use super::cursor::Cursor;
use crate::session::PastRequest;
use crate::time::Time;

/// What a receiver wants of the past.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The application asked for it; otherwise nothing is asked of routers.
    is_wanted: bool,
    /// The first connection is asked for the newest event of each tag set.
    is_newest_only: bool,
    /// How far back it begins where the cursor says nothing; none: with the oldest run.
    since: Option<Duration>,
    /// When the first connection was asked.
    asked_at: Option<Time>,
    /// What has arrived here, also what the application has not taken.
    arrived: Cursor,
    /// What the application has taken.
    taken: Cursor,
    /// A connection was lost: only a router that keeps history is asked to fill what it may have
    /// missed.
    pub(super) was_lost: bool,
    /// The application is to be told of a lost session, unless a router fills what was missed.
    pub(super) owes_gap: bool,
}

impl Past {
    pub(super) fn new(since: Option<Duration>, cursor: Option<Cursor>, is_newest_only: bool) -> Self {
        let is_wanted = since.is_some() || cursor.is_some() || is_newest_only;
        let cursor = cursor.unwrap_or_default();
        // A cursor without a position says nothing of where to begin: now.
        let since = since.or_else(|| cursor.is_empty().then_some(Duration::ZERO));
        Self { is_wanted, is_newest_only, since, arrived: cursor.clone(), taken: cursor, ..Self::default() }
    }

    /// Whether routers are asked for the past.
    pub(super) const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// What is asked of a router now. With positions 0 microseconds stand for the oldest run;
    /// without, they would ask for nothing. Behind a lost connection the newest events have come,
    /// so that what came since is asked for.
    pub(super) fn ask(&mut self, now: Time) -> PastRequest {
        let is_newest_only = self.is_newest_only && !self.was_lost;
        let asked_at = *self.asked_at.get_or_insert(now);
        let since_us = self.since.map_or(0, |since| {
            let back = since + now.since(asked_at);
            u64::try_from(back.as_micros()).unwrap_or(u64::MAX).clamp(1, millrace_proto::varint::MAX)
        });
        PastRequest { since_us, cursor: self.arrived.positions(), is_newest_only }
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
