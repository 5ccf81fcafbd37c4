//! Changes of interest whose sessions wait to hear how far they have come.
//!
//! Versions only grow, so that both stages are queues: the front is always answered next. A version
//! that the own interest has promised for a change never falls while others ask; when it turns out
//! that no version is made, all that wait for it are told together
//! ([`WaitingList::covered_by`]).

use std::collections::VecDeque;

use super::config::WAITING_MAX;
use crate::message::{CoreIndex, Token};
use crate::time::Time;

/// A change of interest, and the session that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) core: CoreIndex,
    pub(super) token: Token,
    /// When it came.
    pub(super) since: Time,
    /// Version of the directory that covers the change.
    pub(super) directory: u64,
    /// Version of the own interest that covers the change.
    pub(super) interest: u64,
}

/// The two queues.
#[derive(Debug, Default)]
pub(super) struct WaitingList {
    for_router: VecDeque<Waiting>,
    for_cluster: VecDeque<Waiting>,
}

impl WaitingList {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.for_router.push_back(waiting);
    }

    pub(super) fn len(&self) -> usize {
        self.for_router.len() + self.for_cluster.len()
    }

    /// Lets changes that wait for a later version of the own interest wait for this one, because no
    /// later version is left to be told. They are the last ones.
    pub(super) fn covered_by(&mut self, interest: u64) {
        for list in [&mut self.for_router, &mut self.for_cluster] {
            for waiting in list.iter_mut().rev().take_while(|waiting| waiting.interest > interest) {
                waiting.interest = interest;
            }
        }
    }

    /// Takes the next change that is effective on the router, and lets it wait for the cluster.
    pub(super) fn effective_on_router(&mut self, directory_applied: u64) -> Option<Waiting> {
        let waiting = self.for_router.pop_front_if(|waiting| waiting.directory <= directory_applied)?;
        self.for_cluster.push_back(waiting);
        Some(waiting)
    }

    /// Takes the next change that every peer that counts has acknowledged, and that the publishers
    /// of this router know.
    pub(super) fn effective_in_cluster(&mut self, interest_acked: u64, settled: u64) -> Option<Waiting> {
        let is_known =
            |waiting: &mut Waiting| waiting.interest <= interest_acked && waiting.directory <= settled;
        self.for_cluster.pop_front_if(is_known)
    }

    /// Takes the oldest change, to be answered early because too many wait; the flag says whether
    /// it is effective on the router at least.
    pub(super) fn overflow(&mut self) -> Option<(Waiting, bool)> {
        if self.len() <= WAITING_MAX {
            return None;
        }
        let on_router = self.for_cluster.pop_front().map(|waiting| (waiting, true));
        on_router.or_else(|| self.for_router.pop_front().map(|waiting| (waiting, false)))
    }
}
