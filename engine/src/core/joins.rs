//! The replays of one receiver: for each subscription that asked for the past, and each source of
//! it, how far it has come.
//!
//! The sources are the owners of this router, known when the subscription is filed, and those of
//! other routers, known when all of them match it: until then the first live run of an owner brings
//! its source, so that its live runs wait from the first one on.

use std::sync::Arc;

use millrace_proto::control::SourcePosition;
use millrace_proto::data::{GapReason, Source};
use millrace_proto::{RouterId, Selector};

use super::config::CoreConfig;
use super::life::Life;
use super::mail::PendingSubscription;
use super::outlet::{Charge, HeldBudget, HeldRuns};
use super::read_ahead::ReadAhead;
use super::run::RunOut;
use crate::history::{Begin, FarOwners, Join, KnownSource, PastLives, Sources, Span, Told, Which};
use crate::message::{Effective, Token};
use crate::time::Time;

/// Where the past begins that a subscription asks for.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// What arrived at this time and later.
    pub(super) since: Option<Time>,
    /// The same as a time of day, nanoseconds since 1970.
    pub(super) since_unix_ns: u64,
    /// What stands at these positions and behind them.
    pub(super) cursor: Vec<SourcePosition>,
    /// How much of that.
    pub(super) which: Which,
}

impl Past {
    /// Bytes that it takes until the receiver has had it.
    pub(super) const fn bytes(&self) -> u64 {
        (size_of::<SubscriptionJoin>() + size_of::<SourceJoin>() + size_of_val(self.cursor.as_slice())) as u64
    }

    /// Where an owner's replay begins, and whether an earlier life of it is meant.
    fn begin(&self, source: &Source) -> (Begin, bool) {
        let of_router = || self.cursor.iter().filter(|place| place.router == source.router);
        let known =
            of_router().find(|place| place.incarnation == source.incarnation && place.owner == source.owner);
        match (known, self.since) {
            (Some(place), _) => (Begin::At(place.position), false),
            (None, _) if of_router().any(|place| place.incarnation != source.incarnation) => {
                (Begin::Oldest, true)
            }
            (None, Some(since)) => (Begin::Since(since), false),
            (None, None) => (Begin::Oldest, false),
        }
    }
}

/// The replay of one source.
#[derive(Debug)]
pub(super) struct SourceJoin {
    pub(super) known: Arc<KnownSource>,
    pub(super) life: Life,
    pub(super) begin: Begin,
    pub(super) join: Join,
    /// What is to be said of the replay before its first run.
    pub(super) announce: Option<Span>,
    /// Where live runs begin, once that is to be said.
    pub(super) joined: Option<u64>,
    /// Runs are gone that were asked for: to be said before what follows.
    pub(super) is_cut: bool,
    /// An earlier life of it was asked for, of which nobody has said that it is kept: as `is_cut`.
    pub(super) is_of_other_life: bool,
    /// What was read and not delivered.
    pub(super) chunk: Option<ReadAhead>,
    /// How many positions the last answer has covered.
    pub(super) covered: u64,
    pub(super) is_asked: bool,
    /// The owner has pinned where the replay ends.
    pub(super) is_pinned: bool,
    /// Nobody answers for the owner: the rest of the replay does not come.
    pub(super) is_lost: bool,
    /// A gap stands for that rest, behind what has come.
    pub(super) is_loss_told: bool,
    /// Live runs that wait.
    pub(super) held: HeldRuns,
    /// Position behind the last live run that was delivered; 0 if none was.
    pub(super) passed: u64,
}

impl SourceJoin {
    /// A source of the present life of its router.
    fn present(known: Arc<KnownSource>, past: &Past, budget: HeldBudget) -> Self {
        let (begin, is_of_other_life) = past.begin(&known.source);
        let life = Life::present(known.source.router);
        let join = match begin {
            Begin::At(position) => Join::asked_behind(position),
            Begin::Since(_) | Begin::Oldest => Join::asked(),
        };
        Self { is_of_other_life, join, ..Self::new(known, life, (begin, false), budget) }
    }

    /// A source whose replay begins there; the flag says that something before is gone.
    pub(super) fn new(
        known: Arc<KnownSource>,
        life: Life,
        (begin, is_cut): (Begin, bool),
        budget: HeldBudget,
    ) -> Self {
        Self {
            known,
            life,
            begin,
            join: Join::asked(),
            announce: None,
            joined: None,
            is_cut,
            is_of_other_life: false,
            chunk: None,
            covered: 0,
            is_asked: false,
            is_pinned: false,
            is_lost: false,
            is_loss_told: false,
            held: HeldRuns::new(budget),
            passed: 0,
        }
    }

