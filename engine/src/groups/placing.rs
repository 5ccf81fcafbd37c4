//! Which member gets an event.
//!
//! 1. A tag set with events in flight stays with its member, as long as that is eligible.
//! 2. Else the rung in use serves, if it has an eligible member; else the lowest that has one.
//! 3. Within the rung, each member has a weight that follows from the shard and the member
//!    (rendezvous hashing: Thaler and Ravishankar, 1998), so that a member that comes or goes moves
//!    only the shards that are its own. The member of the highest weight takes the event, unless it
//!    would have more than 1.25 times what the members have on average; then the next one does.
//!
//! ```text
//! in flight   a 5   b 3   c 4       one more: at most 1.25 × 13 / 3 = 5.4, rounded up to 6
//! ```
//!
//! While nobody is eligible, a member that is only waiting for its busy time to be over may serve.
//! The cost is one step for each member.

use super::levels::Rung;
use super::member::{Member, MemberIndex};
use crate::time::Time;

/// What is placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The shard of its tag set.
    pub(super) shard: u64,
    /// Its events.
    pub(super) events: u64,
    /// The member that the tag set stays with.
    pub(super) stays: Option<MemberIndex>,
    /// Members that have handed it back.
    pub(super) refused_by: &'a [MemberIndex],
}

/// The member among `candidates` that gets it.
pub(super) fn choose<'a>(
    now: Time,
    in_use: Option<Rung>,
    candidates: impl Iterator<Item = (MemberIndex, &'a Member)> + Clone,
    wanted: Wanted<'_>,
) -> Option<MemberIndex> {
    let fresh = candidates.filter(|(index, _)| !wanted.refused_by.contains(index));
    if let Some(stays) = wanted.stays
        && fresh.clone().any(|(index, member)| index == stays && member.is_eligible(now))
    {
        return Some(stays);
    }
    let eligible = fresh.clone().filter(|(_, member)| member.is_eligible(now));
    let lowest = eligible.clone().map(|(_, member)| member.rung).min();
    let Some(lowest) = lowest else {
        let waiting = fresh.filter(|(_, member)| member.is_last_resort(now));
        let lowest = waiting.clone().map(|(_, member)| member.rung).min()?;
        return lightest(waiting.filter(|(_, member)| member.rung == lowest), wanted);
    };
    let rung = match in_use {
        Some(in_use) if eligible.clone().any(|(_, member)| member.rung == in_use) => in_use,
        _ => lowest,
    };
    lightest(eligible.filter(|(_, member)| member.rung == rung), wanted)
}

/// The member of the highest weight that may have more, or the one with the fewest.
fn lightest<'a>(
    members: impl Iterator<Item = (MemberIndex, &'a Member)> + Clone,
    wanted: Wanted<'_>,
) -> Option<MemberIndex> {
    let (count, total) = members
        .clone()
        .fold((0_u64, 0_u64), |(count, total), (_, member)| (count + 1, total + member.in_flight));
    // 1.25 × (total + events) / count, rounded up.
    let most = (5 * (total + wanted.events)).div_ceil(4 * count.max(1));
    let may_have = |member: &Member| member.in_flight + wanted.events <= most;
    let light = members.clone().filter(|(_, member)| may_have(member));
    let best = light.max_by_key(|&(index, member)| (weight(wanted.shard, member.identity), index));
    let fewest = || {
        members.min_by_key(|&(index, member)| {
            (member.in_flight, std::cmp::Reverse(weight(wanted.shard, member.identity)), index)
        })
    };
    best.or_else(fewest).map(|(index, _)| index)
}

/// A member's weight for a shard: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
const fn weight(shard: u64, identity: u64) -> u64 {
    let mut mixed = identity ^ shard.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::member::Joining;
    use super::*;

    fn members(levels: &[u8]) -> BTreeMap<MemberIndex, Member> {
        let member = |(identity, &level): (u64, &u8)| {
            let rung = Rung { level, member: 0 };
            Member::new(Joining {
                rung,
                identity: identity.wrapping_mul(0x1234_5678_9abc_def1),
                max_inflight: 1000,
            })
        };
        (0..).zip((1..).zip(levels).map(member)).collect()
    }

    fn place(members: &BTreeMap<MemberIndex, Member>, shard: u64) -> Option<MemberIndex> {
        let all = members.iter().map(|(&index, member)| (index, member));
        choose(Time::ZERO, None, all, Wanted { shard, events: 1, stays: None, refused_by: &[] })
    }

    #[test]
    fn shards_are_spread_and_a_member_that_goes_moves_only_its_own() {
        let mut four = members(&[1, 1, 1, 1]);
        // So many in flight that the bound binds nobody.
        four.values_mut().for_each(|member| member.in_flight = 500);
        let before: Vec<_> = (0..4096).map(|shard| place(&four, shard).unwrap()).collect();
        for index in 0..4 {
            let share = before.iter().filter(|&&other| other == index).count();
            assert!((900..1150).contains(&share), "{share}");
        }
        four.remove(&2);
        for (shard, &index) in before.iter().enumerate().filter(|(_, index)| **index != 2) {
            assert_eq!(place(&four, shard as u64), Some(index));
        }
    }

    #[test]
    fn nobody_has_more_than_a_quarter_above_the_mean() {
        let mut four = members(&[1, 1, 1, 1]);
        for event in 1..=800_u64 {
            // Seven tag sets, so that weights alone would spread badly.
            let index = place(&four, event % 7).unwrap();
            four.get_mut(&index).unwrap().in_flight += 1;
            let most = four.values().map(|member| member.in_flight).max().unwrap();
            assert!(most <= (5 * event).div_ceil(16), "{most} of {event}");
        }
    }

    #[test]
    fn the_lowest_level_serves_and_the_one_in_use_before_it() {
        let mut three = members(&[2, 1, 3]);
        assert_eq!(place(&three, 7), Some(1));
        let in_use = Some(Rung { level: 3, member: 0 });
        let all = three.iter().map(|(&index, member)| (index, member));
        let wanted = Wanted { shard: 7, events: 1, stays: None, refused_by: &[] };
        assert_eq!(choose(Time::ZERO, in_use, all.clone(), wanted), Some(2));
        assert_eq!(choose(Time::ZERO, in_use, all.clone(), Wanted { stays: Some(0), ..wanted }), Some(0));
        assert_eq!(choose(Time::ZERO, None, all, Wanted { refused_by: &[1], ..wanted }), Some(0));
        three.values_mut().for_each(|member| member.state.busy = true);
        assert_eq!(place(&three, 7), Some(1), "busy, with room: better than nobody");
        three.values_mut().for_each(|member| member.state.room = 0);
        assert_eq!(place(&three, 7), None);
    }
}
