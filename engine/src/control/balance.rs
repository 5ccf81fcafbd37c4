//! Clients even out by themselves: a router that has too many asks some to move to routers that
//! have fewer.
//!
//! Routers tell each other how many clients they have (`Load`), at most once a second. Each router
//! looks once a second at itself and at the linked routers of its zone, and works out the same plan
//! as they do: everybody's share is the mean, and who is above gives what is too much to those
//! below ([`plan`]). It acts on its own part of the plan alone, and
//!
//! - begins when it has been more than [`DEAD_BAND_PERCENT`] above the mean for [`HOLD`], among the
//!   same routers for [`SETTLE`], and goes on to its share: a small difference moves nobody, and a
//!   restart settles first;
//! - asks at most one percent of its clients a second;
//! - counts who was asked as gone already, until they are or [`PENDING`] is over, and for [`HEARD`]
//!   in any case: so it asks too few rather than too many, and there is no second swing.
//!
//! Two routers with 100 and 0 clients are 50 and 50 after about 80 seconds, and a new router beside
//! two that are even has its share within a minute. `ctl rebalance` does the same at once, when an
//! operator wants it.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_proto::RouterId;

use crate::message::CoreIndex;
use crate::time::Time;

/// How far above the mean a router may stay, percent.
pub(super) const DEAD_BAND_PERCENT: u64 = 10;
/// How many of its clients a router asks to move each second, percent.
const RATE_PERCENT: u64 = 1;
/// Time between two looks, and over which the clients of one look are asked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a router is above the dead band before it begins.
const HOLD: Duration = Duration::from_secs(5);
/// How long the same routers must be there before one begins: after a start or a death, clients
/// come by themselves.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a client that was asked may take to move.
const PENDING: Duration = Duration::from_secs(15);
/// How long a client that was asked counts as gone at least: the router where it went tells of it a
/// second or two later.
const HEARD: Duration = Duration::from_secs(3);

/// Whether a router with too many clients asks some to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rebalance {
    /// It does, by itself.
    #[default]
    Auto,
    /// Only an operator does.
    Off,
}

impl Rebalance {
    /// Its name in settings and `/status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

/// A router that takes part, and how many clients it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) router: RouterId,
    pub(super) clients: u64,
}

/// What this router knows of its clients, and whom it has asked.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// By core.
    clients: Vec<u64>,
    /// What peers were told.
    pub(super) told: Option<u64>,
    /// When control looks again.
    pub(super) look_at: Option<Time>,
    /// The routers of the last look, sorted.
    members: Vec<RouterId>,
    members_since: Option<Time>,
    above_since: Option<Time>,
    is_moving: bool,
    /// Clients that may be asked now, in hundredths.
    allowance: u64,
    /// Clients that were asked and may be here yet: when, where to, how many. One entry for each
    /// look and router at most, and none older than [`PENDING`].
    asked: VecDeque<(Time, RouterId, u64)>,
    /// Clients of this router at the last look.
    last: u64,
    /// Clients that have gone since they were asked, and are counted in `asked` yet.
    gone: u64,
}

impl Balance {
    /// Clients of all cores.
    pub(super) fn clients(&self) -> u64 {
        self.clients.iter().sum()
    }

    /// How many of `count` clients each core asks.
    pub(super) fn spread(&self, count: u64) -> Vec<u64> {
        spread(count, &self.clients)
    }

    /// Whether clients are being asked to move.
    pub(super) const fn is_moving(&self) -> bool {
        self.is_moving
    }

    /// A core has so many clients.
    pub(super) fn core_has(&mut self, core: CoreIndex, clients: u64) {
        let core = usize::from(core);
        if self.clients.len() <= core {
            self.clients.resize(core + 1, 0);
        }
        self.clients[core] = clients;
    }

    /// Nobody is asked, and whoever begins again waits anew.
    pub(super) fn rest(&mut self) {
        (self.above_since, self.is_moving, self.allowance) = (None, false, 0);
    }

