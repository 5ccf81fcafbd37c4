//! What a seed's clusters are, and which links lead from one to another.

use std::sync::Arc;
use std::time::Duration;

use millrace_engine::control::ControlConfig;
use millrace_engine::core::CoreConfig;
use millrace_engine::forward::LinkRule;
use millrace_engine::rights::{Accept, AllowList, Grant, Roll};
use millrace_proto::{ClusterId, Incarnation, RouterId, Selector, TagSet, feature};
use millrace_verify::checker::forwarding::{Emitter, Link, Receiver};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::router_setup::RouterSetup;

/// Kinds of events, and what links select of them.
const KINDS: [&str; 3] = ["a", "b", "c"];
/// A link keeps as much as it is given while it is cut.
const SPOOL_BYTES: u64 = 4 << 20;

/// Whether a seed has clusters with links.
#[must_use]
pub const fn has_links(seed: u64) -> bool {
    seed % 8 == 6
}

/// Clusters, links and clients.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) routers: Vec<RouterSetup>,
    pub(super) links: Vec<(Link, LinkRule)>,
    pub(super) receivers: Vec<Receiver>,
    pub(super) emitters: Vec<Emitter>,
}

/// The id of a cluster.
pub(super) fn id(cluster: usize) -> ClusterId {
    ClusterId(cluster as u64 + 1)
}

/// The cluster that has an id.
pub(super) fn cluster(id: ClusterId) -> usize {
    usize::try_from(id.0.wrapping_sub(1)).unwrap_or(usize::MAX)
}

/// Who may forward to a cluster: everybody.
pub(super) fn roll(own: usize) -> Arc<Roll> {
    let accept = Accept { cluster: None, grant: Arc::new(Grant::everything("*")) };
    Arc::new(Roll { cluster: id(own), accepts: vec![accept], ..Roll::default() })
}

impl Plan {
    pub(super) fn of(rng: &mut Pcg64Mcg) -> Self {
        let count = rng.random_range(2..7);
        let routers = (0..count).map(|cluster| router(cluster, rng)).collect();
        let mut ends = Vec::new();
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                // A ring, and others; now and then two between the same clusters.
                let is_ring = to == (from + 1) % count;
                let links = usize::from(is_ring || rng.random_range(0..4) == 0);
                ends.extend(std::iter::repeat_n(
                    (from, to),
                    links + usize::from(rng.random_range(0..12) == 0),
                ));
            }
        }
        let links = ends.into_iter().filter_map(|ends| link(ends, rng)).collect();
        let receivers = (0..count).flat_map(|cluster| std::iter::repeat_n(cluster, rng.random_range(0..3)));
        let receivers: Vec<usize> = receivers.collect();
        let receivers = receivers.into_iter().filter_map(|cluster| receiver(cluster, rng)).collect();
        let mut emitters = Vec::new();
        for cluster in 0..count {
            for _ in 0..rng.random_range(1..4) {
                let kind = KINDS[rng.random_range(0..KINDS.len())];
                let host = emitters.len().to_string();
                if let Ok(tags) = TagSet::new([("host", host.as_str()), ("kind", kind)]) {
                    emitters.push(Emitter { cluster, tags });
                }
            }
        }
        Self { routers, links, receivers, emitters }
    }
}

fn link((from, to): (usize, usize), rng: &mut Pcg64Mcg) -> Option<(Link, LinkRule)> {
    let mut texts = vec!["*".to_owned()];
    if rng.random() {
        texts = KINDS.iter().filter(|_| rng.random()).map(|kind| format!("kind={kind}")).collect();
    }
    let select = AllowList::read(&texts).ok()?;
    let max_hops = rng.random_range(1..5);
    let demand = rng.random_range(0..4) > 0;
    let rule = LinkRule {
        name: format!("from {from} to {to}"),
        select,
        confirms: rng.random(),
        max_hops,
        spool_bytes: SPOOL_BYTES,
        set: std::collections::BTreeMap::new(),
        drop: Vec::new(),
        demand,
        packs: from % 2 == 0,
    };
    let select = texts.iter().filter_map(|text| Selector::parse(text).ok()).collect();
    Some((Link { from, to, select, hops_max: max_hops.into(), demand }, rule))
}

fn receiver(cluster: usize, rng: &mut Pcg64Mcg) -> Option<Receiver> {
    let text = match rng.random_range(0..4) {
        0 => "*".to_owned(),
        1 => format!("host={}", rng.random_range(0..6)),
        _ => format!("kind={}", KINDS[rng.random_range(0..KINDS.len())]),
    };
    Some(Receiver { cluster, select: Selector::parse(&text).ok()? })
}

fn router(cluster: usize, rng: &mut Pcg64Mcg) -> RouterSetup {
    let number = u32::try_from(cluster).unwrap_or(u32::MAX);
    let (router, cores) = (RouterId(100 + cluster as u64), rng.random_range(1..3));
    let address = format!("cluster-{cluster}:7400");
    let mut core = CoreConfig::new(router, Incarnation(0), 0, cores);
    // Both sides of a core's mailbox hash tags alike.
    let seed = rng.random();
    core.seed = seed;
    core.features = core.features.with(feature::FORWARDING).with(feature::PACKED);
    let control = ControlConfig {
        cluster: id(cluster),
        seed,
        ..ControlConfig::new(router, Incarnation(0), address.clone(), cores)
    };
    let mail_delay = Duration::from_micros(1 << rng.random_range(4..10));
    RouterSetup { index: number, id: router, address, core, control, rules: None, disk: None, mail_delay }
}