    /// Whether everything of it was replayed, and its end was said.
    pub(super) const fn is_over(&self) -> bool {
        self.join.is_joined() && self.joined.is_none()
    }

    /// Whether it was said that its replay begins: some of it may have come.
    pub(super) const fn has_begun(&self) -> bool {
        self.is_pinned && self.announce.is_none()
    }

    /// Live runs up to `last` are left to the replay, which reaches behind them from here on. Says
    /// whether so much was that it is made longer, as if they had waited and were dropped.
    pub(super) fn leave(&mut self, last: u64, bytes: u64) -> bool {
        self.join.reach(last);
        self.held.leave(bytes)
    }

    /// A stretch of so many positions is asked for. If the answer may be the last one, live runs
    /// wait from here on.
    pub(super) const fn asks_for(&mut self, positions: u64) {
        if positions <= self.covered {
            self.held.wait();
        }
    }

    /// Gives back what was read and not delivered: it is read again later.
    pub(super) fn put_back(&mut self) {
        if let Some(read) = self.chunk.take() {
            self.join.read_to(read.rest());
        }
    }

    /// Whether it takes one of the receiver's few places for what is asked and read.
    pub(super) const fn is_reading(&self) -> bool {
        self.is_asked || self.chunk.is_some()
    }
}

/// The replays of one subscription.
#[derive(Debug)]
pub(super) struct SubscriptionJoin {
    /// Its number on the core.
    pub(super) replay: u64,
    pub(super) token: Token,
    pub(super) subscription: u16,
    pub(super) selectors: Arc<[Arc<Selector>]>,
    pub(super) past: Past,
    /// The owners of this router match the selectors: they can be asked.
    pub(super) is_effective: bool,
    /// All other routers match the selectors, or are left out: no more sources come.
    pub(super) is_complete: bool,
    pub(super) sources: Vec<SourceJoin>,
    /// Routers of which something does not come, with the gap that says so, and whether it was
    /// told.
    missed: Vec<(RouterId, GapReason, bool)>,
    pub(super) budget: HeldBudget,
    /// Counts it in what its connection asks of the past, until it is dropped.
    #[expect(dead_code, reason = "it is kept to be dropped")]
    charge: Option<Charge>,
    /// What its client is told when no owner that was asked has yet to say where live runs begin.
    pub(super) to_tell: Option<(PendingSubscription, Effective)>,
}

impl SubscriptionJoin {
    /// A subscription that is not read yet; the live runs that wait for it count in `budget`.
    pub(super) fn new(replay: u64, token: Token, subscription: u16, past: Past, budget: HeldBudget) -> Self {
        Self {
            replay,
            token,
            subscription,
            selectors: Arc::from(Vec::new()),
            past,
            is_effective: false,
            is_complete: false,
            sources: Vec::new(),
            missed: Vec::new(),
            budget,
            charge: None,
            to_tell: None,
        }
    }

    /// The same, which counts in what its connection asks of the past for as long as it is there.
    pub(super) fn charged(self, charge: Charge) -> Self {
        Self { charge: Some(charge), ..self }
    }

    /// Its selectors were read and filed: live runs are judged from here on.
    pub(super) fn begin(
        &mut self,
        selectors: Arc<[Arc<Selector>]>,
        config: &CoreConfig,
        sources: &mut Sources,
        lives: &PastLives,
    ) {
        self.selectors = selectors;
        for owner in 0..config.cores {
            let source = Source { router: config.router, incarnation: config.incarnation, owner };
            if let Some(known) = sources.know(source) {
                self.add(known);
            }
        }
        let present = Source { router: config.router, incarnation: config.incarnation, owner: config.core };
        let pasts = self.own_pasts(config.router, lives);
        self.add_pasts(&present, &pasts, sources);
    }

    /// Takes what its client is to be told, when no owner that was asked is yet to answer: what is
    /// published from then on is live for these owners, and is not left to their replays.
    pub(super) fn take_told(&mut self) -> Option<(PendingSubscription, Effective)> {
        let is_open = self.sources.iter().any(|source| source.is_asked && !source.is_pinned);
        self.to_tell.take_if(|_| !is_open)
    }

    /// How much of the past is wanted.
    pub(super) const fn which(&self) -> Which {
        self.past.which
    }

