//! What becomes of what each of two sessions brings.

use std::collections::VecDeque;
use std::ops::Range;

use millrace_proto::data::{Gap, GapReason, Mark};
use millrace_proto::{PublisherKey, RouterId};

use super::ahead::Ahead;
use crate::session::receiver::Fresh;
use crate::session::side::Side;
use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// Pause before marks are asked for again when some router could not be asked for what it had
/// routed: routers take a second or two to see that one of them is dead.
const RETRY_NS: u64 = 500 * MILLISECOND_NS;
/// How long a lost router is remembered: others announce its end within this time, because they
/// give a silent peer up after 30 s.
const COVERED_NS: u64 = 60 * SECOND_NS;
/// Lost routers that are remembered, at most: more than are lost in that time.
const COVERED_MAX: usize = 8;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none.
    Away,
    /// Its subscriptions are not effective, or marks are not asked for before this time.
    Subscribing(Time),
    /// Its mark is awaited, once it is asked for.
    Joining { asked: bool },
    /// Its mark has come, and that of the other session is awaited, once it is asked for.
    Waiting { asked: bool },
    /// It brings everything.
    Whole,
}

/// What a session has delivered and the other one has not brought.
#[derive(Debug, Default)]
struct Delivered {
    /// Before the other one's mark was asked for.
    before: Ahead,
    since: Ahead,
}

/// The two sessions of one receiver.
#[derive(Debug)]
pub struct Pair {
    stages: [Stage; 2],
    delivered: [Delivered; 2],
    routers: [Option<RouterId>; 2],
    /// Routers whose session was whole until it was lost, and when that was.
    covered: VecDeque<(Time, RouterId)>,
    removed: u64,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            stages: [Stage::Away; 2],
            delivered: <[Delivered; 2]>::default(),
            routers: [None; 2],
            covered: VecDeque::new(),
            removed: 0,
        }
    }
}

impl Pair {
    const fn stage(&self, side: Side) -> Stage {
        self.stages[side as usize]
    }

    /// A session has begun, with this router. The first one is whole; one beside it joins it.
    pub fn opened(&mut self, side: Side, router: Option<RouterId>) {
        self.routers[side as usize] = router;
        let joins = self.stage(side.other()) != Stage::Away;
        self.stages[side as usize] = if joins { Stage::Subscribing(Time::ZERO) } else { Stage::Whole };
    }

    /// A session is lost. Returns whether that is a gap: the other one is there, and was not whole.
    pub fn lost(&mut self, side: Side, now: Time) -> bool {
        let before = std::mem::replace(&mut self.stages[side as usize], Stage::Away);
        self.delivered[side.other() as usize] = Delivered::default();
        match self.stage(side.other()) {
            Stage::Away => {
                self.delivered[side as usize] = Delivered::default();
                false
            }
            Stage::Whole => {
                if before == Stage::Whole {
                    self.cover(side, now);
                }
                false
            }
            Stage::Subscribing(_) | Stage::Joining { .. } | Stage::Waiting { .. } => {
                self.stages[side.other() as usize] = Stage::Whole;
                true
            }
        }
    }

    /// A session was whole to its end.
    fn cover(&mut self, side: Side, now: Time) {
        if let Some(router) = self.routers[side as usize] {
            if self.covered.len() == COVERED_MAX {
                self.covered.pop_front();
            }
            self.covered.push_back((now, router));
        }
    }

    /// Something was subscribed to: the sessions have it from different moments on, so that one of
    /// them joins the other one anew.
    pub fn subscribed(&mut self) {
        if self.stages == [Stage::Whole; 2] {
            self.rejoin(Side::Second);
            return;
        }
        for side in Side::BOTH {
            if self.stage(side) != Stage::Whole {
                self.rejoin(side);
            }
        }
    }

    /// A session begins to join, as soon as it may.
    fn rejoin(&mut self, side: Side) {
        if self.stage(side) != Stage::Away {
            self.stages[side as usize] = Stage::Subscribing(Time::ZERO);
        }
    }

    /// All subscriptions of a session are effective in the cluster.
    pub fn effective(&mut self, side: Side, now: Time) {
        if matches!(self.stage(side), Stage::Subscribing(from) if from <= now) {
            self.stages[side as usize] = Stage::Joining { asked: false };
        }
    }

    /// Whether a session waits for [`Pair::effective`].
    #[must_use]
    pub const fn is_subscribing(&self, side: Side) -> bool {
        matches!(self.stage(side), Stage::Subscribing(_))
    }

