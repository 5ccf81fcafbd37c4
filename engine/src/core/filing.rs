//! What whoever keeps the router's history files asks of a core.

use std::sync::Arc;

use super::machine::Core;
use crate::history::{PastLives, ToFiles};

impl Core {
    /// This core with the time of day at time zero, nanoseconds since 1970. Earlier lives of
    /// routers are asked for by it. Without, time zero is the begin of 1970.
    #[must_use]
    pub const fn with_time_of_day(mut self, unix_at_zero_ns: u64) -> Self {
        self.path.positions.files.set_time_of_day(unix_at_zero_ns);
        self
    }

    /// This core with history files that have this of earlier lives of its router, before it has
    /// clients: [`next_to_files`](Self::next_to_files) tells what to keep. Without, nothing is kept
    /// in files.
    #[must_use]
    pub fn with_files(mut self, past: Arc<PastLives>) -> Self {
        self.path.positions.files.set_past(past);
        self
    }

    /// Takes the next word for whoever keeps the router's history files. Call it after each turn
    /// until there is none. Blocks that are not kept are missing there, and nowhere else.
    pub fn next_to_files(&mut self) -> Option<ToFiles> {
        self.path.positions.files.next()
    }

    /// Nothing more is routed: what was is handed over to the history files, with its end.
    pub fn end_files(&mut self) {
        let next = self.position();
        self.path.positions.files.end(next);
    }
}
