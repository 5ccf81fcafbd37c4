//! One link to another cluster: what waits, what goes out, and what is heard of it.
//!
//! ```text
//! cores ─► offer ─► queue ─► take_output ─► publish stream of the far cluster
//!                     ▲                         │
//!                     └──── disconnected ◄── flight ◄── Received, Outcome
//! ```
//!
//! What is in the queue waits, when a connection begins, for those who receive in the far cluster
//! ([`Returning`]).
//!
//! A link never ends because of what it sends or hears: events that may not cross are dropped one
//! by one, each with a reason.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use millrace_proto::control::{Demand, Outcome, Received, Refused, Welcome};
use millrace_proto::data::{Gap, GapReason, flag};
use millrace_proto::feature;
use millrace_proto::run::RunBody;
use millrace_proto::{ClusterId, Selector};

use super::demand::{LinkInterest, interest};
use super::flight::Flight;
use super::path::ClusterPath;
use super::returning::{Awaited, CAME_MAX, DEMAND_MAX, Heard, Returning};
use super::rewriting::Rewriting;
use super::rule::LinkRule;
use super::run::{CrossingRun, Handed};
use super::status::{LinkCounters, LinkDrop, LinkState, LinkStatus};
use super::stream::CrossingStream;
use crate::time::Time;

/// Bytes that wait while the far cluster is connected, besides the spool: neither a burst nor a
/// wait for receivers sheds events.
const BURST_BYTES: u64 = CAME_MAX;
/// Bytes that are encoded at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The far cluster cannot be forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Both clusters have one id.
    #[error(
        "the far cluster has this cluster's id, {id}: each cluster needs an id of its own (key `cluster`; \
         `millrace certs init` makes one)"
    )]
    SameCluster {
        /// The id.
        id: ClusterId,
    },
    /// The far cluster has no id, so that it cannot stand in a path.
    #[error(
        "the far router has no cluster id (key `cluster`), or does not know forwarding: update it, or set one"
    )]
    NoCluster,
}

/// What is there while the link is connected.
#[derive(Debug)]
struct Connected {
    cluster: ClusterId,
    /// Whether the far router tells how events end.
    confirms: bool,
    stream: CrossingStream,
    flight: Flight,
    /// What the far cluster has said of what it wants, as far as it has come.
    hearing: Heard,
    /// It has said all of it.
    has_heard: bool,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    rule: LinkRule,
    own: ClusterId,
    /// The far cluster, once it was met.
    far: Option<ClusterId>,
    queue: VecDeque<CrossingRun>,
    queued_bytes: u64,
    /// Events that were shed and of which the far cluster was not told.
    shed: u64,
    rewriting: Rewriting,
    connected: Option<Connected>,
    returning: Returning,
    /// It takes more than is wanted, for those who are waited for.
    is_widened: bool,
    accepted: Option<Vec<Selector>>,
    wanted: Option<Vec<Selector>>,
    interest: LinkInterest,
    interest_changed: bool,
    state: LinkState,
    since: Time,
    trouble: Option<String>,
    counters: LinkCounters,
}

impl Link {
    /// A link of the cluster `own` that looks for the far one from `now` on.
    #[must_use]
    pub fn new(rule: LinkRule, own: ClusterId, now: Time) -> Self {
        let interest = interest(&rule, None, None);
        Self {
            rule,
            own,
            far: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            shed: 0,
            rewriting: Rewriting::default(),
            connected: None,
            returning: Returning::default(),
            is_widened: false,
            accepted: None,
            wanted: None,
            interest,
            interest_changed: true,
            state: LinkState::Connecting,
            since: now,
            trouble: None,
            counters: LinkCounters::default(),
        }
    }

    /// Why it is not connected, or what was refused last.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes what a core has for it.
    pub fn offer(&mut self, handed: Handed) {
        self.drop_events(LinkDrop::Busy, handed.lost);
        for run in handed.runs {
            if let Err(reason) = self.check(&run.path) {
                self.drop_events(reason, run.events);
                continue;
            }
            match self.rewriting.tags(&self.rule, run.tags) {
                Some(tags) => self.push(CrossingRun { tags, ..run }),
                None => self.drop_events(LinkDrop::TooLarge, run.events),
            }
        }
        self.shed();
    }

    /// Whether a run that has crossed these clusters may cross this link.
    fn check(&self, path: &ClusterPath) -> Result<(), LinkDrop> {
        if self.far.is_some_and(|far| path.contains(far)) {
            return Err(LinkDrop::ClusterPath);
        }
        if path.ids().len() >= usize::from(self.rule.max_hops) {
            return Err(LinkDrop::MaxHops);
        }
        Ok(())
    }

    fn push(&mut self, run: CrossingRun) {
        self.queued_bytes += run.bytes();
        self.returning.came(run.bytes());
        self.queue.push_back(run);
    }

