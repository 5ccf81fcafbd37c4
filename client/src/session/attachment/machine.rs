//! The state machine of an attachment.

use std::collections::VecDeque;

use millrace_proto::control::{Goaway, Welcome};

use super::backoff::{Backoff, Chance};
use super::failure::{Cause, Failure, Verdict};
use super::held::{Held, Leaving, Way};
use super::interface::{AttachmentConfig, AttemptId, Input, Output};
use super::nearest::{CANDIDATES_MAX, Measured, Nearest};
use super::round::{ADDRESSES_MAX, Round, Running};
use super::routers::{Router, Routers};
use crate::time::{SECOND_NS, Time};

#[derive(Debug)]
enum Search<R: Router, E> {
    /// The client is attached, or has given up.
    No,
    Pause(Time),
    Round(Round<R, E>),
}

/// The last trouble that the attachment told.
#[derive(Debug)]
struct Told<E> {
    at: Time,
    cause: Cause<E>,
}

/// Decides where a client is attached. See the [module](super).
#[derive(Debug)]
pub struct Attachment<R: Router, E> {
    config: AttachmentConfig,
    routers: Routers<R>,
    chance: Chance,
    backoff: Backoff,
    next: AttemptId,
    search: Search<R, E>,
    held: Option<Held>,
    /// Where the newest connection was made.
    place: Option<R::Address>,
    nearest: Nearest<R>,
    /// Whether some router has welcomed this client.
    was_attached: bool,
    /// When the last connection was lost, or the first search began.
    away_since: Time,
    told: Option<Told<E>>,
    outputs: VecDeque<Output<R, E>>,
}

impl<R: Router, E: Clone + PartialEq> Attachment<R, E> {
    /// A client that begins to look for any of `routers` now.
    #[must_use]
    pub fn new(config: AttachmentConfig, routers: Vec<R>, seed: u64, now: Time) -> Self {
        Self::leveled(config, vec![routers], seed, now)
    }

    /// A client that begins to look for a router of the first level now. While none of that takes
    /// it, it goes to one of the second, and so on, and comes back by itself.
    #[must_use]
    pub fn leveled(config: AttachmentConfig, levels: Vec<Vec<R>>, seed: u64, now: Time) -> Self {
        Self {
            config,
            routers: Routers::new(levels),
            chance: Chance::new(seed),
            backoff: Backoff::new(config.backoff_min_ns, config.backoff_max_ns),
            next: AttemptId::default(),
            search: Search::Pause(now),
            held: None,
            place: None,
            nearest: Nearest::new(&config),
            was_attached: false,
            away_since: now,
            told: None,
            outputs: VecDeque::new(),
        }
    }

    /// Prefers routers of this zone; empty: none in particular.
    #[must_use]
    pub fn in_zone(mut self, zone: String) -> Self {
        self.routers.set_zone(zone);
        self
    }

    /// Takes over a connection that its driver made by itself: to which router, the shortest round
    /// trip that was measured on it, and what the router said. Returns the attempt that stands for
    /// it.
    pub fn begin_attached(
        &mut self,
        (router, address): (R, R::Address),
        round_trip_ns: Option<u64>,
        welcome: &Welcome,
        now: Time,
    ) -> AttemptId {
        let attempt = self.next.take();
        self.search = Search::No;
        self.place = Some(address.clone());
        self.nearest.attached(router, address, round_trip_ns);
        self.hold(attempt, 0, false, welcome, now);
        self.was_attached = true;
        attempt
    }

    fn hold(&mut self, attempt: AttemptId, level: usize, has_several: bool, welcome: &Welcome, now: Time) {
        self.routers.welcomed(&welcome.alternates);
        let has_near = self.routers.hear_of(&welcome.alternates, &welcome.alternate_zones);
        let has_zones =
            !welcome.zone.is_empty() || welcome.alternate_zones.iter().any(|zone| !zone.is_empty());
        let is_abroad = has_zones && !self.routers.is_near(&welcome.zone);
        let incarnation = welcome.incarnation;
        let has_several = has_several || self.routers.are_several();
        let better = if level > 0 {
            Some((self.return_after(now), Way::Back))
        } else if is_abroad && has_near {
            // Clients that came together go home one after the other.
            Some((now.after(self.chance.up_to(self.config.level_stagger_ns)), Way::Home))
        } else if is_abroad {
            Some((self.return_after(now), Way::Home))
        } else if has_several && !(has_zones && self.routers.has_zone()) {
            self.look_after(now)
        } else {
            None
        };
        self.held = Some(Held { attempt, since: now, incarnation, level, better, leaving: None });
    }