    /// Whether the cursor says nothing of an owner, and no time does: all that it ever had is asked
    /// for, so that what is gone of it is missing.
    pub(super) fn knows_nothing_of(&self, source: &SourceJoin) -> bool {
        let is_present = source.life.earlier.is_none();
        self.past.which == Which::All && is_present && source.begin == Begin::Oldest
    }

    fn add(&mut self, known: Arc<KnownSource>) -> usize {
        self.sources.push(SourceJoin::present(known, &self.past, self.budget.clone()));
        self.sources.len() - 1
    }

    /// The place of a source among those of the subscription. A live run of an unknown one brings
    /// it, as long as sources may come, and later, too, if the cursor names it: its router could
    /// not be asked, and what was on its way for long may have been had elsewhere.
    pub(super) fn place_of(&mut self, known: &Arc<KnownSource>) -> Option<usize> {
        let place = self.sources.iter().position(|source| *source.known == **known);
        if place.is_some() || self.sources.is_empty() {
            return place;
        }
        let waits = self.end_lives_before(&known.source);
        if !self.is_complete || waits {
            let place = self.add(Arc::clone(known));
            self.sources[place].is_of_other_life &= !waits;
            self.settle_lives();
            return Some(place);
        }
        let is_named = Told::by(&self.past.cursor).position(&known.source).is_some();
        is_named.then(|| {
            let place = self.add(Arc::clone(known));
            self.sources[place].join.give_up();
            place
        })
    }

    /// Whether the cursor names an owner that cannot be asked, and whose runs may come yet.
    pub(super) fn awaits(&self, far: &FarOwners) -> bool {
        self.named_alone().any(|(named, _)| far.is_lost(named.router))
    }

    /// Whether the cursor names an owner that could not be asked and is back, and of which not
    /// everything has come that was had elsewhere.
    pub(super) fn is_behind(&self, far: &FarOwners, sources: &Sources) -> bool {
        let is_late = |(named, position)| far.get(&named).is_some() && sources.seen(&named) < position;
        self.named_alone().any(is_late)
    }

    /// What the cursor names and has no replay here.
    fn named_alone(&self) -> impl Iterator<Item = (Source, u64)> {
        let named = self.past.cursor.iter().map(|place| {
            let &SourcePosition { router, incarnation, owner, position } = place;
            (Source { router, incarnation, owner }, position)
        });
        named.filter(|(named, _)| self.sources.iter().all(|source| source.known.source != *named))
    }

    /// All routers match the selectors but those that are left out: the others can be asked, too.
    pub(super) fn complete(
        &mut self,
        own: RouterId,
        far: &FarOwners,
        left_out: &[RouterId],
        sources: &mut Sources,
    ) {
        self.is_effective = true;
        self.is_complete = true;
        let is_there = |source: &Source| !left_out.contains(&source.router) && far.get(source).is_some();
        for owner in far.owners.iter().map(|owner| owner.source).filter(|source| is_there(source)) {
            match sources.know(owner) {
                Some(known) if self.sources.iter().all(|source| *source.known != *known) => {
                    self.add(known);
                }
                Some(_) => {}
                None => self.miss(owner.router, GapReason::RouterLost),
            }
        }
        for source in self.sources.iter_mut().filter(|source| source.life.server != own) {
            source.is_lost = !is_there(&source.known.source);
        }
        let lost =
            self.sources.iter().filter(|source| source.is_lost).map(|source| source.known.source.router);
        let has = |router| self.sources.iter().any(|source| source.known.source.router == router);
        let told = self.past.cursor.iter().map(|place| place.router);
        let told = told.filter(|&router| !far.knows(router) && !has(router));
        let gone: Vec<RouterId> = left_out.iter().copied().chain(lost).chain(told).collect();
        far.missing.iter().for_each(|&(router, reason)| self.miss(router, reason));
        self.miss_ended(far);
        for router in gone.into_iter().filter(|&router| router != own) {
            self.miss(router, GapReason::RouterLost);
        }
    }

    /// Something of a router does not come: a gap says so, once for each reason.
    pub(super) fn miss(&mut self, router: RouterId, reason: GapReason) {
        if !self.missed.iter().any(|&(missed, why, _)| (missed, why) == (router, reason)) {
            self.missed.push((router, reason, false));
        }
    }

    /// Nobody answers for an owner any more: a gap says so. One behind what has come of the owner
    /// may have been told for it.
    pub(super) fn miss_rest(&mut self, router: RouterId, is_told: bool) {
        let reason = GapReason::RouterLost;
        if is_told && !self.missed.iter().any(|&(missed, why, _)| (missed, why) == (router, reason)) {
            self.missed.push((router, reason, true));
        }
        self.miss(router, reason);
    }