    /// Drops the oldest runs that exceed the spool.
    fn shed(&mut self) {
        let bytes_max = match self.connected {
            Some(_) => self.rule.spool_bytes.saturating_add(BURST_BYTES),
            None => self.rule.spool_bytes,
        };
        while self.queued_bytes > bytes_max
            && let Some(run) = self.queue.pop_front()
        {
            self.queued_bytes -= run.bytes();
            self.shed += run.events;
            self.drop_events(LinkDrop::Shed, run.events);
        }
    }

    fn drop_events(&mut self, reason: LinkDrop, events: u64) {
        self.counters.dropped[reason as usize] += events;
    }

    /// A router of the far cluster has welcomed the link.
    ///
    /// # Errors
    /// [`LinkError`]: the caller closes the connection, and tries again later.
    pub fn welcomed(&mut self, now: Time, welcome: &Welcome) -> Result<(), LinkError> {
        let cluster = welcome.cluster;
        if cluster == self.own {
            return Err(LinkError::SameCluster { id: cluster });
        }
        if cluster == ClusterId(0) || !welcome.features.contains(feature::FORWARDING) {
            return Err(LinkError::NoCluster);
        }
        self.connected = Some(Connected {
            cluster,
            confirms: welcome.features.contains(feature::CONFIRMS),
            stream: CrossingStream::new(
                welcome.tables,
                self.rule.packs && welcome.features.contains(feature::PACKED),
            ),
            flight: Flight::default(),
            hearing: Heard::default(),
            has_heard: false,
        });
        self.far = Some(cluster);
        self.returning.welcomed(now, (welcome.router, welcome.incarnation));
        self.renew_interest();
        self.counters.connects += 1;
        self.trouble = None;
        self.turn_to(now, LinkState::Up { router: welcome.router });
        Ok(())
    }

    /// The connection is gone, or could not be made. What was under way goes out again, whatever
    /// the spool holds.
    pub fn disconnected(&mut self, now: Time, is_refused: bool, why: String) {
        if let Some(connected) = self.connected.take() {
            for run in connected.flight.end().rev() {
                self.counters.resent += run.events;
                self.queued_bytes += run.bytes();
                self.queue.push_front(run);
            }
        }
        self.returning.disconnected(now);
        self.trouble = Some(why);
        self.accepted = None;
        self.wanted = None;
        self.renew_interest();
        self.turn_to(now, if is_refused { LinkState::Refused } else { LinkState::Connecting });
    }

    fn turn_to(&mut self, now: Time, state: LinkState) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// The far router allows so many bytes of the publish stream.
    pub fn on_credit(&mut self, bytes: u64) {
        if let Some(connected) = &mut self.connected {
            connected.stream.on_credit(bytes);
        }
    }

    /// The far router has read a publisher's events up to a seq.
    pub fn on_received(&mut self, received: &Received) {
        if let Some(connected) = &mut self.connected {
            connected.flight.received(received);
        }
    }

    /// The far cluster says how events ended.
    pub fn on_outcome(&mut self, outcome: &Outcome) {
        if let Some(connected) = &mut self.connected {
            let ended = connected.flight.ended(outcome);
            self.counters.confirmed += ended.confirmed;
            self.counters.unconfirmed += ended.unconfirmed;
        }
    }

    /// The far router refuses something of what was sent.
    pub fn on_refused(&mut self, refused: &Refused) {
        self.counters.refused += 1;
        self.trouble = Some(refused.message.clone());
    }

    /// The far cluster says what it lets in, and what is wanted there. Returns the selectors of the
    /// rule of which nothing is let in, where that is new.
    pub fn on_demand(&mut self, now: Time, demand: Demand) -> Vec<String> {
        let Some(Connected { hearing, has_heard, .. }) = &mut self.connected else { return Vec::new() };
        if demand.reset {
            *hearing = Heard::default();
        }
        let links: HashSet<&String> = demand.links.iter().collect();
        for text in &demand.add {
            let list = if links.contains(text) { &mut hearing.links } else { &mut hearing.wanted };
            match Selector::parse(text) {
                Ok(selector) if list.len() < DEMAND_MAX => list.push(selector),
                _ => hearing.is_wide = true,
            }
        }
        for list in [&mut hearing.wanted, &mut hearing.links] {
            list.retain(|selector| !demand.remove.iter().any(|text| text == selector.text()));
        }
        if demand.more {
            return Vec::new();
        }
        let accepted = demand.accept.iter().map(|text| Selector::parse(text)).collect::<Result<Vec<_>, _>>();
        self.accepted = accepted.ok().filter(|accepted| !accepted.is_empty());
        self.returning.heard(now, hearing);
        *has_heard = true;
        let before = self.interest.refused.clone();
        self.renew_wanted();
        let new = self.interest.refused.iter().filter(|text| !before.contains(text)).cloned();
        let new: Vec<String> = new.collect();
        self.counters.refused += new.len() as u64;
        new
    }

