//! Messages between cores and control, and those between sibling cores besides runs.
//!
//! Control is the one writer of the router's directory and of the mesh's state, and runs on its own
//! thread. Cores hold the connections, so that the frames of a peer's control stream pass through
//! the core that holds the lane. Both directions are FIFO per core. The sources of the messages
//! bound them: interest by the selectors of sessions, mesh frames by the frame limit.

use std::sync::Arc;

use millrace_proto::control::Stage;
use millrace_proto::mesh::{LinkFrame, PeerHello};
use millrace_proto::selector::{Membership, PayloadMatcher};
use millrace_proto::{CloseCode, PublisherId, RouterId, Selector};

use crate::forward::ClusterDemand;
use crate::groups::{self, MemberIndex, MemberState};
use crate::history::{FarOwners, FromFiles, HistoryWord};
use crate::ledger::Answer;
use crate::matching::{Index, Location, Taker};
use crate::names::NameNews;
use crate::payload::{Cover, Prefilter};
use crate::rights::AllowList;
use crate::standby::{MemberWord, SetNews, SetWord};
use crate::transport::ConnKey;

/// A core of this router.
pub type CoreIndex = u16;

/// A peer's place in the directory ([`Location::Peer`]). Control gives it, and reuses it only after
/// every core has applied a directory without it.
pub type PeerIndex = u16;

/// Names one attempt to dial a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialId(pub u64);

/// Epoch of a hello that refuses a lane.
pub(crate) const REFUSED_EPOCH: u64 = 0;

/// Names one request of a session; only the session's core knows its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A selector that was read and whose payload pattern, if any, was compiled.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The whole selector.
    pub selector: Arc<Selector>,
    /// The selector as siblings and peers know it: with literals in place of its payload patterns
    /// (the same `Arc` when it has none).
    pub interest: Arc<Selector>,
    /// Its payload patterns.
    pub payload: Option<Arc<PayloadMatcher>>,
    /// Automata of several patterns of the selectors that were read with it, if there are any.
    pub cover: Option<Arc<Cover>>,
}

/// A core's message to another thread than its siblings', in the order of sending.
#[derive(Debug)]
pub enum CoreOutput {
    /// For control.
    ToControl(ToControl),
    /// To the reader of selectors.
    Prepare(PrepareOrder),
}

/// From a core to the reader of selectors: read these and compile their patterns, which takes time
/// that neither cores nor control have. [`ToCore::Prepared`] answers it.
#[derive(Debug)]
pub struct PrepareOrder {
    /// Repeated in the answer.
    pub token: Token,
    /// The client that asks: clients take turns.
    pub client: ConnKey,
    /// The selectors' texts.
    pub selectors: Vec<String>,
    /// What the client may receive: the selectors are narrowed to it. None: everything.
    pub allowed: Option<Arc<AllowList>>,
}

/// A receiver, among all of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreReceiver {
    /// Its core.
    pub core: CoreIndex,
    /// Its index there.
    pub receiver: u32,
}

/// A receiver that a publisher is held back for, although it is not on the core that reads the
/// publisher's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrowdedReceiver {
    /// On another core, or on this one but reached through another.
    Here(CoreReceiver),
    /// Behind a peer.
    There {
        /// The core that has the lane on which the peer asks.
        core: CoreIndex,
        /// The lane.
        lane: ConnKey,
        /// The peer's number of the receiver.
        receiver: u64,
    },
}

/// From a core to a sibling, about runs that the sibling has handed over. It travels against them,
/// on a ring that the sibling reads before batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSibling {
    /// Events were lost on their way to a receiver or peer.
    Missed {
        /// How many, since the last time; once for each place that wanted them.
        events: u64,
    },
    /// The runs of a publisher crowd a receiver, so that the core that reads its stream holds it
    /// back. It goes to all cores, because a run does not say which core that is.
    Crowded {
        /// The publisher.
        publisher: PublisherId,
        /// The crowded receiver.
        receiver: CrowdedReceiver,
        /// Its policy is `block`: the publisher waits for as long as this is said again.
        blocks: bool,
    },
    /// The receiver is relieved: no publisher waits for it.
    Relieved {
        /// The receiver.
        receiver: CrowdedReceiver,
    },
    /// How runs ended whose publishers ask for that, as far as they went through the sender.
    Ended(Vec<Answer>),
    /// A request for history, or the answer to one.
    History(Box<HistoryWord>),
    /// The sender waits until everything that was routed before has arrived: put a mark of this
    /// number behind it.
    Barrier {
        /// Number of the sender's barrier.
        round: u64,
    },
    /// What became of tickets that the sender was given.
    Tickets(Vec<TicketAnswer>),
}

