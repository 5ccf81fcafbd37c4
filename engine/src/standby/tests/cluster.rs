//! A few routers with their books, whose words to each other take any order and may be cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_proto::control::Standing;
use millrace_proto::mesh::{SetMember, SetRecord};
use millrace_proto::{PublisherId, RouterId};

use crate::standby::{Joining, MemberKey, Record, SetBook, SetCount, SetPicture, Why};
use crate::time::Time;
use crate::transport::ConnKey;

pub(super) const SET: &str = "feed";

/// What one router has said to another and that has not arrived.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Record(SetRecord),
    Member(SetMember),
    HandOver(String),
}

/// Some routers with their books.
pub(super) struct Cluster {
    pub(super) now: Time,
    pub(super) books: Vec<SetBook>,
    /// Words on their way, by sender and reader; in order, as a stream keeps them.
    pub(super) links: BTreeMap<(usize, usize), Vec<Word>>,
    /// Routers that cannot hear each other.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// What each member was told last.
    pub(super) told: BTreeMap<(usize, MemberKey), (Standing, u64)>,
    /// Members that were told that they are fenced.
    pub(super) fenced: BTreeSet<(usize, MemberKey)>,
    /// All generations that any member was active in, with who.
    pub(super) active: BTreeSet<(u64, PublisherId)>,
}

pub(super) const fn key(number: u64) -> MemberKey {
    MemberKey { core: 0, conn: ConnKey(number), number: 0 }
}

pub(super) fn joining(number: u64) -> Joining<'static> {
    Joining {
        set: SET,
        publisher: PublisherId(number.into()),
        rank: 1,
        preempt: false,
        identity: "ops",
        known: 0,
        is_abreast: false,
    }
}

pub(super) fn router(at: usize) -> RouterId {
    RouterId(at as u64 + 1)
}

impl Cluster {
    pub(super) fn new(routers: usize) -> Self {
        let books = (0..routers).map(|at| SetBook::new(router(at))).collect();
        let mut cluster = Self {
            now: Time::from_nanos(1_000_000_000),
            books,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            told: BTreeMap::new(),
            fenced: BTreeSet::new(),
            active: BTreeSet::new(),
        };
        cluster.look();
        cluster
    }

    /// So many routers, at whose first one publisher 1 holds the set.
    pub(super) fn held(routers: usize) -> Self {
        let mut cluster = Self::new(routers);
        cluster.join(0, 1, 1, false);
        cluster.pass(Duration::from_secs(1));
        cluster
    }

    /// Two routers: at the first one publisher 1 holds the set and has sent numbers below 500; at
    /// the second one publisher 2, of rank 2, has lost nothing.
    pub(super) fn held_beside_one_abreast() -> Self {
        let mut cluster = Self::new(2);
        cluster.join(0, 1, 1, false);
        cluster.joins(1, 2, &Joining { rank: 2, is_abreast: true, ..joining(2) });
        cluster.pass(Duration::from_secs(1));
        cluster.entered(0, 500);
        cluster
    }

    /// A publisher joins at a router; its number names it, and its connection.
    pub(super) fn join(&mut self, at: usize, number: u64, rank: u8, preempt: bool) {
        self.joins(at, number, &Joining { rank, preempt, ..joining(number) });
    }

    pub(super) fn joins(&mut self, at: usize, number: u64, joining: &Joining<'_>) {
        self.books[at].join(self.now, key(number), joining).unwrap();
        self.gather();
    }

    /// Numbers below this one have entered a router.
    pub(super) fn entered(&mut self, at: usize, next_source_seq: u64) {
        let count = SetCount { set: SET.into(), next_source_seq, fenced: 0 };
        self.books[at].count(self.now, &count);
        self.gather();
        self.arrive_all();
    }

    /// A member's process is killed: its router hears nothing of it.
    pub(super) fn dies(&mut self, at: usize, number: u64) {
        self.books[at].leave(self.now, key(number), Why::Died);
        self.told.remove(&(at, key(number)));
        self.gather();
        self.arrive_all();
    }

