//! What a core owes to subscriptions for the sake of publishers that it has quenched.
//!
//! A publisher that was told that nobody wants a tag set stops sending it. A subscription that
//! matches the set is effective in the cluster only when the publisher has heard otherwise. So each
//! change that adds interest, a directory of control or selectors of this core's receivers, begins
//! a *round*:
//!
//! ```text
//! change ─► the core looks at all tag sets that nobody wanted ─► Unquench, if some are wanted
//!                 │ all were looked at                                │ all have answered, or 250 ms
//!                 ▼                                                   ▼
//!           Applied to control                                 Settled to control
//! ```
//!
//! Rounds settle in their order. A change that comes while the core looks waits for the next round,
//! together with others. A round waits for publishers that an earlier one has told, too, because it
//! may want the same sets. Who has not answered in time is waited for no more, and named as left
//! out until it answers. Without quenched publishers there are no rounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_proto::PublisherId;
use millrace_proto::control::Stage;

use crate::message::{Effective, ToControl, ToCore, Token};
use crate::time::Time;
use crate::transport::ConnKey;

/// How long a subscription waits for the publishers that are told of it.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// Time between the beginnings of rounds of which one takes more than a turn, so that a core with
/// many quenched publishers does little else while subscriptions come and go.
const LONG_ROUND_EVERY: Duration = Duration::from_millis(20);
/// Publishers that a round names as left out, at most; more are only counted.
const LEFT_OUT_MAX: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Connections with tag sets that nobody wants, whether their publishers were told or not.
    watched: BTreeSet<ConnKey>,
    /// Connections that were told that somebody wants a set, and have not answered.
    owing: BTreeMap<ConnKey, Owing>,
    /// The changes that wait for the next look.
    gathering: Option<Round>,
    looking: Option<Look>,
    /// Rounds whose publishers have not all answered, oldest first.
    unsettled: VecDeque<Round>,
    /// Number of the next round.
    next_round: u64,
    /// Rounds below this are settled.
    settled: u64,
    /// No long round begins before.
    look_from: Time,
    /// The round of each subscription that has begun one and is not effective in the cluster yet.
    gates: BTreeMap<Token, u64>,
    /// Subscriptions that are effective in the cluster but for their round.
    held: Vec<(u64, ToCore)>,
    /// Those whose round is settled.
    released: VecDeque<ToCore>,
}

/// An answer that is to come.
#[derive(Debug, Clone, Copy)]
struct Owing {
    /// The version that it is for.
    version: u64,
    /// One of the publishers of the connection.
    publisher: Option<PublisherId>,
    /// It has not come in time.
    is_late: bool,
}

/// One round.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    /// The directory that it is for, if it is for one: its version, and the position of the core's
    /// next run when it was applied.
    directory: Option<(u64, u64)>,
    /// The connections that it waits for, with the version that they are to answer.
    awaited: BTreeMap<ConnKey, u64>,
    /// Publishers that it does not wait for, because their answers are late.
    late: Vec<PublisherId>,
    /// When it no longer waits.
    until: Time,
}

/// A round whose tag sets are looked at.
#[derive(Debug)]
struct Look {
    round: Round,
    /// The connection that was looked at last.
    after: Option<ConnKey>,
    began: Time,
}

impl Demand {
    /// A connection has, or has no more, tag sets that nobody wants.
    pub(super) fn watch(&mut self, conn: ConnKey, is_watched: bool) {
        if is_watched {
            self.watched.insert(conn);
        } else {
            self.watched.remove(&conn);
        }
    }

    /// A connection is gone: nobody waits for it.
    pub(super) fn forget(&mut self, conn: ConnKey) {
        self.watched.remove(&conn);
        self.owing.remove(&conn);
        for round in &mut self.unsettled {
            round.awaited.remove(&conn);
        }
    }

    /// A connection answers for everything up to a version.
    pub(super) fn answered(&mut self, conn: ConnKey, version: u64) {
        if self.owing.get(&conn).is_some_and(|owing| owing.version <= version) {
            self.owing.remove(&conn);
        }
        for round in &mut self.unsettled {
            if round.awaited.get(&conn).is_some_and(|awaited| *awaited <= version) {
                round.awaited.remove(&conn);
            }
        }
    }

    /// Whether a change that adds interest concerns any publisher.
    fn concerns_somebody(&self) -> bool {
        !self.watched.is_empty() || !self.owing.is_empty()
    }

    /// The core has a new directory. Returns what control is told at once, if there is nothing to
    /// look at.
    pub(super) fn directory(&mut self, version: u64, position: u64) -> Option<ToControl> {
        if !self.concerns_somebody() && self.is_idle() {
            return Some(ToControl::Applied { version, position, settled: true });
        }
        self.gather().directory = Some((version, position));
        None
    }