/// What became of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketAnswer {
    /// The lane of the reader that the ticket came on; none: the reader's own ticket.
    pub lane: Option<ConnKey>,
    /// The ticket, by its owner's number.
    pub ticket: u64,
    /// Its generation.
    pub generation: u64,
    /// What became of it.
    pub answer: groups::Answer,
}

/// What is new of members of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberNews {
    /// A member is there: said before the first directory that has it.
    Joined {
        /// Its place in the directory.
        index: MemberIndex,
        /// Who it is.
        member: Arc<Membership>,
        /// Its core, or its router's place.
        location: Location,
        /// Its router.
        router: RouterId,
    },
    /// Its core says how it is.
    Changed {
        /// Its place in the directory.
        index: MemberIndex,
        /// How it is.
        state: MemberState,
    },
    /// It is gone.
    Left {
        /// Its place in the directory.
        index: MemberIndex,
    },
}

/// From a core to control.
#[derive(Debug)]
pub enum ToControl {
    /// The interest of this core's sessions changed: first and last references only.
    Interest {
        /// Interest that has its first reference on this core.
        add: Vec<Arc<Selector>>,
        /// Interest that lost its last reference on this core.
        remove: Vec<Arc<Selector>>,
        /// Where to report how far the change has come ([`ToCore::Effective`]), once per stage.
        token: Option<Token>,
    },
    /// How members of groups on this core are, by their numbers.
    Members(Vec<(u32, MemberState)>),
    /// What the core says of sets of standby publishers.
    Sets(SetWord),
    /// The core routes by the directory of this version, and publishers were told of what it wants.
    Applied {
        /// Version of the directory.
        version: u64,
        /// Position of the core's next run when it began to route by it.
        position: u64,
        /// Whether no publisher has to answer: otherwise [`Settled`](Self::Settled) follows.
        settled: bool,
    },
    /// The publishers that were told what the directory of this version wants have answered.
    Settled {
        /// Version of the directory.
        version: u64,
        /// Those that have not, in time; at most 64 of them.
        left_out: Vec<PublisherId>,
    },
    /// A peer said hello on a lane. [`ToCore::AcceptLane`] or [`ToCore::CloseLane`] answers it.
    LaneHello {
        /// The lane's connection, on this core.
        conn: ConnKey,
        /// Set when this router dialled it.
        dial: Option<DialId>,
        /// What the peer said.
        hello: PeerHello,
    },
    /// A peer said hello whose certificate does not prove the id that it claims: it gives way to a
    /// peer that proves it. The driver of the core checks that, and sends this in place of
    /// [`LaneHello`](Self::LaneHello).
    UnprovenHello {
        /// The lane's connection, on this core.
        conn: ConnKey,
        /// Set when this router dialled it.
        dial: Option<DialId>,
        /// What the peer said.
        hello: PeerHello,
    },
    /// A frame of the link arrived. Frames of the lane itself end at the core that holds it.
    LinkFrame {
        /// The lane. The peer follows the protocol if it is lane 0.
        conn: ConnKey,
        /// The frame.
        frame: LinkFrame,
    },
    /// Nothing was heard on an accepted lane for the suspicion time.
    LaneSilent {
        /// The lane.
        conn: ConnKey,
    },
    /// A silent lane was heard again.
    LaneHeard {
        /// The lane.
        conn: ConnKey,
    },
    /// A lane's connection is gone.
    LaneClosed {
        /// The lane; also reported for lanes that were never accepted.
        conn: ConnKey,
        /// Set when this router dialled it.
        dial: Option<DialId>,
        /// Whether everything that the peer wrote was read, so that nothing is missing.
        orderly: bool,
        /// Close code that the peer gave, if it closed the connection.
        code: Option<CloseCode>,
    },
    /// The core serves somebody who forwards from another cluster: it is told what this one wants,
    /// from here on.
    DemandAsked,
    /// The core has so many clients.
    Clients(u64),
    /// A dial did not lead to a connection.
    DialFailed {
        /// Which.
        dial: DialId,
    },
}

/// A router that clients may go to instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternate {
    /// How to reach it: `host:port`.
    pub address: String,
    /// Where it is; empty: it does not say.
    pub zone: String,
}

/// How far a change of interest has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// From the change.
    pub token: Token,
    /// How far.
    pub stage: Stage,
    /// At stage `cluster`: known routers that have not acknowledged it.
    pub left_out: Vec<RouterId>,
    /// At stage `cluster`: addresses at which no router has answered.
    pub unanswered: u64,
    /// At stage `cluster`: publishers that may not know yet that their events are wanted.
    pub left_out_publishers: Vec<PublisherId>,
}

