//! `/metrics`: all counters as OpenMetrics text, made anew for each scrape from the cores' own numbers.

use std::fmt;

use millrace_engine::control::PeerState;
use millrace_engine::core::DropReason;
use millrace_proto::CloseCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::ending::Ending;
use crate::handle::Seen;
use crate::metrics::CoreSnapshot;

/// The page.
///
/// # Errors
/// None that is known: the encoder writes to memory.
pub(super) fn encode(seen: &Seen) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(seen.clone())));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Page(Seen);

type Label = (&'static str, String);

/// Counts, and levels, each per core: name without prefix, help, value.
type PerCore = (&'static str, &'static str, fn(&CoreSnapshot) -> u64);

const COUNTERS: &[PerCore] = &[
    ("ingress_events", "Events read from publishers", |core| core.engine.events_in),
    ("ingress_bytes", "Bytes read from publishers", |core| core.engine.bytes_in),
    ("ingress_runs", "Runs read from publishers", |core| core.engine.runs_in),
    ("egress_events", "Events written to receivers", |core| core.engine.events_out),
    ("egress_bytes", "Bytes written to receivers", |core| core.engine.bytes_out),
    ("peer_ingress_events", "Events read from peers", |core| core.engine.events_from_peers),
    ("peer_egress_events", "Events written to peers", |core| core.engine.events_to_peers),
    ("sibling_ingress_events", "Events read from sibling cores", |core| core.engine.events_from_siblings),
    ("sibling_egress_events", "Events written to sibling cores", |core| core.engine.events_to_siblings),
    ("unmatched_events", "Events that nobody wanted", |core| core.engine.events_unmatched),
    ("gaps", "Gap markers written to receivers", |core| core.engine.gaps),
    ("subscriptions_refused", "Subscriptions refused", |core| core.engine.refused),
    ("frames_skipped", "Frames of unknown types that may be skipped", |core| core.engine.frames_skipped),
    ("paused_turns", "Turns that left publishers unread for a slow sibling", |core| core.engine.paused_turns),
    (
        "control_paused",
        "Control streams left unread: control did not keep up, a turn had no more time, or too many of a client's selectors were being read",
        |core| core.engine.control_paused,
    ),
    ("lane_skips", "Lane seqs skipped by peers without a gap", |core| core.engine.lane_skips),
    ("lane_epochs_wrong", "Lanes whose runs began with another epoch", |core| core.engine.lane_epochs_wrong),
    ("lane_stops", "Lanes closed because the peer stopped or reset a stream", |core| core.engine.lane_stops),
    ("route_cache_hits", "Routes answered from the cache", |core| core.routes.hits),
    ("route_cache_confirmed", "Stale routes found unchanged", |core| core.routes.confirmed),
    ("route_cache_patched", "Stale routes brought up to date by the log", |core| core.routes.patched),
    ("route_cache_rebuilt", "Routes matched anew", |core| core.routes.rebuilt),
    ("route_cache_evicted", "Routes that made room", |core| core.routes.evicted),
    ("turns", "Turns of the loop", |core| core.quic.turns),
    ("sleeps", "Turns that slept", |core| core.quic.sleeps),
    ("datagrams_in", "QUIC datagrams received", |core| core.quic.datagrams_in),
    ("datagrams_out", "QUIC datagrams sent", |core| core.quic.datagrams_out),
    ("datagram_bytes_in", "UDP payload received", |core| core.quic.bytes_in),
    ("datagram_bytes_out", "UDP payload sent", |core| core.quic.bytes_out),
    ("receive_calls", "System calls that receive", |core| core.quic.receive_calls),
    ("send_calls", "System calls that send", |core| core.quic.send_calls),
    ("send_blocked", "Times that the kernel took no more datagrams", |core| core.quic.send_blocked),
    ("socket_errors", "Errors of sockets", |core| core.quic.socket_errors),
    ("packets_lost", "QUIC packets declared lost", |core| core.packets_lost),
    ("udp_drops", "Datagrams dropped by the kernel, receive buffer full", |core| core.kernel_drops),
    ("foreign_segments_out", "Segments that belonged to a sibling core", |core| core.quic.foreign_out),
    ("foreign_segments_in", "Segments that a sibling core received for this one", |core| {
        core.quic.foreign_in
    }),
    ("stateless_answers", "Stateless resets and version negotiations sent", |core| core.quic.answers),
    ("dials", "Connections dialled", |core| core.quic.dials),
    ("dials_refused", "Dials that could not be begun", |core| core.shell.dials_refused),
    ("strangers", "Dials answered by what is no router of this cluster", |core| core.shell.strangers),
    ("mailbox_batches_out", "Batches handed to siblings", |core| core.shell.batches_out),
    ("mailbox_batches_in", "Batches taken from siblings", |core| core.shell.batches_in),
    ("mailbox_malformed", "Batches of siblings that could not be read", |core| core.shell.batches_malformed),
    ("selectors_read", "Subscriptions whose selectors were read", |core| core.shell.selectors_read),
    ("selectors_bad", "Subscriptions with selectors that are not valid", |core| core.shell.selectors_bad),
    ("selectors_overload", "Subscriptions refused, too many selectors wait to be read", |core| {
        core.shell.selectors_overload
    }),
    ("mail_held", "Turns that ended with mail that did not fit", |core| core.shell.mail_held),
];

const LEVELS: &[PerCore] = &[
    ("connections", "Connections, those that are closing included", |core| core.connections),
    ("clients", "Client sessions", |core| core.engine.clients),
    ("receivers", "Receivers", |core| core.engine.receivers),
    ("selectors", "Selectors of receivers", |core| core.engine.selectors),
    ("lanes", "Lanes that carry events", |core| core.engine.lanes),
    ("queued_bytes", "Bytes that wait for receivers", |core| core.queued.bytes),
    ("queued_receivers", "Receivers for which bytes wait", |core| core.queued.receivers),
    ("stream_ahead_bytes", "Bytes in receivers' streams that their hosts have not acknowledged", |core| {
        core.queued.ahead_bytes
    }),
    ("mailbox_depth", "Batches that wait for siblings", |core| core.mailbox_depth),
    ("mailbox_depth_max", "Most batches that waited in one mailbox at once", |core| {
        core.shell.mailbox_depth_max
    }),
    ("route_cache_entries", "Routes in the cache", |core| core.routes.entries),
    ("route_cache_bytes", "Memory of the route cache", |core| core.routes.bytes),
];

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = &self.0;
        for &(name, help, value) in COUNTERS {
            let rows = seen.cores.iter().map(|core| (vec![label_core(core)], value(core)));
            counters(&mut encoder, name, help, rows)?;
        }
        for &(name, help, value) in LEVELS {
            let rows = seen.cores.iter().map(|core| (vec![label_core(core)], value(core)));
            levels(&mut encoder, name, help, rows)?;
        }
        self.by_reason(&mut encoder)?;
        self.times(&mut encoder)?;
        self.mesh(&mut encoder)
    }
}

