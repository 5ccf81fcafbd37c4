//! What control tells people: each notice once, with peer and cause, and again only after a while.
//!
//! The driver of control writes notices to a log. An equal notice of the same peer within
//! [`SAY_EVERY`] is counted and told with the next one, so that a peer that comes and goes ten
//! times a second fills no disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use millrace_proto::RouterId;

use super::config::PEERS_MAX;
use super::trouble::Trouble;
use crate::time::Time;

/// Shortest time between two equal notices of one peer.
pub const SAY_EVERY: Duration = Duration::from_secs(10);
/// Most notices that wait to be taken: more than one input leads to.
const WAITING_MAX: usize = 4 * PEERS_MAX;
/// Pairs of notice and peer that are remembered.
const SAID_MAX: usize = 16 * PEERS_MAX;

/// Why a peer is suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// Its link was lost.
    Lost,
    /// One of its lanes was lost.
    LaneLost,
    /// Nothing is heard on one of its lanes.
    Silent,
    /// It says that it does not hear this router: the path works one way only.
    Deaf,
}

/// Why a hello was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It speaks another version of the protocol.
    Version,
    /// Its hello contradicts itself or the protocol.
    Malformed,
    /// This router knows as many routers as it can.
    Full,
    /// It told more selectors than a peer may.
    Interest,
    /// It claims the id of a router that another peer proves to be.
    Impostor,
    /// It is of another cluster.
    Cluster,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// All lanes of a link are up for the first time.
    Linked(RouterId),
    /// A peer that was suspect is linked again, and nothing of it was forgotten.
    Healed(RouterId),
    /// A linked peer is suspect. Its interest stays for a while.
    Suspect {
        /// The peer.
        router: RouterId,
        /// Why.
        cause: Suspicion,
    },
    /// A suspect peer was not heard for too long, and is forgotten with its interest.
    Forgotten(RouterId),
    /// A peer says that it goes away.
    Leaving(RouterId),
    /// A peer that said it would leave is gone.
    Left(RouterId),
    /// A peer was refused.
    Refused {
        /// Who it says it is.
        router: RouterId,
        /// Why.
        why: Refusal,
    },
    /// Another process has this router's id, or advertises its address.
    Twin {
        /// The name of that process.
        name: String,
    },
    /// This router is ready.
    Joined {
        /// Routers that it is linked with.
        linked: usize,
        /// Others that it knows or is told of.
        others: usize,
        /// Whether it waited in vain for more.
        timed_out: bool,
    },
    /// This router's place in the mesh is in trouble; none when that is over.
    Degraded(Option<Trouble>),
    /// Whether this router asks its peers for every event, because it has more selectors than it
    /// tells them.
    InterestOverflow(bool),
    /// This router begins to ask clients to move, because it has more than others, or has enough.
    Rebalancing {
        /// Which of the two.
        begins: bool,
        /// Its clients.
        clients: u64,
        /// Those of a router of its zone, in the mean.
        mean: u64,
    },
}

impl Notice {
    /// The router that it is about, if that is not this one.
    #[must_use]
    pub const fn router(&self) -> Option<RouterId> {
        match *self {
            Self::Linked(router)
            | Self::Healed(router)
            | Self::Suspect { router, .. }
            | Self::Forgotten(router)
            | Self::Leaving(router)
            | Self::Left(router)
            | Self::Refused { router, .. } => Some(router),
            Self::Twin { .. }
            | Self::Joined { .. }
            | Self::Degraded(_)
            | Self::InterestOverflow(_)
            | Self::Rebalancing { .. } => None,
        }
    }
}

/// A notice, the peer that it is about, and how often it was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What happened.
    pub notice: Notice,
    /// The peer's name and advertised address, where they are known.
    pub peer: Option<(String, String)>,
    /// Equal notices that were left out since the last one.
    pub left_out: u64,
}

/// Notices that wait, and those that were told lately.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: VecDeque<Said>,
    said: BTreeMap<Notice, (Time, u64)>,
}

impl Notices {
    /// Queues a notice, unless an equal one was told lately.
    pub(super) fn take_in(&mut self, now: Time, notice: Notice, peer: Option<(String, String)>) {
        if let Some((at, left_out)) = self.said.get_mut(&notice)
            && now < *at + SAY_EVERY
        {
            *left_out += 1;
            return;
        }
        if self.said.len() >= SAID_MAX {
            self.said.retain(|_, (at, _)| now < *at + SAY_EVERY);
        }
        if self.said.len() >= SAID_MAX || self.waiting.len() >= WAITING_MAX {
            return;
        }
        let before = self.said.insert(notice.clone(), (now, 0));
        let left_out = before.map_or(0, |(_, left_out)| left_out);
        self.waiting.push_back(Said { notice, peer, left_out });
    }

    /// Takes the oldest notice.
    pub(super) fn pop(&mut self) -> Option<Said> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_said_once_in_a_while_with_how_often_it_was_left_out() {
        let (mut notices, start) = (Notices::default(), Time::ZERO);
        let mut say = |now, notice| {
            notices.take_in(now, notice, None);
            notices.waiting.pop_front().map(|said| said.left_out)
        };
        assert_eq!(say(start, Notice::Linked(RouterId(1))), Some(0));
        assert_eq!(say(start, Notice::Linked(RouterId(1))), None);
        assert_eq!(say(start, Notice::Linked(RouterId(2))), Some(0));
        assert_eq!(say(start, Notice::Healed(RouterId(1))), Some(0));
        assert_eq!(say(start + SAY_EVERY, Notice::Linked(RouterId(1))), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut notices = Notices::default();
        for id in 0..2 * SAID_MAX as u64 {
            notices.take_in(Time::ZERO, Notice::Linked(RouterId(id)), None);
        }
        assert!(notices.said.len() <= SAID_MAX && notices.waiting.len() <= WAITING_MAX);
    }
}
