//! Sets of standby publishers: what cores and peers say of them goes into the book, and what the
//! book has to say to cores, members and peers.

use std::collections::BTreeSet;

use millrace_proto::RouterId;
use millrace_proto::limits::SETS_PER_FRAME_MAX;
use millrace_proto::mesh::{LinkFrame, SetMember, SetRecord, SetRecords};

use super::link::Link;
use super::machine::Control;
use crate::message::{CoreIndex, ToCore};
use crate::standby::{Handed, Joining, MemberKey, MemberWord, SetPicture, SetWord};
use crate::time::Time;

impl Control {
    /// The time of its last input.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// All sets, by name.
    pub fn sets(&self) -> impl Iterator<Item = SetPicture> {
        self.sets.pictures()
    }

    /// Has the holder of a set give way to another member.
    pub fn hand_over(&mut self, now: Time, set: &str) -> Handed {
        self.now = now;
        let handed = self.sets.hand_over(now, set);
        self.settle();
        handed
    }

    /// A core says something of sets.
    pub(super) fn sets_changed(&mut self, core: CoreIndex, word: SetWord) {
        let now = self.now;
        match word {
            SetWord::Join { conn, number, publisher, set, rank, preempt, identity, known, is_abreast } => {
                let identity = &*identity;
                let joining = Joining { set: &set, publisher, rank, preempt, identity, known, is_abreast };
                if let Err(refusal) = self.sets.join(now, MemberKey { core, conn, number }, &joining) {
                    let word = MemberWord::Refused { number, refusal };
                    self.give(core, ToCore::SetMember { conn, word });
                }
            }
            SetWord::Leave { conn, number, why } => {
                self.sets.leave(now, MemberKey { core, conn, number }, why);
            }
            SetWord::Silent { conn, number, is_silent } => {
                self.sets.set_silent(now, MemberKey { core, conn, number }, is_silent);
            }
            SetWord::Counts(counts) => counts.iter().for_each(|count| self.sets.count(now, count)),
        }
    }

    /// A peer says something of sets.
    pub(super) fn sets_told(&mut self, router: RouterId, frame: &SetRecords) {
        let now = self.now;
        frame.sets.iter().for_each(|record| self.sets.told(now, router, record));
        frame.members.iter().for_each(|member| self.sets.told_member(now, router, member));
        for set in &frame.hand_over {
            self.sets.hand_over(now, set);
        }
    }

    /// Tells a new peer everything.
    pub(super) fn tell_all_sets(&mut self, router: RouterId) {
        if !self.sets.is_empty() {
            let (records, members) = self.sets.snapshot();
            self.tell_sets(router, &records, &members);
        }
    }

    /// Claims what is due, and says what is new. A router that does not know yet who is there, or
    /// that leaves, claims nothing.
    pub(super) fn give_sets(&mut self) {
        if self.sets.is_empty() {
            return;
        }
        let is_reachable = |link: &Link| link.control().is_some() && !link.is_silent();
        let reachable: BTreeSet<RouterId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.link.as_ref().is_some_and(is_reachable))
            .map(|(&router, _)| router)
            .collect();
        self.sets.set_reachable(self.now, reachable);
        if self.may_claim() {
            self.sets.claim_due(self.now);
        }
        let words = self.sets.take_words();
        if words.is_empty() {
            return;
        }
        if !words.news.is_empty() {
            self.give_all(&ToCore::Sets(words.news));
        }
        for (MemberKey { core, conn, .. }, state) in words.states {
            self.give(core, ToCore::SetMember { conn, word: MemberWord::State(state) });
        }
        let linked: Vec<RouterId> = self.linked().collect();
        for router in linked {
            self.tell_sets(router, &words.records, &words.members);
        }
        for (router, record) in words.answers {
            self.tell_sets(router, &[record], &[]);
        }
        for (router, set) in words.hand_over {
            if self.knows_sets(router) {
                let frame = SetRecords { hand_over: vec![set.into()], ..SetRecords::default() };
                self.say(router, LinkFrame::SetRecords(frame));
            }
        }
    }

    /// When a set is to be claimed.
    pub(super) fn claims_at(&self) -> Option<Time> {
        self.sets.poll_timeout().filter(|_| self.may_claim())
    }

    const fn may_claim(&self) -> bool {
        self.synced && self.leaves_at.is_none()
    }

    fn knows_sets(&self, router: RouterId) -> bool {
        let link = self.peers.get(&router).and_then(|peer| peer.link.as_ref());
        link.is_some_and(Link::knows_sets)
    }

    fn tell_sets(&mut self, router: RouterId, records: &[SetRecord], members: &[SetMember]) {
        if !self.knows_sets(router) {
            return;
        }
        for sets in records.chunks(SETS_PER_FRAME_MAX) {
            let frame = SetRecords { sets: sets.to_vec(), ..SetRecords::default() };
            self.say(router, LinkFrame::SetRecords(frame));
        }
        for members in members.chunks(SETS_PER_FRAME_MAX) {
            let frame = SetRecords { members: members.to_vec(), ..SetRecords::default() };
            self.say(router, LinkFrame::SetRecords(frame));
        }
    }
}
