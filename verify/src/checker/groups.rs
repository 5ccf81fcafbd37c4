//! Groups: one member gets each event.
//!
//! Judged is what the applications of members are given:
//!
//! - **once**: no event is given again, to whomever, unless the copy is marked as one that may have
//!   been given before.
//! - **whole**: what was published while a member was there that stays is given to one.
//! - **levels**: in a group whose members all stay, level 2 gets nothing once level 1 is in use.
//! - **order**: in such a group, events of one emitter are given in their order.
//!
//! "All members failed, and one is back" is a case of *whole*: what is published from then on is
//! owed again.

use std::collections::BTreeMap;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "groups";

/// How long before an event a member must have been there, so that all routers know it.
const KNOWN_NS: u64 = 500_000_000;

/// An event of an emitter, each of which publishes for one group.
type Event = (u32, u64);

#[derive(Debug, Clone, Default)]
struct Group {
    /// No member leaves, and all have had what they have acknowledged at once.
    is_steady: bool,
    /// When the present life of each member became effective, by member.
    there: BTreeMap<u32, u64>,
}

/// Groups, and what their members were given.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// From when on levels and order of steady groups are judged.
    settled_ns: u64,
    /// Group, and time, of each event.
    published: BTreeMap<Event, (usize, u64)>,
    /// How often each was given.
    given: BTreeMap<Event, u64>,
    /// The last number of each emitter that was given.
    last: BTreeMap<u32, u64>,
    /// Events that were given, each time counted.
    pub copies: u64,
    /// Of them, those that were marked.
    pub marked: u64,
}

impl Groups {
    /// A checker of so many groups, each steady or not.
    #[must_use]
    pub fn new(steady: impl IntoIterator<Item = bool>, settled_ns: u64) -> Self {
        let groups = steady.into_iter().map(|is_steady| Group { is_steady, ..Group::default() });
        Self { groups: groups.collect(), settled_ns, ..Self::default() }
    }

    /// A member's subscription is effective in the cluster.
    pub fn joined(&mut self, group: usize, member: u32, now_ns: u64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.there.insert(member, now_ns);
        }
    }

    /// A member's process has ended.
    pub fn left(&mut self, group: usize, member: u32) {
        if let Some(group) = self.groups.get_mut(group) {
            group.there.remove(&member);
        }
    }

    /// An event is published for a group.
    pub fn published(&mut self, group: usize, event: Event, now_ns: u64) {
        self.published.insert(event, (group, now_ns));
    }

    /// A member's application is given an event.
    pub fn given(
        &mut self,
        (member, level): (u32, u32),
        event: Event,
        marked: bool,
        findings: &mut Findings,
    ) {
        self.copies += 1;
        self.marked += u64::from(marked);
        let (emitter, n) = event;
        let Some(&(group, published_ns)) = self.published.get(&event) else {
            findings
                .add(NAME, || format!("member {member} is given event {n} of emitter {emitter}: nobody's"));
            return;
        };
        let times = self.given.entry(event).or_default();
        *times += 1;
        if *times > 1 && !marked {
            findings.add(NAME, || {
                format!(
                    "member {member} of group {group} is given event {n} of emitter {emitter} again, unmarked"
                )
            });
        }
        if !self.groups[group].is_steady || published_ns < self.settled_ns {
            return;
        }
        if level > 1 {
            findings.add(NAME, || {
                format!("level {level} of group {group} is given event {n} of emitter {emitter} undisturbed")
            });
        }
        let last = self.last.entry(emitter).or_insert(n);
        if n < *last {
            let last = *last;
            findings.add(NAME, || format!("event {n} of emitter {emitter} is given behind {last}"));
        }
        *last = n.max(*last);
    }

    /// Nothing is on its way any more.
    pub fn finish(&self, findings: &mut Findings) {
        for (event @ (emitter, n), &(group, published_ns)) in &self.published {
            let stays = |&since_ns: &u64| since_ns + KNOWN_NS <= published_ns;
            if !self.given.contains_key(event) && self.groups[group].there.values().any(stays) {
                findings.add(NAME, || {
                    format!("event {n} of emitter {emitter} was given to nobody of group {group}")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn check(play: impl FnOnce(&mut Groups, &mut Findings)) -> u64 {
        let mut groups = Groups::new([true, false], 0);
        let mut findings = Findings::default();
        for group in 0..2 {
            groups.joined(group, 1, 0);
            groups.published(group, (u32::try_from(group).unwrap(), 0), SECOND);
            groups.published(group, (u32::try_from(group).unwrap(), 1), SECOND);
        }
        play(&mut groups, &mut findings);
        groups.finish(&mut findings);
        findings.count
    }

    #[test]
    fn what_each_member_is_given_is_judged() {
        let all = |groups: &mut Groups, findings: &mut Findings| {
            for event in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                groups.given((1, 1), event, false, findings);
            }
        };
        assert_eq!(check(all), 0);
        assert_eq!(check(|groups, _| groups.left(0, 1)), 2, "who has left is owed nothing");
        assert_eq!(check(|_, _| ()), 4, "nobody was given anything");
        let again = |marked| {
            move |groups: &mut Groups, findings: &mut Findings| {
                all(groups, findings);
                groups.given((2, 2), (1, 1), marked, findings);
            }
        };
        assert_eq!((check(again(false)), check(again(true))), (1, 0));
        let levels = |groups: &mut Groups, findings: &mut Findings| {
            groups.given((1, 2), (0, 0), false, findings);
            groups.given((1, 1), (0, 1), false, findings);
            groups.given((1, 2), (1, 1), false, findings);
            groups.given((1, 2), (1, 0), false, findings);
        };
        assert_eq!(check(levels), 1, "levels and order are judged where nobody leaves");
        let order = |groups: &mut Groups, findings: &mut Findings| {
            for event in [(0, 1), (0, 0), (1, 1), (1, 0)] {
                groups.given((1, 1), event, false, findings);
            }
        };
        assert_eq!(check(order), 1);
    }
}
