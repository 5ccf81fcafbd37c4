//! What identities with a quota have taken of this router, on all its cores.
//!
//! ```text
//! Meters ─┬─ identity "a-1" ─► Meter (what it has taken) ◄─┐
//!         ├─ identity "a-2" ─► Meter                       ├─ Seat: one session's hold on both
//!         └─ entry "a-*" ────► Usage (sums, for metrics) ◄─┘
//! ```
//!
//! Cores share these numbers, because a share for each core would let a client with one connection
//! have a part of its quota only. They are atomic, and touched once for each run, never for an
//! event. The map is locked when a session begins, and what an identity has of groups, sets and
//! names when it takes one or gives it back, and only for identities that have a quota.
//!
//! A rate is kept as the time until which all that was let in is paid for (the generic cell rate
//! algorithm, ITU-T I.371): each run moves it by what the run brings divided by the rate, and then
//! waits until that time is at most a tenth of a second ahead. Several sessions of one identity
//! wait until different times, so that they take turns.
//!
//! Worked example: 1,000 events per second, and runs of 300 events. The first one moves the time
//! 300 ms ahead, so that it waits 200 ms; the next ones are taken each 300 ms.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_sansio::{MILLISECOND_NS, SECOND_NS};

use super::grant::{Grant, Rights};
use super::quota::{Quota, Scarce};
use super::scarce::Scarcities;
use crate::time::Time;

/// What an identity that was quiet may publish at once besides one event or byte, as time of its
/// rate, nanoseconds.
const BURST_NS: u64 = 100 * MILLISECOND_NS;

/// Identities that are kept before those are looked for that have neither sessions nor debts.
const SWEEP_FROM: usize = 1024;

/// The time until which what was let in is paid for, in nanoseconds.
#[derive(Debug, Default)]
struct Rate(AtomicU64);

impl Rate {
    /// Lets `amount` in at this rate. Returns when it may be taken.
    fn charge(&self, now: Time, amount: u64, per_second: u64) -> Time {
        let cost_of = |amount: u64| {
            let cost = u128::from(amount) * u128::from(SECOND_NS) / u128::from(per_second.max(1));
            u64::try_from(cost).unwrap_or(u64::MAX)
        };
        let cost = cost_of(amount);
        let paid = |until: u64| until.max(now.as_nanos()).saturating_add(cost);
        // Each core adds its own part; nothing else is ordered by this number.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| Some(paid(until)));
        let until = before.map_or(now.as_nanos(), paid);
        // One passes at once where all before is paid for, however low the rate is.
        Time(until.saturating_sub(cost_of(1)).saturating_sub(BURST_NS))
    }

    /// Takes what was let in as paid for.
    fn forgive(&self, now: Time) {
        self.0.fetch_min(now.as_nanos(), Ordering::Relaxed);
    }

    fn is_paid(&self, now: Time) -> bool {
        self.0.load(Ordering::Relaxed) <= now.as_nanos()
    }
}

/// What one identity has taken.
#[derive(Debug, Default)]
struct Meter {
    events: Rate,
    bytes: Rate,
    sessions: AtomicU64,
    selectors: AtomicU64,
    scarce: Scarcities,
}

/// What the identities of one entry have taken together.
#[derive(Debug, Default)]
struct Usage {
    events: AtomicU64,
    bytes: AtomicU64,
    waits: AtomicU64,
    sessions: AtomicU64,
    selectors: AtomicU64,
    sessions_refused: AtomicU64,
    selectors_refused: AtomicU64,
    scarce: [AtomicU64; 3],
    scarce_refused: [AtomicU64; 3],
}

