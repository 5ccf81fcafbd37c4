//! What the book of sets says to cores, members and peers.

use millrace_proto::control::SetState;
use millrace_proto::limits::SETS_MAX;
use millrace_proto::mesh::{SetMember, SetRecord};
use millrace_proto::{PublisherId, RouterId};

use super::record::Why;
use crate::transport::ConnKey;

/// Members that a set has at one router, or at all others: more than ranks make sense of.
pub(super) const MEMBERS_MAX: usize = 256;

/// A publisher of this router that is a member of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberKey {
    /// Its core.
    pub core: u16,
    /// Its connection there.
    pub conn: ConnKey,
    /// Its number on the connection's publish stream.
    pub number: u64,
}

/// What a core has counted of a set since it told control last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCount {
    /// The set.
    pub set: Box<str>,
    /// The highest source seq that has entered, plus one; 0: none.
    pub next_source_seq: u64,
    /// Events that were fenced.
    pub fenced: u64,
}

/// What a core says of the sets of its publishers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetWord {
    /// A publisher joins a set.
    Join {
        /// Its connection.
        conn: ConnKey,
        /// Its number there.
        number: u64,
        /// The publisher.
        publisher: PublisherId,
        /// The set.
        set: Box<str>,
        /// Its rank.
        rank: u8,
        /// It takes over from a holder of a higher rank, too.
        preempt: bool,
        /// Its client's identity.
        identity: Box<str>,
        /// The highest generation that it has heard of.
        known: u64,
        /// It can take over without loss.
        is_abreast: bool,
    },
    /// A publisher leaves its set.
    Leave {
        /// Its connection.
        conn: ConnKey,
        /// Its number there.
        number: u64,
        /// Why.
        why: Why,
    },
    /// A member's client answers, or does not.
    Silent {
        /// Its connection.
        conn: ConnKey,
        /// Its number there.
        number: u64,
        /// It does not.
        is_silent: bool,
    },
    /// What the core has counted.
    Counts(Vec<SetCount>),
}

/// What a member of a core is told of its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberWord {
    /// What it is.
    State(SetState),
    /// It cannot join.
    Refused {
        /// Its number on the publish stream.
        number: u64,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a publisher cannot join a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The set belongs to another identity.
    #[error("the set belongs to another identity: choose another name")]
    Identity,
    /// There are as many sets as a cluster may have, or as many members as a set may have.
    #[error("a cluster has at most {SETS_MAX} sets, each with {MEMBERS_MAX} members at a router")]
    Full,
}

/// Who holds a set, for cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetNews {
    /// The set.
    pub set: Box<str>,
    /// Its generation, and the holder; none: the set is forgotten.
    pub holder: Option<(u64, PublisherId)>,
}

/// What is to be said after an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// To all cores.
    pub news: Vec<SetNews>,
    /// To members of this router.
    pub states: Vec<(MemberKey, SetState)>,
    /// To all peers.
    pub records: Vec<SetRecord>,
    /// To all peers: members of this router.
    pub members: Vec<SetMember>,
    /// To one peer, because what it has told is old.
    pub answers: Vec<(RouterId, SetRecord)>,
    /// To one peer: a set that its member is to hand over.
    pub hand_over: Vec<(RouterId, Box<str>)>,
}

impl Words {
    /// Whether nothing is to be said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.news.is_empty()
            && self.states.is_empty()
            && self.records.is_empty()
            && self.members.is_empty()
            && self.answers.is_empty()
            && self.hand_over.is_empty()
    }
}
