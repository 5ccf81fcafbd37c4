//! Earlier lives in a receiver's replays: which of them come, and in which order.
//!
//! The lives of a router come one after the other, the present one last (`history/past.rs` says
//! why). Until its turn comes, a source is not read, and its live runs are dropped: its replay,
//! which is still to come, reaches behind them.

use std::collections::BTreeMap;

use millrace_proto::RouterId;
use millrace_proto::data::{GapReason, Source};

use super::joins::{SourceJoin, SubscriptionJoin};
use super::life::Life;
use crate::history::{Begin, Join, PastLives, PastSource, Sources, Span, Told, Which};

impl SubscriptionJoin {
    /// Earlier lives of this router that the subscription may want.
    pub(super) fn own_pasts(&self, server: RouterId, lives: &PastLives) -> Vec<PastSource> {
        let told = Told::by(&self.past.cursor);
        let is_named = lives.since(0).any(|life| told.names(&life.source));
        lives.since(if is_named { 0 } else { self.since_of(server) }).collect()
    }

    /// From when on what arrived at a router is wanted, by the time of day, nanoseconds since 1970;
    /// 0 where the cursor says that.
    fn since_of(&self, server: RouterId) -> u64 {
        let is_told = Told::by(&self.past.cursor).names_any(server);
        if is_told || self.past.since.is_none() { 0 } else { self.past.since_unix_ns }
    }

    /// A router has told which of its earlier lives it keeps: those that are wanted come before its
    /// present one, an owner of which is `present`.
    pub(super) fn add_pasts(&mut self, present: &Source, pasts: &[PastSource], sources: &mut Sources) {
        let server = present.router;
        let is_known = self.sources.iter().any(|source| is_past_of(source, server));
        if pasts.is_empty() || is_known || self.past.which == Which::Newest {
            return;
        }
        let told = Told::by(&self.past.cursor);
        let (mut wanted, is_lost) = told.wanted(pasts, present, self.past.since.is_some());
        for (past, begin) in &mut wanted {
            let had = self.sources.iter().find(|source| source.known.source == past.source);
            *begin = had.and_then(SourceJoin::had).map_or(*begin, Begin::At);
        }
        // One gap stands for what is gone of all lives, before the first of them.
        let mut is_cut = is_lost || wanted.iter().any(|(past, begin)| past.begun(*begin).is_cut);
        let of_router = |source: &&mut SourceJoin| source.life.server == server;
        for source in self.sources.iter_mut().filter(of_router) {
            source.is_of_other_life = false;
        }
        let (mut rank, mut last) = (0, None);
        for (past, begin) in wanted {
            let life = (past.source.router, past.source.incarnation);
            rank += u32::from(last.is_some_and(|last| last != life));
            last = Some(life);
            let span = Span { is_cut: false, ..past.begun(begin) };
            if span.from == span.to {
                continue;
            }
            let life = Life { server, earlier: Some(rank), has_ended: false, waits: false };
            let known = self.sources.iter_mut().find(|source| source.known.source == past.source);
            let source = match known {
                Some(source) => source,
                None => {
                    let Some(known) = sources.know_past(past.source) else {
                        self.miss(past.source.router, GapReason::Evicted);
                        continue;
                    };
                    self.sources.push_mut(SourceJoin::new(known, life, (begin, false), self.budget.clone()))
                }
            };
            source.go_on_in_files(life, begin, span);
            source.is_cut |= std::mem::take(&mut is_cut);
        }
        if is_cut && let Some(source) = self.sources.iter_mut().find(|source| source.life.server == server) {
            source.is_cut = true;
        }
        self.settle_lives();
    }

    /// Says which lives wait for others. Returns whether one waits no more.
    pub(super) fn settle_lives(&mut self) -> bool {
        let mut first: BTreeMap<RouterId, u32> = BTreeMap::new();
        for source in self.sources.iter().filter(|source| source.life.is_earlier() && !source.is_over()) {
            let rank = source.life.rank();
            first.entry(source.life.server).and_modify(|least| *least = rank.min(*least)).or_insert(rank);
        }
        let mut has_changed = false;
        for source in &mut self.sources {
            let waits = first.get(&source.life.server).is_some_and(|&least| least < source.life.rank());
            has_changed |= source.life.waits && !waits;
            source.life.waits = waits;
            if waits {
                // What was read of it is read again then.
                source.chunk = None;
            }
        }
        has_changed
    }

    /// A run has come of another life of its router than what is being replayed: those replays come
    /// to their end first. Says whether there are any.
    pub(super) fn end_lives_before(&mut self, next: &Source) -> bool {
        let mut is_any = false;
        for source in &mut self.sources {
            let Source { router, incarnation, .. } = source.known.source;
            if router == next.router && incarnation != next.incarnation && !source.is_over() {
                source.life.has_ended |= source.life.earlier.is_none();
                is_any = true;
            }
        }
        is_any
    }

