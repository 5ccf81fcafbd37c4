//! Members of groups: cores and peers say how theirs are, and all cores and peers hear it.

use millrace_proto::RouterId;
use millrace_proto::limits::MEMBERS_PER_FRAME_MAX;
use millrace_proto::mesh::{GroupMember, GroupMembers, LinkFrame};
use millrace_proto::selector::Membership;

use super::machine::Control;
use super::members::MemberStatus;
use crate::groups::MemberState;
use crate::matching::Location;
use crate::message::{CoreIndex, MemberNews, ToCore};

impl Control {
    /// All members of groups that are known, each with its router.
    pub fn members(&self) -> impl Iterator<Item = (RouterId, MemberStatus)> {
        self.directory.members.status().map(|member| {
            let router = match member.location {
                Location::Peer(index) => self.router_at(index).unwrap_or_default(),
                _ => self.config.router,
            };
            (router, member)
        })
    }

    /// A core says how its members are.
    pub(super) fn members_changed(&mut self, core: CoreIndex, states: &[(u32, MemberState)]) {
        let mut told = Vec::new();
        for &(member, state) in states {
            if let Some(membership) = self.directory.members.set_state(Location::Core(core), member, state) {
                told.push(frame_of(membership, state));
            }
        }
        let linked: Vec<RouterId> = self.linked().collect();
        for router in linked {
            self.tell_members(router, &told);
        }
    }

    /// Tells a peer how members of this router are.
    fn tell_members(&mut self, router: RouterId, members: &[GroupMember]) {
        let link = self.peers.get(&router).and_then(|peer| peer.link.as_ref());
        if link.is_some_and(super::link::Link::knows_groups) {
            for members in members.chunks(MEMBERS_PER_FRAME_MAX) {
                self.say(router, LinkFrame::GroupMembers(GroupMembers { members: members.to_vec() }));
            }
        }
    }

    /// Tells a peer how all members of this router are: behind a snapshot of its interest.
    pub(super) fn tell_all_members(&mut self, router: RouterId) {
        let is_own = |member: &MemberStatus| matches!(member.location, Location::Core(_));
        let members = self.directory.members.status().filter(is_own);
        let members: Vec<_> = members.map(|member| frame_of(&member.membership, member.state)).collect();
        self.tell_members(router, &members);
    }

    /// A peer says how its members are. Those that it has not told as interest are nobody's.
    pub(super) fn members_told(&mut self, router: RouterId, frame: &GroupMembers) {
        let Some(location) = self.peers.get(&router).and_then(|peer| peer.location()) else { return };
        for member in &frame.members {
            let Ok(number) = u32::try_from(member.member) else { continue };
            let GroupMember { in_flight, room, busy, .. } = *member;
            let state = MemberState { in_flight, room, busy, is_silent: false };
            self.directory.members.set_state(location, number, state);
        }
    }

    /// Gives the cores what is new of members, before the directory that has it.
    pub(super) fn give_members(&mut self) {
        let mut news = self.directory.members.take_news();
        if news.is_empty() {
            return;
        }
        for news in &mut news {
            if let MemberNews::Joined { location, router, .. } = news {
                *router = match location {
                    Location::Peer(index) => self.router_at(*index).unwrap_or_default(),
                    _ => self.config.router,
                };
            }
        }
        self.give_all(&ToCore::Members(news));
    }
}

fn frame_of(membership: &Membership, state: MemberState) -> GroupMember {
    GroupMember {
        group: membership.group.to_string(),
        member: membership.member.into(),
        level: membership.level.into(),
        in_flight: state.in_flight,
        room: state.room,
        busy: state.busy,
        gone: false,
        exclusive: membership.exclusive,
    }
}
