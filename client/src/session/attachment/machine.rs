//! The state machine of an attachment.

use std::collections::VecDeque;

use millrace_proto::Incarnation;
use millrace_proto::control::{Goaway, Welcome};

use super::backoff::{Backoff, Chance};
use super::failure::{Cause, Failure, Verdict};
use super::interface::{AttachmentConfig, AttemptId, Input, Output};
use super::round::Round;
use super::routers::{Router, Routers};
use crate::time::{SECOND_NS, Time};

#[derive(Debug)]
enum Search<R: Router, E> {
    /// The client is attached, or has given up.
    No,
    Pause(Time),
    Round(Round<R, E>),
}

/// The present connection.
#[derive(Debug, Clone, Copy)]
struct Held {
    attempt: AttemptId,
    since: Time,
    incarnation: Incarnation,
    level: usize,
    /// When a way to a better router is tried: of a router of a further level, or of another zone.
    return_at: Option<Time>,
    leaving: Option<Leaving>,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    at: Time,
    latest: Time,
    begun: bool,
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

    /// Takes over a connection that its driver made by itself and whose router said `welcome`.
    /// Returns the attempt that stands for it.
    pub fn begin_attached(&mut self, welcome: &Welcome, now: Time) -> AttemptId {
        let attempt = self.next.take();
        self.search = Search::No;
        self.hold(attempt, 0, welcome, now);
        self.was_attached = true;
        attempt
    }

    fn hold(&mut self, attempt: AttemptId, level: usize, welcome: &Welcome, now: Time) {
        self.routers.welcomed(&welcome.alternates);
        let has_near = self.routers.hear_of(&welcome.alternates, &welcome.alternate_zones);
        let has_zones =
            !welcome.zone.is_empty() || welcome.alternate_zones.iter().any(|zone| !zone.is_empty());
        let is_abroad = has_zones && !self.routers.is_near(&welcome.zone);
        let incarnation = welcome.incarnation;
        let return_at = if level == 0 && is_abroad && has_near {
            // Clients that came together go home one after the other.
            Some(now.after(self.chance.up_to(self.config.level_stagger_ns)))
        } else {
            (level > 0 || is_abroad).then(|| self.return_after(now))
        };
        self.held = Some(Held { attempt, since: now, incarnation, level, return_at, leaving: None });
    }

    /// When the levels before are tried next.
    fn return_after(&mut self, now: Time) -> Time {
        let half = self.config.return_every_ns / 2;
        now.after(half + self.chance.up_to(half))
    }

