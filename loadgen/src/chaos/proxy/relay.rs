//! The proxy's sockets. Each router has a *front*, the address that everybody dials. Each client or
//! peer of a front has a *flow*: a socket of its own towards the router, as behind a NAT.
//!
//! ```text
//! client a ──► front 0 ──► socket of a ──► router 0, wherever its present process listens
//! router 1 ──► front 0 ──► socket of b ──► router 0
//! ```
//!
//! One thread, one runtime: datagrams that wait stand in one heap.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::fate::{Direction, Fate, Weather};
use crate::clock::Clock;

/// A flow ends when nothing has come from the router for so long: more than routers and clients
/// wait for a silent other side.
const FLOW_IDLE: Duration = Duration::from_secs(40);
/// Flows of one front, at most: a client dials a few times a second while its routers are away.
const FLOWS_MAX: usize = 8_192;
/// Datagrams that wait, at most: more are lost, as on a router whose queue is full.
const WAITING_MAX: usize = 65_536;
/// The largest payload of a datagram on a path with an MTU of 1,500 bytes; larger ones are lost, as
/// on such a path.
const DATAGRAM_BYTES_MAX: usize = 1_472;
/// What is read of a datagram: enough to see that it is too large.
const READ_BYTES: usize = DATAGRAM_BYTES_MAX + 1;
/// Datagrams that one task takes before others have their turn.
const TAKEN_AT_ONCE: usize = 64;

/// What the proxy did with datagrams, of all flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Treated {
    /// Datagrams that came.
    pub datagrams: u64,
    /// Lost on purpose, and because too many waited.
    pub lost: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Were overtaken.
    pub reordered: u64,
    /// Had a bit flipped.
    pub corrupted: u64,
    /// Had to wait.
    pub delayed: u64,
    /// Lost, because the path does not take datagrams of their size.
    pub too_large: u64,
}

#[derive(Debug, Default)]
struct Counts {
    datagrams: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
    corrupted: AtomicU64,
    delayed: AtomicU64,
    too_large: AtomicU64,
}

/// Where a front's router listens now; `None` while it has not begun.
type Aim = Arc<Mutex<Option<SocketAddr>>>;

/// The proxy of a run. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    fronts: Vec<(SocketAddr, Aim)>,
    counts: Arc<Counts>,
}

impl Proxy {
    /// Opens a front for each of `routers`, on loopback.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn start(routers: u16, weather: Weather, seed: u64, clock: Clock) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (mut fronts, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..routers {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            let aim = Aim::default();
            fronts.push((socket.local_addr()?, aim.clone()));
            sockets.push((socket, aim));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = counts.clone();
        std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let relay = Rc::new(Relay { weather, clock, counts: counted, post: Post::default() });
            LocalSet::new().block_on(&runtime, run(relay, sockets, seed));
        })?;
        Ok(Self { fronts, counts })
    }

    /// The address at which everybody reaches a router.
    pub(crate) fn front(&self, router: u16) -> SocketAddr {
        self.fronts[usize::from(router)].0
    }

    /// The addresses of all routers.
    pub(crate) fn fronts(&self) -> Vec<SocketAddr> {
        self.fronts.iter().map(|&(front, _)| front).collect()
    }

    /// A router listens at `address` from here on.
    pub(crate) fn aim(&self, router: u16, address: SocketAddr) {
        *self.fronts[usize::from(router)].1.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// What was done so far.
    pub(crate) fn treated(&self) -> Treated {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Treated {
            datagrams: read(&self.counts.datagrams),
            lost: read(&self.counts.lost),
            duplicated: read(&self.counts.duplicated),
            reordered: read(&self.counts.reordered),
            corrupted: read(&self.counts.corrupted),
            delayed: read(&self.counts.delayed),
            too_large: read(&self.counts.too_large),
        }
    }
}

/// What all tasks of the proxy share.
#[derive(Debug)]
struct Relay {
    weather: Weather,
    clock: Clock,
    counts: Arc<Counts>,
    post: Post,
}

/// Datagrams that wait, by when they leave and in the order in which they came.
#[derive(Debug, Default)]
struct Post {
    waiting: RefCell<BTreeMap<(u64, u64), Letter>>,
    came: RefCell<u64>,
    is_new: Notify,
}

