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
use crate::history::{PastLives, PastSource, Sources, Span, Told, Which};

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
        let (wanted, is_lost) = told.wanted(pasts, present, self.past.since.is_some());
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
            let Some(known) = sources.know_past(past.source) else {
                self.miss(past.source.router, GapReason::Evicted);
                continue;
            };
            let life = Life { server, earlier: Some(rank), waits: false };
            let begin = (begin, std::mem::take(&mut is_cut));
            let mut source = SourceJoin::new(known, life, begin, self.total.clone());
            source.join.pinned(span.from, span.to);
            (source.is_pinned, source.announce) = (true, Some(span));
            self.sources.push(source);
        }
        if is_cut && let Some(source) = self.sources.iter_mut().find(|source| source.life.server == server) {
            source.is_cut = true;
        }
        self.settle_lives();
    }

    /// Says which lives wait for others. Returns whether one waits no more.
    pub(super) fn settle_lives(&mut self) -> bool {
        let mut first: BTreeMap<RouterId, u32> = BTreeMap::new();
        for source in self.sources.iter().filter(|source| source.life.earlier.is_some() && !source.is_over())
        {
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

    /// When what arrived in an earlier life is too old for the subscription, by the time of day; 0:
    /// nothing is.
    pub(super) fn not_before(&self, source: &SourceJoin) -> u64 {
        let is_named = Told::by(&self.past.cursor).names(&source.known.source);
        if is_named { 0 } else { self.since_of(source.life.server) }
    }
}

fn is_past_of(source: &SourceJoin, server: RouterId) -> bool {
    source.life.server == server && source.life.earlier.is_some()
}