impl Effective {
    /// A stage that was reached everywhere.
    #[must_use]
    pub const fn new(token: Token, stage: Stage) -> Self {
        Self { token, stage, left_out: Vec::new(), unanswered: 0, left_out_publishers: Vec::new() }
    }
}

/// From control to a core.
#[derive(Debug, Clone)]
pub enum ToCore {
    /// Answer to a [`PrepareOrder`].
    Prepared {
        /// From the request.
        token: Token,
        /// The selectors in the order of the request, narrowed to what is allowed, or the error of
        /// the first bad one. None of them where nothing is both asked for and allowed.
        result: Result<Vec<Prepared>, String>,
    },
    /// How far a change of interest has come.
    Effective(Effective),
    /// Route by this directory from here on; answered by [`ToControl::Applied`].
    Directory {
        /// Its version.
        version: u64,
        /// The interest of all cores and peers.
        index: Index<Taker>,
        /// The filters that its takers name.
        prefilter: Arc<Prefilter>,
        /// Peers whose interest is in the directory from this version on. They may have missed runs
        /// that this core routed before. Its lane to each of them tells that, between the runs
        /// before and after.
        joined: Vec<PeerIndex>,
    },
    /// What is new of members of groups, in order.
    Members(Vec<MemberNews>),
    /// Who holds names of receivers, where that has changed: said before the first directory that
    /// counts on it.
    Names(Vec<NameNews>),
    /// Who holds sets of standby publishers, where that has changed.
    Sets(Vec<SetNews>),
    /// A member of a set is to be told this.
    SetMember {
        /// Its connection.
        conn: ConnKey,
        /// What.
        word: MemberWord,
    },
    /// Whether the directory has all interest of the cluster: this router is synced, and no peer is
    /// suspect. Only then are publishers told that nobody wants their events.
    KnowsAllInterest(bool),
    /// Whether publishers may be granted credit: every known router's interest is applied on all
    /// owners, or the time to wait for that has ended.
    Synced(bool),
    /// The shell began an outgoing connection for a lane; the core says hello when it is connected.
    LaneDialled {
        /// Names the attempt.
        dial: DialId,
        /// Its connection, on this core.
        conn: ConnKey,
        /// What to say.
        hello: PeerHello,
    },
    /// The lane carries events from here on.
    AcceptLane {
        /// Its connection.
        conn: ConnKey,
        /// Where it leads.
        peer: PeerIndex,
        /// The peer.
        router: RouterId,
        /// Whether it has proven its id.
        proven: bool,
        /// Number of the lane in its link.
        lane: u16,
        /// Its epoch.
        epoch: u64,
        /// This core's runs for the peer leave on it: owner i uses lane i.
        outgoing: bool,
        /// The peer's runs arrive on it: the peer has an owner of its number.
        incoming: bool,
        /// Whether the peer may have missed runs that this core routed before the lane was there,
        /// because its interest is known already.
        missed: bool,
        /// Whether events may be missing that entered through an earlier life of the peer. The core
        /// tells that before the lane's first run.
        lost: bool,
        /// The hello to answer with, when the peer said hello first.
        hello: Option<PeerHello>,
        /// What the peer's reader holds.
        tables: millrace_proto::control::TableCapacity,
    },
    /// Close a lane.
    CloseLane {
        /// Its connection.
        conn: ConnKey,
        /// Hello to say before closing, so that the peer learns who we are.
        hello: Option<PeerHello>,
        /// Why.
        code: CloseCode,
    },
    /// Send a frame of the link on its lane 0.
    LinkFrame {
        /// Its connection.
        conn: ConnKey,
        /// The frame.
        frame: LinkFrame,
    },
    /// The owners of other routers whose history can be asked for. It comes before the
    /// subscriptions that those owners match are effective in the cluster.
    FarOwners(Arc<FarOwners>),
    /// Whoever keeps the router's history files answers, or says what they have.
    Files(Box<FromFiles>),
    /// What this cluster wants, for those who forward to it.
    Demand(Arc<ClusterDemand>),
    /// Other routers, for Welcome and Goaway.
    Alternates(Vec<Alternate>),
    /// This router is going away: tell clients and peers, finish what is queued.
    Drain {
        /// Time that clients have to move, microseconds; each is told a delay within it.
        grace_us: u64,
    },
    /// Some clients are to move to another router, which has fewer. This router stays, and closes
    /// nobody for it.
    MoveClients {
        /// How many clients. Those that were asked before are not asked again.
        count: u64,
        /// Time over which they move, one after the other, microseconds.
        within_us: u64,
        /// Where they are to go: `host:port`.
        to: String,
    },
}
