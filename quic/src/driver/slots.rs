//! Connections of one core by slot, with the loop's state of each.

use std::time::Instant;

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

/// One live connection. Nearly all of it is quinn's.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) conn: Connection,
    pub(super) socket: SocketId,
    pub(super) phase: Phase,
    /// The prefix that the connection counts for, if it was accepted from a network with bounds.
    pub(super) prefix: Option<Prefix>,
    /// Whether its handshake is under way, and it has not proven its address.
    pub(super) is_stranger: bool,
    /// Whether its handshake was completed.
    pub(super) is_complete: bool,
    /// When its newest packet was opened.
    pub(super) heard: Instant,
    /// Packets of it that wait.
    pub(super) set_aside: u32,
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

impl Live {
    /// Whether it gives way to those in use: it was accepted and its handshake is under way, or it
    /// ends.
    pub(super) fn is_aside(&self) -> bool {
        matches!(self.phase, Phase::Accepting | Phase::Over) || self.conn.is_closed()
    }
}

/// What is kept together, so that an allocator's size classes cost little: a connection alone takes
/// 6.2 KB, for which most would give 7 KB.
const PAGE_BYTES: usize = 128 << 10;
const PAGE_LIVES: usize = PAGE_BYTES / size_of::<Option<Live>>();

/// Neighbouring slots; without memory while all are free.
#[derive(Debug, Default)]
struct Page {
    lives: Box<[Option<Live>]>,
    count: usize,
}

/// Live connections. A slot's number is that of quinn's slab, so that both stay in step; with the
/// generation it becomes a name. quinn takes the slot that was freed last, so that pages fill up.
#[derive(Debug, Default)]
pub(super) struct Slots {
    generations: Vec<u32>,
    pages: Vec<Page>,
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
        now: Instant,
    ) -> u32 {
        let (page, place) = (handle.0 / PAGE_LIVES, handle.0 % PAGE_LIVES);
        if handle.0 >= self.generations.len() {
            self.generations.resize(handle.0 + 1, 0);
        }
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Page::default);
        }
        let page = &mut self.pages[page];
        if page.lives.is_empty() {
            page.lives = std::iter::repeat_with(|| None).take(PAGE_LIVES).collect();
        }
        debug_assert!(page.lives[place].is_none(), "quinn reuses a slot only after it was freed");
        page.lives[place] = Some(Live {
            conn,
            socket,
            phase,
            prefix: None,
            is_stranger: false,
            is_complete: false,
            heard: now,
            set_aside: 0,
            in_events: false,
            in_transmit: false,
            closing: false,
            drained: false,
        });
        page.count += 1;
        self.count += 1;
        u32::try_from(handle.0).expect("connections_max keeps slots far below u32")
    }

    /// Frees a slot: its id is dead from here on.
    pub(super) fn remove(&mut self, index: u32) -> Option<Live> {
        let index = index as usize;
        let page = self.pages.get_mut(index / PAGE_LIVES)?;
        let live = page.lives.get_mut(index % PAGE_LIVES)?.take()?;
        page.count -= 1;
        if page.count == 0 {
            page.lives = Box::default();
        }
        self.generations[index] = self.generations[index].wrapping_add(1);
        self.count -= 1;
        Some(live)
    }

    pub(super) fn get(&mut self, index: u32) -> Option<&mut Live> {
        let index = index as usize;
        self.pages.get_mut(index / PAGE_LIVES)?.lives.get_mut(index % PAGE_LIVES)?.as_mut()
    }

    /// The connection of an id, as long as the app may use it.
    pub(super) fn by_id(&mut self, id: ConnId) -> Option<&mut Live> {
        if self.generation(id.index()) != id.generation() {
            return None;
        }
        self.get(id.index()).filter(|live| live.phase != Phase::Over)
    }

    /// Like [`Self::by_id`], to look only.
    pub(super) fn peek(&self, id: ConnId) -> Option<&Live> {
        if self.generation(id.index()) != id.generation() {
            return None;
        }
        let index = id.index() as usize;
        let live = self.pages.get(index / PAGE_LIVES)?.lives.get(index % PAGE_LIVES)?.as_ref();
        live.filter(|live| live.phase != Phase::Over)
    }

    pub(super) fn id(&self, index: u32) -> ConnId {
        ConnId::from_parts(index, self.generation(index))
    }

    fn generation(&self, index: u32) -> u32 {
        self.generations.get(index as usize).copied().unwrap_or(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Live> {
        self.pages.iter().flat_map(|page| &page.lives).flatten()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
