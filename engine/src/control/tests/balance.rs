//! Clients that even out by themselves, over the mesh.

use super::cluster::{Cluster, ms};
use crate::control::{Notice, Rebalance};
use crate::message::{CoreIndex, ToControl};

impl Cluster {
    /// Sets how many clients a core has, and lets it say so.
    pub(super) fn set_clients(&mut self, router: usize, core: CoreIndex, clients: u64) {
        self.routers[router].clients[usize::from(core)] = clients;
        self.inform(router, core, ToControl::Clients(clients));
    }

    /// Clients do at once what they are asked.
    pub(super) fn clients_move(&mut self, router: usize, core: CoreIndex, count: u64, to: &str) {
        let other = self.addresses[to];
        assert_ne!(router, other);
        self.routers[router].asked += count;
        let left = self.routers[router].clients[usize::from(core)].checked_sub(count);
        self.set_clients(router, core, left.expect("no core asks more than it has"));
        let came = self.routers[other].clients[0] + count;
        self.set_clients(other, 0, came);
    }
}

fn clients(cluster: &Cluster) -> Vec<u64> {
    cluster.routers.iter().map(|router| router.clients.iter().sum()).collect()
}

/// Three routers of two cores that are linked; the first one has all clients.
fn uneven(change: impl Fn(&mut crate::control::ControlConfig) + Copy) -> Cluster {
    let mut cluster = Cluster::new(5);
    cluster.add_with(1, 2, &[], change);
    cluster.add_with(2, 2, &["r0:1"], change);
    cluster.add_with(3, 2, &["r0:1"], |_| {});
    cluster.run(ms(3_000));
    cluster.set_clients(0, 0, 150);
    cluster.set_clients(0, 1, 150);
    cluster
}

#[test]
fn all_clients_of_one_router_become_shares_of_three_once() {
    let mut cluster = uneven(|_| {});
    cluster.run(ms(5_000));
    assert_eq!(clients(&cluster), [300, 0, 0], "it waits");
    cluster.run(ms(30_000));
    let status = cluster.routers[0].control.status();
    assert!(status.rebalancing);
    assert!(status.peers.iter().all(|peer| peer.clients.is_some()));
    cluster.run(ms(200_000));
    assert!(clients(&cluster).iter().all(|clients| clients.abs_diff(100) <= 5), "{:?}", clients(&cluster));
    let asked: Vec<u64> = cluster.routers.iter().map(|router| router.asked).collect();
    assert!(asked[0].abs_diff(200) <= 5 && asked[1] + asked[2] <= 2, "nobody swings back: {asked:?}");
    assert_eq!(cluster.routers[0].control.metrics().rebalance_asked, asked[0]);
    let said = |begins| {
        let is_it =
            |notice: &&Notice| matches!(notice, Notice::Rebalancing { begins: it, .. } if *it == begins);
        cluster.routers[0].said.iter().filter(is_it).count()
    };
    assert_eq!((said(true), said(false)), (1, 1));
    assert!(!cluster.routers[0].control.status().rebalancing);
}

#[test]
fn off_moves_nobody_and_may_be_set_live() {
    let mut cluster = uneven(|config| config.rebalance = Rebalance::Off);
    cluster.run(ms(60_000));
    assert_eq!(clients(&cluster), [300, 0, 0]);
    let now = cluster.now;
    cluster.routers[0].control.set_rebalance(now, Rebalance::Auto);
    cluster.drain_outputs(0);
    cluster.run(ms(20_000));
    let some = clients(&cluster)[0];
    assert!(some < 300, "{some}");
    let now = cluster.now;
    cluster.routers[0].control.set_rebalance(now, Rebalance::Off);
    cluster.drain_outputs(0);
    cluster.run(ms(60_000));
    assert!(clients(&cluster)[0] + 3 >= some, "what was asked moves, and nobody more");
}

#[test]
fn routers_of_other_zones_and_hidden_ones_take_no_part() {
    let mut cluster = Cluster::new(6);
    cluster.add_with(1, 1, &[], |config| config.zone = "a".into());
    cluster.add_with(2, 1, &["r0:1"], |config| config.zone = "b".into());
    cluster.add_with(3, 1, &["r0:1"], |config| {
        config.zone = "a".into();
        config.hidden = true;
    });
    cluster.run(ms(3_000));
    cluster.set_clients(0, 0, 300);
    cluster.run(ms(100_000));
    assert_eq!(clients(&cluster), [300, 0, 0]);
}
