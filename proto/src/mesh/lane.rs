//! Frames of features between routers: what became of runs, and what routers keep together.

use super::kind;
use crate::control::{
    AckKind, OutcomeKind, OutcomeReason, SeqRanges, SourcePosition, Ticket, message, record,
};
use crate::id::{Incarnation, PublisherId, RouterId};
use crate::limits;

message! {
    /// How runs of this lane ended at the sender's receivers.
    pub struct LegAck = kind::LEG_ACK {
        /// Which: lane seqs of the lane's data stream.
        1 runs: SeqRanges,
        /// How they ended.
        2 kind: OutcomeKind,
        /// The confirm level that this answers: 1 routed, 2 delivered, 3 kept.
        3 level: u32,
        /// How many receivers each of them is confirmed at.
        4 receivers: u64,
        /// How many receivers each of them missed.
        5 missed: u64,
        /// Why, for all but confirmed ones.
        6 reasons: Vec<OutcomeReason>,
        /// Which events of each run, counted from its first; none: all of them. A run whose events
        /// ended in different ways is answered by several frames.
        7 events: SeqRanges,
    }
}

message! {
    /// Write a [`Mark`](crate::data::Mark) behind the runs that were routed for this lane up to
    /// here.
    pub struct MarkRequest = kind::MARK_REQUEST {
        /// Its number: above those of earlier requests on the lane.
        1 number: u64,
    }
}

message! {
    /// What members of groups did with runs of this lane that carry tickets.
    pub struct Tickets = kind::TICKETS {
        /// What they did: taken, or handed back for another member.
        1 kind: AckKind,
        /// The tickets.
        2 tickets: Vec<Ticket>,
        /// Why they were handed back.
        3 reason: OutcomeReason,
    }
}

message! {
    /// A receiver of the sender has more waiting than it may, of what these publishers have sent
    /// over this lane: the reader shall leave them waiting a little. Without publishers, the
    /// receiver is relieved.
    pub struct Hold = kind::HOLD {
        /// The receiver, by a number of the sender's.
        1 receiver: u64,
        /// The publishers.
        2 publishers: Vec<PublisherId>,
    }
}

record! {
    /// A member of a group at the sender.
    pub struct GroupMember, at most limits::MEMBERS_PER_FRAME_MAX {
        /// The group.
        1 group: String,
        /// The sender's number of the member.
        2 member: u64,
        /// Its level, 1 to 8: lower ones are used first.
        3 level: u32,
        /// Events that it has not acknowledged.
        4 in_flight: u64,
        /// Events that it takes besides.
        5 room: u64,
        /// It takes none at the moment.
        6 busy: bool,
        /// It is gone.
        7 gone: bool,
        /// Of its group, one member gets everything.
        8 exclusive: bool,
    }
}

message! {
    /// Members of groups at the sender that are new, have changed, or are gone.
    pub struct GroupMembers = kind::GROUP_MEMBERS {
        /// They.
        1 members: Vec<GroupMember>,
    }
}

record! {
    /// Who holds a set of standby publishers. Of two records the one with the higher generation
    /// counts, then the one with the lower rank, then the one with the higher publisher id.
    pub struct SetRecord, at most limits::SETS_PER_FRAME_MAX {
        /// The set.
        1 set: String,
        /// Its generation.
        2 generation: u64,
        /// The holder's rank.
        3 rank: u32,
        /// The holder's publisher id, 16 bytes.
        4 publisher: Vec<u8>,
        /// The router that serves it.
        5 router: RouterId,
        /// Nobody holds it.
        6 vacant: bool,
        /// Whom the set belongs to.
        7 identity: String,
        /// The highest source seq of the set that a router has seen, plus one; 0: none.
        8 next_source_seq: u64,
        /// Why it holds the set: 1 nobody did, 2 the holder before died, 3 left, 4 handed over, 5
        /// gave way to a lower rank, 6 moved to another router, 7 held the same generation, 8 was
        /// at a router that is lost. While nobody holds it: why.
        9 why: u32,
    }
}

record! {
    /// A publisher at the sender that is a member of a set.
    pub struct SetMember, at most limits::SETS_PER_FRAME_MAX {
        /// The set.
        1 set: String,
        /// The publisher's id, 16 bytes.
        2 publisher: Vec<u8>,
        /// Its rank.
        3 rank: u32,
        /// It takes over from a holder of a higher rank, too.
        4 preempt: bool,
        /// Its client does not answer.
        5 silent: bool,
        /// It is a member no more.
        6 gone: bool,
        /// Its client's identity.
        7 identity: String,
        /// It can take over without loss.
        8 abreast: bool,
    }
}

message! {
    /// Records of sets, and members at the sender, that are new or have changed.
    pub struct SetRecords = kind::SET_RECORDS {
        /// Who holds sets.
        1 sets: Vec<SetRecord>,
        /// Members of sets.
        2 members: Vec<SetMember>,
        /// Sets that the reader's members are to hand over.
        3 hand_over: Vec<String>,
    }
}

message! {
    /// Send history: runs that entered at the reader and match, on a stream with the preamble
    /// [`ReplayPreamble`](crate::stream::ReplayPreamble).
    pub struct HistoryRequest = kind::HISTORY_REQUEST {
        /// The sender's number of the request.
        1 request: u64,
        /// Selectors in canonical text, any of which may match.
        2 selectors: Vec<String>,
        /// Where to begin, for each owner and incarnation of the reader; an owner that is absent
        /// begins with its oldest run.
        3 from: Vec<SourcePosition>,
        /// In place of `from`: how far back to begin, microseconds by the reader's arrival clock.
        4 since_us: u64,
        /// The request is over.
        5 cancel: bool,
        /// Of each tag set, only its newest run, unless it is 0.
        6 last: u64,
    }
}

record! {
    /// What of one owner's history is sent.
    pub struct HistorySpan, at most limits::POSITIONS_PER_FRAME_MAX {
        /// The owner's process life.
        1 incarnation: Incarnation,
        /// The owner.
        2 owner: u16,
        /// First position that is sent.
        3 from: u64,
        /// Position up to which it is sent.
        4 to: u64,
        /// Oldest position that is kept.
        5 oldest_kept: u64,
    }
}

message! {
    /// What the answer to a request for history consists of: first when it begins, again when it
    /// has ended.
    pub struct HistoryState = kind::HISTORY_STATE {
        /// The request.
        1 request: u64,
        /// What is sent.
        2 spans: Vec<HistorySpan>,
        /// All of it has been written.
        3 ended: bool,
    }
}