    /// Whether there is a connection.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.held.is_some()
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
            Input::Welcomed { attempt, welcome } => self.welcomed(attempt, welcome, now),
            Input::Taken { attempt, welcome } => {
                if let Search::Round(round) = &mut self.search
                    && let Some((_, router, address)) = round.take(attempt)
                {
                    let named = self.routers.named(&welcome.alternates);
                    round.also(&named, &mut self.outputs);
                    round.fail(Some(router), Some(address), Cause::Taken);
                }
            }
            Input::Failed { attempt, verdict, error } => {
                if let Search::Round(round) = &mut self.search
                    && let Some((_, router, address)) = round.take(attempt)
                {
                    round.fail(Some(router), Some(address), Cause::Failed(verdict, error));
                }
            }
            Input::Goaway(goaway) => self.goaway(goaway, now),
            Input::Lost { attempt, verdict } => {
                if self.held.is_some_and(|held| held.attempt == attempt) {
                    self.lost(verdict, now);
                }
            }
        }
    }

    /// Forgets the present connection and every attempt, which the driver has closed, and begins a
    /// new search at once, as after a steady connection.
    pub fn restart(&mut self, now: Time) {
        self.held = None;
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
            Search::No => self.held.and_then(|held| held.return_at.filter(|_| held.leaving.is_none())),
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
        let tried = match &self.search {
            Search::Pause(until) if now >= *until => {
                Some(self.routers.order(self.routers.levels(), &mut self.chance))
            }
            Search::No => self.way_back(now),
            _ => None,
        };
        if let Some(routers) = tried {
            self.search = Search::Round(Round::new(routers, &self.config, now, &mut self.outputs));
        }
        if let Search::Round(round) = &mut self.search {
            round.advance(&self.config, &mut self.next, now, &mut self.outputs);
            if let Some(failure) = round.outcome() {
                self.round_failed(failure, now);
            }
        }
    }

    /// The routers that are better than the present one, when it is time to try them: those of the
    /// levels before, or of the client's zone.
    fn way_back(&mut self, now: Time) -> Option<Vec<(usize, R)>> {
        let held = self.held.filter(|held| held.leaving.is_none())?;
        held.return_at.filter(|at| now >= *at)?;
        Some(match held.level {
            0 => self.routers.way_home(&mut self.chance),
            level => self.routers.order(level, &mut self.chance),
        })
    }

    /// Whether a search is for a way to a better router, beside a connection that serves.
    fn is_returning(&self) -> bool {
        self.held.is_some_and(|held| held.leaving.is_none()) && matches!(self.search, Search::Round(_))
    }

    fn round_failed(&mut self, failure: Failure<R, E>, now: Time) {
        let refused = failure.cause.is_refusal();
        if self.is_returning() {
            let return_at = Some(self.return_after(now));
            self.search = Search::No;
            self.held = self.held.map(|held| Held { return_at, ..held });
            return;
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
        let is_returning = self.is_returning();
        let is_present = self.held.is_some_and(|held| held.incarnation == welcome.incarnation);
        let goes_home = is_returning && self.held.is_some_and(|held| held.level == 0);
        let is_no_better = goes_home && !self.routers.is_near(&welcome.zone);
        let Search::Round(round) = &mut self.search else { return };
        let Some((level, router, address)) = round.take(attempt) else { return };
        if self.routers.has_left(welcome.incarnation) || (is_returning && is_present) || is_no_better {
            if goes_home && self.routers.hear_of(&welcome.alternates, &welcome.alternate_zones) {
                round.also(self.routers.near(), &mut self.outputs);
            }
            round.fail(Some(router), Some(address), Cause::Left);
            self.outputs.push_back(Output::Abandon { attempt });
            return;
        }
        // Lookups and dials that the driver has not taken are dropped, because the round is won.
        self.outputs.retain(|output| !matches!(output, Output::Dial { .. } | Output::Resolve { .. }));
        self.outputs.extend(round.attempts().map(|attempt| Output::Abandon { attempt }));
        self.search = Search::No;
        if is_returning {
            let latest = now.after(self.config.attempt_ns).after(self.config.leave_slack_ns);
            self.outputs.push_back(Output::Leave { latest });
        }
        let away_ns = if self.held.is_some() { 0 } else { now.nanos_since(self.away_since) };
        self.hold(attempt, level, welcome, now);
        self.was_attached = true;
        self.told = None;
        self.outputs.push_back(Output::Attached { attempt, router, address, away_ns });
    }

    fn goaway(&mut self, goaway: &Goaway, now: Time) {
        let Some(held) = &mut self.held else { return };
        self.routers.moving(held.incarnation, &goaway.alternates);
        self.routers.hear_of(&goaway.alternates, &goaway.alternate_zones);
        let at = now.after(goaway.delay_us.saturating_mul(1000));
        let grace_ns = goaway.grace_us.max(goaway.delay_us).saturating_mul(1000);
        let latest = now.after(grace_ns).after(self.config.leave_slack_ns);
        held.leaving.get_or_insert(Leaving { at, latest, begun: false });
    }

    fn lost(&mut self, verdict: Verdict, now: Time) {
        if self.is_returning()
            && let Search::Round(round) = std::mem::replace(&mut self.search, Search::No)
        {
            // Its levels are not all that there are.
            self.outputs.retain(|output| !matches!(output, Output::Dial { .. } | Output::Resolve { .. }));
            self.outputs.extend(round.attempts().map(|attempt| Output::Abandon { attempt }));
        }
        let Some(held) = self.held.take() else { return };
        self.away_since = now;
        if now.nanos_since(held.since) > self.config.steady_ns {
            self.backoff.reset();
        }
        if verdict == Verdict::Refused {
            self.backoff.saturate();
        }
        if matches!(self.search, Search::No) {
            self.search = Search::Pause(now.after(self.backoff.next(&mut self.chance)));
        }
    }
}