    /// Selectors of a receiver of this core were filed, of the request that `token` names. Those
    /// that others have filed before add no interest, and wait for what their interest waits for.
    pub(super) fn filed(&mut self, token: Token, adds_interest: bool) {
        if (adds_interest && self.concerns_somebody()) || !self.owing.is_empty() || !self.is_idle() {
            let round = self.gather().number;
            self.gates.insert(token, round);
        }
    }

    /// Something else than interest has begun to want tag sets: rules, or history.
    pub(super) fn review(&mut self) {
        if self.concerns_somebody() {
            self.gather();
        }
    }

    fn is_idle(&self) -> bool {
        self.gathering.is_none() && self.looking.is_none() && self.unsettled.is_empty()
    }

    fn gather(&mut self) -> &mut Round {
        let next_round = &mut self.next_round;
        self.gathering.get_or_insert_with(|| {
            *next_round += 1;
            Round { number: *next_round - 1, ..Round::default() }
        })
    }

    /// Passes a message on, unless it says that a subscription is effective in the cluster whose
    /// round is not settled: that is kept until it is.
    pub(super) fn pass(&mut self, message: ToCore) -> Option<ToCore> {
        if let ToCore::Effective(Effective { token, stage: Stage::Cluster, .. }) = &message
            && let Some(round) = self.gates.remove(token)
            && round >= self.settled
        {
            self.held.push((round, message));
            return None;
        }
        Some(message)
    }

    /// Whether [`next`](Self::next) or [`settle`](Self::settle) have something to do.
    #[inline]
    pub(super) fn has_work(&self, now: Time) -> bool {
        self.looking.is_some()
            || (self.gathering.is_some() && self.look_from <= now)
            || self.unsettled.front().is_some_and(|round| round.is_settled(now))
    }

    /// The next connection to look at; none when all were. Begins the next round if none is going
    /// on.
    pub(super) fn next(&mut self, now: Time) -> Option<ConnKey> {
        if self.looking.is_none() && self.look_from <= now {
            let round = self.gathering.take()?;
            self.looking = Some(Look { round, after: None, began: now });
        }
        let look = self.looking.as_mut()?;
        let from = look.after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        look.after = self.watched.range((from, std::ops::Bound::Unbounded)).next().copied();
        look.after
    }

    /// The connection that is looked at was told something with this version; one of its publishers
    /// stands for it.
    pub(super) fn told(&mut self, conn: ConnKey, version: u64, publisher: Option<PublisherId>) {
        let owing = self.owing.entry(conn).or_insert(Owing { version, publisher, is_late: false });
        owing.version = version;
    }

    /// All were looked at. Returns what control is told of it.
    pub(super) fn looked(&mut self, now: Time) -> Option<ToControl> {
        let Look { mut round, began, .. } = self.looking.take_if(|look| look.after.is_none())?;
        if began < now {
            self.look_from = began + LONG_ROUND_EVERY;
        }
        round.until = now + ANSWER_WITHIN;
        let (late, awaited): (Vec<_>, Vec<_>) = self.owing.iter().partition(|(_, owing)| owing.is_late);
        round.awaited = awaited.into_iter().map(|(&conn, owing)| (conn, owing.version)).collect();
        round.late = late.into_iter().filter_map(|(_, owing)| owing.publisher).take(LEFT_OUT_MAX).collect();
        let applied = round.directory;
        self.unsettled.push_back(round);
        applied.map(|(version, position)| ToControl::Applied { version, position, settled: false })
    }

    /// Takes the oldest round if it is settled. Returns what control is told of it, and how many
    /// publishers have not answered.
    pub(super) fn settle(&mut self, now: Time) -> Option<(Option<ToControl>, u64)> {
        let round = self.unsettled.pop_front_if(|round| round.is_settled(now))?;
        self.settled = round.number + 1;
        let mut left_out = round.late;
        for conn in round.awaited.keys() {
            if let Some(owing) = self.owing.get_mut(conn) {
                owing.is_late = true;
                left_out.extend(owing.publisher.filter(|_| left_out.len() < LEFT_OUT_MAX));
            }
        }
        for (_, mut message) in self.held.extract_if(.., |(number, _)| *number <= round.number) {
            if let ToCore::Effective(effective) = &mut message {
                effective.left_out_publishers.extend(&left_out);
            }
            self.released.push_back(message);
        }
        let settled = round.directory.map(|(version, _)| ToControl::Settled { version, left_out });
        Some((settled, round.awaited.len() as u64))
    }

    /// The next message whose round is settled.
    pub(super) fn next_released(&mut self) -> Option<ToCore> {
        self.released.pop_front()
    }

    /// When there is something to do without a call.
    pub(super) fn deadline(&self) -> Option<Time> {
        let answers = self.unsettled.front().map(|round| round.until);
        let look = self.gathering.as_ref().map(|_| self.look_from);
        let now = self.looking.as_ref().map(|look| look.began);
        answers.into_iter().chain(look).chain(now).min()
    }
}

impl Round {
    fn is_settled(&self, now: Time) -> bool {
        self.awaited.is_empty() || self.until <= now
    }
}
