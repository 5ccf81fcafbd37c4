//! One core: the driver on real sockets and the real clock, in turns with budgets of time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::spin::Spin;
use crate::udp::{Receiver, Sockets};
use crate::{
    App, CoreSettings, Driver, DriverSettings, Io, Metrics, Network, ServerSettings, SettingsError,
    SocketBuffers, SocketId, Waker,
};

/// Steps of the driver between two looks at the clock.
const STEPS_PER_CLOCK: usize = 16;
/// Connections that begin or end, and are served in a turn even when its time is up: as many as ten
/// thousand in a few seconds, and a fraction of what a turn takes.
const ASIDE_MIN: usize = 2;
/// Packets that gave way to others, and are opened in a turn even when its time is up.
const PACKETS_ASIDE_MIN: usize = 4;

/// One core's run-to-completion loop with its app. The owner calls [`Core::turn`] forever, on one
/// thread.
#[derive(Debug)]
pub struct Core<A: App> {
    app: A,
    driver: Driver,
    sockets: Sockets,
    receiver: Receiver,
    settings: CoreSettings,
    spin: Spin,
    /// The clock as last read.
    now: Instant,
}

/// Times and counts of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnStats {
    /// Time asleep before the work.
    pub slept: Duration,
    /// Time spent polling before the sleep or the work; see [`CoreSettings::spin`].
    pub spun: Duration,
    /// Time awake.
    pub busy: Duration,
    /// QUIC datagrams received.
    pub datagrams_in: u64,
    /// QUIC datagrams sent.
    pub datagrams_out: u64,
    /// Whether the next turn has work to do at once.
    pub has_more: bool,
}

impl<A: App> Core<A> {
    /// Makes a core. `shared` is its socket on the shared port (see [`crate::steer`]), on which it
    /// accepts connections when there are `server` settings; sockets for dialling come from
    /// [`Io::add_socket`].
    ///
    /// # Errors
    /// [`SettingsError`] as [`io::ErrorKind::InvalidInput`], or what the system said.
    pub fn new(
        settings: CoreSettings,
        server: Option<ServerSettings>,
        shared: Option<UdpSocket>,
        app: A,
    ) -> io::Result<Self> {
        let sockets = Sockets::new(shared, settings.socket_buffer_bytes)?;
        let driver = Driver::new(&DriverSettings {
            core: settings.clone(),
            server,
            seed: rand::random(),
            mtu_discovery: sockets.never_fragments(),
        })
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (receiver, spin) = (Receiver::new(), Spin::new(settings.spin));
        Ok(Self { app, driver, sockets, receiver, settings, spin, now: Instant::now() })
    }

    /// Wakes this core from other threads.
    pub fn waker(&self) -> Waker {
        self.sockets.waker()
    }

    /// Takes one turn: sleeps at most `max_wait` if there is nothing to do, then receives, fires
    /// timers, calls the app, and transmits, each within its budget of time. Work beyond a budget
    /// comes first in the next turn.
    pub fn turn(&mut self, max_wait: Duration) -> TurnStats {
        let before = Instant::now();
        let wait = self.wait_time(before, max_wait);
        let (start, spun) = self.rest(before, wait);
        self.now = start;
        let (datagrams_in, datagrams_out) =
            (self.driver.metrics().datagrams_in, self.driver.metrics().datagrams_out);

        let end = start + self.settings.turn_budget;
        if self.sockets.take_unblocked() {
            self.driver.unpark();
        }
        self.receive(start + self.settings.receive_budget);
        // Packets that are left in the sockets belong to connections that wait, too.
        let unread = self.sockets.has_ready();
        // What gave way has what is left of the time for receiving.
        let aside_end = if unread { self.now } else { start + self.settings.receive_budget };
        self.work_aside(PACKETS_ASIDE_MIN, aside_end, |core| {
            core.driver.hear_aside(core.now, &mut core.sockets)
        });
        self.driver.begin_turn(self.now, &mut self.sockets, unread);
        // Three quarters at most, so that a flood of events cannot keep packets from leaving.
        let quarter = self.settings.turn_budget / 4;
        // Timers of thousands may be due together: no more than their part.
        self.work(self.now + quarter, Self::fire_one);
        self.work(end - quarter, Self::dispatch_one);
        // While packets wait in the sockets, which may be anybody's, there is no time for more.
        let aside_end = if unread { self.now } else { end - quarter };
        self.work_aside(ASIDE_MIN, aside_end, |core| {
            core.driver.dispatch_aside(core.now, &mut core.sockets, &mut core.app)
        });
        self.app.turn(&mut Io::new(&mut self.driver, &mut self.sockets, self.now));
        self.tick();
        // Each turn transmits something, even when its time is up.
        let end = end.max(self.now + quarter);
        self.work(end, Self::transmit_one);
        let end = if unread { self.now } else { end };
        self.work_aside(ASIDE_MIN, end, |core| core.driver.transmit_aside(core.now, &mut core.sockets));
        self.sockets.flush();

        let finish = self.tick();
        self.finish((start - before - spun, spun, finish - start), (datagrams_in, datagrams_out))
    }

