//! All sockets of one core, in a poll set.
//!
//! A datagram that was given to [`Network::send`] leaves with the next flush. A socket keeps what
//! the kernel does not take, and sends it first when there is room again; until then the socket is
//! blocked, and no more is produced for it, so that the backlog is bounded by one outbox.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use super::outbox::Outbox;
use super::socket::Socket;
use crate::sys::{Interest, Message, Poll, Sender, route_mtu};
use crate::{Metrics, Network, Outgoing, SocketBuffers, SocketId, Waker};

/// Token of the waker in the poll set; sockets use their id.
const WAKER_TOKEN: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Slot {
    generation: u16,
    socket: Option<Socket>,
}

/// All sockets of one core.
#[derive(Debug)]
pub(crate) struct Sockets {
    poll: Poll,
    waker: Waker,
    /// Slot 0 is the shared port's, and empty on a core without.
    pub(super) slots: Vec<Slot>,
    /// Sockets that may have datagrams to read, each at most once.
    ready: VecDeque<SocketId>,
    outbox: Outbox,
    sender: Sender,
    buffer_bytes: usize,
    pub(super) counters: Metrics,
    /// Whether a socket takes datagrams again since the last look.
    unblocked: bool,
}

impl Sockets {
    pub(crate) fn new(shared: Option<UdpSocket>, buffer_bytes: usize) -> io::Result<Self> {
        let (poll, waker) = (Poll::new()?, Waker::new()?);
        poll.add(waker.fd(), WAKER_TOKEN, Interest::Read)?;
        let mut sockets = Self {
            poll,
            waker,
            slots: vec![Slot::default()],
            ready: VecDeque::new(),
            outbox: Outbox::default(),
            sender: Sender::new(),
            buffer_bytes,
            counters: Metrics::default(),
            unblocked: false,
        };
        if let Some(shared) = shared {
            sockets.install(SocketId::SHARED, Socket::new(shared, buffer_bytes)?)?;
        }
        Ok(sockets)
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for datagrams, room to send, the waker, or the timeout; `false` when the timeout comes
    /// first.
    pub(crate) fn wait(&mut self, timeout: Duration) -> bool {
        let Self { poll, waker, slots, ready, counters, .. } = self;
        let mut writable = Vec::new();
        let mut has_events = false;
        let result = poll.wait(timeout, |token, can_read, can_write| {
            has_events = true;
            if token == WAKER_TOKEN {
                return waker.lower();
            }
            let id = id_of(token);
            let Some(socket) = lookup(slots, id) else { return };
            if can_read && !socket.is_ready {
                socket.is_ready = true;
                ready.push_back(id);
            }
            if can_write && socket.is_blocked() {
                writable.push(id);
            }
        });
        counters.socket_errors += u64::from(result.is_err());
        for id in writable {
            self.retry(id);
        }
        has_events
    }

    /// Takes the next socket that may have datagrams.
    pub(crate) fn next_ready(&mut self) -> Option<SocketId> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(socket) = lookup(&mut self.slots, id) {
                socket.is_ready = false;
                return Some(id);
            }
        }
    }

    /// Puts a socket back that was not read to its end.
    pub(crate) fn read_again(&mut self, id: SocketId) {
        if let Some(socket) = lookup(&mut self.slots, id).filter(|socket| !socket.is_ready) {
            socket.is_ready = true;
            self.ready.push_back(id);
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether some socket has become free to send since the last call.
    pub(crate) fn take_unblocked(&mut self) -> bool {
        std::mem::take(&mut self.unblocked)
    }

    /// Gives the kernel everything that was sent.
    pub(crate) fn flush(&mut self) {
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.for_each_socket(|id, messages| self.transmit(id, messages));
        outbox.clear();
        self.outbox = outbox;
    }

    /// Adds the counters of sockets to those of the core.
    pub(crate) fn report(&mut self, metrics: &mut Metrics) {
        metrics.add_sockets(&std::mem::take(&mut self.counters));
    }

    pub(crate) fn buffers(&self, id: SocketId) -> Option<SocketBuffers> {
        self.peek(id).map(Socket::buffers)
    }

    /// Datagrams that the kernel has dropped because a receive buffer was full, on all sockets that
    /// are open.
    pub(crate) fn kernel_drops(&self) -> u64 {
        self.slots.iter().filter_map(|slot| slot.socket.as_ref()).map(Socket::kernel_drops).sum()
    }

    /// Whether the kernel never fragments what the shared socket sends.
    pub(crate) fn never_fragments(&self) -> bool {
        self.peek(SocketId::SHARED).is_none_or(|socket| !socket.may_fragment())
    }

    fn transmit(&mut self, id: SocketId, messages: Vec<Message<'_>>) {
        let Some(socket) = lookup(&mut self.slots, id) else {
            self.counters.drops.socket_gone += messages.len() as u64;
            return;
        };
        if socket.transmit(messages, &mut self.sender, &mut self.counters) {
            let changed = self.poll.change(socket.as_fd(), token_of(id), Interest::ReadWrite);
            self.counters.socket_errors += u64::from(changed.is_err());
        }
    }

    fn retry(&mut self, id: SocketId) {
        let Some(socket) = lookup(&mut self.slots, id) else { return };
        if socket.retry(&mut self.sender, &mut self.counters) {
            self.unblocked = true;
            let changed = self.poll.change(socket.as_fd(), token_of(id), Interest::Read);
            self.counters.socket_errors += u64::from(changed.is_err());
        }
    }

    fn install(&mut self, id: SocketId, socket: Socket) -> io::Result<()> {
        self.poll.add(socket.as_fd(), token_of(id), Interest::Read)?;
        self.slots[usize::from(id.index())].socket = Some(socket);
        Ok(())
    }

    fn peek(&self, id: SocketId) -> Option<&Socket> {
        let slot =
            self.slots.get(usize::from(id.index())).filter(|slot| slot.generation == id.generation())?;
        slot.socket.as_ref()
    }
}

impl Network for Sockets {
    fn add_socket(&mut self, local: SocketAddr) -> io::Result<SocketId> {
        let free = self.slots.iter().skip(1).position(|slot| slot.socket.is_none()).map(|i| i + 1);
        let index = free.unwrap_or(self.slots.len());
        let index =
            u16::try_from(index).map_err(|_| io::Error::other("a core has at most 65,536 sockets"))?;
        let socket = Socket::bind(local, self.buffer_bytes)?;
        if free.is_none() {
            self.slots.push(Slot::default());
        }
        let id = SocketId::new(index, self.slots[usize::from(index)].generation);
        self.install(id, socket)?;
        Ok(id)
    }

    fn remove_socket(&mut self, id: SocketId) {
        if id == SocketId::SHARED || self.peek(id).is_none() {
            return;
        }
        // Datagrams that this turn has sent so far still leave.
        self.flush();
        let slot = &mut self.slots[usize::from(id.index())];
        slot.generation = slot.generation.wrapping_add(1);
        if let Some(socket) = slot.socket.take() {
            self.counters.drops.socket_gone += socket.backlog_datagrams();
            self.unblocked |= socket.is_blocked();
        }
    }

    fn local_addr(&self, id: SocketId) -> Option<SocketAddr> {
        self.peek(id).map(Socket::local_addr)
    }

    fn segments_max(&self, id: SocketId) -> usize {
        self.peek(id).map_or(1, Socket::segments_max)
    }

    fn route_mtu(&self, remote: SocketAddr) -> usize {
        route_mtu(remote).unwrap_or(1_500)
    }

    fn is_blocked(&self, id: SocketId) -> bool {
        self.peek(id).is_some_and(Socket::is_blocked)
    }

    fn send(&mut self, outgoing: Outgoing, data: &mut Vec<u8>) {
        if self.outbox.is_full() {
            self.flush();
        }
        self.outbox.push(outgoing, data);
    }
}

pub(super) fn lookup(slots: &mut [Slot], id: SocketId) -> Option<&mut Socket> {
    let slot = slots.get_mut(usize::from(id.index())).filter(|slot| slot.generation == id.generation())?;
    slot.socket.as_mut()
}

fn token_of(id: SocketId) -> u64 {
    u64::from(id.generation()) << 16 | u64::from(id.index())
}

#[expect(clippy::cast_possible_truncation, reason = "splits what token_of joined")]
fn id_of(token: u64) -> SocketId {
    SocketId::new(token as u16, (token >> 16) as u16)
}