    /// Routers see whom they can reach.
    pub(super) fn look(&mut self) {
        for at in 0..self.books.len() {
            let others = (0..self.books.len()).filter(|&other| other != at && !self.is_cut(at, other));
            let reachable = others.map(router).collect();
            self.books[at].set_reachable(self.now, reachable);
        }
        self.gather();
    }

    pub(super) fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Cuts or heals the way between two routers; what was on it stays there.
    pub(super) fn set_cut(&mut self, one: usize, other: usize, is_cut: bool) {
        let pair = (one.min(other), one.max(other));
        if is_cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
        self.look();
    }

    /// Collects what the books have to say.
    pub(super) fn gather(&mut self) {
        for at in 0..self.books.len() {
            let words = self.books[at].take_words();
            for (key, state) in words.states {
                self.told.insert((at, key), (state.standing, state.generation));
                if state.standing == Standing::Fenced {
                    self.fenced.insert((at, key));
                }
                if state.standing == Standing::Active {
                    self.active.insert((state.generation, PublisherId(key.conn.0.into())));
                }
            }
            for other in (0..self.books.len()).filter(|&other| other != at) {
                let link = self.links.entry((at, other)).or_default();
                link.extend(words.records.iter().cloned().map(Word::Record));
                link.extend(words.members.iter().cloned().map(Word::Member));
            }
            let index = |router: RouterId| usize::try_from(router.0).unwrap() - 1;
            for (to, record) in words.answers {
                self.links.entry((at, index(to))).or_default().push(Word::Record(record));
            }
            for (to, set) in words.hand_over {
                self.links.entry((at, index(to))).or_default().push(Word::HandOver(set.into()));
            }
        }
    }

    /// The oldest word on a way arrives.
    pub(super) fn arrive(&mut self, from: usize, to: usize) -> bool {
        if self.is_cut(from, to) {
            return false;
        }
        let Some(link) = self.links.get_mut(&(from, to)).filter(|link| !link.is_empty()) else {
            return false;
        };
        match link.remove(0) {
            Word::Record(record) => self.books[to].told(self.now, router(from), &record),
            Word::Member(member) => self.books[to].told_member(self.now, router(from), &member),
            Word::HandOver(set) => {
                self.books[to].hand_over(self.now, &set);
            }
        }
        self.gather();
        true
    }

    pub(super) fn arrive_all(&mut self) {
        while (0..self.books.len())
            .any(|from| (0..self.books.len()).any(|to| from != to && self.arrive(from, to)))
        {}
    }

    /// Time passes, and words arrive at once.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(50));
            for book in &mut self.books {
                book.claim_due(self.now);
            }
            self.gather();
            self.arrive_all();
        }
    }

    pub(super) fn picture(&self, at: usize) -> SetPicture {
        self.books[at].pictures().next().unwrap()
    }

    /// Who holds the set, by all routers alike, with the generation.
    pub(super) fn holder(&self) -> (u64, u128, Why) {
        let records: Vec<Record> = (0..self.books.len())
            .map(|at| {
                let picture = self.picture(at);
                assert!(picture.is_held, "router {at} sees a holder: {picture:?}");
                picture.record.unwrap()
            })
            .collect();
        assert!(records.windows(2).all(|two| two[0] == two[1]), "all agree: {records:?}");
        let record = records[0];
        let actives = self.told.iter().filter(|(_, told)| told.0 == Standing::Active);
        let actives: Vec<_> = actives.map(|(&(at, key), &(_, generation))| (at, key, generation)).collect();
        assert_eq!(actives.len(), 1, "one publisher is active: {actives:?}");
        let (at, key, generation) = actives[0];
        assert_eq!((router(at), u128::from(key.conn.0)), (record.router, record.publisher.0));
        assert_eq!(generation, record.generation);
        (record.generation, record.publisher.0, record.why)
    }

    pub(super) fn standing(&self, at: usize, number: u64) -> Standing {
        self.told[&(at, key(number))].0
    }
}