    /// Waits for something to do, at most `wait`: polls as far as the core may, then sleeps.
    /// Returns the clock behind it, and how long it polled.
    fn rest(&mut self, before: Instant, wait: Duration) -> (Instant, Duration) {
        if wait.is_zero() {
            self.sockets.wait(wait);
            return (before, Duration::ZERO);
        }
        let budget = self.spin.budget(wait);
        let (mut now, mut spun, mut has_events) = (before, Duration::ZERO, false);
        while !has_events && spun < budget {
            has_events = self.sockets.wait(Duration::ZERO);
            now = Instant::now();
            spun = now - before;
        }
        if !has_events && spun < wait {
            self.sockets.wait(wait - spun);
            now = Instant::now();
        }
        self.spin.rested(now - before);
        (now, spun)
    }

    fn finish(
        &mut self,
        (slept, spun, busy): (Duration, Duration, Duration),
        (datagrams_in, datagrams_out): (u64, u64),
    ) -> TurnStats {
        let metrics = self.driver.metrics_mut();
        self.sockets.report(metrics);
        metrics.turns += 1;
        metrics.sleeps += u64::from(!slept.is_zero());
        metrics.busy_ns += nanos(busy);
        metrics.spun_ns += nanos(spun);
        TurnStats {
            slept,
            spun,
            busy,
            datagrams_in: metrics.datagrams_in - datagrams_in,
            datagrams_out: metrics.datagrams_out - datagrams_out,
            has_more: self.has_work(),
        }
    }

    fn has_work(&self) -> bool {
        self.driver.has_work() || self.sockets.has_ready()
    }

    fn wait_time(&mut self, now: Instant, max_wait: Duration) -> Duration {
        if max_wait.is_zero() || self.has_work() {
            return Duration::ZERO;
        }
        self.driver.settle_timers();
        let next = [self.driver.next_timeout(), self.app.deadline()].into_iter().flatten().min();
        next.map_or(max_wait, |at| at.saturating_duration_since(now).min(max_wait))
    }

    fn receive(&mut self, end: Instant) {
        while let Some(id) = self.sockets.next_ready() {
            if self.receiver.receive(&mut self.sockets, id) {
                self.sockets.read_again(id);
            }
            for (arrival, buffer, stride) in self.receiver.received(id) {
                self.driver.handle_buffer(self.now, &mut self.sockets, &arrival, buffer, stride);
            }
            if self.tick() >= end {
                break;
            }
        }
    }

    /// Repeats one step until it has nothing to do or the time is up.
    fn work(&mut self, end: Instant, mut step: impl FnMut(&mut Self) -> bool) {
        loop {
            for _ in 0..STEPS_PER_CLOCK {
                if !step(self) {
                    return;
                }
            }
            if self.tick() >= end {
                return;
            }
        }
    }

    /// The same for connections that give way to others: the clock is read after each, and a few
    /// have their turn in any case.
    fn work_aside(&mut self, least: usize, end: Instant, mut step: impl FnMut(&mut Self) -> bool) {
        let mut steps = 0;
        while (steps < least || self.now < end) && step(self) {
            steps += 1;
            self.tick();
        }
    }

    fn fire_one(&mut self) -> bool {
        self.driver.fire_next(self.now)
    }

    fn dispatch_one(&mut self) -> bool {
        self.driver.dispatch_next(self.now, &mut self.sockets, &mut self.app)
    }

    fn transmit_one(&mut self) -> bool {
        self.driver.transmit_next(self.now, &mut self.sockets)
    }

    fn tick(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// The app.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The app, to change it. Its work on connections goes through [`Core::with_io`].
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// Calls `f` with the app and its I/O between two turns; packets leave in the next one.
    pub fn with_io<R>(&mut self, f: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        let now = self.tick();
        f(&mut self.app, &mut Io::new(&mut self.driver, &mut self.sockets, now))
    }

    /// Counters, complete up to the last turn.
    pub fn metrics(&self) -> &Metrics {
        self.driver.metrics()
    }

    /// Connections at this moment, including those that are closing.
    pub fn connections(&self) -> usize {
        self.driver.connections()
    }

    /// Packets declared lost so far. Walks all connections.
    pub fn packets_lost(&self) -> u64 {
        self.driver.packets_lost()
    }

    /// Datagrams that the kernel has dropped because a receive buffer was full, on all sockets that
    /// are open.
    pub fn kernel_drops(&self) -> u64 {
        self.sockets.kernel_drops()
    }

    /// The address a socket is bound to.
    pub fn local_addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.sockets.local_addr(socket)
    }

    /// A socket's kernel buffers as granted, which may be less than asked for
    /// (`net.core.rmem_max`).
    pub fn socket_buffers(&self, socket: SocketId) -> Option<SocketBuffers> {
        self.sockets.buffers(socket)
    }

    /// Replaces what new connections are accepted with, e.g. renewed certificates; existing ones
    /// keep theirs.
    ///
    /// # Errors
    /// [`SettingsError`]; the old settings stay.
    pub fn set_server(&mut self, server: Option<&ServerSettings>) -> Result<(), SettingsError> {
        self.driver.set_server(server, self.settings.handshakes_per_turn)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
