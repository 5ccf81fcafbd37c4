//! What a receiver wants of the past, and how far it has come.
//!
//! Each subscription has a replay of its own, so that each has a cursor of its own as long as a
//! replay for it is under way: a live event that comes for one subscription says nothing of what
//! another one has yet to get.
//!
//! ```text
//! asked ──Begun──▶ joining ──Joined, of one source──▶ …  ──Quiet──▶ live
//!   passes what it matches          │ live runs of that source     │ every live run, with all others
//! ```
//!
//! What the router says of quiet receivers counts only for subscriptions that their stream has
//! named: a request may be on its way to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::SubscriptionNumber;
use millrace_proto::control::SourcePosition;
use millrace_proto::data::Source;

use super::cursor::{Cursor, Passed};
use super::receiver::PassedBy;
use crate::time::Time;

/// Subscriptions with a replay under way whose cursors follow each run. Of more, cursors move when
/// their replays end: what is lost before comes again.
const FOLLOWED_MAX: usize = 64;

/// What of the past comes before live events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PastRequest {
    /// What arrived this long ago, and since then, microseconds by the routers' clocks. 0: nothing,
    /// and of an owner that the cursor does not have all that is kept.
    pub since_us: u64,
    /// What stands at these positions and behind them.
    pub cursor: Vec<SourcePosition>,
    /// In place of both: of each tag set the newest event that is kept.
    pub is_newest_only: bool,
}

/// A place in a receiver's stream: with what stands before it, everything of a source below a
/// position has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The source.
    pub source: Source,
    /// The position.
    pub position: u64,
    /// For whom.
    pub by: PlaceOf,
}

/// What a [`Place`] is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceOf {
    /// A run, for these subscriptions at least.
    Run {
        /// The subscriptions, as the router numbers them.
        matched: Arc<[SubscriptionNumber]>,
        /// It comes from history.
        replayed: bool,
    },
    /// What the router says beside runs.
    Said(PassedBy),
}

/// What a receiver wants of the past, across connections.
#[derive(Debug, Default)]
pub struct Past {
    /// The application asked for it; otherwise nothing is asked of routers.
    is_wanted: bool,
    /// The first connection is asked for the newest event of each tag set.
    is_newest_only: bool,
    /// How far back it begins where the cursor says nothing; none: with the oldest run.
    since: Option<Duration>,
    /// When the first connection was asked.
    asked_at: Option<Time>,
    /// What has arrived here, also what the application has not taken.
    arrived: Reach,
    /// What the application has taken.
    taken: Reach,
    /// A connection was lost: only a router that keeps history is asked to fill what it may have
    /// missed.
    was_lost: bool,
    /// The application is to be told of a lost session, unless a router fills what was missed.
    owes_gap: bool,
}

impl Past {
    /// A receiver that has not subscribed. It wants the past if it begins somewhere: so long ago,
    /// at a cursor, or with the newest event of each tag set.
    #[must_use]
    pub fn new(since: Option<Duration>, cursor: Option<Cursor>, is_newest_only: bool) -> Self {
        let is_wanted = since.is_some() || cursor.is_some() || is_newest_only;
        let cursor = cursor.unwrap_or_default();
        // A cursor without a position says nothing of where to begin: now.
        let since = since.or_else(|| cursor.is_empty().then_some(Duration::ZERO));
        let (arrived, taken) = (Reach::of(cursor.clone()), Reach::of(cursor));
        Self { is_wanted, is_newest_only, since, arrived, taken, ..Self::default() }
    }

    /// Whether routers are asked for the past.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// A connection was lost. `has_subscriptions`: something may be missed.
    pub fn lost(&mut self, has_subscriptions: bool) {
        self.was_lost = true;
        self.owes_gap |= has_subscriptions;
    }

    /// A connection begins, to a router that keeps history or does not. Says whether it is to be
    /// asked for the past: behind a lost connection only a router that keeps history is, which
    /// fills what was missed.
    pub fn begins(&mut self, has_history: bool) -> bool {
        let asks = self.is_wanted && (!self.was_lost || has_history);
        self.owes_gap &= !asks;
        asks
    }