    /// Crosses out who was asked and has gone: this router has so many clients left.
    fn cross_out(&mut self, now: Time, clients: u64) {
        while self.asked.front().is_some_and(|(at, ..)| *at + PENDING <= now) {
            self.asked.pop_front();
        }
        let asked: u64 = self.asked.iter().map(|(.., clients)| clients).sum();
        self.gone = (self.gone + self.last.saturating_sub(clients)).min(asked);
        self.last = clients;
        while let Some((at, _, left)) = self.asked.front_mut()
            && *at + HEARD <= now
        {
            let crossed = self.gone.min(*left);
            (*left, self.gone) = (*left - crossed, self.gone - crossed);
            if *left > 0 {
                break;
            }
            self.asked.pop_front();
        }
    }

    /// One look at all `members`, of which `own` is this router. Returns whom to ask: how many
    /// clients, and where they go.
    pub(super) fn look(&mut self, now: Time, own: RouterId, members: &[Member]) -> Vec<(RouterId, u64)> {
        let routers = members.iter().map(|member| member.router);
        if !routers.clone().eq(self.members.iter().copied()) {
            self.members = routers.collect();
            self.members_since = Some(now);
            self.rest();
        }
        let total: u64 = members.iter().map(|member| member.clients).sum();
        let clients = members.iter().find(|member| member.router == own).map_or(0, |member| member.clients);
        self.cross_out(now, clients);
        let count = members.len() as u64;
        let is_above = clients * count * 100 > total * (100 + DEAD_BAND_PERCENT);
        let parts: Vec<(RouterId, u64)> = plan(members)
            .into_iter()
            .filter(|part| part.from == own)
            .map(|part| (part.to, part.clients))
            .collect();
        let surplus: u64 = parts.iter().map(|(_, clients)| clients).sum();
        if surplus == 0 {
            self.rest();
            return Vec::new();
        }
        self.above_since = is_above.then(|| self.above_since.unwrap_or(now));
        let is_long = |since: Option<Time>, time| since.is_some_and(|since| since + time <= now);
        self.is_moving |= is_long(self.above_since, HOLD) && is_long(self.members_since, SETTLE);
        if !self.is_moving {
            return Vec::new();
        }
        // Who was asked counts as gone, and as come where they were sent.
        let pending = |to: Option<RouterId>| -> u64 {
            let asked = self.asked.iter().filter(|(_, there, _)| to.is_none_or(|to| to == *there));
            asked.map(|(.., clients)| clients).sum()
        };
        let left = surplus.saturating_sub(pending(None));
        let rooms: Vec<(RouterId, u64)> =
            parts.iter().map(|&(to, clients)| (to, clients.saturating_sub(pending(Some(to))))).collect();
        // At most what one look may ask, but at least one client: what is not used is not saved up,
        // except for the part of a client.
        let percent = clients * RATE_PERCENT;
        self.allowance = (self.allowance + percent).min(percent.max(100) + 99);
        let taken = take(&rooms, left.min(self.allowance / 100));
        self.allowance -= taken.iter().map(|(_, clients)| clients * 100).sum::<u64>();
        self.asked.extend(taken.iter().map(|&(to, clients)| (now, to, clients)));
        taken
    }
}

/// Clients that go from one router to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: RouterId,
    to: RouterId,
    clients: u64,
}

