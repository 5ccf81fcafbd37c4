//! Random histories converge, what is acknowledged is true throughout, and a seed repeats itself
//! exactly.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::cluster::{Cluster, ms};

const ROUTERS: usize = 4;
const STEPS: usize = 60;

fn history(seed: u64) -> Cluster {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed);
    let mut cluster = Cluster::new(seed);
    for place in 0..ROUTERS {
        let cores = rng.random_range(1..4);
        let next = format!("r{}:1", (place + 1) % ROUTERS);
        cluster.add(rng.random_range(1..1 << 40), cores, &[&next, "r0:1"]);
    }
    for _ in 0..STEPS {
        cluster.run(ms(rng.random_range(0..300)));
        let router = rng.random_range(0..ROUTERS);
        if !cluster.routers[router].alive {
            cluster.restart(router);
            continue;
        }
        match rng.random_range(0..20) {
            0..10 => {
                for _ in 0..rng.random_range(1..20) {
                    let core = rng.random_range(0..cluster.routers[router].config.cores);
                    cluster.subscribe(router, core, &format!("k={}", rng.random_range(0..30)));
                }
            }
            10..15 => {
                let wants: Vec<_> = cluster.routers[router].wants.iter().cloned().collect();
                for (core, text) in wants.into_iter().filter(|_| rng.random_range(0..3) > 0) {
                    cluster.unsubscribe(router, core, &text);
                }
            }
            15..18 => {
                let lanes = cluster.lanes_of(router);
                if !lanes.is_empty() {
                    cluster.cut(lanes[rng.random_range(0..lanes.len())].0);
                }
            }
            18 => cluster.crash(router),
            _ => cluster.run(ms(3000)),
        }
    }
    for router in 0..ROUTERS {
        if !cluster.routers[router].alive {
            cluster.restart(router);
        }
    }
    cluster.run(ms(20_000));
    cluster
}

#[test]
fn every_history_converges() {
    for seed in 0..25 {
        let cluster = std::panic::catch_unwind(|| {
            let cluster = history(seed);
            cluster.check_converged();
            for router in &cluster.routers {
                assert_eq!(router.control.metrics().digests_mismatched, 0);
                assert_eq!(router.control.status().waiting, 0, "every subscription was answered");
            }
        });
        assert!(cluster.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_seed_repeats_itself_exactly() {
    let (first, second) = (history(7), history(7));
    assert!(!first.trace.is_empty());
    assert_eq!(first.trace, second.trace);
}
