//! A group of four, and a control that knows nobody else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use millrace_engine::matching::{Index, Location, Taker};
use millrace_engine::message::{MemberNews, ToCore};
use millrace_engine::payload::Prefilter;
use millrace_engine::transport::ConnKey;
use millrace_proto::control::{Ack, AckKind, Hello, OpenReceiver, Subscribe, TableCapacity, Ticket};
use millrace_proto::feature::{self, Features};
use millrace_proto::{PROTOCOL_VERSION, ReceiverNumber, RouterId, Selector, SubscriptionNumber};

/// The connections of its members.
pub(crate) const MEMBERS: Range<u64> = 10..14;
const RECEIVER: ReceiverNumber = ReceiverNumber(0);
/// Events that a member may have: more than are published in a turn.
const INFLIGHT_MAX: u64 = 65_536;

/// The members as control knows them.
pub(crate) struct Group {
    index: Index<Taker>,
    version: u64,
    members: u16,
    /// Tickets that each member has acknowledged: they are numbered from 0.
    taken: BTreeMap<ConnKey, u64>,
}

impl Group {
    /// Nobody has joined. The seed is the core's.
    pub(crate) fn new(seed: u64) -> Self {
        Self { index: Index::new(seed), version: 0, members: 0, taken: BTreeMap::new() }
    }

    /// What a member says first.
    pub(crate) fn asks(out: &mut Vec<u8>) {
        let features = Features::default().with(feature::CONFIRMS).with(feature::GROUPS);
        let (version, tables, receivers) = (PROTOCOL_VERSION, TableCapacity::CLIENT, 1);
        Hello { version, tables, receivers, features, ..Hello::default() }.encode(out);
        let (group, max_inflight, receiver) = ("workers".to_owned(), INFLIGHT_MAX, RECEIVER);
        let open = OpenReceiver { receiver, grant: 1 << 60, ..OpenReceiver::default() };
        OpenReceiver { group, max_inflight, ..open }.encode(out);
        let (subscription, selectors) = (SubscriptionNumber(0), vec!["*".to_owned()]);
        Subscribe { receiver, subscription, selectors, ..Subscribe::default() }.encode(out);
    }

    /// What control says of members that have joined.
    pub(crate) fn joined(&mut self, selectors: &[Arc<Selector>]) -> Vec<ToCore> {
        let mut news = Vec::new();
        for selector in selectors {
            let Some(member) = selector.membership().cloned() else { continue };
            let index = self.members;
            self.members += 1;
            self.index.insert(selector, Taker::new(Location::Member(index), None));
            let (location, router) = (Location::Core(0), RouterId(1));
            news.push(MemberNews::Joined { index, member, location, router });
        }
        self.version += 1;
        let (version, index, joined) = (self.version, self.index.clone(), Vec::new());
        let prefilter = Arc::new(Prefilter::default());
        vec![ToCore::Members(news), ToCore::Directory { version, index, prefilter, joined }]
    }

    /// A member takes as many runs as it was given.
    pub(crate) fn ack(&mut self, member: ConnKey, given: u64) -> Ack {
        let taken = self.taken.entry(member).or_insert(0);
        let tickets = (*taken..*taken + given).map(|ticket| Ticket { ticket, generation: 0 }).collect();
        *taken += given;
        Ack { receiver: RECEIVER, kind: AckKind::Taken, tickets, ..Ack::default() }
    }
}