/// Who gives how many clients to whom, so that every router has its share. Equal members give equal
/// plans, whoever makes them, and nobody both gives and gets.
fn plan(members: &[Member]) -> Vec<Part> {
    let total: u64 = members.iter().map(|member| member.clients).sum();
    let count = members.len() as u64;
    if count == 0 {
        return Vec::new();
    }
    // Those that have most have one more, where the total cannot be divided.
    let mut order: Vec<&Member> = members.iter().collect();
    order.sort_by_key(|member| (std::cmp::Reverse(member.clients), member.router));
    let more = usize::try_from(total % count).unwrap_or(0);
    let shares =
        order.iter().enumerate().map(|(place, member)| (*member, total / count + u64::from(place < more)));
    let (mut givers, mut takers) = (Vec::new(), Vec::new());
    for (member, share) in shares {
        match member.clients.checked_sub(share) {
            Some(0) => {}
            Some(surplus) => givers.push((member.router, surplus)),
            None => takers.push((member.router, share - member.clients)),
        }
    }
    let mut parts = Vec::new();
    let mut takers = takers.into_iter();
    let mut taker: Option<(RouterId, u64)> = takers.next();
    for (from, mut surplus) in givers {
        while let Some((to, room)) = taker.filter(|_| surplus > 0) {
            let clients = surplus.min(room);
            parts.push(Part { from, to, clients });
            surplus -= clients;
            taker = if room > clients { Some((to, room - clients)) } else { takers.next() };
        }
    }
    parts
}

/// The first `count` clients of these parts.
fn take(parts: &[(RouterId, u64)], mut count: u64) -> Vec<(RouterId, u64)> {
    let mut taken = Vec::new();
    for &(to, clients) in parts {
        let clients = clients.min(count);
        if clients > 0 {
            taken.push((to, clients));
            count -= clients;
        }
    }
    taken
}

