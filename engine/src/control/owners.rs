//! Tells the cores whose history can be asked for: the owners of linked routers that keep some.

use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::data::{GapReason, Source};
use millrace_proto::feature;

use super::machine::Control;
use super::peer::Peer;
use crate::history::{FarOwner, FarOwners};
use crate::message::ToCore;

impl Control {
    /// Tells the cores whose history can be asked for, if that has changed. Nothing on a router
    /// that keeps none, because its receivers cannot ask.
    pub(super) fn tell_owners(&mut self) {
        if !self.config.features.contains(feature::HISTORY) {
            return;
        }
        let mut far = FarOwners::default();
        for (&router, peer) in &self.peers {
            look_at(router, peer, &mut far);
        }
        far.ended = self.ended.iter().collect();
        if far != *self.owners {
            self.owners = Arc::new(far);
            self.give_all(&ToCore::FarOwners(Arc::clone(&self.owners)));
        }
    }
}

/// Adds what a peer has.
fn look_at(router: RouterId, peer: &Peer, far: &mut FarOwners) {
    let (Some(link), Some(incarnation)) = (&peer.link, peer.incarnation) else {
        far.missing.push((router, GapReason::RouterLost));
        return;
    };
    if !link.features.contains(feature::HISTORY) {
        far.missing.push((router, GapReason::Evicted));
        return;
    }
    let mut are_all = true;
    for (owner, lane) in (0..link.owners).zip(&link.lanes) {
        match lane.up.filter(|up| up.silent_since.is_none()) {
            Some(up) => {
                let source = Source { router, incarnation, owner };
                far.owners.push(FarOwner { source, core: up.core, conn: up.conn });
            }
            None => are_all = false,
        }
    }
    if !are_all {
        far.missing.push((router, GapReason::RouterLost));
    }
}