impl Page {
    fn by_reason(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cores = &self.0.cores;
        let dropped = cores.iter().flat_map(|core| {
            DropReason::ALL.into_iter().map(|reason| {
                let labels = vec![label_core(core), ("reason", reason.name().to_owned())];
                (labels, core.engine.dropped[reason as usize])
            })
        });
        counters(encoder, "dropped_events", "Events not delivered where they were wanted", dropped)?;
        let closed = cores.iter().flat_map(|core| {
            CloseCode::ALL
                .into_iter()
                .map(|code| (vec![label_core(core), ("code", code.name().to_owned())], core.closed(code)))
        });
        counters(encoder, "closed_connections", "Connections closed by this router", closed)?;
        let ended = cores.iter().flat_map(|core| {
            Ending::ALL.into_iter().map(|ended| {
                let labels = vec![label_core(core), ("reason", ended.name().to_owned())];
                (labels, core.shell.ended[ended as usize])
            })
        });
        counters(encoder, "ended_connections", "Connections that ended, by how", ended)?;
        let handshakes = cores.iter().flat_map(|core| {
            let quic = &core.quic;
            let steps = [
                ("accepted", quic.handshakes_accepted),
                ("retried", quic.handshakes_retried),
                ("refused", quic.handshakes_refused),
                ("failed", quic.handshakes_failed),
            ];
            steps.map(|(step, count)| (vec![label_core(core), ("outcome", step.to_owned())], count))
        });
        counters(encoder, "handshakes", "Incoming handshakes", handshakes)?;
        let datagrams = cores.iter().flat_map(|core| {
            let drops = &core.quic.drops;
            let reasons = [
                ("admission_full", drops.admission_full),
                ("admission_expired", drops.admission_expired),
                ("not_accepting", drops.not_accepting),
                ("answer_budget", drops.answer_budget),
                ("answer_blocked", drops.answer_blocked),
                ("foreign", drops.foreign),
                ("send_error", drops.send_error),
                ("too_large", drops.too_large),
                ("socket_gone", drops.socket_gone),
                ("unroutable", drops.unroutable),
                ("wake_overflow", drops.wake_overflow),
            ];
            reasons.map(|(reason, count)| (vec![label_core(core), ("reason", reason.to_owned())], count))
        });
        counters(encoder, "dropped_datagrams", "Datagrams given up", datagrams)
    }

    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cores = &self.0.cores;
        let cpu = cores.iter().map(|core| (vec![label_core(core)], core.cpu.as_secs_f64()));
        let name = "millrace_cpu_seconds";
        let mut family =
            encoder.encode_descriptor(name, "CPU time of a core's thread", None, MetricType::Counter)?;
        for (labels, seconds) in cpu {
            ConstCounter::new(seconds).encode(family.encode_family(&labels)?)?;
        }
        let name = "millrace_busy_share";
        let help = "Part of its life that a core was awake, 0 to 1";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for core in cores {
            ConstGauge::new(core.busy_share()).encode(family.encode_family(&vec![label_core(core)])?)?;
        }
        Ok(())
    }

    fn mesh(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (status, control) = (&self.0.status, &self.0.control);
        let states =
            [PeerState::Known, PeerState::Linking, PeerState::Linked, PeerState::Suspect, PeerState::Leaving];
        let peers = states.map(|state| {
            let count = status.peers.iter().filter(|peer| peer.state == state).count();
            (vec![("state", state.name().to_owned())], count as u64)
        });
        levels(encoder, "mesh_peers", "Known routers", peers)?;
        let flags = [
            ("ready", "Whether clients should come", status.ready()),
            ("synced", "Whether publishers get credit", status.synced),
            ("degraded", "Whether others reach a router that this one does not", status.degraded),
            ("draining", "Whether this router goes away", status.draining),
        ];
        for (name, help, is_so) in flags {
            level(encoder, name, help, u64::from(is_so))?;
        }
        let sizes = [
            ("directory_entries", "Pairs of selector and location", status.directory_entries as u64),
            ("directory_version", "Newest version of the directory", status.directory_version),
            ("interest_entries", "Selectors told to peers", status.interest_entries as u64),
            ("control_outputs", "Messages of control that wait for a core", status.outputs as u64),
            ("interest_waiting", "Changes of interest not yet effective everywhere", status.waiting as u64),
        ];
        for (name, help, size) in sizes {
            level(encoder, name, help, size)?;
        }
        let events = [
            ("dials", control.dials),
            ("dials_failed", control.dials_failed),
            ("lanes_accepted", control.lanes_accepted),
            ("lanes_lost", control.lanes_lost),
            ("doubles_closed", control.doubles_closed),
            ("wrong_direction", control.wrong_direction),
            ("own_address", control.own_address),
            ("id_conflicts", control.id_conflicts),
            ("version_refused", control.version_refused),
            ("hellos_refused", control.hellos_refused),
            ("frames_unexpected", control.frames_unexpected),
            ("snapshots_sent", control.snapshots_sent),
            ("snapshots_applied", control.snapshots_applied),
            ("deltas_sent", control.deltas_sent),
            ("deltas_applied", control.deltas_applied),
            ("deltas_out_of_order", control.deltas_out_of_order),
            ("digests_ok", control.digests_ok),
            ("digests_mismatched", control.digests_mismatched),
            ("interest_refused", control.interest_refused),
            ("interest_overflows", control.interest_overflows),
            ("suspects", control.suspects),
            ("recovered", control.recovered),
            ("forgotten", control.forgotten),
            ("peers_refused", control.peers_refused),
            ("directory_versions", control.directory_versions),
            ("waiting_overflows", control.waiting_overflows),
            ("gossip_cut", control.gossip_cut),
            ("outputs_held", control.outputs_held),
        ];
        let rows = events.map(|(event, count)| (vec![("event", event.to_owned())], count));
        counters(encoder, "mesh_events", "What happened in the mesh and the directory", rows)
    }
}

fn label_core(core: &CoreSnapshot) -> Label {
    ("core", core.core.to_string())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Vec<Label>, u64)>,
) -> Result<(), fmt::Error> {
    let name = format!("millrace_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
    for (labels, count) in rows {
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn levels(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Vec<Label>, u64)>,
) -> Result<(), fmt::Error> {
    let name = format!("millrace_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for (labels, level) in rows {
        // Levels beyond 2^63 do not occur; they would be shown as that.
        let level = i64::try_from(level).unwrap_or(i64::MAX);
        ConstGauge::new(level).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A level of the whole router: no labels.
fn level(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, level: u64) -> Result<(), fmt::Error> {
    let name = format!("millrace_{name}");
    let level = i64::try_from(level).unwrap_or(i64::MAX);
    ConstGauge::new(level).encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)
}
