//! Where the syslog door puts its events: into the spool of its producer, at once.

use std::sync::Arc;

use super::answer::not_taken;
use crate::agent::producers::Producer;
use crate::agent::room::AgentRoom;
use crate::counters::{Door, Reason};
use crate::doors::syslog::Sink;
use crate::upstream::NewEvent;

/// The spool of the syslog door.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Spooling {
    pub(in crate::agent) room: AgentRoom,
    pub(in crate::agent) producer: Arc<Producer>,
}

impl Sink for Spooling {
    async fn take(&self, event: &NewEvent) -> Result<(), Reason> {
        self.try_take(event)
    }

    fn try_take(&self, event: &NewEvent) -> Result<(), Reason> {
        self.room.take(&self.producer, event.clone()).map_err(|error| not_taken(&error).0)?;
        self.room.counters.published(Door::Syslog, 1);
        Ok(())
    }
}