    /// The receiver has moved to another connection, which was asked for nothing of the past.
    /// Returns how far its subscriptions have come: what the other connection brings below that has
    /// come. Nothing is known where the past is not wanted, or of too many replays.
    pub fn moved(&mut self) -> Passed {
        let mut passed = Passed::default();
        if self.is_wanted && self.arrived.behind.len() <= FOLLOWED_MAX {
            passed.live = self.arrived.live.clone();
            let behind = self.arrived.behind.iter();
            passed.behind = behind.map(|(&number, behind)| (number, behind.cursor.clone())).collect();
        }
        self.arrived.forget_replays();
        // What the old connection has brought of replays is yet to be taken.
        self.taken.hear_all();
        passed
    }

    /// Whether a gap is owed that says that a session was lost; it is told with that.
    pub const fn take_owed_gap(&mut self) -> bool {
        std::mem::replace(&mut self.owes_gap, false)
    }

    /// What a router is asked for a subscription now. With positions 0 microseconds stand for the
    /// oldest run; without, they would ask for nothing. Behind a lost connection the newest events
    /// have come, so that what came since is asked for.
    pub fn ask(&mut self, subscription: SubscriptionNumber, now: Time) -> PastRequest {
        let is_newest_only = self.is_newest_only && !self.was_lost;
        let asked_at = *self.asked_at.get_or_insert(now);
        let since_us = self.since.map_or(0, |since| {
            let back = since + now.since(asked_at);
            u64::try_from(back.as_micros()).unwrap_or(u64::MAX).clamp(1, millrace_proto::varint::MAX)
        });
        self.taken.ask(subscription);
        let cursor = self.arrived.ask(subscription).positions();
        PastRequest { since_us, cursor, is_newest_only }
    }

    /// A router is asked for a subscription from now on.
    pub fn follow(&mut self, subscription: SubscriptionNumber) {
        self.arrived.follow(subscription);
        self.taken.follow(subscription);
    }

    /// A subscription ends.
    pub fn forget(&mut self, subscription: SubscriptionNumber) {
        self.arrived.forget(subscription);
        self.taken.forget(subscription);
    }

    /// What stands before a place has arrived. `is_present`: on the connection of the moment.
    #[inline]
    pub fn arrived(&mut self, place: &Place, is_present: bool) {
        self.arrived.pass(place, is_present);
    }

    /// The application has taken what stands before a place, of the connection of the moment or an
    /// earlier one.
    #[inline]
    pub fn taken(&mut self, place: &Place, is_present: bool) {
        self.taken.pass(place, is_present);
    }

    /// How far the application has come with all its subscriptions.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.taken.lowest()
    }
}

/// How far the subscriptions of a receiver have come.
#[derive(Debug, Default)]
struct Reach {
    /// Those without a replay under way, all together.
    live: Cursor,
    /// Those with one.
    behind: BTreeMap<SubscriptionNumber, Behind>,
    subscriptions: BTreeSet<SubscriptionNumber>,
}

/// One subscription, as long as a replay for it is under way.
#[derive(Debug)]
struct Behind {
    cursor: Cursor,
    /// Whether the stream has named it.
    is_heard: bool,
    /// Sources of which its replay has ended.
    joined: BTreeSet<Source>,
}

impl Reach {
    fn of(cursor: Cursor) -> Self {
        Self { live: cursor, ..Self::default() }
    }

    /// A replay for a subscription is asked for; says from where on.
    fn ask(&mut self, subscription: SubscriptionNumber) -> &Cursor {
        let is_known = !self.subscriptions.insert(subscription);
        let known = self.behind.remove(&subscription).map(|behind| behind.cursor);
        // One that was made later begins where all others are.
        let cursor =
            known.unwrap_or_else(|| if is_known { self.live.clone() } else { self.lowest_but(subscription) });
        let behind = Behind { cursor, is_heard: false, joined: BTreeSet::new() };
        &self.behind.entry(subscription).or_insert(behind).cursor
    }

    fn follow(&mut self, subscription: SubscriptionNumber) {
        self.subscriptions.insert(subscription);
        self.behind.remove(&subscription);
    }

    fn forget(&mut self, subscription: SubscriptionNumber) {
        self.subscriptions.remove(&subscription);
        let behind = self.behind.remove(&subscription);
        if let Some(behind) = behind.filter(|_| self.subscriptions.is_empty()) {
            self.live = behind.cursor;
        }
    }

