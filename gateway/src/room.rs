//! The room that all doors of a gateway share.

use std::ops::Deref;

use crate::lobby::Lobby;
use crate::upstream::Upstream;

/// What every door gets: a [`Lobby`], and the way to the routers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Room {
    /// What is counted, and whether the gateway stops.
    pub lobby: Lobby,
    /// The way to the routers.
    pub upstream: Upstream,
}

impl Deref for Room {
    type Target = Lobby;

    fn deref(&self) -> &Lobby {
        &self.lobby
    }
}
