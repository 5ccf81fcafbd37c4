//! Connections of one core by slot, with the loop's state of each.

use quinn_proto::{Connection, ConnectionHandle};

use super::prefixes::Prefix;
use crate::{ConnId, SocketId};

/// How much the app knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Incoming, handshake under way: the app knows nothing.
    Accepting,
    /// Dialled, handshake under way: the app has the id.
    Dialling,
    /// Connected.
    Open,
    /// The app has heard of the end, or must never hear of it; the rest is between quinn and the
    /// remote.
    Over,
}

/// One live connection. Small: everything else is quinn's.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) conn: Box<Connection>,
    pub(super) socket: SocketId,
    pub(super) phase: Phase,
    /// The prefix that the connection counts for, if it was accepted from a network with bounds.
    pub(super) prefix: Option<Prefix>,
    /// Whether its handshake was completed.
    pub(super) is_complete: bool,
    /// Whether it is in the queue of connections with events.
    pub(super) in_events: bool,
    /// Whether it is in the queue of connections to transmit, or parked until its socket takes
    /// datagrams.
    pub(super) in_transmit: bool,
    /// Whether the app has closed it and waits for `closed`.
    pub(super) closing: bool,
    /// Whether quinn has no more events for it, so that the slot is to be freed.
    pub(super) drained: bool,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    live: Option<Live>,
}

/// Live connections. A slot's number is that of quinn's slab, so that both stay in step; with the
/// generation it becomes a name.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    count: usize,
}

impl Slots {
    /// Puts a connection into the slot that quinn has chosen, which is free.
    pub(super) fn insert(
        &mut self,
        handle: ConnectionHandle,
        conn: Connection,
        socket: SocketId,
        phase: Phase,
    ) -> u32 {
        if handle.0 >= self.slots.len() {
            self.slots.resize_with(handle.0 + 1, Slot::default);
        }
        debug_assert!(self.slots[handle.0].live.is_none(), "quinn reuses a slot only after it was freed");
        self.slots[handle.0].live = Some(Live {
            conn: Box::new(conn),
            socket,
            phase,
            prefix: None,
            is_complete: false,
            in_events: false,
            in_transmit: false,
            closing: false,
            drained: false,
        });
        self.count += 1;
        u32::try_from(handle.0).expect("connections_max keeps slots far below u32")
    }

    /// Frees a slot: its id is dead from here on.
    pub(super) fn remove(&mut self, index: u32) -> Option<Live> {
        let slot = self.slots.get_mut(index as usize)?;
        let live = slot.live.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.count -= 1;
        Some(live)
    }

    pub(super) fn get(&mut self, index: u32) -> Option<&mut Live> {
        self.slots.get_mut(index as usize)?.live.as_mut()
    }

    /// The connection of an id, as long as the app may use it.
    pub(super) fn by_id(&mut self, id: ConnId) -> Option<&mut Live> {
        let slot =
            self.slots.get_mut(id.index() as usize).filter(|slot| slot.generation == id.generation())?;
        slot.live.as_mut().filter(|live| live.phase != Phase::Over)
    }

    /// Like [`Self::by_id`], to look only.
    pub(super) fn peek(&self, id: ConnId) -> Option<&Live> {
        let slot = self.slots.get(id.index() as usize).filter(|slot| slot.generation == id.generation())?;
        slot.live.as_ref().filter(|live| live.phase != Phase::Over)
    }

    pub(super) fn id(&self, index: u32) -> ConnId {
        ConnId::from_parts(index, self.slots.get(index as usize).map_or(0, |slot| slot.generation))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Live> {
        self.slots.iter().filter_map(|slot| slot.live.as_ref())
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
