//! What a router knows of one set.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::control::{SetState, Standing};
use millrace_proto::limits::RANK_MAX;
use millrace_proto::mesh::{SetMember, SetRecord};
use millrace_proto::{PublisherId, RouterId};

use super::record::{Record, Why};
use super::words::MemberKey;
use crate::time::Time;

/// A member claims a set that nobody holds after this for each of its rank.
pub(super) const RANK_STEP: Duration = Duration::from_millis(200);
/// A member of a lower rank that preempts has to be there for this long without a break.
pub(super) const FAILBACK: Duration = Duration::from_secs(5);
/// A member that cannot take over without loss claims a set so much later while there is one that
/// can: all ranks of those come first.
const LAG: Duration = RANK_STEP.saturating_mul(RANK_MAX + 1);
/// Who hands over leaves the set to others for this long.
pub(super) const HAND_OVER_REST: Duration = Duration::from_secs(5);

/// A member that is a publisher of this router.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) publisher: PublisherId,
    pub(super) rank: u8,
    pub(super) preempt: bool,
    /// Since when it is there without a break.
    pub(super) since: Time,
    /// Its client does not answer.
    pub(super) is_silent: bool,
    /// It can take over without loss, as it says.
    pub(super) is_abreast: bool,
    /// The generation by which it has lost the set, and with it what it had on its way: what it
    /// said of itself in an earlier one is over. 0: it has lost none.
    pub(super) lost_in: u64,
    /// Its process has begun since its id claimed the set: it does not hold it.
    pub(super) is_anew: bool,
    /// What it was told last.
    told: Option<Told>,
}

/// What a member was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    standing: Standing,
    generation: u64,
    next_source_seq: u64,
    is_vacant: bool,
}

/// A member at another router.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) rank: u8,
    pub(super) preempt: bool,
    pub(super) is_silent: bool,
    pub(super) is_abreast: bool,
}

/// A set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) record: Option<Record>,
    /// Whom it belongs to.
    pub(super) identity: Box<str>,
    /// The highest source seq that a router has seen, plus one.
    pub(super) next_source_seq: u64,
    /// Events that this router has fenced.
    pub(super) fenced: u64,
    /// When the holder became one, as far as this router knows.
    pub(super) since: Time,
    /// Since when this router sees no live holder, and why.
    pub(super) dead: Option<(Time, Why)>,
    /// The highest generation that a member has heard of, perhaps of routers that are gone.
    pub(super) known: u64,
    /// Who has handed over, and until when it leaves the set to others.
    pub(super) resting: Option<(PublisherId, Time)>,
    pub(super) members: BTreeMap<MemberKey, Member>,
    pub(super) others: BTreeMap<(RouterId, PublisherId), Other>,
    /// When somebody is to claim it, as the book has noted it.
    pub(super) due: Option<Time>,
}

/// A member, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPicture {
    /// The publisher.
    pub publisher: PublisherId,
    /// Its router.
    pub router: RouterId,
    /// Its rank.
    pub rank: u8,
    /// It takes over from a holder of a higher rank, too.
    pub preempt: bool,
    /// Its client does not answer.
    pub is_silent: bool,
    /// It can take over without loss.
    pub is_abreast: bool,
    /// It holds the set.
    pub is_holder: bool,
}

/// A set, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPicture {
    /// Its name.
    pub set: Box<str>,
    /// Whom it belongs to.
    pub identity: Box<str>,
    /// Who held it last; none: nobody yet.
    pub record: Option<Record>,
    /// Whether that holder is there, as this router sees it.
    pub is_held: bool,
    /// When the holder became one, as far as this router knows.
    pub since: Time,
    /// The highest source seq that a router has seen, plus one; 0: none.
    pub next_source_seq: u64,
    /// Events that this router has fenced.
    pub fenced: u64,
    /// Its members, by rank.
    pub members: Vec<MemberPicture>,
}

impl Set {
    pub(super) fn new(now: Time, identity: &str) -> Self {
        Self {
            record: None,
            identity: identity.into(),
            next_source_seq: 0,
            fenced: 0,
            since: now,
            dead: Some((now, Why::First)),
            known: 0,
            resting: None,
            members: BTreeMap::new(),
            others: BTreeMap::new(),
            due: None,
        }
    }