    /// Finds what is wanted in the far cluster, and by those who are waited for there: what comes
    /// meanwhile is for them, too.
    fn renew_wanted(&mut self) {
        let Some(Connected { hearing, has_heard, .. }) = &self.connected else { return };
        let awaited = self.returning.awaited();
        self.is_widened = awaited != Awaited::Nothing;
        let is_told = self.rule.demand && *has_heard && !hearing.is_wide;
        self.wanted = match awaited {
            Awaited::Nothing if is_told => Some(hearing.all().cloned().collect()),
            Awaited::Selectors { receivers, links } if is_told => {
                Some(hearing.all().chain(receivers).chain(links).cloned().collect())
            }
            _ => None,
        };
        self.renew_interest();
    }

    fn renew_interest(&mut self) {
        let interest = interest(&self.rule, self.accepted.as_deref(), self.wanted.as_deref());
        let interest = LinkInterest { far: self.far, ..interest };
        self.interest_changed |= interest != self.interest;
        self.interest = interest;
    }

    /// What of this router's events it takes from here on, where that has changed.
    pub fn poll_interest(&mut self) -> Option<LinkInterest> {
        std::mem::take(&mut self.interest_changed).then(|| self.interest.clone())
    }

    /// Whether [`poll_interest`](Self::poll_interest) has something new.
    #[must_use]
    pub const fn has_new_interest(&self) -> bool {
        self.interest_changed
    }

    /// Until when it keeps what waits, at most, although it is connected: for receivers of the far
    /// cluster to come back. None: it does not.
    #[must_use]
    pub fn keeps_until(&self) -> Option<Time> {
        self.returning.until().filter(|_| !self.queue.is_empty() || self.shed > 0)
    }

    /// It keeps nothing from here on, because there is no time for it.
    pub fn hurry(&mut self) {
        self.returning.end();
    }

    /// The next bytes for the publish stream.
    pub fn take_output(&mut self, now: Time) -> Option<Bytes> {
        if self.returning.waits(now) {
            return None;
        }
        if self.is_widened {
            self.renew_wanted();
        }
        let own = self.own;
        let Self { connected, queue, queued_bytes, rule, shed, counters, .. } = self;
        let Connected { cluster, confirms, stream, flight, .. } = connected.as_mut()?;
        if stream.takes() && (!queue.is_empty() || *shed > 0) {
            let mut out = Vec::new();
            if *shed > 0 {
                Gap { reason: GapReason::Shed, events: *shed, router: None }.encode(&mut out);
                *shed = 0;
            }
            while out.len() < CHUNK_BYTES
                && flight.has_room()
                && let Some(run) = queue.pop_front()
            {
                *queued_bytes -= run.bytes();
                // The far cluster may have been unknown when the run was taken.
                if run.path.contains(*cluster) {
                    counters.dropped[LinkDrop::ClusterPath as usize] += run.events;
                    continue;
                }
                let Some(path) = run.path.with(own) else { continue };
                let mut fields = Vec::new();
                path.put(&mut fields);
                let (flags, is_confirmed) = flags(&run, rule.confirms, *confirms);
                let first_seq = RunBody::parse_head(&run.body).map_or(0, |body| body.first_seq());
                let named = stream.encode(&mut out, &run.tags, run.publisher, (flags, &fields), &run.body);
                if let Some(number) = named.number.filter(|_| named.is_new) {
                    flight.forget_publisher(number);
                }
                counters.sent += run.events;
                flight.sent(run, named.number, first_seq, is_confirmed);
            }
            counters.frame_bytes += out.len() as u64;
            stream.stage(out);
        }
        let chunk = stream.take_staged();
        counters.stream_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        chunk
    }

    /// Whether the far router owes an answer.
    #[must_use]
    pub fn expects_answer(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| !connected.flight.is_empty())
    }

    /// Whether nothing waits and nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.expects_answer()
    }

    /// What it shows of itself.
    #[must_use]
    pub fn status(&self, now: Time) -> LinkStatus {
        let texts = |selectors: &[Selector]| {
            selectors.iter().map(|selector| selector.text().to_owned()).collect::<Vec<_>>()
        };
        let mut counters = self.counters;
        counters.spooled_bytes = self.queued_bytes;
        counters.up = u64::from(self.connected.is_some());
        LinkStatus {
            name: self.rule.name.clone(),
            state: self.state.clone(),
            cluster: self.far,
            select: texts(self.rule.select.selectors()),
            interest: self.interest.selectors.keys().cloned().collect(),
            refused_selectors: self.interest.refused.clone(),
            demand: self.wanted.as_deref().map(texts),
            trouble: self.trouble.clone(),
            since: now.since(self.since),
            keeps_for: self.keeps_until().map(|until| until.since(now)),
            spooled_runs: self.queue.len(),
            counters,
        }
    }
}

/// The flags of a run in the far cluster, and whether its end is told. It may arrive there by
/// another way, too, so that it always counts as one that was sent before.
fn flags(run: &CrossingRun, asks: bool, confirms: bool) -> (u64, bool) {
    let level = match run.flags & flag::LEVEL_MASK {
        0 if asks => 1,
        level => level.min(1),
    };
    let level = if confirms { level } else { 0 };
    (level | flag::RESENT | run.flags & flag::ENCODED, level > 0)
}