/// How many of `count` clients each core asks, when they have so many.
fn spread(count: u64, cores: &[u64]) -> Vec<u64> {
    let total = cores.iter().sum::<u64>().max(1);
    let mut spread: Vec<u64> = cores.iter().map(|clients| count * clients / total).collect();
    let mut left = count.saturating_sub(spread.iter().sum());
    for (asked, clients) in spread.iter_mut().zip(cores) {
        let more = left.min(clients.saturating_sub(*asked));
        *asked += more;
        left -= more;
    }
    spread
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Routers that look once a second, and clients that take their time.
    struct World {
        now: Time,
        clients: Vec<u64>,
        balances: Vec<Balance>,
        /// What each router has told last.
        told: Vec<u64>,
        /// Clients on their way: when they arrive, from where, to where.
        moving: Vec<(Time, usize, usize)>,
        /// How often clients have moved away from each router, and towards it.
        left: Vec<u64>,
        came: Vec<u64>,
        most_in_a_second: BTreeMap<usize, u64>,
    }

    impl World {
        fn new(clients: &[u64]) -> Self {
            let count = clients.len();
            Self {
                now: Time::ZERO,
                clients: clients.to_vec(),
                balances: (0..count).map(|_| Balance::default()).collect(),
                told: clients.to_vec(),
                moving: Vec::new(),
                left: vec![0; count],
                came: vec![0; count],
                most_in_a_second: BTreeMap::new(),
            }
        }

        fn second(&mut self, moves_take: impl Fn(u64) -> Duration) {
            self.now = self.now + LOOK_EVERY;
            let now = self.now;
            let (done, moving) = self.moving.iter().partition::<Vec<_>, _>(|(at, ..)| *at <= now);
            self.moving = moving;
            for (_, from, to) in done {
                self.clients[from] -= 1;
                self.clients[to] += 1;
                self.left[from] += 1;
                self.came[to] += 1;
            }
            let before = self.told.clone();
            for place in 0..self.clients.len() {
                let members: Vec<Member> = (0..self.clients.len())
                    .map(|other| Member {
                        router: RouterId(other as u64),
                        clients: if other == place { self.clients[place] } else { before[other] },
                    })
                    .collect();
                let asked = self.balances[place].look(now, RouterId(place as u64), &members);
                let count: u64 = asked.iter().map(|(_, clients)| clients).sum();
                let most = self.most_in_a_second.entry(place).or_default();
                *most = count.max(*most);
                for (to, clients) in asked {
                    for n in 0..clients {
                        self.moving.push((
                            now + moves_take(n + now.as_nanos()),
                            place,
                            usize::try_from(to.0).unwrap(),
                        ));
                    }
                }
                self.told[place] = self.clients[place];
            }
        }
    }

    #[test]
    fn a_hundred_and_none_become_even_halves_without_a_second_swing() {
        let mut world = World::new(&[100, 0]);
        for second in 0..200 {
            world.second(|_| Duration::from_millis(1500));
            if second < 10 {
                assert_eq!(world.clients, [100, 0], "it settles first");
            }
        }
        assert_eq!(world.clients, [50, 50]);
        assert_eq!((world.left[1], world.came[1]), (0, 50), "nobody moves twice");
        assert_eq!(world.most_in_a_second[&0], 1, "one percent");
    }

    #[test]
    fn a_dead_band_of_ten_percent_moves_nobody() {
        for clients in [vec![110, 90], vec![1, 0], vec![2, 1], vec![0, 0, 0], vec![1000, 950, 900]] {
            let mut world = World::new(&clients);
            (0..100).for_each(|_| world.second(|_| Duration::ZERO));
            assert_eq!(world.clients, clients);
        }
    }

    #[test]
    fn a_new_router_gets_its_share_of_ten_thousand() {
        let mut world = World::new(&[5000, 5000, 0]);
        (0..120).for_each(|_| world.second(|n| Duration::from_millis(200 + n % 4000)));
        let share = 10_000 / 3;
        assert!(
            world.clients.iter().all(|clients| clients.abs_diff(share) * 20 <= share),
            "{:?}",
            world.clients
        );
        assert!(world.most_in_a_second[&0] <= 50);
    }

    #[test]
    fn a_new_router_beside_two_has_its_share_within_a_minute() {
        for clients in [20, 100, 5000] {
            let mut world = World::new(&[clients, clients, 0]);
            (0..60).for_each(|_| world.second(|n| Duration::from_millis(200 + n % 1000)));
            let share = clients * 2 / 3;
            assert!(world.clients[2].abs_diff(share) * 20 <= share + 20, "{:?}", world.clients);
        }
    }

    #[test]
    fn who_comes_and_goes_lets_all_wait() {
        let mut balance = Balance::default();
        let member = |router, clients| Member { router: RouterId(router), clients };
        let mut now = Time::ZERO;
        for second in 0..60 {
            now = now + LOOK_EVERY;
            let mut members = vec![member(1, 1000), member(2, 0)];
            if second / 8 % 2 == 1 {
                members.push(member(3, 0));
            }
            assert_eq!(balance.look(now, RouterId(1), &members), []);
        }
    }

    #[test]
    fn cores_ask_by_what_they_have() {
        assert_eq!(spread(10, &[50, 50]), [5, 5]);
        assert_eq!(spread(1, &[0, 3]), [0, 1]);
        assert_eq!(spread(3, &[1, 1, 1]), [1, 1, 1]);
        assert_eq!(spread(5, &[0, 0]), [0, 0]);
    }

    proptest! {
            /// Whatever counts there are, and however long moves take within their time: the end is
            /// even, and who gives gets nothing back but one percent, because counts are a second
            /// old.
            #[test]
            fn counts_become_even_and_nobody_swings(
                clients in proptest::collection::vec(0u64..400, 2..6),
                slowness_ms in 0u64..13_000,
            ) {
                let mut world = World::new(&clients);
                let (total, count) = (clients.iter().sum::<u64>(), clients.len() as u64);
                let is_even = clients.iter().all(|clients| clients * count * 100 <= total * 110);
                (0..1200).for_each(|_| world.second(|n| Duration::from_millis(n % (slowness_ms + 1))));
                prop_assert!(world.moving.is_empty());
                if is_even {
                    prop_assert_eq!(&world.clients, &clients);
                }
                for (place, now) in world.clients.iter().enumerate() {
    let back = world.left[place].min(world.came[place]);
                    prop_assert!(back <= 1 + total / 100, "{back} of {:?}", world.clients);
                    prop_assert!(now * count * 100 <= total * 110 || *now <= total / count + 1, "{:?}", world.clients);
                }
            }
        }
}
