//! Keeps the two sessions of a redundant receiver or publisher on different routers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_proto::control::Welcome;
use millrace_proto::{Incarnation, RouterId};

use crate::session::Side;

/// Which router a session is on.
#[derive(Debug, Default)]
struct Held {
    /// The process life of its router.
    present: Option<Incarnation>,
    /// That of the router that has welcomed it last, and that it may go to.
    claimed: Option<Incarnation>,
    /// Its router, or its last one.
    router: Option<RouterId>,
}

/// What one of the two sessions knows of the other.
#[derive(Debug, Clone)]
pub(crate) struct Apart {
    held: Arc<Mutex<[Held; 2]>>,
    side: Side,
}

impl Apart {
    /// Of both sessions.
    pub(crate) fn both() -> [Self; 2] {
        let held: Arc<Mutex<[Held; 2]>> = Arc::default();
        Side::BOTH.map(|side| Self { held: held.clone(), side })
    }

    fn lock(&self) -> MutexGuard<'_, [Held; 2]> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A router has welcomed this session. Whether it may use it: the other one does not.
    pub(crate) fn claim(&self, welcome: &Welcome) -> bool {
        let mut held = self.lock();
        let life = Some(welcome.incarnation);
        let Held { present, claimed, .. } = &held[self.side.other() as usize];
        if *present == life || *claimed == life {
            return false;
        }
        held[self.side as usize].claimed = life;
        true
    }

    /// This session does not use the router that has welcomed it last.
    pub(crate) fn unclaim(&self) {
        self.lock()[self.side as usize].claimed = None;
    }

    /// This session uses that router from here on.
    pub(crate) fn attached(&self, welcome: &Welcome) {
        let held = &mut self.lock()[self.side as usize];
        *held = Held { present: Some(welcome.incarnation), claimed: None, router: Some(welcome.router) };
    }

    /// This session has no router.
    pub(crate) fn left(&self) {
        let held = &mut self.lock()[self.side as usize];
        (held.present, held.claimed) = (None, None);
    }

    /// The router of this session, or its last one.
    pub(crate) fn router(&self) -> Option<RouterId> {
        self.lock()[self.side as usize].router
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sessions_are_never_on_one_router() {
        let [first, second] = Apart::both();
        let welcome =
            |id| Welcome { router: RouterId(id), incarnation: Incarnation(id), ..Welcome::default() };
        assert!(first.claim(&welcome(1)));
        assert!(!second.claim(&welcome(1)), "the first one may go there");
        first.attached(&welcome(1));
        assert!(!second.claim(&welcome(1)) && second.claim(&welcome(2)));
        second.attached(&welcome(2));
        first.left();
        assert!(!first.claim(&welcome(2)) && second.claim(&welcome(1)));
        assert_eq!((first.router(), second.router()), (Some(RouterId(1)), Some(RouterId(2))));
    }
}