    fn forget_replays(&mut self) {
        self.behind.values().for_each(|behind| self.live.merge(&behind.cursor));
        self.behind.clear();
    }

    fn hear_all(&mut self) {
        self.behind.values_mut().for_each(|behind| behind.is_heard = true);
    }

    #[inline]
    fn pass(&mut self, place: &Place, is_present: bool) {
        let &Place { source, position, ref by } = place;
        match by {
            PlaceOf::Run { matched, replayed } => {
                if !replayed {
                    self.live.pass(source, position);
                }
                if !self.behind.is_empty() {
                    self.pass_behind(source, position, matched, *replayed);
                }
            }
            PlaceOf::Said(by) => self.said(source, position, *by, is_present),
        }
    }

    fn pass_behind(&mut self, source: Source, position: u64, matched: &[SubscriptionNumber], replayed: bool) {
        if self.behind.len() > FOLLOWED_MAX {
            return;
        }
        for (number, behind) in &mut self.behind {
            if matched.contains(number) || (!replayed && behind.joined.contains(&source)) {
                behind.cursor.pass(source, position);
            }
        }
    }

    fn said(&mut self, source: Source, position: u64, by: PassedBy, is_present: bool) {
        match by {
            PassedBy::Begun(number) => {
                if let Some(behind) = self.behind.get_mut(&number).filter(|_| is_present) {
                    behind.is_heard = true;
                }
            }
            PassedBy::Joined(number) => {
                let Some(behind) = self.behind.get_mut(&number) else { return };
                behind.cursor.pass(source, position);
                if is_present {
                    behind.is_heard = true;
                    // Another subscription may still be behind, in an earlier life of the router.
                    behind.joined.retain(|other| {
                        other.router != source.router || other.incarnation == source.incarnation
                    });
                    behind.joined.insert(source);
                }
            }
            PassedBy::Quiet => {
                if is_present {
                    let live = &mut self.live;
                    self.behind.retain(|_, behind| {
                        if behind.is_heard {
                            live.merge(&behind.cursor);
                        }
                        !behind.is_heard
                    });
                }
                self.live.pass(source, position);
            }
        }
    }

    /// How far all subscriptions have come, whichever has come least.
    fn lowest(&self) -> Cursor {
        let are_behind = !self.subscriptions.is_empty() && self.behind.len() == self.subscriptions.len();
        let live = (!are_behind).then_some(&self.live);
        let mut all = live.into_iter().chain(self.behind.values().map(|behind| &behind.cursor));
        let first = all.next().cloned().unwrap_or_default();
        all.fold(first, |lowest, cursor| lowest.lower(cursor))
    }

