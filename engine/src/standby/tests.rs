//! Sets of a few routers, whose words to each other take any order and may be cut off; and fences,
//! against a list of all that passed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_proto::control::Standing;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::data::{HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::limits::SETS_MAX;
use millrace_proto::mesh::{SetMember, SetRecord};
use millrace_proto::{PublisherId, RouterId};
use proptest::prelude::*;

use super::*;
use crate::time::Time;
use crate::transport::ConnKey;

const SET: &str = "feed";

/// What one router has said to another and that has not arrived.
#[derive(Debug, Clone)]
enum Word {
    Record(SetRecord),
    Member(SetMember),
    HandOver(String),
}

/// Some routers with their books.
struct Cluster {
    now: Time,
    books: Vec<SetBook>,
    /// Words on their way, by sender and reader; in order, as a stream keeps them.
    links: BTreeMap<(usize, usize), Vec<Word>>,
    /// Routers that cannot hear each other.
    cut: BTreeSet<(usize, usize)>,
    /// What each member was told last.
    told: BTreeMap<(usize, MemberKey), (Standing, u64)>,
    /// Members that were told that they are fenced.
    fenced: BTreeSet<(usize, MemberKey)>,
    /// All generations that any member was active in, with who.
    active: BTreeSet<(u64, PublisherId)>,
}

const fn key(number: u64) -> MemberKey {
    MemberKey { core: 0, conn: ConnKey(number), number: 0 }
}

fn router(at: usize) -> RouterId {
    RouterId(at as u64 + 1)
}

impl Cluster {
    fn new(routers: usize) -> Self {
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

    /// A publisher joins at a router; its number names it, and its connection.
    fn join(&mut self, at: usize, number: u64, rank: u8, preempt: bool) {
        let publisher = PublisherId(number.into());
        let joining = Joining { set: SET, publisher, rank, preempt, identity: "ops", known: 0 };
        self.books[at].join(self.now, key(number), &joining).unwrap();
        self.gather();
    }

    /// Routers see whom they can reach.
    fn look(&mut self) {
        for at in 0..self.books.len() {
            let others = (0..self.books.len()).filter(|&other| other != at && !self.is_cut(at, other));
            let reachable = others.map(router).collect();
            self.books[at].set_reachable(self.now, reachable);
        }
        self.gather();
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Cuts or heals the way between two routers; what was on it stays there.
    fn set_cut(&mut self, one: usize, other: usize, is_cut: bool) {
        let pair = (one.min(other), one.max(other));
        if is_cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
        self.look();
    }

    /// Collects what the books have to say.
    fn gather(&mut self) {
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
    fn arrive(&mut self, from: usize, to: usize) -> bool {
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

    fn arrive_all(&mut self) {
        while (0..self.books.len())
            .any(|from| (0..self.books.len()).any(|to| from != to && self.arrive(from, to)))
        {}
    }

    /// Time passes, and words arrive at once.
    fn pass(&mut self, time: Duration) {
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

    fn picture(&self, at: usize) -> SetPicture {
        self.books[at].pictures().next().unwrap()
    }

    /// Who holds the set, by all routers alike, with the generation.
    fn holder(&self) -> (u64, u128, Why) {
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

    fn standing(&self, at: usize, number: u64) -> Standing {
        self.told[&(at, key(number))].0
    }
}

#[test]
fn the_lowest_rank_claims_and_the_next_one_when_it_leaves() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 2, 2, false);
    cluster.join(1, 1, 1, false);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.holder(), (1, 1, Why::First));
    assert_eq!(cluster.standing(0, 2), Standing::Waiting);
    cluster.books[1].leave(cluster.now, key(1), Why::Died);
    cluster.told.remove(&(1, key(1)));
    cluster.gather();
    cluster.arrive_all();
    cluster.pass(Duration::from_millis(350));
    assert!(!cluster.picture(0).is_held, "rank 2 waits for 400 ms");
    cluster.pass(Duration::from_millis(50));
    assert_eq!(cluster.holder(), (2, 2, Why::Died));
}

#[test]
fn a_silent_holder_is_replaced_and_fenced_and_goes_on_where_nobody_replaced_it() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, false);
    cluster.pass(Duration::from_secs(1));
    cluster.books[0].set_silent(cluster.now, key(1), true);
    cluster.pass(Duration::from_secs(9));
    assert!(!cluster.picture(1).is_held);
    cluster.books[0].set_silent(cluster.now, key(1), false);
    cluster.pass(Duration::from_millis(50));
    assert_eq!(cluster.holder(), (1, 1, Why::First), "its generation goes on");
    cluster.join(1, 2, 3, false);
    cluster.books[0].set_silent(cluster.now, key(1), true);
    cluster.pass(Duration::from_millis(650));
    assert_eq!(cluster.standing(0, 1), Standing::Fenced);
    cluster.books[0].set_silent(cluster.now, key(1), false);
    cluster.pass(Duration::from_secs(9));
    assert_eq!(cluster.holder(), (2, 2, Why::Died), "no preemption");
}

#[test]
fn a_member_that_preempts_waits_for_the_failback() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 2, 2, false);
    cluster.pass(Duration::from_secs(1));
    cluster.join(1, 1, 1, true);
    cluster.pass(Duration::from_millis(4_900));
    assert_eq!(cluster.holder(), (1, 2, Why::First));
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.holder(), (2, 1, Why::Preempted));
    assert_eq!(cluster.standing(0, 2), Standing::Fenced);
}