/// One datagram, and where it goes.
#[derive(Debug)]
struct Letter {
    from: Rc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

async fn run(relay: Rc<Relay>, sockets: Vec<(std::net::UdpSocket, Aim)>, seed: u64) {
    for (number, (socket, aim)) in (0..).zip(sockets) {
        // The socket was made for a runtime, so this cannot fail but for want of memory.
        let Ok(socket) = UdpSocket::from_std(socket) else { continue };
        let seed = seed ^ ((number + 1_u64) << 40);
        tokio::task::spawn_local(serve(relay.clone(), Rc::new(socket), aim, seed));
    }
    relay.deliver_when_due().await;
}

/// Reads a front, and opens a flow for each address that writes to it.
async fn serve(relay: Rc<Relay>, front: Rc<UdpSocket>, aim: Aim, seed: u64) {
    let flows: Rc<RefCell<HashMap<SocketAddr, Rc<Flow>>>> = Rc::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut opened = 0;
    if front.writable().await.is_err() {
        return;
    }
    loop {
        if front.readable().await.is_err() {
            return;
        }
        for _ in 0..TAKEN_AT_ONCE {
            // Unreachable ports are told as errors; the next datagram may come all the same.
            let (bytes, client) = match front.try_recv_from(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let known = flows.borrow().get(&client).cloned();
            let flow = match known {
                Some(flow) => flow,
                None if flows.borrow().len() >= FLOWS_MAX => continue,
                None => {
                    let Ok(socket) = open().await else { continue };
                    opened += 2;
                    let flow = Rc::new(Flow {
                        socket: Rc::new(socket),
                        towards: RefCell::new(Direction::new(relay.weather, seed + opened)),
                    });
                    flows.borrow_mut().insert(client, flow.clone());
                    let back = Direction::new(relay.weather, seed + opened + 1);
                    let way = Back { front: front.clone(), client, direction: back };
                    let (relay, socket, flows) = (relay.clone(), flow.socket.clone(), flows.clone());
                    tokio::task::spawn_local(async move {
                        relay.return_until_idle(socket, way).await;
                        flows.borrow_mut().remove(&client);
                    });
                    flow
                }
            };
            let aimed = *aim.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(to) = aimed else { continue };
            let fate = flow.towards.borrow_mut().next(relay.clock.now_us(), bytes);
            relay.treat(fate, &flow.socket, to, &mut buffer[..bytes]);
        }
        tokio::task::yield_now().await;
    }
}

/// A socket that can be written to: the runtime has to hear so before the first datagram.
async fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.writable().await?;
    Ok(socket)
}

/// A client's or peer's way to a router.
#[derive(Debug)]
struct Flow {
    socket: Rc<UdpSocket>,
    towards: RefCell<Direction>,
}

/// The way back of a flow.
#[derive(Debug)]
struct Back {
    front: Rc<UdpSocket>,
    client: SocketAddr,
    direction: Direction,
}

impl Relay {
    /// Hands a flow's answers to its client until none has come for long.
    async fn return_until_idle(&self, socket: Rc<UdpSocket>, mut way: Back) {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(Ok(())) = timeout(FLOW_IDLE, socket.readable()).await {
            for _ in 0..TAKEN_AT_ONCE {
                let bytes = match socket.try_recv_from(&mut buffer) {
                    Ok((bytes, _)) => bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => continue,
                };
                let fate = way.direction.next(self.clock.now_us(), bytes);
                self.treat(fate, &way.front, way.client, &mut buffer[..bytes]);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Does with a datagram what was decided.
    fn treat(&self, fate: Fate, from: &Rc<UdpSocket>, to: SocketAddr, bytes: &mut [u8]) {
        let count = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        count(&self.counts.datagrams);
        if bytes.len() > DATAGRAM_BYTES_MAX {
            count(&self.counts.too_large);
            return;
        }
        if fate.is_lost || self.post.waiting.borrow().len() >= WAITING_MAX {
            count(&self.counts.lost);
            return;
        }
        if let Some(bit) = fate.flipped {
            bytes[bit / 8] ^= 1 << (bit % 8);
            count(&self.counts.corrupted);
        }
        if fate.is_overtaken {
            count(&self.counts.reordered);
        }
        if fate.copy_us.is_some() {
            count(&self.counts.duplicated);
        }
        for at_us in std::iter::once(fate.leaves_us).chain(fate.copy_us) {
            if at_us <= self.clock.now_us() {
                // A datagram that the system does not take is lost.
                let _ = from.try_send_to(bytes, to);
                continue;
            }
            count(&self.counts.delayed);
            self.post.put(at_us, Letter { from: from.clone(), to, bytes: bytes.to_vec() });
        }
    }

    async fn deliver_when_due(&self) {
        loop {
            let is_new = self.post.is_new.notified();
            let now_us = self.clock.now_us();
            match self.post.take_due(now_us) {
                Ok(letter) => {
                    // As above.
                    let _ = letter.from.try_send_to(&letter.bytes, letter.to);
                }
                Err(None) => is_new.await,
                Err(Some(next_us)) => {
                    tokio::select! {
                        () = is_new => {}
                        () = sleep(Duration::from_micros(next_us - now_us)) => {}
                    }
                }
            }
        }
    }
}

impl Post {
    fn put(&self, at_us: u64, letter: Letter) {
        let mut came = self.came.borrow_mut();
        *came += 1;
        let mut waiting = self.waiting.borrow_mut();
        let is_first = waiting.first_key_value().is_none_or(|(&(first_us, _), _)| at_us < first_us);
        waiting.insert((at_us, *came), letter);
        if is_first {
            self.is_new.notify_one();
        }
    }

    /// The next datagram that is due, or when the next one is.
    fn take_due(&self, now_us: u64) -> Result<Letter, Option<u64>> {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.first_entry() {
            None => Err(None),
            Some(first) if first.key().0 > now_us => Err(Some(first.key().0)),
            Some(first) => Ok(first.remove()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Socket;

    use super::super::fate::Share;
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A proxy in front of a socket, and a client of it.
    fn world(weather: Weather) -> (Proxy, Socket, Socket) {
        let proxy = Proxy::start(1, weather, 1, Clock::start()).unwrap();
        let bind = || Socket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (router, client) = (bind(), bind());
        router.set_read_timeout(Some(LONG)).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        proxy.aim(0, router.local_addr().unwrap());
        client.connect(proxy.front(0)).unwrap();
        (proxy, router, client)
    }

    #[test]
    fn datagrams_pass_both_ways_and_follow_a_router_that_moves() {
        let (proxy, router, client) = world(Weather::default());
        let mut buffer = [0; 100];
        client.send(b"to the first").unwrap();
        let (bytes, flow) = router.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], b"to the first");
        router.send_to(b"back", flow).unwrap();
        let bytes = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], b"back");

        let moved = Socket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        moved.set_read_timeout(Some(LONG)).unwrap();
        proxy.aim(0, moved.local_addr().unwrap());
        client.send(b"to the second").unwrap();
        let (bytes, from) = moved.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..bytes], from), (&b"to the second"[..], flow));
        assert_eq!(proxy.treated(), Treated { datagrams: 3, ..Treated::default() });
    }

