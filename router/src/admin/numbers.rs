//! `/metrics`: every number of the router, made anew for each scrape from the tables that declare
//! them.

use millrace_engine::control::{ControlMetrics, PeerState, PeerStatus, Status};
use millrace_engine::core::CoreMetrics;
use millrace_engine::forward::LinkCounters;
use millrace_engine::metrics::{Kind, Metric, Read};
use millrace_engine::rights::UsageMetrics;
use millrace_engine::routes::RouteCacheMetrics;

use super::look::Look;
use super::text::{Format, Label, Page};
use super::{forwards, process, rules, tags};
use crate::canary::CanaryMetrics;
use crate::clock::unix_now_ns;
use crate::files::FilesMetrics;
use crate::metrics::{self, CoreSnapshot, ShellMetrics};
use crate::view::View;

/// Tags that `/metrics` shows: enough for a table, and few as series go.
const HOT_TAGS: usize = 10;

/// The page.
pub(super) fn page(view: &View, look: &Look, format: Format) -> String {
    let mut page = Page::new(format);
    about(&mut page, view, look);
    cores(&mut page, &look.seen.cores);
    page.declared(STATUS, &[(Vec::new(), &look.seen.status)]);
    page.declared(ControlMetrics::DECLARED, &[(Vec::new(), &look.seen.control)]);
    peers(&mut page, &look.seen.status.peers);
    identities(&mut page, view);
    rules::write(&mut page, &look.seen.cores);
    links(&mut page, view);
    forwards::write(&mut page, &look.seen.cores);
    if let Some(files) = &view.files {
        page.declared(FilesMetrics::DECLARED, &[(Vec::new(), &files.metrics(unix_now_ns()))]);
    }
    canary(&mut page, view, &look.seen.status.peers);
    hot(&mut page, &look.seen.cores);
    process::write(&mut page);
    page.finish()
}

/// What control knows of the whole router.
const STATUS: &[Metric<Status>] = &[
    level("ready", "Whether clients should come", |status| u64::from(status.ready())),
    level("synced", "Whether publishers get credit", |status| u64::from(status.synced)),
    level(
        "joined",
        "Whether this router was linked with enough others, or has waited long enough",
        |status| u64::from(status.joined),
    ),
    level("degraded", "Whether something is wrong with this router's place in the mesh", |status| {
        u64::from(status.degraded)
    }),
    level("twin", "Whether another process has this router's id", |status| u64::from(status.twin)),
    level("mesh_unanswered", "Addresses and names of routers at which nobody has answered", |status| {
        status.unanswered
    }),
    level(
        "interest_coarse",
        "Whether this router asks its peers for every event, having too many selectors",
        |status| u64::from(status.coarse),
    ),
    level("hidden", "Whether peers are asked to tell nobody of this router", |status| {
        u64::from(status.hidden)
    }),
    level(
        "rebalancing",
        "Whether clients are asked to move, because this router has more than others",
        |status| u64::from(status.rebalancing),
    ),
    level("draining", "Whether this router goes away", |status| u64::from(status.draining)),
    level("directory_entries", "Pairs of selector and location", |status| status.directory_entries as u64),
    level("directory_version", "Newest version of the directory", |status| status.directory_version),
    level("interest_entries", "Selectors told to peers", |status| status.interest_entries as u64),
    level("interest_waiting", "Changes of interest not yet effective everywhere", |status| {
        status.waiting as u64
    }),
    level("control_outputs", "Messages of control that wait for a core", |status| status.outputs as u64),
    Metric {
        name: "mesh_peers",
        help: "Known routers by state",
        kind: Kind::Level,
        read: Read::ByLabel {
            label: "state",
            rows: |status, row| {
                for state in PeerState::ALL {
                    let count = status.peers.iter().filter(|peer| peer.state == state).count();
                    row(state.name(), count as u64);
                }
            },
        },
    },
];

/// What control knows of each peer.
const PEER: &[Metric<PeerStatus>] = &[
    Metric {
        name: "mesh_peer_state",
        help: "1 for the state in which this peer is, 0 for the others",
        kind: Kind::Level,
        read: Read::ByLabel {
            label: "state",
            rows: |peer, row| {
                PeerState::ALL.iter().for_each(|&state| row(state.name(), u64::from(peer.state == state)))
            },
        },
    },
    Metric {
        name: "mesh_peer_lanes",
        help: "Lanes to this peer that are up",
        kind: Kind::Level,
        read: Read::Number(|peer| peer.lanes_up as u64),
    },
    Metric {
        name: "mesh_peer_interest_entries",
        help: "Selectors of this peer that are held here",
        kind: Kind::Level,
        read: Read::Number(|peer| peer.interest as u64),
    },
    Metric {
        name: "mesh_peer_reached_by",
        help: "Linked routers that say they are linked with this peer",
        kind: Kind::Level,
        read: Read::Number(|peer| peer.reached_by as u64),
    },
    Metric {
        name: "mesh_peer_hidden",
        help: "1 for a peer that asks others to tell nobody of it, else 0",
        kind: Kind::Level,
        read: Read::Number(|peer| u64::from(peer.hidden)),
    },
    Metric {
        name: "mesh_peer_clients",
        help: "Clients that this peer says it has",
        kind: Kind::Level,
        read: Read::Number(|peer| peer.clients.unwrap_or(0)),
    },
];

