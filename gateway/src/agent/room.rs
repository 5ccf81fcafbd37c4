//! The room that all doors of an agent share.

use std::ops::Deref;
use std::sync::Arc;

use millrace_client::EventId;

use super::cursors::Cursors;
use super::producers::{NotTaken, Producer, Producers, Waiting};
use super::stamp::Stamp;
use crate::lobby::Lobby;
use crate::upstream::{Feeds, NewEvent};

/// What every door gets: a [`Lobby`], the producers, and the way to subscriptions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AgentRoom {
    /// What is counted, and whether the agent stops.
    pub(crate) lobby: Lobby,
    /// Who publishes.
    pub(crate) producers: Producers,
    /// What the agent sets on events.
    pub(crate) stamp: Stamp,
    /// Subscriptions without a name.
    pub(crate) feeds: Feeds,
    /// How far named subscriptions have come.
    pub(crate) cursors: Cursors,
}

impl AgentRoom {
    /// Puts an event of a producer into its spool, with the stamp.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub(crate) fn take(&self, producer: &Producer, event: NewEvent) -> Result<EventId, NotTaken> {
        let (event, replaced) = self.stamp.apply(event)?;
        producer.note_replaced(replaced);
        self.producers.append(producer, &event)
    }

    /// As [`AgentRoom::take`], for somebody who waits for the outcome.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub(crate) fn take_waiting(
        &self,
        producer: &Arc<Producer>,
        event: NewEvent,
    ) -> Result<(EventId, Waiting), NotTaken> {
        producer.append_waiting(|producer| self.take(producer, event))
    }
}

impl Deref for AgentRoom {
    type Target = Lobby;

    fn deref(&self) -> &Lobby {
        &self.lobby
    }
}