    /// Whether it has no members anywhere and nobody holds it.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.others.is_empty() && self.dead.is_some()
    }

    /// The own member that holds it.
    pub(super) fn own_holder(&self, router: RouterId) -> Option<(MemberKey, &Member)> {
        let record = self.record.filter(|record| record.router == router)?;
        let is_it =
            |(_, member): &(&MemberKey, &Member)| member.publisher == record.publisher && !member.is_anew;
        self.members.iter().find(is_it).map(|(&key, member)| (key, member))
    }

    /// Notes whether the holder is there: at this router, if it answers, or at one that can be
    /// reached.
    pub(super) fn look(&mut self, now: Time, router: RouterId, is_reachable: impl Fn(RouterId) -> bool) {
        let Some(record) = self.record else { return };
        let why = if record.is_vacant {
            let rests = self.resting.is_some_and(|(publisher, _)| publisher == record.publisher);
            Some(if rests { Why::HandedOver } else { Why::Died })
        } else if record.router == router {
            self.own_holder(router).is_none_or(|(_, member)| member.is_silent).then_some(Why::Died)
        } else {
            (!is_reachable(record.router)).then_some(Why::RouterLost)
        };
        self.dead = match (why, self.dead) {
            (None, _) => None,
            (Some(_), Some(dead)) => Some(dead),
            (Some(why), None) => Some((now, why)),
        };
    }

    /// Notes why nobody holds it, as the holder's router says.
    pub(super) fn note_vacant(&mut self, now: Time, told: Record) {
        if told.is_vacant {
            self.dead.get_or_insert((now, told.why));
        }
    }

    /// Whether a member that answers, other than `holder`, can take over without loss; none when
    /// there is no such member.
    pub(super) fn next_is_abreast(&self, holder: PublisherId) -> Option<bool> {
        let own = self.members.values();
        let own = own.map(|member| (member.publisher, member.is_silent, member.is_abreast));
        let others = self.others.iter();
        let others = others.map(|(&(_, publisher), other)| (publisher, other.is_silent, other.is_abreast));
        let next = own.chain(others).filter(|&(publisher, is_silent, _)| publisher != holder && !is_silent);
        next.map(|(.., is_abreast)| is_abreast || !self.is_numbered()).max()
    }

    /// Whether routers have seen numbers of it: only then members may have lost some.
    const fn is_numbered(&self) -> bool {
        self.next_source_seq > 0
    }

    /// The own member that is to claim the set, when, and why; none while somebody holds it.
    pub(super) fn claimant(&self) -> Option<(Time, MemberKey, Why)> {
        let present = self.members.iter().filter(|(_, member)| !member.is_silent);
        let lags = |member: &Member| !member.is_abreast && self.is_numbered();
        let Some((dead_since, why)) = self.dead else {
            let record = self.record?;
            let preempts = |(_, member): &(&MemberKey, &Member)| {
                member.preempt
                    && member.rank < record.rank
                    && member.publisher != record.publisher
                    && !lags(member)
            };
            let (&key, member) = present.filter(preempts).min_by_key(|(_, member)| member.rank)?;
            let is_asked = self.resting.filter(|&(publisher, _)| publisher == member.publisher);
            let from = member.since.max(self.since) + FAILBACK;
            return Some((is_asked.map_or(from, |(_, until)| from.max(until)), key, Why::Preempted));
        };
        let at = |member: &Member| {
            let rests = self.resting.filter(|&(publisher, _)| publisher == member.publisher);
            let is_last = lags(member) && self.next_is_abreast(member.publisher) == Some(true);
            let lag = if is_last { LAG } else { Duration::ZERO };
            let from = dead_since.max(member.since) + RANK_STEP * u32::from(member.rank) + lag;
            rests.map_or(from, |(_, until)| from.max(until))
        };
        let claim = |(&key, member): (&MemberKey, &Member)| (at(member), member.rank, member.publisher, key);
        let (at, _, _, key) = present.map(claim).min()?;
        Some((at, key, why))
    }

    /// What its members of this router are to be told, each when that is new. Returns those that
    /// could take over without loss until now, and have just lost what they had under way.
    pub(super) fn states(
        &mut self,
        set: &str,
        router: RouterId,
        out: &mut Vec<(MemberKey, SetState)>,
    ) -> Vec<MemberKey> {
        let mut behind = Vec::new();
        let record = self.record.as_ref();
        let generation = record.map_or(0, |record| record.generation);
        let holder = record.filter(|record| record.router == router).map(|record| record.publisher);
        let (next_source_seq, resting, is_dead) = (self.next_source_seq, self.resting, self.dead.is_some());
        for (&key, member) in &mut self.members {
            let was_active = member.told.is_some_and(|told| told.standing == Standing::Active);
            let is_asked = resting.is_some_and(|(publisher, _)| publisher == member.publisher);
            let standing = match holder {
                Some(holder) if holder == member.publisher && !member.is_anew => Standing::Active,
                _ if was_active && !is_asked => Standing::Fenced,
                _ => Standing::Waiting,
            };
            let is_active = standing == Standing::Active;
            if was_active && !is_active {
                member.lost_in = generation;
                if std::mem::take(&mut member.is_abreast) {
                    behind.push(key);
                }
            }
            let news = Told {
                standing,
                generation,
                // What has entered since is the holder's own.
                next_source_seq: if is_active { 0 } else { next_source_seq },
                is_vacant: is_dead && !is_active,
            };
            // Who was told that it is fenced waits from there on.
            let is_as_before = member.told.is_some_and(|told| {
                let waits = told.standing == Standing::Fenced;
                news == Told { standing: if waits { Standing::Waiting } else { told.standing }, ..told }
            });
            if is_as_before {
                continue;
            }
            member.told = Some(news);
            let state = SetState {
                set: set.to_owned(),
                publisher: key.number,
                standing,
                generation,
                next_source_seq,
                vacant: news.is_vacant,
            };
            out.push((key, state));
        }
        behind
    }

    /// Its record as peers are told it, if it has one.
    pub(super) fn told(&self, name: &str) -> Option<SetRecord> {
        let record = self.record?;
        let frame = record.told(name, &self.identity, self.next_source_seq);
        let dead = self.dead.filter(|_| record.is_vacant);
        Some(SetRecord { why: dead.map_or(frame.why, |(_, why)| why.number()), ..frame })
    }

    /// A picture of it.
    pub(super) fn picture(&self, set: &str, router: RouterId) -> SetPicture {
        let holds = |publisher| self.record.is_some_and(|record| record.publisher == publisher);
        let own = self.members.values().map(|member| MemberPicture {
            publisher: member.publisher,
            router,
            rank: member.rank,
            preempt: member.preempt,
            is_silent: member.is_silent,
            is_abreast: member.is_abreast,
            is_holder: holds(member.publisher)
                && !member.is_anew
                && self.record.is_some_and(|record| record.router == router),
        });
        let others = self.others.iter().map(|(&(router, publisher), other)| MemberPicture {
            publisher,
            router,
            rank: other.rank,
            preempt: other.preempt,
            is_silent: other.is_silent,
            is_abreast: other.is_abreast,
            is_holder: holds(publisher) && self.record.is_some_and(|record| record.router == router),
        });
        let mut members: Vec<_> = own.chain(others).collect();
        members.sort_by_key(|member| (member.rank, member.publisher, member.router));
        SetPicture {
            set: set.into(),
            identity: self.identity.clone(),
            record: self.record,
            is_held: self.dead.is_none() && self.record.is_some(),
            since: self.since,
            next_source_seq: self.next_source_seq,
            fenced: self.fenced,
            members,
        }
    }
}

impl Member {
    pub(super) const fn new(now: Time, publisher: PublisherId, rank: u8, preempt: bool) -> Self {
        Self {
            publisher,
            rank,
            preempt,
            since: now,
            is_silent: false,
            is_abreast: false,
            lost_in: 0,
            is_anew: false,
            told: None,
        }
    }
}

/// A member of this router, as peers are told it.
pub(super) fn told(name: &str, set: &Set, member: &Member) -> SetMember {
    SetMember {
        set: name.to_owned(),
        publisher: member.publisher.0.to_be_bytes().to_vec(),
        rank: member.rank.into(),
        preempt: member.preempt,
        silent: member.is_silent,
        gone: false,
        identity: set.identity.to_string(),
        abreast: member.is_abreast,
    }
}