crate::metrics! {
    /// What the identities of one entry with a quota have taken of this router.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct UsageMetrics {
        /// Events read from publishers of an identity with a quota, by its entry.
        events: counter "identity_ingress_events",
        /// Bytes read from publishers of an identity with a quota, by its entry.
        bytes: counter "identity_ingress_bytes",
        /// Times that a publisher's run had to wait, because its identity had used up its events or
        /// bytes per second.
        waits: counter "identity_quota_waits",
        /// Level: sessions of identities with a quota, by entry.
        sessions: level "identity_sessions",
        /// Level: selectors of identities with a quota, by entry.
        selectors: level "identity_selectors",
        /// Sessions refused because their identity has as many as it may have.
        sessions_refused: counter "identity_sessions_refused",
        /// Subscriptions refused because their identity has as many selectors as it may have.
        selectors_refused: counter "identity_subscriptions_refused",
        /// Level: members of groups of identities with a quota, by entry; each of several in one
        /// group counts.
        group_members: level "identity_group_members",
        /// Level: members of sets of identities with a quota, by entry; each of several in one set
        /// counts.
        set_members: level "identity_set_members",
        /// Level: named receivers of identities with a quota, by entry.
        named_receivers: level "identity_named_receivers",
        /// Members of groups refused because their identity is in as many groups as it may be.
        groups_refused: counter "identity_groups_refused",
        /// Standby publishers refused because their identity is in as many sets as it may be.
        sets_refused: counter "identity_sets_refused",
        /// Named receivers refused because their identity has as many names as it may have.
        names_refused: counter "identity_names_refused",
    }
}

impl Usage {
    fn metrics(&self) -> UsageMetrics {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let [group_members, set_members, named_receivers] = self.scarce.each_ref().map(read);
        let [groups_refused, sets_refused, names_refused] = self.scarce_refused.each_ref().map(read);
        UsageMetrics {
            events: read(&self.events),
            bytes: read(&self.bytes),
            waits: read(&self.waits),
            sessions: read(&self.sessions),
            selectors: read(&self.selectors),
            sessions_refused: read(&self.sessions_refused),
            selectors_refused: read(&self.selectors_refused),
            group_members,
            set_members,
            named_receivers,
            groups_refused,
            sets_refused,
            names_refused,
        }
    }
}

/// One session of an identity with a quota. Dropping it gives the session back.
#[derive(Debug)]
pub struct Seat {
    identity: String,
    /// The name of the entry.
    entry: String,
    quota: Quota,
    meter: Arc<Meter>,
    usage: Arc<Usage>,
}

impl Seat {
    /// Counts a run that a publisher brings. Returns when it may be taken, if that is later than
    /// now.
    #[must_use]
    pub fn charge(&self, now: Time, events: u64, bytes: u64) -> Option<Time> {
        self.usage.events.fetch_add(events, Ordering::Relaxed);
        self.usage.bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = |rate: &Rate, amount, most: Option<u64>| Some(rate.charge(now, amount, most?));
        let events = charge(&self.meter.events, events, self.quota.events_per_second);
        let bytes = charge(&self.meter.bytes, bytes, self.quota.bytes_per_second);
        let until = events.max(bytes).filter(|&until| until > now)?;
        self.usage.waits.fetch_add(1, Ordering::Relaxed);
        Some(until)
    }

    /// Why a subscription is refused that brings `more` selectors in place of `less`, if it is.
    /// Cores that ask at the same moment may both be told of the same room.
    #[must_use]
    pub fn objection(&self, more: usize, less: usize) -> Option<String> {
        let most = self.quota.selectors?;
        let own = self.meter.selectors.load(Ordering::Relaxed);
        if more <= less || own.saturating_sub(less as u64).saturating_add(more as u64) <= most {
            return None;
        }
        self.usage.selectors_refused.fetch_add(1, Ordering::Relaxed);
        let Self { identity, entry, .. } = self;
        Some(format!(
            "identity \"{identity}\" has {own} selectors on this router, and its [[identity]] entry \"{entry}\" allows \
             {most} (selectors): end a subscription, or use fewer selectors"
        ))
    }

