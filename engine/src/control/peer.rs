//! A known router: its identity, its link, its interest, and its state.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::feature::Features;
use millrace_proto::{Incarnation, RouterId};

use super::directory::Applying;
use super::interest::Advertised;
use super::link::Link;
use super::notice::Suspicion;
use super::status::{PeerState, PeerStatus};
use super::targets::FIRST_EPOCH;
use crate::matching::Location;
use crate::message::PeerIndex;
use crate::time::Time;

/// One known router.
#[derive(Debug)]
pub(super) struct Peer {
    /// The life of its process, once it said hello.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) name: String,
    /// Where it says that it is.
    pub(super) zone: String,
    pub(super) advertise: String,
    /// Its place in the directory, from its first link until it is forgotten.
    pub(super) index: Option<PeerIndex>,
    pub(super) link: Option<Link>,
    pub(super) interest: Advertised,
    pub(super) applying: Applying,
    /// Whether a snapshot of its interest in this incarnation is applied on all cores.
    pub(super) applied: bool,
    /// Linked routers that say they are linked to it, each with the address that it tells.
    pub(super) told_by: BTreeMap<RouterId, String>,
    /// Whether it keeps its history in files.
    pub(super) has_files: bool,
    /// Whether its certificate proves its id.
    pub(super) proven: bool,
    /// Whether it was linked with all lanes once: this router's own evidence that it should be.
    pub(super) once_linked: bool,
    /// Since when it says that it does not hear this router, although this router hears it.
    pub(super) deaf_since: Option<Time>,
    /// When it answered a dial, if linking is its task and it has not linked since.
    pub(super) called_since: Option<Time>,
    /// Whether it has dialled this router since this one called it: the address is right.
    pub(super) calls_back: bool,
    /// Whether all its lanes were up and heard at the last look, which is what it is told of
    /// itself.
    pub(super) heard: bool,
    /// Whether it began a new life, so that events may be missing that entered through the one
    /// before.
    pub(super) renewed: bool,
    /// Whether it said that it leaves.
    pub(super) leaving: bool,
    /// Whether it asks its peers to tell nobody of it. Then it counts for nobody's standing.
    pub(super) hidden: bool,
    /// How many clients it says it has.
    pub(super) clients: Option<u64>,
    /// Whether a dial to it failed since it was last linked, or since it began this life.
    pub(super) unreachable: bool,
    /// Epoch of the next lane dialled to it. It rises when a lane of this peer, or an attempt to
    /// dial one, is lost, and never because of another router: a lane of a higher epoch replaces
    /// one that works.
    pub(super) epoch: u64,
    /// Since when it is not both linked and heard; `None` while it is.
    pub(super) unwell_since: Option<Time>,
    /// State at the last look.
    pub(super) state: PeerState,
    /// Whether this router reached it at the last look, which is what others are told.
    pub(super) reached: bool,
    /// Whether it became suspect and has neither recovered nor been forgotten.
    pub(super) was_suspected: bool,
}

impl Peer {
    pub(super) fn new(now: Time, advertise: String, seed: u64) -> Self {
        Self {
            incarnation: None,
            name: String::new(),
            zone: String::new(),
            advertise,
            index: None,
            link: None,
            interest: Advertised::new(seed),
            applying: Applying::default(),
            applied: false,
            told_by: BTreeMap::new(),
            has_files: false,
            proven: false,
            once_linked: false,
            deaf_since: None,
            called_since: None,
            calls_back: false,
            heard: false,
            renewed: false,
            leaving: false,
            hidden: false,
            clients: None,
            unreachable: false,
            epoch: FIRST_EPOCH,
            unwell_since: Some(now),
            state: PeerState::Known,
            reached: false,
            was_suspected: false,
        }
    }

    /// Its state. A link that takes longer than `patience` to complete is suspect.
    pub(super) fn state(&self, now: Time, patience: Duration) -> PeerState {
        let Some(link) = &self.link else {
            return if self.index.is_some() { PeerState::Suspect } else { PeerState::Known };
        };
        let deaf = self.deaf_since.is_some_and(|since| now >= since + patience);
        let slow = self.unwell_since.is_some_and(|since| now >= since + patience);
        if self.leaving {
            PeerState::Leaving
        } else if link.is_silent() || deaf {
            PeerState::Suspect
        } else if link.is_complete() {
            PeerState::Linked
        } else if link.was_complete || slow {
            PeerState::Suspect
        } else {
            PeerState::Linking
        }
    }

    /// The reason why it is suspect.
    pub(super) fn suspicion(&self, now: Time, patience: Duration) -> Suspicion {
        match &self.link {
            None => Suspicion::Lost,
            Some(link) if link.is_silent() => Suspicion::Silent,
            Some(link) if !link.is_complete() => Suspicion::LaneLost,
            Some(_) if self.deaf_since.is_some_and(|since| now >= since + patience) => Suspicion::Deaf,
            Some(_) => Suspicion::LaneLost,
        }
    }

    /// Whether this router is linked with it. A leaving router is a member until it is gone,
    /// because events that its clients still publish must reach new routers, too.
    pub(super) fn is_reached(&self, state: PeerState) -> bool {
        state == PeerState::Linked
            || (state == PeerState::Leaving && self.link.as_ref().is_some_and(Link::is_complete))
    }

    /// Whether all its lanes are up and heard.
    pub(super) fn is_heard(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_complete() && !link.is_silent())
    }

    /// Whether only others have told of it, and none of them reaches it.
    pub(super) fn is_hearsay(&self) -> bool {
        self.incarnation.is_none() && self.index.is_none() && self.link.is_none() && self.told_by.is_empty()
    }

    pub(super) fn location(&self) -> Option<Location> {
        self.index.map(Location::Peer)
    }

    /// Its link, if lanes that are not up are to be dialled: those of a leaving peer end for good.
    pub(super) fn link_to_complete(&self) -> Option<&Link> {
        self.link.as_ref().filter(|link| !self.leaving || !link.was_complete)
    }

    /// Whether changes of the own interest wait for its acknowledgement: it is there and can
    /// answer.
    pub(super) fn is_waited_for(&self) -> bool {
        self.state != PeerState::Suspect && self.link.as_ref().is_some_and(|link| link.control().is_some())
    }

    /// A picture of it; `route` says whether a route leads to it.
    pub(super) fn status(&self, router: RouterId, dialling: bool, route: bool) -> PeerStatus {
        let lanes = self.link.as_ref().map_or(&[][..], |link| &link.lanes);
        PeerStatus {
            router,
            incarnation: self.incarnation,
            name: self.name.clone(),
            zone: self.zone.clone(),
            advertise: self.advertise.clone(),
            state: self.state,
            dialling: dialling || lanes.iter().any(|lane| lane.dial.is_some()),
            lanes_up: lanes.iter().filter(|lane| lane.up.is_some()).count(),
            lanes: lanes.len(),
            interest: self.interest.len(),
            interest_version: self.interest.version(),
            acked_version: self.link.as_ref().map_or(0, |link| link.acked),
            reached_by: self.told_by.len(),
            hidden: self.hidden,
            clients: self.clients,
            features: self.link.as_ref().map_or_else(Features::default, |link| link.features),
            route,
        }
    }
}