    /// Routers of which a life has ended with what the subscription asks for. Of those that the
    /// cursor names, their present life tells.
    pub(super) fn miss_ended(&mut self, far: &FarOwners) {
        let told = Told::by(&self.past.cursor);
        let since = self.past.since.unwrap_or_default();
        let ended: Vec<RouterId> = far
            .ended
            .iter()
            .filter(|&&(router, at)| since <= at && !told.names_any(router))
            .map(|&(router, _)| router)
            .collect();
        if self.past.which == Which::All {
            ended.into_iter().for_each(|router| self.miss(router, GapReason::Evicted));
        }
    }

    /// The next gap for a router that is to be told.
    pub(super) fn next_missed(&mut self) -> Option<(RouterId, GapReason)> {
        let (router, reason, is_told) = self.missed.iter_mut().find(|(.., is_told)| !is_told)?;
        *is_told = true;
        Some((*router, *reason))
    }

    /// Whether a gap for a router is to be told.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.iter().any(|&(.., is_told)| !is_told)
    }
}

/// A source of one of a receiver's subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinPlace {
    subscription: usize,
    source: usize,
}

/// The replays of one receiver.
#[derive(Debug, Default)]
pub(super) struct Joins {
    pub(super) list: Vec<SubscriptionJoin>,
    /// Bytes of live runs that wait.
    held_bytes: u64,
}

impl Joins {
    /// A subscription's replay.
    pub(super) fn of(&mut self, token: Token) -> Option<&mut SubscriptionJoin> {
        self.list.iter_mut().find(|join| join.token == token)
    }

    /// The source of a live run that a subscription gets, if it joins a replay.
    pub(super) fn place_of(&mut self, subscription: u16, known: &Arc<KnownSource>) -> Option<JoinPlace> {
        let mut joins = self.list.iter_mut().enumerate();
        let (index, join) = joins.find(|(_, join)| join.subscription == subscription)?;
        Some(JoinPlace { subscription: index, source: join.place_of(known)? })
    }

    /// A source.
    pub(super) fn at(&mut self, place: JoinPlace) -> &mut SourceJoin {
        &mut self.list[place.subscription].sources[place.source]
    }

    /// Keeps a live run, unless there is no room.
    pub(super) fn hold(&mut self, place: JoinPlace, run: &RunOut<'_>, position: u64) -> bool {
        let held_max = self.list[place.subscription].budget.each_max();
        if self.held_bytes >= held_max {
            return false;
        }
        let source = self.at(place);
        let before = source.held.bytes();
        let is_held = source.held.hold(run, position);
        let more = source.held.bytes() - before;
        self.held_bytes += more;
        is_held
    }

    /// The source for which most waits, and the last position of what does.
    pub(super) fn fullest(&self) -> Option<(JoinPlace, u64)> {
        let joins = self.list.iter().enumerate();
        let sources = joins.flat_map(|(subscription, join)| {
            let place = move |source| JoinPlace { subscription, source };
            join.sources.iter().enumerate().map(move |(source, join)| (place(source), join))
        });
        let (place, fullest) = sources.max_by_key(|(_, source)| source.held.bytes())?;
        (fullest.held.bytes() > 0).then_some((place, fullest.held.last()))
    }

    /// Drops what waits for a source, and tells `lost` of each run that is a leg of an entry.
    /// Returns the bytes.
    pub(super) fn drop_held(&mut self, place: JoinPlace, lost: impl FnMut(&RunOut<'_>)) -> u64 {
        let source = self.at(place);
        let before = source.held.bytes();
        // Mostly nothing waits, and a replay that many live runs overtake asks each time.
        if before > 0 {
            source.held.clear(lost);
            self.held_bytes = self.held_bytes.saturating_sub(before);
        }
        before
    }

    /// Whether something of the past, or what waits for it, is yet to come.
    pub(super) fn are_reading(&self) -> bool {
        let has_joined = |source: &SourceJoin| source.join.is_joined() && source.joined.is_none();
        self.list.iter().any(|join| !join.is_complete || !join.sources.iter().all(has_joined))
    }

    /// Counts again what waits, after runs were taken.
    pub(super) fn count_held(&mut self) {
        let sources = self.list.iter().flat_map(|join| &join.sources);
        self.held_bytes = sources.map(|source| source.held.bytes()).sum();
    }
}
