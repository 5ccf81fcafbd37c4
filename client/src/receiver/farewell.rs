//! What a router is told last of receivers that are closed: a connection does not end before it
//! knows which runs their applications have acknowledged.
//!
//! Whoever closes a connection takes what it has not delivered back. So the router is asked behind
//! the last acknowledgements, and the connection waits for its answer, but not for long.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::link::Link;
use crate::time::{MILLISECOND_NS, Time};

/// How long a connection waits for the router's answer: as long as a client that exits does.
const WAIT_NS: u64 = 1_000 * MILLISECOND_NS;

/// A closed receiver of which the router may not know all.
#[derive(Debug)]
struct Farewell {
    /// The ping that stands behind its last frame.
    nonce: u64,
    until: Time,
    /// Who waits for it.
    told: Option<oneshot::Sender<()>>,
}

/// The receivers of a connection that were closed within the last second.
#[derive(Debug, Default)]
pub(super) struct Farewells {
    waiting: VecDeque<Farewell>,
    /// Whether something was acknowledged of which no answer has told that it arrived.
    is_owed: bool,
}

impl Farewells {
    /// Notes that runs were acknowledged.
    pub(super) const fn owe(&mut self) {
        self.is_owed = true;
    }

    /// A receiver was closed, and the router told what there was to tell. `told` hears when it
    /// knows.
    pub(super) fn add(&mut self, link: &mut Link, told: Option<oneshot::Sender<()>>) {
        if self.is_owed {
            let until = link.clock.now().after(WAIT_NS);
            self.waiting.push_back(Farewell { nonce: link.session.ask_pong(), until, told });
        }
    }

    /// Forgets those of which the router knows all, and those that have waited long enough.
    pub(super) fn pass(&mut self, link: &Link) {
        let now = link.clock.now();
        while let Some(first) = self.waiting.front() {
            let is_told = link.session.has_answered(first.nonce);
            if !is_told && first.until > now {
                return;
            }
            let told = self.waiting.pop_front().and_then(|first| first.told);
            self.is_owed = !is_told;
            // Who waits may have gone.
            told.filter(|_| is_told).map(|told| told.send(()));
        }
    }

    /// When the first of them has waited long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.front().map(|first| first.until)
    }

    /// Whether the connection may end.
    pub(super) fn are_over(&self) -> bool {
        self.waiting.is_empty()
    }
}
