//! The router's standing as control and the shell have told this core, and how far its end has
//! come.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::Goaway;

use crate::forward::ClusterDemand;
use crate::message::{Alternate, ToControl};
use crate::time::Time;

/// Shortest time between two words to control of how many clients there are.
const TELL_CLIENTS_EVERY: Duration = Duration::from_secs(1);

/// The router's standing.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether publishers get credit.
    pub(super) is_synced: bool,
    /// Whether the directory has all interest of the cluster: this router is synced, and no peer is
    /// suspect.
    pub(super) knows_all_interest: bool,
    /// Other routers, for Welcome and Goaway.
    pub(super) alternates: Vec<Alternate>,
    /// What this cluster wants of others, once control has said it.
    pub(super) demand: Option<Arc<ClusterDemand>>,
    /// The grace in microseconds, once the router drains.
    pub(super) draining: Option<u64>,
    /// How many clients control was told of, and when.
    pub(super) clients_told: Option<(Time, u64)>,
    /// Whether the core has finished its lanes: it then finishes each new lane at once.
    pub(super) are_lanes_over: bool,
}

impl Standing {
    /// What control is to be told of the core's clients: at most once a second, and only news.
    pub(super) fn tell_clients(&mut self, now: Time, clients: u64) -> Option<ToControl> {
        let told = self.clients_told.map_or(0, |(_, told)| told);
        let may_tell = self.clients_told.is_none_or(|(at, _)| at + TELL_CLIENTS_EVERY <= now);
        let is_news = told != clients && may_tell;
        is_news.then(|| {
            self.clients_told = Some((now, clients));
            ToControl::Clients(clients)
        })
    }

    /// The frame that tells a client to move to another router.
    pub(super) fn goaway(&self, delay_us: u64, grace_us: u64) -> Goaway {
        let reason = "this router is going away".into();
        let (alternates, alternate_zones) = self.alternates();
        Goaway { delay_us, alternates, alternate_zones, reason, grace_us }
    }

    /// Addresses of other routers, and their zones in the same order; no zones where nobody has
    /// one.
    pub(super) fn alternates(&self) -> (Vec<String>, Vec<String>) {
        let addresses = self.alternates.iter().map(|alternate| alternate.address.clone()).collect();
        let has_zones = self.alternates.iter().any(|alternate| !alternate.zone.is_empty());
        let zones = self.alternates.iter().filter(|_| has_zones).map(|alternate| alternate.zone.clone());
        (addresses, zones.collect())
    }
}

/// How far the end in order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    NotBegun,
    /// The core hears no client. Publishers were told what was received, which leaves with this
    /// turn.
    Told,
    /// Clients are closed.
    Over,
}