const fn level(name: &'static str, help: &'static str, number: fn(&Status) -> u64) -> Metric<Status> {
    Metric { name, help, kind: Kind::Level, read: Read::Number(number) }
}

fn about(page: &mut Page, view: &View, look: &Look) {
    page.family("millrace_build_info", Kind::Level, "1; what runs here is in the labels");
    let (router, incarnation) = (view.router.to_string(), view.incarnation.to_string());
    let labels: [Label<'_>; 4] = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("name", &view.name),
        ("router", &router),
        ("incarnation", &incarnation),
    ];
    page.sample(&labels, 1);
    page.family(
        "millrace_certificate_expiry_timestamp_seconds",
        Kind::Level,
        "End of this router's certificate, in seconds since 1970",
    );
    page.sample(&[], view.certificate_expiry());
    page.family(
        "millrace_certificate_renewal_timestamp_seconds",
        Kind::Level,
        "When it should have been renewed: 14 days before its end, or with a quarter of its life left",
    );
    page.sample(&[], view.certificate_renewal());
    page.family(
        "millrace_log_lines_lost",
        Kind::Counter,
        "Log lines of this process that could not be written to standard error",
    );
    page.sample(&[], crate::logs::lost());
    let age = look.control_age.unwrap_or_default().as_secs_f64();
    page.family(
        "millrace_control_age_seconds",
        Kind::Level,
        "Age of what is shown of control: 0 unless it was too busy to answer",
    );
    page.sample(&[], age);
    page.family("millrace_silent_cores", Kind::Level, "Cores that did not answer this request");
    page.sample(&[], look.silent_cores.len());
}

fn cores(page: &mut Page, cores: &[CoreSnapshot]) {
    let names: Vec<String> = cores.iter().map(|core| core.core.to_string()).collect();
    let named = || names.iter().map(|name| vec![("core", name.as_str())]).zip(cores);
    fn of<'a, T>(
        named: impl Iterator<Item = (Vec<Label<'a>>, &'a CoreSnapshot)>,
        part: impl Fn(&'a CoreSnapshot) -> &'a T,
    ) -> Vec<(Vec<Label<'a>>, &'a T)> {
        named.map(|(labels, core)| (labels, part(core))).collect()
    }
    page.declared(CoreMetrics::DECLARED, &of(named(), |core| &core.engine));
    page.declared(RouteCacheMetrics::DECLARED, &of(named(), |core| &core.routes));
    page.declared(ShellMetrics::DECLARED, &of(named(), |core| &core.shell));
    page.declared(metrics::DECLARED, &of(named(), |core| core));
}

/// What is hot now, from the cores' samples: the one label whose values change with the load, so
/// that it has few.
fn hot(page: &mut Page, cores: &[CoreSnapshot]) {
    page.family(
        "millrace_hot_tag_share",
        Kind::Level,
        "The tags that most events have, and the part of all events that has them, 0 to 1: a sample of the last million runs",
    );
    for (tag, share) in tags::hottest(cores, HOT_TAGS) {
        page.sample(&[("tag", &tag)], format_args!("{share:.4}"));
    }
    page.family(
        "millrace_hot_shard_share",
        Kind::Level,
        "The part of a core's events that its busiest shard has, 0 to 1: with one near 1, more cores do not help",
    );
    for core in cores {
        let busiest = core.hot.shards.first().map_or(0, |&(_, weight)| weight);
        let share = busiest as f64 / core.hot.weight.max(1) as f64;
        page.sample(&[("core", &core.core.to_string())], format_args!("{share:.4}"));
    }
}

/// Round trips of the canary by way of each router.
fn canary(page: &mut Page, view: &View, peers: &[PeerStatus]) {
    let measured = view.canary.routers();
    let named: Vec<(String, &str, &CanaryMetrics)> = measured
        .iter()
        .map(|(router, metrics)| {
            let peer = peers.iter().find(|peer| peer.router == *router);
            (router.to_string(), peer.map_or(view.name.as_str(), |peer| peer.name.as_str()), metrics)
        })
        .collect();
    let labelled: Vec<_> = named
        .iter()
        .map(|(router, name, metrics)| (vec![("router", router.as_str()), ("name", *name)], *metrics))
        .collect();
    page.declared(CanaryMetrics::DECLARED, &labelled);
}

/// What was taken by identities with a quota: a series for each entry of the configuration, never
/// for a client.
fn identities(page: &mut Page, view: &View) {
    let entries = view.meters.usage();
    let named: Vec<_> =
        entries.iter().map(|entry| (vec![("identity", entry.entry.as_str())], &entry.used)).collect();
    if !named.is_empty() {
        page.declared(UsageMetrics::DECLARED, &named);
    }
}

/// Links to other clusters, by name.
fn links(page: &mut Page, view: &View) {
    let links = view.links.status(view.clock);
    let named: Vec<_> =
        links.iter().map(|(_, link)| (vec![("link", link.name.as_str())], &link.counters)).collect();
    if !named.is_empty() {
        page.declared(LinkCounters::DECLARED, &named);
    }
}

fn peers(page: &mut Page, peers: &[PeerStatus]) {
    let ids: Vec<String> = peers.iter().map(|peer| peer.router.to_string()).collect();
    let named: Vec<_> = peers
        .iter()
        .zip(&ids)
        .map(|(peer, id)| (vec![("router", id.as_str()), ("name", peer.name.as_str())], peer))
        .collect();
    page.declared(PEER, &named);
}
