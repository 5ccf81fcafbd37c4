//! Events that a receiver has given, to be answered for on their own.

use std::sync::Arc;

use millrace_proto::control::AckKind;

use super::acks::Runs;
use super::state::Shared;

/// Events that [`Receiver::take_given`](crate::Receiver::take_given) took: whole runs, of those
/// that somebody waits for. Who drops it answers nothing: a group then gives the events to another
/// member when its time for acknowledgements is over, and publishers hear of a timeout.
#[derive(Debug)]
#[must_use = "a group waits for the answer"]
pub struct Given {
    /// By the connection that they came on.
    runs: Vec<(Arc<Shared>, Runs)>,
}

impl Given {
    pub(super) const fn new(runs: Vec<(Arc<Shared>, Runs)>) -> Self {
        Self { runs }
    }

    /// Whether nobody waits for an answer: no run ended among the events, or no group gave it and
    /// its publisher did not ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.iter().all(|(_, runs)| runs.is_empty())
    }

    /// Acknowledges the events, as [`Receiver::acknowledge`](crate::Receiver::acknowledge).
    pub fn acknowledge(self) {
        self.answer(AckKind::Taken);
    }

    /// Refuses the events: their group gives them to another member at once, marked as possible
    /// duplicates, and publishers of the level [`Delivered`](crate::ConfirmLevel::Delivered) hear
    /// that this receiver refused them.
    pub fn refuse(self) {
        self.answer(AckKind::Refused);
    }

    fn answer(mut self, kind: AckKind) {
        for (shared, runs) in &mut self.runs {
            shared.answer(kind, runs);
        }
    }
}