    /// Counts selectors that are filed.
    pub fn add_selectors(&self, count: usize) {
        self.meter.selectors.fetch_add(count as u64, Ordering::Relaxed);
        self.usage.selectors.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts a group, set or name that is to be had, which may be had already.
    ///
    /// # Errors
    /// The identity has as many as it may have: in words.
    pub fn take_scarce(&self, scarce: Scarce, name: &str) -> Result<(), String> {
        let place = scarce as usize;
        match self.meter.scarce.take(scarce, name, self.quota.most(scarce)) {
            Ok(_) => {
                self.usage.scarce[place].fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(own) => {
                self.usage.scarce_refused[place].fetch_add(1, Ordering::Relaxed);
                let (Self { identity, entry, .. }, kinds) = (self, scarce.key());
                Err(format!(
                    "identity \"{identity}\" has {own} {kinds} on this router, as many as its [[identity]] entry \
                     \"{entry}\" allows ({kinds}): give one back, or use one of them"
                ))
            }
        }
    }

    /// Counts a group, set or name that is had, however many may be.
    pub fn add_scarce(&self, scarce: Scarce, name: &str) {
        // Without a bound nothing is refused.
        let _ = self.meter.scarce.take(scarce, name, None);
        self.usage.scarce[scarce as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a group, set or name back, of which others may have the same.
    pub fn give_scarce(&self, scarce: Scarce, name: &str) {
        self.meter.scarce.give(scarce, name);
        self.usage.scarce[scarce as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives selectors back that were filed.
    pub fn take_selectors(&self, count: usize) {
        self.meter.selectors.fetch_sub(count as u64, Ordering::Relaxed);
        self.usage.selectors.fetch_sub(count as u64, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.meter.sessions.fetch_sub(1, Ordering::Relaxed);
        self.usage.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all identities with a quota have taken of this router: one for all its cores, and for its
/// whole life.
#[derive(Debug, Default)]
pub struct Meters(Mutex<Book>);

/// Two rolls are the same only if they count in the same place.
impl PartialEq for Meters {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Meters {}

#[derive(Debug, Default)]
struct Book {
    /// By name: those with sessions, those whose rate is not paid for, and some others, at most
    /// twice as many or [`SWEEP_FROM`].
    identities: HashMap<String, Arc<Meter>>,
    /// By the name of their entry: as many as entries have a quota.
    entries: BTreeMap<String, (Quota, Arc<Usage>)>,
    sweep_at: usize,
}

/// What one entry allows, and what was taken by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryUsage {
    /// The entry's name: a name or pattern.
    pub entry: String,
    /// What it allows each of its identities.
    pub quota: Quota,
    /// What they have taken together.
    pub used: UsageMetrics,
}

impl Meters {
    /// Lists the entries that are shown: those with a quota. Counters of others are forgotten.
    pub fn list(&self, grants: &[Arc<Grant>]) {
        let mut book = self.book();
        let mut before = std::mem::take(&mut book.entries);
        for grant in grants.iter().filter(|grant| !grant.quota.is_none()) {
            let usage = before.remove(&grant.pattern).map_or_else(Arc::default, |(_, usage)| usage);
            // Of two entries with one name the first one counts.
            book.entries.entry(grant.pattern.clone()).or_insert((grant.quota, usage));
        }
    }

    /// A new session's seat; none where its identity has no quota.
    ///
    /// # Errors
    /// The identity has as many sessions as it may have: in words.
    pub fn seat(&self, rights: &Rights, now: Time) -> Result<Option<Seat>, String> {
        let Some((seat, others)) = self.sit(rights, now) else { return Ok(None) };
        match seat.quota.sessions {
            Some(most) if others >= most => {
                seat.usage.sessions_refused.fetch_add(1, Ordering::Relaxed);
                let Seat { identity, entry, .. } = &seat;
                Err(format!(
                    "identity \"{identity}\" has {others} sessions on this router, as many as its [[identity]] entry \
                     \"{entry}\" allows (sessions = {most}): close one, or use another router"
                ))
            }
            _ => Ok(Some(seat)),
        }
    }

    /// The seat of a session that stands and whose rights have changed, however many its identity
    /// may have. What it published at the old rate is forgiven, so that a higher one counts at
    /// once.
    #[must_use]
    pub fn take(&self, rights: &Rights, now: Time) -> Option<Seat> {
        let (seat, _) = self.sit(rights, now)?;
        seat.meter.events.forgive(now);
        seat.meter.bytes.forgive(now);
        Some(seat)
    }

    /// A seat, and how many others its identity had before.
    fn sit(&self, rights: &Rights, now: Time) -> Option<(Seat, u64)> {
        let Rights { identity, grant, .. } = rights;
        if grant.quota.is_none() {
            return None;
        }
        let mut book = self.book();
        let meter = book.meter(identity, now);
        let usage = &mut book.entries.entry(grant.pattern.clone()).or_default().1;
        let seat = Seat {
            identity: identity.clone(),
            entry: grant.pattern.clone(),
            quota: grant.quota,
            meter,
            usage: Arc::clone(usage),
        };
        let others = seat.meter.sessions.fetch_add(1, Ordering::Relaxed);
        seat.usage.sessions.fetch_add(1, Ordering::Relaxed);
        Some((seat, others))
    }

    /// The entries with a quota, by name.
    #[must_use]
    pub fn usage(&self) -> Vec<EntryUsage> {
        let entries = &self.book().entries;
        let told = entries.iter().map(|(entry, (quota, usage))| EntryUsage {
            entry: entry.clone(),
            quota: *quota,
            used: usage.metrics(),
        });
        told.collect()
    }

    /// Numbers are whole at every moment, so that a panic elsewhere leaves nothing half done.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn meter(&mut self, identity: &str, now: Time) -> Arc<Meter> {
        if let Some(meter) = self.identities.get(identity) {
            return Arc::clone(meter);
        }
        if self.identities.len() >= self.sweep_at.max(SWEEP_FROM) {
            let owes = |meter: &Meter| !meter.events.is_paid(now) || !meter.bytes.is_paid(now);
            self.identities.retain(|_, meter| Arc::strong_count(meter) > 1 || owes(meter));
            self.sweep_at = 2 * self.identities.len();
        }
        let meter = Arc::<Meter>::default();
        self.identities.insert(identity.to_owned(), Arc::clone(&meter));
        meter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rights(identity: &str, quota: Quota) -> Rights {
        let grant = Grant { quota, ..Grant::everything("a-*") };
        Rights { identity: identity.to_owned(), grant: Arc::new(grant), ..Rights::everything() }
    }

    fn seat(meters: &Meters, identity: &str, quota: Quota) -> Seat {
        meters.seat(&rights(identity, quota), Time::ZERO).unwrap().unwrap()
    }

    /// Seats that publish as fast as they may, so much at once, until the end of a time. Returns
    /// what each has brought.
    fn greedy(seats: &[Seat], chunk: u64, end: Time) -> Vec<u64> {
        let mut next = vec![Time::ZERO; seats.len()];
        let mut brought = vec![0; seats.len()];
        while let Some(first) = (0..seats.len()).min_by_key(|&seat| next[seat])
            && next[first] < end
        {
            let now = next[first];
            next[first] = seats[first].charge(now, chunk, 0).unwrap_or(now.after(1_000));
            brought[first] += chunk;
        }
        brought
    }

    #[test]
    fn a_rate_holds_however_much_is_brought_at_once() {
        let quota = Quota { events_per_second: Some(1000), ..Quota::default() };
        for chunk in [1, 7, 300] {
            let seats = [seat(&Meters::default(), "a-1", quota)];
            let brought = greedy(&seats, chunk, Time(10 * SECOND))[0];
            let bound = 10_000 + 1000 / 10 + chunk;
            assert!((9_900..=bound + 2).contains(&brought), "{brought} in chunks of {chunk}");
        }
    }

    #[test]
    fn sessions_of_one_identity_share_its_rate_and_others_have_their_own() {
        let quota = Quota { events_per_second: Some(1000), ..Quota::default() };
        let meters = Meters::default();
        let seats: Vec<Seat> = ["a-1", "a-1", "a-2"].map(|name| seat(&meters, name, quota)).into();
        let brought = greedy(&seats, 10, Time(10 * SECOND));
        let (shared, alone) = (brought[0] + brought[1], brought[2]);
        assert!((9_900..10_200).contains(&shared) && (9_900..10_200).contains(&alone), "{brought:?}");
        assert!(brought[0].abs_diff(brought[1]) <= 100, "{brought:?}");
    }

    #[test]
    fn the_tighter_of_two_rates_counts_and_what_is_below_both_does_not_wait() {
        let quota = Quota { events_per_second: Some(1000), bytes_per_second: Some(1000), ..Quota::default() };
        let seat = seat(&Meters::default(), "a-1", quota);
        assert_eq!(seat.charge(Time(SECOND), 1, 100), None);
        assert_eq!(seat.charge(Time(SECOND), 1, 1000), Some(Time(2 * SECOND - 1_000_000)));
        assert_eq!(seat.usage.metrics().waits, 1);
    }

    #[test]
    fn sessions_beyond_the_quota_are_refused_until_one_goes() {
        let quota = Quota { sessions: Some(2), ..Quota::default() };
        let meters = Meters::default();
        let ask = |name: &str| meters.seat(&rights(name, quota), Time::ZERO);
        let (_one, two, _other) = (ask("a-1").unwrap(), ask("a-1").unwrap(), ask("a-2").unwrap());
        let refused = ask("a-1").unwrap_err();
        assert!(refused.contains("\"a-1\" has 2 sessions") && refused.contains("\"a-*\""), "{refused}");
        drop(two);
        let _again = ask("a-1").unwrap();
        let used = meters.usage()[0].used;
        assert_eq!((used.sessions, used.sessions_refused), (3, 1));
    }

    #[test]
    fn selectors_are_given_back() {
        let quota = Quota { selectors: Some(3), ..Quota::default() };
        let meters = Meters::default();
        let (one, two) = (seat(&meters, "a-1", quota), seat(&meters, "a-1", quota));
        one.add_selectors(2);
        assert_eq!(two.objection(1, 0), None);
        assert!(two.objection(2, 0).unwrap().contains("allows 3"));
        assert_eq!(one.objection(3, 2), None, "in place of those that it has");
        one.take_selectors(2);
        assert_eq!(two.objection(3, 0), None);
    }

    #[test]
    fn a_new_list_keeps_the_counters_of_entries_that_stay() {
        let quota = Quota { events_per_second: Some(10), ..Quota::default() };
        let meters = Meters::default();
        let grant = |name: &str, quota| Arc::new(Grant { quota, ..Grant::everything(name) });
        meters.list(&[grant("a-*", quota), grant("b", quota), grant("*", Quota::default())]);
        let _ = seat(&meters, "a-1", quota).charge(Time::ZERO, 5, 50);
        let other = Quota { events_per_second: Some(20), ..quota };
        meters.list(&[grant("a-*", other)]);
        let usage = meters.usage();
        assert_eq!((usage.len(), usage[0].quota, usage[0].used.events), (1, other, 5));
    }

    #[test]
    fn identities_without_sessions_and_debts_are_forgotten() {
        let quota = Quota { events_per_second: Some(1), ..Quota::default() };
        let meters = Meters::default();
        let _ = seat(&meters, "a-debtor", quota).charge(Time::ZERO, 1000, 0);
        let _stays = seat(&meters, "a-stays", quota);
        for number in 0..3 * SWEEP_FROM {
            drop(seat(&meters, &format!("a-{number}"), quota));
        }
        let book = meters.book();
        assert!(book.identities.len() <= SWEEP_FROM + 2, "{}", book.identities.len());
        assert!(book.identities.contains_key("a-debtor") && book.identities.contains_key("a-stays"));
    }
}
