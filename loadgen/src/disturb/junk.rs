//! Junk handshakes from real addresses: clients that answer a Retry, let the router sign, and then
//! do not believe its certificate.
//!
//! It is the most that somebody without a certificate can make a router work: the whole of a
//! handshake but its last message.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Instant;

use millrace_proto::CloseCode;
use millrace_quic::{
    App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Core, CoreSettings, Dial, Io, SocketId, StreamId,
};

use super::kind::Order;
use super::outcome::Outcome;
use super::stranger::{Pace, TICK, sources};
use crate::fleet::Target;

/// Handshakes under way, at most. What is due beyond is left out, and counted.
const UNDER_WAY_MAX: usize = 4_096;

/// Those who begin handshakes and do not finish them.
pub(super) struct Junk {
    targets: Vec<Target>,
    settings: Arc<ClientSettings>,
    per_second: u32,
    orders: Receiver<Order>,
    outcomes: Sender<Outcome>,
    sockets: Vec<SocketId>,
    under_way: HashSet<ConnId, ahash::RandomState>,
    active: Option<Active>,
    looked_at: Instant,
    is_finished: bool,
}

struct Active {
    pace: Pace,
    ended: Option<Instant>,
    begun: u64,
    left_out: u64,
    answered: u64,
    refused: u64,
    unanswered: u64,
}

impl Junk {
    /// With `settings` that believe nobody.
    pub(super) fn new(
        targets: Vec<Target>,
        settings: Arc<ClientSettings>,
        per_second: u32,
        orders: Receiver<Order>,
        outcomes: Sender<Outcome>,
    ) -> Self {
        Self {
            targets,
            settings,
            per_second,
            orders,
            outcomes,
            sockets: Vec::new(),
            under_way: HashSet::default(),
            active: None,
            looked_at: Instant::now(),
            is_finished: false,
        }
    }

    /// Does as it is told, until it is told to finish.
    pub(super) fn follow(self) {
        let Ok(mut core) = Core::new(CoreSettings::default(), None, None, self) else { return };
        while !core.app().is_finished {
            core.turn(TICK);
        }
    }

    fn obey(&mut self, now: Instant) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin(_)) => {
                    self.active = Some(Active {
                        pace: Pace::new(now, self.per_second),
                        ended: None,
                        begun: 0,
                        left_out: 0,
                        answered: 0,
                        refused: 0,
                        unanswered: 0,
                    });
                }
                Ok(Order::End) => {
                    if let Some(active) = &mut self.active {
                        active.ended.get_or_insert(now);
                    }
                }
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => {
                    self.is_finished = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn dial(&mut self, io: &mut Io<'_>) {
        if self.sockets.is_empty() {
            self.sockets = sources(self.targets[0].address).filter_map(|at| io.add_socket(at).ok()).collect();
        }
        let now = io.now();
        let due = match &mut self.active {
            Some(active) if active.ended.is_none() => active.pace.take(now),
            _ => return,
        };
        for _ in 0..due {
            let Some(active) = &mut self.active else { return };
            let number = usize::try_from(active.begun + active.left_out).unwrap_or(0);
            let Target { address, server_name } = self.targets[number % self.targets.len()].clone();
            let via = self.sockets.get(number % self.sockets.len().max(1)).copied();
            let conn = via.filter(|_| self.under_way.len() < UNDER_WAY_MAX).and_then(|via| {
                let client = Arc::clone(&self.settings);
                io.connect(&Dial { remote: address, server_name, client, via, shard: None }).ok()
            });
            match conn {
                Some(conn) => {
                    active.begun += 1;
                    self.under_way.insert(conn);
                }
                None => active.left_out += 1,
            }
        }
    }

    /// What came of it, once nothing is under way.
    fn outcome(&mut self) -> Option<Outcome> {
        let is_over = |active: &mut Active| active.ended.is_some();
        let active = self.under_way.is_empty().then(|| self.active.take_if(is_over)).flatten()?;
        let Active { pace, ended, begun, left_out, answered, refused, unanswered } = active;
        let per_s = begun as f64 / pace.elapsed(ended?).max(1e-9);
        Some(Outcome::JunkHandshakes { begun, per_s, left_out, answered, refused, unanswered })
    }
}

impl App for Junk {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        // Nobody is believed, so that this never happens.
        io.close(conn, CloseCode::Done.code(), b"");
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}

    fn readable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}

    fn writable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}

    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}

    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        if !self.under_way.remove(&conn) {
            return;
        }
        let Some(active) = &mut self.active else { return };
        match reason {
            CloseReason::Protocol { .. } | CloseReason::Local => active.answered += 1,
            CloseReason::TimedOut => active.unanswered += 1,
            _ => active.refused += 1,
        }
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.looked_at = io.now();
        self.obey(self.looked_at);
        if self.is_finished {
            return;
        }
        self.dial(io);
        if let Some(outcome) = self.outcome() {
            // Whoever asked has gone away when nobody listens; Finish follows.
            let _ = self.outcomes.send(outcome);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.active.is_some().then(|| self.looked_at + TICK)
    }
}
