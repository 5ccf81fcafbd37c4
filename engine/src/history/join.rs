//! How the replay of one source and its live runs become one order at one receiver.
//!
//! ```text
//! asked ──pinned(to)──▶ replaying ──replayed to `to`──▶ joined
//!   live: held            live below `to`: dropped, at or above: held     live: passed, the held ones first
//! ```
//!
//! What is held is bounded by whoever holds it. When it is full, the caller drops it and says so
//! ([`Join::restart`]): the owner's ring has what was dropped, so the replay reaches up to there
//! instead. A receiver that is too slow for that three times misses the rest, is told so, and goes
//! on live.
//!
//! The same order serves a receiver that changes its router: what it was sent before stands for the
//! replay.

/// Times that a replay may be made longer, before the receiver goes on without it.
pub const RESTARTS_MAX: u32 = 3;

/// What becomes of a live run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// It is delivered.
    Pass,
    /// It is not: the replay brings it, or has brought it.
    Drop,
    /// It is kept until the replay is done.
    Hold,
}

/// One source at one receiver, from when its history was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// Position up to which it is replayed; none until the owner has said.
    to: Option<u64>,
    /// The least that it may be: live runs below were dropped.
    to_min: u64,
    /// Position of the next run of the replay.
    next: u64,
    restarts: u32,
    is_joined: bool,
}

impl Join {
    /// The owner was asked.
    #[must_use]
    pub const fn asked() -> Self {
        Self { to: None, to_min: 0, next: 0, restarts: 0, is_joined: false }
    }

    /// The owner was asked for what stands at `position` and behind it: the receiver has had what
    /// stands before, and does not get it again, whoever is late with it.
    #[must_use]
    pub const fn asked_behind(position: u64) -> Self {
        Self { to_min: position, ..Self::asked() }
    }

    /// Live runs from `position` on are delivered, and nothing before it is replayed.
    #[must_use]
    pub const fn at(position: u64) -> Self {
        Self { to: Some(position), to_min: position, next: position, restarts: 0, is_joined: true }
    }

    /// The owner replays from `from` to below `to`, and has matched live runs since.
    pub fn pinned(&mut self, from: u64, to: u64) {
        // It may have been overrun before the owner was heard.
        if self.is_joined {
            return;
        }
        self.next = from;
        self.to = Some(to.max(self.to_min));
    }

    /// What becomes of the live run at `position`.
    #[must_use]
    pub fn live(&self, position: u64) -> Live {
        match self.to {
            _ if position < self.to_min => Live::Drop,
            Some(to) if position < to => Live::Drop,
            Some(_) if self.is_joined => Live::Pass,
            _ => Live::Hold,
        }
    }

    /// The live run at `position` was dropped, because earlier lives come first, or because it
    /// cannot wait: the replay reaches behind it, however many there are.
    pub fn reach(&mut self, position: u64) {
        self.to_min = self.to_min.max(position + 1);
        self.to = self.to.map(|to| to.max(position + 1));
    }

    /// What the replay reads next: from where, up to where; none when the owner has not said, or
    /// everything was read.
    #[must_use]
    pub fn to_read(&self) -> Option<(u64, u64)> {
        self.to.filter(|&to| self.next < to).map(|to| (self.next, to))
    }

    /// Position of the next run of the replay.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The replay was read up to a position.
    pub fn read(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The replay was read up to a position, perhaps beyond its end, which may still move.
    pub fn read_to(&mut self, next: u64) {
        self.read(self.to.map_or(next, |to| next.min(to)));
    }

    /// Everything was read: what is held from the returned position on comes next, what is held
    /// below it was replayed, and later runs pass. `None` as long as that is not so.
    pub fn join(&mut self) -> Option<u64> {
        let to = self.to.filter(|&to| self.next >= to && !self.is_joined)?;
        self.is_joined = true;
        Some(to)
    }

    /// Whether the replay brings the run at `position`: what the owner has read beyond comes live.
    #[must_use]
    pub fn is_replayed(&self, position: u64) -> bool {
        self.to.is_some_and(|to| position < to)
    }

    /// Nobody replays the rest: later runs pass from the returned position on, those that are held
    /// first.
    pub fn give_up(&mut self) -> u64 {
        let at = self.to.unwrap_or(self.to_min);
        *self = Self { restarts: self.restarts, ..Self::at(at) };
        at
    }

    /// Position from which on live runs pass, if they do.
    #[must_use]
    pub fn passes_from(&self) -> Option<u64> {
        self.to.filter(|_| self.is_joined)
    }

    /// Whether live runs pass.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.is_joined
    }

    /// What was held was dropped, and the live run at `position`, too. Says whether the replay
    /// reaches behind it from here on; if not, the receiver misses what was not replayed, and later
    /// runs pass.
    #[must_use]
    pub fn restart(&mut self, position: u64) -> bool {
        self.restarts += 1;
        self.to_min = position + 1;
        self.to = self.to.map(|to| to.max(position + 1));
        if self.restarts <= RESTARTS_MAX {
            return true;
        }
        *self = Self { restarts: self.restarts, ..Self::at(position + 1) };
        false
    }
}