    /// The same without a subscription that has come nowhere.
    fn lowest_but(&mut self, subscription: SubscriptionNumber) -> Cursor {
        self.subscriptions.remove(&subscription);
        let lowest = self.lowest();
        self.subscriptions.insert(subscription);
        lowest
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::{Incarnation, RouterId};

    use super::*;

    const SOURCE: Source = Source { router: RouterId(1), incarnation: Incarnation(1), owner: 0 };
    const ONE: SubscriptionNumber = SubscriptionNumber(1);
    const TWO: SubscriptionNumber = SubscriptionNumber(2);

    /// A receiver that wants all that is kept, on a connection that was asked for both
    /// subscriptions.
    fn asked() -> Past {
        let mut past = Past::new(Some(Duration::from_secs(60)), None, false);
        past.begins(true);
        for number in [ONE, TWO] {
            past.ask(number, Time::ZERO);
        }
        past
    }

    fn run(position: u64, matched: &[SubscriptionNumber], replayed: bool) -> Place {
        Place { source: SOURCE, position, by: PlaceOf::Run { matched: matched.into(), replayed } }
    }

    fn said(position: u64, by: PassedBy) -> Place {
        Place { source: SOURCE, position, by: PlaceOf::Said(by) }
    }

    /// Where each subscription is asked from on another connection, behind these places.
    fn resumed(mut past: Past, places: &[Place]) -> [Option<u64>; 2] {
        for place in places {
            past.arrived(place, true);
            past.taken(place, true);
        }
        past.lost(true);
        past.begins(true);
        [ONE, TWO].map(|number| {
            let cursor = past.ask(number, Time::ZERO).cursor;
            cursor.first().map(|place| place.position)
        })
    }

    #[test]
    fn a_replay_of_one_subscription_does_not_pass_what_another_one_has_yet_to_get() {
        let begun = [said(0, PassedBy::Begun(ONE)), said(0, PassedBy::Begun(TWO))];
        let mut places = begun.to_vec();
        places.extend([run(10, &[ONE], true), said(20, PassedBy::Joined(ONE)), run(3, &[TWO], true)]);
        places.push(run(31, &[ONE], false));
        assert_eq!(resumed(asked(), &places), [Some(31), Some(3)]);
        places.push(said(25, PassedBy::Joined(TWO)));
        places.push(run(33, &[ONE], false));
        assert_eq!(resumed(asked(), &places), [Some(33), Some(33)]);
        places.push(said(40, PassedBy::Quiet));
        assert_eq!(resumed(asked(), &places), [Some(40), Some(40)]);
    }

    #[test]
    fn what_a_router_says_before_it_knows_a_subscription_counts_for_others_only() {
        let places = [said(0, PassedBy::Begun(ONE)), said(20, PassedBy::Joined(ONE))];
        let mut places = places.to_vec();
        places.push(said(50, PassedBy::Quiet));
        assert_eq!(resumed(asked(), &places), [Some(50), None]);
    }

    #[test]
    fn a_subscription_that_is_in_an_earlier_life_of_a_router_takes_no_other_back_to_it() {
        let later = Source { incarnation: Incarnation(2), ..SOURCE };
        let joined = Place { source: later, position: 3, by: PlaceOf::Said(PassedBy::Joined(TWO)) };
        let mut places = vec![said(0, PassedBy::Begun(ONE)), said(0, PassedBy::Begun(TWO))];
        places.extend([said(20, PassedBy::Joined(TWO)), joined, run(9, &[ONE], false)]);
        assert_eq!(resumed(asked(), &places), [Some(9), Some(3)]);
        places.push(said(20, PassedBy::Joined(ONE)));
        places.push(Place { source: later, position: 5, by: PlaceOf::Said(PassedBy::Joined(ONE)) });
        places.push(Place { source: later, position: 6, by: PlaceOf::Said(PassedBy::Quiet) });
        assert_eq!(resumed(asked(), &places), [Some(6), Some(6)]);
    }

    #[test]
    fn what_a_move_finds_passed_is_what_each_subscription_has_had() {
        let mut past = asked();
        past.arrived(&run(10, &[ONE], true), true);
        past.arrived(&run(20, &[TWO], false), true);
        let passed = past.moved();
        assert!(passed.has(ONE, &(SOURCE, 9)) && !passed.has(ONE, &(SOURCE, 10)), "its replay is under way");
        assert!(passed.has(TWO, &(SOURCE, 19)) && !passed.has(TWO, &(SOURCE, 20)));
        past.arrived(&run(32, &[TWO], false), true);
        assert!(past.moved().has(ONE, &(SOURCE, 31)), "it follows like all others");
        let mut follows = Past::new(None, None, false);
        follows.arrived(&run(12, &[TWO], false), true);
        assert!(follows.moved().is_empty(), "a later subscription may have had nothing");
    }

    #[test]
    fn the_applications_cursor_is_that_of_the_subscription_that_has_come_least() {
        let mut past = asked();
        past.taken(&run(10, &[ONE], true), true);
        assert!(past.cursor().is_empty(), "nothing is known of the other one");
        past.taken(&run(4, &[TWO], true), true);
        assert_eq!(past.cursor().positions()[0].position, 4);
        past.forget(TWO);
        assert_eq!(past.cursor().positions()[0].position, 10);
    }

    #[test]
    fn what_was_said_on_an_earlier_connection_ends_no_replay_of_the_present_one() {
        let mut past = asked();
        past.taken(&said(5, PassedBy::Joined(ONE)), false);
        past.taken(&said(5, PassedBy::Quiet), false);
        past.taken(&run(9, &[TWO], false), true);
        assert_eq!(
            past.cursor().positions()[0].position,
            5,
            "nothing is known of the first one's live events"
        );
    }
}