    /// When what arrived in an earlier life is too old for the subscription, by the time of day; 0:
    /// nothing is.
    pub(super) fn not_before(&self, source: &SourceJoin) -> u64 {
        let is_named = Told::by(&self.past.cursor).names(&source.known.source);
        if is_named { 0 } else { self.since_of(source.life.server) }
    }
}

impl SourceJoin {
    /// Position behind what was delivered of it, or is known to be missing, if anything was.
    fn had(&self) -> Option<u64> {
        let replayed = if self.is_pinned { self.join.next() } else { 0 };
        Some(self.passed.max(replayed)).filter(|&had| had > 0)
    }

    /// Its life is an earlier one, of which `span` is read from files. It may have been the present
    /// one when its first runs came: live ones that wait go on to do so.
    fn go_on_in_files(&mut self, life: Life, begin: Begin, span: Span) {
        (self.life, self.begin, self.join) = (life, begin, Join::asked());
        self.join.pinned(span.from, span.to);
        (self.is_pinned, self.is_lost) = (true, false);
        (self.announce, self.joined, self.chunk) = (Some(span), None, None);
    }
}

fn is_past_of(source: &SourceJoin, server: RouterId) -> bool {
    source.life.server == server && source.life.earlier.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_proto::{Incarnation, Selector};

    use super::*;
    use crate::core::CoreConfig;
    use crate::core::joins::Past;
    use crate::core::outlet::HeldBudget;
    use crate::message::Token;
    use crate::time::Time;

    #[test]
    fn the_next_life_of_a_router_waits_until_the_replay_of_the_one_before_has_come_to_its_end() {
        let source = |router, incarnation| Source {
            router: RouterId(router),
            incarnation: Incarnation(incarnation),
            owner: 0,
        };
        let config = CoreConfig::new(RouterId(1), Incarnation(1), 0, 1);
        let (mut sources, _) = Sources::of(source(1, 1));
        let past = Past { since: Some(Time::ZERO), since_unix_ns: 1, cursor: Vec::new(), which: Which::All };
        let mut join = SubscriptionJoin::new(1, Token(0), 0, past, HeldBudget::default());
        let all: Arc<[Arc<Selector>]> = [Arc::new(Selector::parse("*").unwrap())].into();
        join.begin(all, &config, &mut sources, &PastLives::default());
        let first = sources.know(source(2, 1)).unwrap();
        let place = join.place_of(&first).unwrap();
        join.is_complete = true;
        let next = sources.know(source(2, 2)).unwrap();
        let later = join.place_of(&next).unwrap();
        assert!(join.sources[later].life.waits && !join.sources[place].life.waits);
        join.sources[place].join.give_up();
        assert!(join.settle_lives());
        assert!(!join.sources[later].life.waits);
        assert_eq!(join.sources[later].join.to_read(), None, "its owner is asked first");
        let last = sources.know(source(2, 3)).unwrap();
        join.sources[later].join.give_up();
        assert_eq!(join.place_of(&last), None, "nothing is replayed that it would wait for");
    }

    #[test]
    fn what_came_live_of_a_life_that_ended_is_not_read_from_files_and_the_rest_is_once() {
        let source = |router, incarnation| Source {
            router: RouterId(router),
            incarnation: Incarnation(incarnation),
            owner: 0,
        };
        for passed in [0, 7, 20] {
            let config = CoreConfig::new(RouterId(1), Incarnation(1), 0, 1);
            let (mut sources, _) = Sources::of(source(1, 1));
            let past =
                Past { since: Some(Time::ZERO), since_unix_ns: 1, cursor: Vec::new(), which: Which::All };
            let mut join = SubscriptionJoin::new(1, Token(0), 0, past, HeldBudget::default());
            let all: Arc<[Arc<Selector>]> = [Arc::new(Selector::parse("*").unwrap())].into();
            join.begin(all, &config, &mut sources, &PastLives::default());
            let ended = sources.know(source(2, 1)).unwrap();
            let place = join.place_of(&ended).unwrap();
            join.sources[place].join.give_up();
            join.sources[place].passed = passed;
            let span = Span { from: 0, to: 20, oldest: 0, is_cut: false };
            let kept = [PastSource { source: source(2, 1), span, is_whole: true }];
            join.add_pasts(&source(2, 2), &kept, &mut sources);
            let of_life: Vec<_> =
                join.sources.iter().filter(|join| join.known.source == source(2, 1)).collect();
            assert_eq!(of_life.len(), 1, "its answers are of one source");
            let to_read = (passed < 20).then_some((passed, 20));
            assert_eq!(of_life[0].join.to_read(), to_read, "{passed}");
        }
    }
}