    /// The present connection has had this round trip since: its router may be as near as any.
    fn measured_again(&mut self, round_trip_ns: u64) {
        self.nearest.present_again(Some(round_trip_ns));
        // A look that is under way ends with the next router that it reaches.
        if let Some(held) = &mut self.held
            && matches!(self.search, Search::No)
            && !self.nearest.is_present_far()
        {
            held.better.take_if(|(_, way)| *way == Way::Nearer);
        }
    }

    /// When the levels before are tried next.
    fn return_after(&mut self, now: Time) -> Time {
        let half = self.config.return_every_ns / 2;
        now.after(half + self.chance.up_to(half))
    }

    /// When a nearer router is looked for: `None` while the present one is not far.
    fn look_after(&mut self, now: Time) -> Option<(Time, Way)> {
        let looks = self.config.look_after_ns > 0 && self.nearest.is_present_far();
        looks.then(|| (now.after(self.nearest.pause(&self.config, &mut self.chance)), Way::Nearer))
    }

    /// Whether there is a connection.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a search is under way.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        matches!(self.search, Search::Round(_))
    }

    /// Whether a search is to begin now: a driver of many connections may let it wait.
    #[must_use]
    pub fn is_to_search(&self, now: Time) -> bool {
        matches!(self.search, Search::Pause(until) if now >= until)
    }

    /// When the present connection was made.
    #[must_use]
    pub fn attached_since(&self) -> Option<Time> {
        self.held.map(|held| held.since)
    }

    /// Takes what happened. An input about an attempt that was abandoned changes nothing.
    pub fn handle(&mut self, input: Input<'_, R, E>, now: Time) {
        match input {
            Input::Resolved { router, outcome } => {
                if let Search::Round(round) = &mut self.search {
                    round.resolved(router, outcome, &mut self.chance);
                }
            }
            Input::Answered { attempt } => {
                if let Search::Round(round) = &mut self.search {
                    round.answered(attempt, &self.config);
                }
            }
            Input::Measured { attempt, round_trip_ns } => {
                if self.held.is_some_and(|held| held.attempt == attempt) {
                    self.measured_again(round_trip_ns);
                } else if let Search::Round(round) = &mut self.search {
                    round.measured(attempt, round_trip_ns);
                }
            }
            Input::Welcomed { attempt, welcome } => self.welcomed(attempt, welcome, now),
            Input::Taken { attempt, welcome } => {
                if let Search::Round(round) = &mut self.search
                    && let Some(Running { router, address, .. }) = round.take(attempt)
                {
                    let named = self.routers.named(&welcome.alternates);
                    round.also(&named, &mut self.outputs);
                    round.fail(Some(router), Some(address), Cause::Taken);
                }
            }
            Input::Failed { attempt, verdict, error } => {
                if let Search::Round(round) = &mut self.search
                    && let Some(Running { router, address, .. }) = round.take(attempt)
                {
                    round.fail(Some(router), Some(address), Cause::Failed(verdict, error));
                }
            }
            Input::Goaway { attempt, goaway } if self.holds(attempt) => self.goaway(goaway, now),
            Input::Lost { attempt, verdict } if self.holds(attempt) => self.lost(verdict, now),
            Input::Goaway { .. } | Input::Lost { .. } => {}
        }
    }

    fn holds(&self, attempt: AttemptId) -> bool {
        self.held.is_some_and(|held| held.attempt == attempt)
    }

    /// Forgets the present connection and every attempt, which the driver has closed, and begins a
    /// new search at once, as after a steady connection.
    pub fn restart(&mut self, now: Time) {
        (self.held, self.place) = (None, None);
        self.nearest = Nearest::new(&self.config);
        self.away_since = now;
        self.backoff.reset();
        self.outputs.clear();
        self.search = Search::Pause(now);
    }

    /// What the driver is to do next, if anything. The time of an attempt runs from the call that
    /// returns it.
    pub fn poll_output(&mut self, now: Time) -> Option<Output<R, E>> {
        if self.outputs.is_empty() {
            self.advance(now);
        }
        self.outputs.pop_front()
    }

    /// When [`Attachment::poll_output`] will have something, if only time is missing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if !self.outputs.is_empty() {
            return Some(Time::ZERO);
        }
        let leave = self.held.and_then(|held| held.leaving).filter(|leaving| !leaving.begun);
        let search = match &self.search {
            Search::No => self.better().map(|(at, _)| at),
            Search::Pause(until) => Some(*until),
            Search::Round(round) => round.poll_timeout(),
        };
        [leave.map(|leaving| leaving.at), search].into_iter().flatten().min()
    }

    fn advance(&mut self, now: Time) {
        if let Some(Held { incarnation: _, leaving: Some(leaving), .. }) = &mut self.held
            && !leaving.begun
            && now >= leaving.at
        {
            leaving.begun = true;
            self.outputs.push_back(Output::Leave { latest: leaving.latest });
            if matches!(self.search, Search::No) {
                self.search = Search::Pause(now);
            }
        }
        match &self.search {
            Search::Pause(until) if now >= *until => {
                let routers = self.routers.order(self.routers.levels(), &mut self.chance);
                self.try_round(routers, ADDRESSES_MAX, now);
            }
            Search::No => self.try_better(now),
            _ => {}
        }
        if let Search::Round(round) = &mut self.search {
            round.advance(&self.config, &mut self.next, now, &mut self.outputs);
            if let Some(failure) = round.outcome() {
                self.round_failed(failure, now);
            }
        }
    }

    fn try_round(&mut self, routers: Vec<(usize, R)>, addresses_max: usize, now: Time) {
        // A router that was lost is the one that answers least likely. At home it comes first.
        let last = self.place.clone().filter(|_| self.held.is_none() && !self.routers.has_zone());
        let round = Round::new(routers, last, addresses_max, &self.config, now, &mut self.outputs);
        self.search = Search::Round(round);
    }

    /// Lets the round try this address first.
    fn begin_with(&mut self, router: R, address: R::Address) {
        if let Search::Round(round) = &mut self.search {
            round.begin_with(router, address);
        }
    }

    /// When a better router is tried beside a connection that serves, and why.
    fn better(&self) -> Option<(Time, Way)> {
        self.held.filter(|held| held.leaving.is_none())?.better
    }

    /// Tries the routers that are better than the present one, when it is time: those of the levels
    /// before, or of the client's zone, or those that may be nearer.
    fn try_better(&mut self, now: Time) {
        let Some((_, way)) = self.better().filter(|(at, _)| now >= *at) else { return };
        let level = self.held.map_or(0, |held| held.level);
        match way {
            Way::Back => {
                let routers = self.routers.order(level, &mut self.chance);
                self.try_round(routers, ADDRESSES_MAX, now);
            }
            Way::Home => {
                let routers = self.routers.way_home(&mut self.chance);
                self.try_round(routers, ADDRESSES_MAX, now);
            }
            Way::Nearer => {
                // The present router may be one of them, and does not count.
                let routers = self.routers.nearest(CANDIDATES_MAX + 1, &mut self.chance);
                self.try_round(routers, CANDIDATES_MAX, now);
                if let Some((router, address)) = self.nearest.begin_look() {
                    self.begin_with(router, address);
                }
            }
        }
    }

    /// Puts off a look for a nearer router that is due, for a driver that has more urgent work.
    pub fn look_later(&mut self, now: Time) {
        let is_due = matches!(self.better(), Some((at, Way::Nearer)) if at <= now);
        if is_due && matches!(self.search, Search::No) {
            let better = self.look_after(now);
            self.stay(better);
        }
    }

    /// Which way to a better router a search is for, beside a connection that serves.
    fn way(&self) -> Option<Way> {
        self.better().map(|(_, way)| way).filter(|_| matches!(self.search, Search::Round(_)))
    }

    /// A search for a better router is over, and the present one stays.
    fn stay(&mut self, better: Option<(Time, Way)>) {
        self.search = Search::No;
        self.held = self.held.map(|held| Held { better, ..held });
    }

    fn round_failed(&mut self, failure: Failure<R, E>, now: Time) {
        let refused = failure.cause.is_refusal();
        match self.way() {
            Some(Way::Nearer) => return self.look_over(now),
            Some(way) => {
                let at = self.return_after(now);
                return self.stay(Some((at, way)));
            }
            None => {}
        }
        let may_give_up = !self.was_attached && !self.config.insists;
        if may_give_up && (refused || now.nanos_since(self.away_since) >= self.config.patience_ns) {
            self.search = Search::No;
            self.outputs.push_back(Output::GaveUp { failure });
            return;
        }
        if refused {
            self.backoff.saturate();
        }
        self.search = Search::Pause(now.after(self.backoff.next(&mut self.chance)));
        if self.held.is_some() {
            // The old connection still serves, so this is no outage.
            return;
        }
        let news = self.told.as_ref().is_none_or(|told| {
            let since = now.nanos_since(told.at);
            since >= self.config.tell_every_ns || (told.cause != failure.cause && since >= SECOND_NS)
        });
        if news {
            self.told = Some(Told { at: now, cause: failure.cause.clone() });
            self.outputs.push_back(Output::Trouble { failure, away_ns: now.nanos_since(self.away_since) });
        }
    }

    fn welcomed(&mut self, attempt: AttemptId, welcome: &Welcome, now: Time) {
        let way = self.way();
        let is_present = self.held.is_some_and(|held| held.incarnation == welcome.incarnation);
        let is_no_better = way == Some(Way::Home) && !self.routers.is_near(&welcome.zone);
        let Search::Round(round) = &mut self.search else { return };
        let Some(running) = round.take(attempt) else { return };
        let is_left = self.routers.has_left(welcome.incarnation);
        let is_measured = way == Some(Way::Nearer) && self.nearest.moving().is_none();
        let stays = is_left || is_no_better || is_measured || (way.is_some() && is_present);
        if !stays {
            return self.take(attempt, running, welcome, now);
        }
        if way == Some(Way::Home) && self.routers.hear_of(&welcome.alternates, &welcome.alternate_zones) {
            round.also(self.routers.near(), &mut self.outputs);
        }
        round.fail(Some(running.router.clone()), Some(running.address.clone()), Cause::Left);
        self.outputs.push_back(Output::Abandon { attempt });
        if is_measured && !is_left {
            self.looked_at(running, is_present, now);
        }
    }

    /// A look has reached a router: the present one, or another.
    fn looked_at(&mut self, running: Running<R>, is_present: bool, now: Time) {
        let Running { router, address, round_trip_ns, .. } = running;
        if is_present {
            self.nearest.present_again(round_trip_ns);
        } else if let Some(round_trip_ns) = round_trip_ns {
            self.nearest.judge(Measured { router, address, round_trip_ns });
        }
        if !self.nearest.is_present_far() {
            self.end_round();
            self.look_over(now);
        }
    }

    /// A look, or the move behind it, is over: the client goes to what it has found, or looks
    /// again.
    fn look_over(&mut self, now: Time) {
        match self.nearest.look_over(&self.config) {
            Some((router, address)) => {
                self.try_round(Vec::new(), 0, now);
                self.begin_with(router, address);
            }
            None => {
                let better = self.look_after(now);
                self.stay(better);
            }
        }
    }

    /// Drops lookups and dials that the driver has not taken, and abandons the attempts under way.
    /// Returns whether the round had heard of several addresses.
    fn end_round(&mut self) -> bool {
        let Search::Round(round) = std::mem::replace(&mut self.search, Search::No) else { return false };
        self.outputs.retain(|output| !matches!(output, Output::Dial { .. } | Output::Resolve { .. }));
        self.outputs.extend(round.attempts().map(|attempt| Output::Abandon { attempt }));
        round.has_several()
    }

    /// Takes the connection of this attempt.
    fn take(&mut self, attempt: AttemptId, running: Running<R>, welcome: &Welcome, now: Time) {
        let is_returning = self.way().is_some();
        let nearer = self.nearest.moving().filter(|_| is_returning);
        let has_several = self.end_round();
        if is_returning {
            let latest = now.after(self.config.attempt_ns).after(self.config.leave_slack_ns);
            self.outputs.push_back(Output::Leave { latest });
        }
        let Running { level, router, address, round_trip_ns, .. } = running;
        let away_ns = if self.held.is_some() { 0 } else { now.nanos_since(self.away_since) };
        self.place = Some(address.clone());
        self.nearest.attached(router.clone(), address.clone(), round_trip_ns);
        self.hold(attempt, level, has_several, welcome, now);
        self.was_attached = true;
        self.told = None;
        self.outputs.push_back(Output::Attached { attempt, router, address, away_ns, nearer });
    }

    fn goaway(&mut self, goaway: &Goaway, now: Time) {
        // A router that welcomes the client before it is to leave would have no owner.
        self.end_way();
        let Some(held) = &mut self.held else { return };
        self.routers.moving(held.incarnation, &goaway.alternates);
        self.routers.hear_of(&goaway.alternates, &goaway.alternate_zones);
        let at = now.after(goaway.delay_us.saturating_mul(1000));
        let grace_ns = goaway.grace_us.max(goaway.delay_us).saturating_mul(1000);
        let latest = now.after(grace_ns).after(self.config.leave_slack_ns);
        held.leaving.get_or_insert(Leaving { at, latest, begun: false });
    }

    /// Gives up a search for a better router.
    fn end_way(&mut self) {
        if self.way().is_some() {
            self.end_round();
        }
    }

    fn lost(&mut self, verdict: Verdict, now: Time) {
        // The routers of a way to a better one are not all that there are.
        self.end_way();
        let Some(held) = self.held.take() else { return };
        self.away_since = now;
        if now.nanos_since(held.since) > self.config.steady_ns {
            self.backoff.reset();
            self.nearest.reset(&self.config);
        }
        if verdict == Verdict::Refused {
            self.backoff.saturate();
        }
        if matches!(self.search, Search::No) {
            self.search = Search::Pause(now.after(self.backoff.next(&mut self.chance)));
        }
    }
}
