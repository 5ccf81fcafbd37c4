//! A link to a zenoh router: a session per publisher and per receiver, each a QUIC connection of
//! its own.
//!
//! One thread publishes and checks, as with every other system. What zenoh's own threads receive
//! waits in one inbox: that costs a lock and a reference per delivery.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_compare::drive::{DriveError, Link};
use millrace_compare::load::{Load, Shape};
use zenoh::bytes::ZBytes;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::{Config, Session, Wait};

use crate::wrong;

/// While events are due by a schedule, publishers look at it this often.
const TICK: Duration = Duration::from_micros(50);
/// How long a subscription may take until publishers' events reach it.
const SETTLE: Duration = Duration::from_millis(500);

/// What was received and not yet checked.
#[derive(Default)]
struct Inbox {
    arrived: Mutex<Vec<(usize, ZBytes)>>,
    bell: Condvar,
}

impl Inbox {
    fn put(&self, receiver: usize, payload: ZBytes) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = arrived.is_empty();
        arrived.push((receiver, payload));
        drop(arrived);
        if was_empty {
            self.bell.notify_one();
        }
    }

    /// Swaps what arrived with `taken`, which is empty; waits at most so long if there is nothing.
    fn take(&self, taken: &mut Vec<(usize, ZBytes)>, wait: Duration) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        if arrived.is_empty() && !wait.is_zero() {
            let woken = self.bell.wait_timeout(arrived, wait);
            arrived = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut *arrived, taken);
    }
}

/// The link.
pub(crate) struct ZenohLink {
    load: Load,
    /// By emitter.
    publishers: Vec<Publisher<'static>>,
    _subscribers: Vec<Subscriber<()>>,
    sessions: Vec<Session>,
    inbox: Arc<Inbox>,
    taken: Vec<(usize, ZBytes)>,
}

impl ZenohLink {
    /// Connects and subscribes.
    pub(crate) fn connect(config: impl Fn() -> anyhow::Result<Config>, shape: Shape) -> anyhow::Result<Self> {
        let open = || zenoh::open(config()?).wait().map_err(wrong);
        let (load, inbox) = (Load::new(shape), Arc::new(Inbox::default()));
        let mut sessions = Vec::new();
        let mut subscribers = Vec::new();
        for receiver in 0..shape.receivers as usize {
            let (session, inbox) = (open()?, Arc::clone(&inbox));
            let subscriber = session
                .declare_subscriber("load/*")
                .callback(move |sample| inbox.put(receiver, sample.payload().clone()))
                .wait()
                .map_err(wrong)?;
            subscribers.push(subscriber);
            sessions.push(session);
        }
        let publishing = (0..shape.publishers).map(|_| open()).collect::<Result<Vec<Session>, _>>()?;
        let mut publishers = Vec::new();
        for emitter in 0..shape.emitters as usize {
            let publisher = publishing[load.publisher_of(emitter)]
                .declare_publisher(format!("load/{emitter}"))
                .congestion_control(CongestionControl::Block)
                .wait()
                .map_err(wrong)?;
            publishers.push(publisher);
        }
        sessions.extend(publishing);
        std::thread::sleep(SETTLE);
        Ok(Self { load, publishers, _subscribers: subscribers, sessions, inbox, taken: Vec::new() })
    }

    /// Ends all connections.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        self.sessions.iter().try_for_each(|session| session.close().wait().map_err(wrong))
    }

    fn publish(&mut self, now: Instant) -> Result<bool, DriveError> {
        let budget = self.load.budget(now);
        for _ in 0..budget {
            let emitter = self.load.next(now).0;
            let put = self.publishers[emitter].put(ZBytes::from(self.load.written())).wait();
            put.map_err(|error| DriveError::Peer(format!("zenoh: {error}")))?;
            self.load.taken();
        }
        Ok(budget > 0)
    }
}

impl Link for ZenohLink {
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load)) {
        f(&mut self.load);
    }

    fn turn(&mut self, wait: Duration) -> Result<(), DriveError> {
        let published = self.publish(Instant::now())?;
        let wait = match (published, self.load.is_open()) {
            (true, _) => Duration::ZERO,
            (false, true) => wait.min(TICK),
            (false, false) => wait,
        };
        self.inbox.take(&mut self.taken, wait);
        let now_ns = self.load.ns(Instant::now());
        for (receiver, payload) in self.taken.drain(..) {
            self.load.deliver(receiver, &payload.to_bytes(), now_ns);
        }
        Ok(())
    }
}
