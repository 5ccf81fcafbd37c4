//! Routers that die and are started again.
//!
//! What a router held is lost with it, and so are its links. What other clusters' links keep
//! meanwhile reaches its receivers when they are back.

use std::time::Duration;

use millrace_engine::forward::Link;
use millrace_verify::fault::{Fault, Phase};
use rand::RngExt;

use super::plan::{Restart, id, roll};
use super::relay::Relay;
use super::world::{Client, World};
use crate::event::Event;
use crate::network::Wire;

/// A client dials again after this, at most.
const DIAL_AGAIN_US: u64 = 500_000;

impl World {
    /// Routers die and begin anew when it is time.
    pub(super) fn plan_restarts(&mut self) {
        for &Restart { cluster, from, until } in &self.restarts {
            let router = u32::try_from(cluster).unwrap_or(u32::MAX);
            let fault = Fault::Restart { router };
            self.stage.queue.at(from, Event::Fault(Phase::Begin, fault));
            self.stage.queue.at(until, Event::Fault(Phase::End, fault));
            self.checker.restarted(cluster, from.0, until.0);
        }
    }

    /// A router's process dies, and its links with it.
    pub(super) fn stop(&mut self, router: u32) {
        self.stage.stop(router);
        for (number, &(from, to, client)) in self.links.iter().enumerate() {
            if from != router as usize && to != router as usize {
                continue;
            }
            self.checker.cut(number);
            let Some(Client::Relay(relay, _)) = self.clients.get_mut(client as usize) else { continue };
            if from == router as usize
                && let Some(conn) = relay.id()
            {
                self.stage.network.abandon(&mut self.stage.queue, conn);
                relay.lost(self.stage.queue.now());
            }
        }
    }

    /// A router begins its next life: it knows nothing of the one before.
    pub(super) fn start_again(&mut self, router: u32) {
        let cluster = router as usize;
        self.stage.start_again(&self.routers[cluster]);
        let now = self.stage.queue.now();
        for core in self.stage.processes[cluster].cores() {
            core.set_roll(
                now,
                &mut Wire { network: &mut self.stage.network, queue: &mut self.stage.queue },
                roll(cluster),
            );
        }
        let own: Vec<(usize, u32)> = (0..)
            .zip(&self.links)
            .filter(|(_, (from, ..))| *from == cluster)
            .map(|(number, &(_, _, client))| (number, client))
            .collect();
        for (number, client) in own {
            let link = Link::new(self.rules[number].clone(), id(cluster), now);
            self.clients[client as usize] = Client::Relay(Box::new(Relay::new(link, id(cluster))), number);
            self.file(client);
            self.stage.queue.after(Duration::ZERO, Event::ClientDial { client });
        }
    }

    /// Where a client is, if its router has died before.
    pub(super) fn may_be_cut_off(&self, client: u32) -> bool {
        let now = self.stage.queue.now();
        let died = |cluster| self.restarts.iter().any(|it| it.cluster == cluster && it.from <= now);
        match self.clients.get(client as usize) {
            Some(Client::Publisher(publisher)) => died(publisher.cluster),
            Some(Client::Receiver(receiver, _)) => died(receiver.cluster),
            Some(Client::Relay(_, link)) => {
                let (from, to, _) = self.links[*link];
                died(from) || died(to)
            }
            None => false,
        }
    }

    /// The connection of a publisher or a receiver is gone, because its router is.
    pub(super) fn cut_off(&mut self, client: u32) {
        if !self.cut_off.insert(client) {
            return;
        }
        let conn = match self.clients.get_mut(client as usize) {
            Some(Client::Publisher(publisher)) => {
                publisher.lost();
                publisher.connection.id()
            }
            Some(Client::Receiver(receiver, _)) => {
                receiver.lost();
                receiver.connection.id()
            }
            _ => return,
        };
        self.stage.network.abandon(&mut self.stage.queue, conn);
        let pause = Duration::from_micros(self.stage.rng.random_range(1_000..DIAL_AGAIN_US));
        self.stage.queue.after(pause, Event::ClientDial { client });
    }

    /// A client dials, the first time or again.
    pub(super) fn dial_again(&mut self, client: u32) {
        let cluster = match self.clients.get(client as usize) {
            Some(Client::Publisher(publisher)) => publisher.cluster,
            Some(Client::Receiver(receiver, _)) => receiver.cluster,
            // A link lives in its router's process.
            Some(Client::Relay(_, link)) if self.is_away(self.links[*link].0) => return,
            Some(Client::Relay(_, link)) => self.links[*link].1,
            None => return,
        };
        let conn = self.dial(client, cluster);
        let now = self.stage.queue.now();
        match &mut self.clients[client as usize] {
            Client::Publisher(publisher) => publisher.dialled(conn, now),
            Client::Receiver(receiver, _) => receiver.dialled(conn, now),
            Client::Relay(relay, _) => relay.dialled(conn, now),
        }
        self.cut_off.remove(&client);
    }

    /// Whether a cluster's router is away.
    pub(super) fn is_away(&self, cluster: usize) -> bool {
        u32::try_from(cluster).is_ok_and(|router| self.stage.is_down(router))
    }
}