    /// When [`Pair::effective`] is to be told again of a session whose subscriptions are effective.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.stages.iter().find_map(|stage| match stage {
            Stage::Subscribing(from) if *from > Time::ZERO => Some(*from),
            _ => None,
        })
    }

    /// Whose router is to be asked for a mark now, if any is.
    #[must_use]
    pub fn to_ask(&self) -> Option<Side> {
        Side::BOTH.into_iter().find_map(|side| match self.stage(side) {
            Stage::Joining { asked: false } => Some(side),
            Stage::Waiting { asked: false } => Some(side.other()),
            _ => None,
        })
    }

    /// That router is about to be asked for a mark.
    pub fn asks(&mut self) {
        for side in Side::BOTH {
            match &mut self.stages[side as usize] {
                Stage::Joining { asked: asked @ false } => {
                    *asked = true;
                    let Delivered { before, since } = &mut self.delivered[side.other() as usize];
                    before.append(since);
                }
                Stage::Waiting { asked } => *asked = true,
                _ => {}
            }
        }
    }

    /// Whether one of two sessions joins the other one.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.stages.iter().any(|stage| !matches!(stage, Stage::Away | Stage::Whole))
    }

    /// Whose mark is awaited.
    #[must_use]
    pub fn awaits(&self) -> Option<Side> {
        Side::BOTH.into_iter().find_map(|side| match self.stage(side) {
            Stage::Joining { asked: true } => Some(side),
            Stage::Waiting { asked: true } => Some(side.other()),
            _ => None,
        })
    }

    /// The mark that was asked for is lost with its connection: it is to be asked for again.
    pub const fn unasked(&mut self) {
        let [first, second] = &mut self.stages;
        if let Stage::Joining { asked } | Stage::Waiting { asked } = first {
            *asked = false;
        }
        if let Stage::Joining { asked } | Stage::Waiting { asked } = second {
            *asked = false;
        }
    }

    /// The mark that was asked for stands here in the stream of a session.
    pub fn marked(&mut self, side: Side, mark: &Mark, now: Time) {
        let again = Stage::Subscribing(now.after(RETRY_NS));
        match (self.stage(side), self.stage(side.other())) {
            (Stage::Joining { asked: true }, _) => {
                self.stages[side as usize] =
                    if mark.partial { again } else { Stage::Waiting { asked: false } };
            }
            (_, Stage::Waiting { asked: true }) if mark.partial => {
                self.stages[side.other() as usize] = again;
            }
            (_, Stage::Waiting { asked: true }) => {
                // What an earlier life of the session was ahead of this one has come.
                self.stages[side.other() as usize] = Stage::Whole;
                self.delivered[side.other() as usize] = Delivered::default();
                self.delivered[side as usize].before = Ahead::default();
            }
            _ => {}
        }
    }

    /// Whether a session is to be read: one whose turn comes when the other has brought its mark is
    /// not.
    #[must_use]
    pub const fn reads(&self, side: Side) -> bool {
        !matches!(self.stage(side), Stage::Waiting { .. })
    }

    /// Whether a session brings everything.
    #[must_use]
    pub fn is_whole(&self, side: Side) -> bool {
        self.stage(side) == Stage::Whole
    }

    /// Judges events that a session brings: those that are to be delivered.
    pub fn run(&mut self, side: Side, publisher: PublisherKey, seqs: Range<u64>) -> Fresh {
        if !self.is_whole(side) {
            return Fresh { parts: Some(Vec::new()), maybe_duplicate: false };
        }
        let parts = self.take(side.other(), publisher, &seqs);
        if self.stage(side.other()) != Stage::Away {
            let since = &mut self.delivered[side as usize].since;
            let is_added = match &parts {
                None => since.add(publisher, seqs.clone()),
                Some(parts) => parts.iter().all(|part| since.add(publisher, part.clone())),
            };
            if !is_added {
                // It is too far behind to remember what it has yet to bring.
                self.delivered[side as usize] = Delivered::default();
                self.rejoin(side.other());
            }
        }
        if let Some(parts) = &parts {
            self.removed +=
                seqs.end - seqs.start - parts.iter().map(|part| part.end - part.start).sum::<u64>();
        }
        Fresh { parts, maybe_duplicate: false }
    }

    /// Takes events out of what the session of `side` has delivered; returns the others.
    fn take(&mut self, side: Side, publisher: PublisherKey, seqs: &Range<u64>) -> Option<Vec<Range<u64>>> {
        let Delivered { before, since } = &mut self.delivered[side as usize];
        let Some(parts) = before.take(publisher, seqs) else { return since.take(publisher, seqs) };
        let mut fresh = Vec::new();
        for part in parts {
            match since.take(publisher, &part) {
                None => fresh.push(part),
                Some(parts) => fresh.extend(parts),
            }
        }
        Some(fresh)
    }

    /// Judges a gap in the stream of a session: whether it is one of the receiver, too. What one
    /// session misses the other one brings, if it is whole.
    pub fn gap(&mut self, side: Side, gap: &Gap, now: Time) -> bool {
        if let (GapReason::RouterLost, Some(router)) = (gap.reason, gap.router)
            && self.is_covered(side.other(), router, now)
        {
            return false;
        }
        if !self.is_whole(side) {
            return false;
        }
        if !self.is_whole(side.other()) {
            // What is missing may come there, too late for its place.
            self.rejoin(side.other());
            return true;
        }
        if gap.reason == GapReason::SessionLost {
            self.cover(side, now);
        }
        self.rejoin(side);
        false
    }

    /// Whether a session with this router has brought what the router had routed while it lived:
    /// the rest was confirmed to nobody.
    fn is_covered(&mut self, side: Side, router: RouterId, now: Time) -> bool {
        self.covered.retain(|(at, _)| now.nanos_since(*at) < COVERED_NS);
        let is_present = self.is_whole(side) && self.routers[side as usize] == Some(router);
        is_present || self.covered.iter().any(|(_, known)| *known == router)
    }

    /// Ranges of events that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.delivered.iter().map(|delivered| delivered.before.ranges() + delivered.since.ranges()).sum()
    }

    /// Events that were removed, because the other session had brought them.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed
    }
}
