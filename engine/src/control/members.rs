//! The members of groups that the directory names: each has a place, whatever it selects, and news
//! of it go to all cores, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::selector::Membership;

use super::places::Places;
use crate::groups::{MemberIndex, MemberState};
use crate::matching::{Location, Taker};
use crate::message::MemberNews;

/// A member that the directory names.
#[derive(Debug)]
struct Known {
    index: MemberIndex,
    membership: Arc<Membership>,
    /// Selectors of it in the directory.
    references: u32,
    state: MemberState,
}

/// A member, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Where it is.
    pub location: Location,
    /// Who it is.
    pub membership: Arc<Membership>,
    /// How it is.
    pub state: MemberState,
}

/// The members of groups that the directory names.
#[derive(Debug)]
pub(super) struct MemberBook {
    known: BTreeMap<(Location, u32), Known>,
    places: Places,
    news: Vec<MemberNews>,
}

impl MemberBook {
    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), places: Places::new(Taker::PLACES_MAX), news: Vec::new() }
    }

    /// One selector of a member more is in the directory; its place. None when all places are
    /// taken. Places given back before the version `applied` are free.
    pub(super) fn refer(
        &mut self,
        location: Location,
        membership: &Arc<Membership>,
        applied: u64,
    ) -> Option<MemberIndex> {
        let key = (location, membership.member);
        if let Some(known) = self.known.get_mut(&key) {
            known.references += 1;
            return Some(known.index);
        }
        let index = self.places.allocate(applied)?;
        let state = MemberState { room: membership.max_inflight, ..MemberState::default() };
        let membership = Arc::clone(membership);
        self.news.push(MemberNews::Joined {
            index,
            member: Arc::clone(&membership),
            location,
            router: RouterId::default(),
        });
        self.known.insert(key, Known { index, membership, references: 1, state });
        Some(index)
    }

    /// One selector of a member is gone; the member's place. Its place is free from the version
    /// after `version` on when that was the last.
    pub(super) fn unrefer(&mut self, location: Location, member: u32, version: u64) -> Option<MemberIndex> {
        let known = self.known.get_mut(&(location, member))?;
        known.references -= 1;
        let index = known.index;
        if known.references == 0 {
            self.known.remove(&(location, member));
            self.news.push(MemberNews::Left { index });
            self.places.release(version, index);
        }
        Some(index)
    }

    /// A member's core says how it is. Returns who it is, if the directory names it.
    pub(super) fn set_state(
        &mut self,
        location: Location,
        member: u32,
        state: MemberState,
    ) -> Option<&Arc<Membership>> {
        let known = self.known.get_mut(&(location, member))?;
        if std::mem::replace(&mut known.state, state) != state {
            self.news.push(MemberNews::Changed { index: known.index, state });
        }
        Some(&known.membership)
    }

    /// What is new since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<MemberNews> {
        std::mem::take(&mut self.news)
    }

    /// All members.
    pub(super) fn status(&self) -> impl Iterator<Item = MemberStatus> {
        self.known.iter().map(|(&(location, _), known)| MemberStatus {
            location,
            membership: Arc::clone(&known.membership),
            state: known.state,
        })
    }
}
