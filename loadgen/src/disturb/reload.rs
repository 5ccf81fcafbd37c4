//! Reloads: all routers read another configuration, again and again, and apply it.
//!
//! Two files take turns, which differ in what a reload has most to do for: the rules, which all
//! cores take, and the list of identities, by which every session is judged anew. Nothing that
//! clients publish or receive depends on the difference.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::kind::Order;
use super::outcome::Outcome;
use crate::cluster::Reloads;

/// What the files have in common: routers' clients have no names, and may do everything.
const FILES: [&str; 2] = [
    "[[identity]]\nname = \"reloaded-a\"\nsubscribe = [\"reloaded=a\"]\n\n[[identity]]\nname = \"*\"\n\n\
     [[rule]]\nname = \"a\"\nwhen = \"reloaded=a\"\nset = { by = \"a\" }\n",
    "[[identity]]\nname = \"reloaded-b\"\nsubscribe = [\"reloaded=b\"]\n\n[[identity]]\nname = \"*\"\n\n\
     [[rule]]\nname = \"b\"\nwhen = \"reloaded=b\"\nset = { by = \"b\" }\n",
];

/// What routers begin with, so that the first reload changes something, too.
pub const FIRST_FILE: &str = FILES[1];

/// Has routers read their settings anew.
pub(super) struct Reload {
    reloads: Reloads,
    every: Duration,
    /// Which of the files is next.
    next: usize,
}

impl Reload {
    pub(super) const fn new(reloads: Reloads, every: Duration) -> Self {
        Self { reloads, every, next: 0 }
    }

    /// Does as it is told, until it is told to finish.
    pub(super) fn follow(mut self, orders: &Receiver<Order>, outcomes: &Sender<Outcome>) {
        let mut active: Option<Active> = None;
        loop {
            let order = match &active {
                Some(active) => orders.recv_timeout(active.due.saturating_duration_since(Instant::now())),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Begin(_)) => active = Some(Active { due: Instant::now(), ..Active::default() }),
                Ok(Order::End) => {
                    if let Some(Active { reloads, failed, longest, .. }) = active.take() {
                        let longest_ms = longest.as_secs_f64() * 1e3;
                        // Who asked has gone away when nobody listens; Finish follows.
                        let _ = outcomes.send(Outcome::Reload { reloads, failed, longest_ms });
                    }
                }
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(active) = &mut active {
                        self.reload(active);
                    }
                }
            }
        }
    }

    fn reload(&mut self, active: &mut Active) {
        let begun = Instant::now();
        active.due = begun + self.every;
        let file = FILES[self.next];
        self.next = (self.next + 1) % FILES.len();
        // A router that says nothing of a change has not read it.
        for changes in self.reloads.apply(file) {
            active.reloads += 1;
            active.failed += u64::from(changes.is_none_or(|changes| changes == 0));
        }
        active.longest = active.longest.max(begun.elapsed());
    }
}

struct Active {
    due: Instant,
    reloads: u64,
    failed: u64,
    longest: Duration,
}

impl Default for Active {
    fn default() -> Self {
        Self { due: Instant::now(), reloads: 0, failed: 0, longest: Duration::ZERO }
    }
}