#[test]
fn a_holder_hands_over_when_any_router_is_asked_and_somebody_is_there() {
    let mut cluster = Cluster::new(3);
    cluster.join(0, 1, 1, false);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.books[0].hand_over(cluster.now, "other"), Handed::Unknown);
    assert_eq!(cluster.books[2].hand_over(cluster.now, SET), Handed::Alone);
    cluster.join(1, 5, 16, false);
    cluster.arrive_all();
    assert_eq!(cluster.books[2].hand_over(cluster.now, SET), Handed::Asked);
    cluster.gather();
    cluster.arrive_all();
    assert_eq!(cluster.standing(0, 1), Standing::Active, "it goes on until the other one does");
    cluster.pass(Duration::from_millis(3_250));
    assert_eq!(cluster.holder(), (2, 5, Why::HandedOver));
    assert_eq!(cluster.standing(0, 1), Standing::Waiting, "it was asked to, and is not fenced");
}

#[test]
fn a_holder_that_comes_back_goes_on_or_takes_the_next_generation_at_another_router() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, false);
    cluster.pass(Duration::from_secs(1));
    let joining =
        Joining { set: SET, publisher: PublisherId(1), rank: 1, preempt: false, identity: "ops", known: 1 };
    // Its new connection is there before the old one has ended.
    cluster.books[0].join(cluster.now, key(7), &joining).unwrap();
    cluster.books[0].leave(cluster.now, key(1), Why::Died);
    let words = cluster.books[0].take_words();
    let states: Vec<_> = words.states.iter().map(|(key, state)| (key.conn.0, state.standing)).collect();
    assert_eq!(states, [(7, Standing::Active)]);
    assert!(words.news.is_empty(), "nothing is new for cores");
    cluster.books[1].join(cluster.now, key(8), &joining).unwrap();
    let words = cluster.books[1].take_words();
    assert_eq!(words.states[0].1.standing, Standing::Active);
    assert_eq!(words.states[0].1.generation, 2);
    assert_eq!(cluster.picture(1).record.unwrap().why, Why::Moved);
}

#[test]
fn a_member_knows_the_generation_when_all_routers_have_forgotten_it() {
    let mut cluster = Cluster::new(1);
    let publisher = PublisherId(1);
    let joining = Joining { set: SET, publisher, rank: 1, preempt: false, identity: "ops", known: 41 };
    cluster.books[0].join(cluster.now, key(1), &joining).unwrap();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.holder().0, 42);
}

#[test]
fn after_a_partition_one_holder_is_left_and_its_generation_is_its_own() {
    let mut cluster = Cluster::new(2);
    cluster.set_cut(0, 1, true);
    cluster.join(0, 1, 1, false);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.standing(0, 1), Standing::Active);
    assert_eq!(cluster.standing(1, 2), Standing::Active);
    cluster.set_cut(0, 1, false);
    cluster.pass(Duration::from_millis(50));
    // Both held generation 1: the winner takes the next, so that its runs can be told from the
    // others'.
    assert_eq!(cluster.holder(), (2, 1, Why::Conflict));
    assert!(cluster.fenced.contains(&(1, key(2))));
}

#[test]
fn a_router_that_begins_anew_says_that_its_holder_is_gone() {
    let mut cluster = Cluster::new(2);
    cluster.join(0, 1, 1, false);
    cluster.join(1, 2, 2, false);
    cluster.pass(Duration::from_secs(1));
    cluster.books[0] = SetBook::new(router(0));
    cluster.told.remove(&(0, key(1)));
    let (records, _) = cluster.books[1].snapshot();
    cluster.links.entry((1, 0)).or_default().extend(records.into_iter().map(Word::Record));
    cluster.look();
    cluster.pass(Duration::from_millis(450));
    assert_eq!(cluster.holder().1, 2);
}

#[test]
fn a_set_belongs_to_an_identity_and_a_cluster_has_so_many() {
    let mut book = SetBook::new(router(0));
    let now = Time::from_nanos(5);
    fn joining<'a>(set: &'a str, identity: &'a str) -> Joining<'a> {
        Joining { set, publisher: PublisherId(1), rank: 1, preempt: false, identity, known: 0 }
    }
    for number in 0..SETS_MAX as u64 {
        let name = format!("set {number}");
        let publisher = PublisherId(number.into());
        book.join(now, key(number), &Joining { publisher, ..joining(&name, "ops") }).unwrap();
    }
    assert_eq!(book.join(now, key(9_999), &joining("set 5", "web")), Err(Refusal::Identity));
    assert_eq!(book.join(now, key(9_999), &joining("another", "web")), Err(Refusal::Full));
    book.leave(now, key(5), Why::Left);
    book.join(now, key(9_999), &joining("another", "web")).unwrap();
    assert_eq!(book.len(), SETS_MAX);
}