    #[test]
    fn what_a_usual_path_does_not_take_is_lost() {
        let (proxy, router, client) = world(Weather::default());
        client.send(&[0; DATAGRAM_BYTES_MAX + 500]).unwrap();
        client.send(&[0; DATAGRAM_BYTES_MAX]).unwrap();
        let (bytes, _) = router.recv_from(&mut [0; 4_000]).unwrap();
        assert_eq!(bytes, DATAGRAM_BYTES_MAX);
        assert_eq!(proxy.treated(), Treated { datagrams: 2, too_large: 1, ..Treated::default() });
    }

    #[test]
    fn copies_delays_and_damage_arrive() {
        let all = Share::percent(100.0);
        let weather = Weather {
            duplicate: all,
            corrupt: all,
            reorder: all,
            delay: Duration::from_millis(1),
            ..Weather::default()
        };
        let (proxy, router, client) = world(weather);
        client.send(&[0; 50]).unwrap();
        let mut buffer = [0; 100];
        for _ in 0..2 {
            let (bytes, _) = router.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..bytes].iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        }
        let expected = Treated {
            datagrams: 1,
            duplicated: 1,
            reordered: 1,
            corrupted: 1,
            delayed: 2,
            ..Treated::default()
        };
        assert_eq!(proxy.treated(), expected);
    }
}