fn stamped(set: &str, generation: u64, seqs: &[u64]) -> Vec<u8> {
    let mut fields = Vec::new();
    StandbySet::put(&mut fields, set, generation, seqs.iter().copied());
    fields
}

fn read(fields: &[u8]) -> StandbySet<'_> {
    let (tags, publisher) = (TagsOnStream::Number(0), PublisherOnStream::Number(0));
    HopHeader { tags, publisher, flags: 0, lane_seq: None, fields }.standby_set().unwrap().unwrap()
}

#[test]
fn only_the_holder_enters_and_what_it_has_sent_is_counted() {
    let mut fences = Fences::default();
    let [one, two] = [1, 2].map(PublisherId);
    let first = stamped(SET, 1, &[7, 9]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Fenced, "nobody holds it");
    let news = |generation, publisher| SetNews { set: SET.into(), holder: Some((generation, publisher)) };
    fences.hear(&[news(1, one)]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Pass);
    assert_eq!(fences.enter(&read(&first), two, 2), Verdict::Fenced);
    fences.hear(&[news(2, two)]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Fenced);
    let counts = fences.take_counts();
    assert_eq!(counts, [SetCount { set: SET.into(), next_source_seq: 10, fenced: 4 }]);
    assert!(!fences.has_counts());
    fences.hear(&[SetNews { set: SET.into(), holder: None }]);
    assert_eq!(fences.enter(&read(&stamped(SET, 2, &[])), two, 1), Verdict::Fenced);
}

proptest! {
    /// Runs of any generations come in any order: what passes never falls below the highest before
    /// it, unless it is the highest's own publisher; and nothing else is dropped.
    #[test]
    fn what_passes_a_fence_is_never_a_zombies(runs in prop::collection::vec((1_u64..6, 0_u128..3), 1..60)) {
        let mut fences = Fences::default();
        let mut highest: Option<(u64, u128)> = None;
        let mut fenced = 0;
        for (generation, publisher) in runs {
            let fields = stamped(SET, generation, &[]);
            let verdict = fences.pass(&read(&fields), PublisherId(publisher), 1);
            let is_zombie = highest.is_some_and(|(top, holder)| generation < top && publisher != holder);
            prop_assert_eq!(verdict == Verdict::Fenced, is_zombie);
            fenced += u64::from(is_zombie);
            if highest.is_none_or(|(top, _)| generation > top) {
                highest = Some((generation, publisher));
            }
        }
        prop_assert_eq!(fences.take_counts().iter().map(|count| count.fenced).sum::<u64>(), fenced);
    }

    /// Members come and go, fall silent, and hand over, at routers between which words are late and
    /// ways are cut. When that is over, all routers name one holder, which alone is active, in a
    /// generation that nobody exceeds.
    #[test]
    fn in_the_end_all_agree(steps in prop::collection::vec((0_u8..8, 0_usize..3, 1_u64..5), 1..60)) {
        let mut cluster = Cluster::new(3);
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for (step, at, number) in steps {
            match step {
                0 | 1 => {
                    if let Entry::Vacant(place) = places.entry(number) {
                        place.insert(at);
                        cluster.join(at, number, u8::try_from(number).unwrap(), number == 1);
                    }
                }
                2 => {
                    if let Some(at) = places.remove(&number) {
                        cluster.books[at].leave(cluster.now, key(number), Why::Died);
                        cluster.told.remove(&(at, key(number)));
                    }
                }
                3 | 4 => {
                    if let Some(&at) = places.get(&number) {
                        cluster.books[at].set_silent(cluster.now, key(number), step == 3);
                    }
                }
                5 => {
                    cluster.books[at].hand_over(cluster.now, SET);
                }
                6 => {
                    let other = (at + 1) % 3;
                    let is_cut = !cluster.is_cut(at, other);
                    cluster.set_cut(at, other, is_cut);
                }
                _ => {
                    cluster.arrive(at, (at + usize::try_from(number).unwrap()) % 3);
                }
            }
            cluster.gather();
            cluster.now = cluster.now + Duration::from_millis(100 * number);
            for book in &mut cluster.books {
                book.claim_due(cluster.now);
            }
            cluster.gather();
        }
        cluster.cut.clear();
        cluster.look();
        for (&number, &at) in &places {
            cluster.books[at].set_silent(cluster.now, key(number), false);
        }
        // A member that is always there, so that somebody holds the set.
        cluster.join(0, 9, 9, false);
        // Five seconds are the longest: who has handed over rests, and who preempts waits for so
        // long.
        cluster.pass(Duration::from_secs(11));
        let (generation, ..) = cluster.holder();
        prop_assert!(cluster.active.iter().all(|&(other, _)| other <= generation));
    }
}
