//! The stretches of a round, the same for every system, and what is measured in them.

use std::time::{Duration, Instant};

use millrace_measure::kernel;
use serde::{Deserialize, Serialize};

use super::error::DriveError;
use super::link::{Link, TURN_MAX};
use crate::load::Load;

/// At the end of a stretch, how long nothing may arrive before what is missing counts as lost: long
/// against what a starved host takes to repeat a packet.
const QUIET: Duration = Duration::from_secs(10);

/// The stretches of one round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Stretches {
    /// Warming up, closed.
    pub warm: Duration,
    /// Saturating, closed; zero leaves it out.
    pub saturate: Duration,
    /// At a rate, open.
    pub paced: Duration,
    /// That rate, events per second.
    pub rate: f64,
}

/// What one round of one system came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Events per second published.
    pub ingress_events_per_s: f64,
    /// Deliveries per second.
    pub egress_events_per_s: f64,
    /// Median latency at the stated load, microseconds.
    pub p50_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
    /// The load at which latency was taken, as it was offered.
    pub paced_events_per_s: f64,
    /// CPU of the server's process per event published.
    pub cpu_ns_per_event: f64,
    /// CPUs that the server's process used.
    pub server_cpus: f64,
    /// CPUs that the generator used.
    pub client_cpus: f64,
    /// CPUs that the host gave to others than this virtual machine, which wanted them.
    #[serde(default)]
    pub stolen_cpus: f64,
    /// Resident memory of the server's process at the end of the stretch that counts.
    pub rss_bytes: u64,
    /// Deliveries that never happened.
    pub lost: u64,
    /// Deliveries that came twice, late, or damaged.
    pub wrong: u64,
}

/// What is read before and after a stretch.
struct Mark {
    at: Instant,
    server_ns: u64,
    rss_bytes: u64,
    client_ns: u64,
    stolen_ns: u64,
    published: u64,
    delivered: u64,
}

fn mark(link: &mut dyn Link, server: u32) -> Mark {
    let (mut published, mut delivered) = (0, 0);
    link.with_load(&mut |load| (published, delivered) = (load.published(), load.delivered()));
    Mark {
        at: Instant::now(),
        server_ns: kernel::process_times(server).ran_ns,
        rss_bytes: kernel::resident_bytes_of(server),
        client_ns: kernel::process_ns(),
        stolen_ns: kernel::stolen_ns(),
        published,
        delivered,
    }
}

/// What happened between two marks.
struct Span {
    ingress: f64,
    egress: f64,
    server_cpus: f64,
    client_cpus: f64,
    stolen_cpus: f64,
    cpu_ns_per_event: f64,
    rss_bytes: u64,
}

impl Span {
    fn between(before: &Mark, after: &Mark) -> Self {
        let seconds = (after.at - before.at).as_secs_f64().max(1e-9);
        let events = (after.published - before.published) as f64;
        let server_ns = after.server_ns.saturating_sub(before.server_ns) as f64;
        Self {
            ingress: events / seconds,
            egress: (after.delivered - before.delivered) as f64 / seconds,
            server_cpus: server_ns / 1e9 / seconds,
            client_cpus: (after.client_ns - before.client_ns) as f64 / 1e9 / seconds,
            stolen_cpus: after.stolen_ns.saturating_sub(before.stolen_ns) as f64 / 1e9 / seconds,
            cpu_ns_per_event: server_ns / events.max(1.0),
            rss_bytes: after.rss_bytes,
        }
    }
}

/// Runs the stretches; `server` is the process that is measured.
///
/// # Errors
/// [`DriveError`].
pub fn drive(link: &mut dyn Link, server: u32, stretches: &Stretches) -> Result<Round, DriveError> {
    stretch(link, server, None, stretches.warm)?;
    let saturated = if stretches.saturate.is_zero() {
        None
    } else {
        Some(stretch(link, server, None, stretches.saturate)?)
    };
    let paced = stretch(link, server, Some(stretches.rate), stretches.paced)?;
    let mut round = None;
    link.with_load(&mut |load| {
        let counted = saturated.as_ref().unwrap_or(&paced);
        let faults = load.faults();
        round = Some(Round {
            ingress_events_per_s: counted.ingress,
            egress_events_per_s: counted.egress,
            p50_us: load.latency().value_at_quantile(0.5),
            p99_us: load.latency().value_at_quantile(0.99),
            paced_events_per_s: paced.ingress,
            cpu_ns_per_event: counted.cpu_ns_per_event,
            server_cpus: counted.server_cpus,
            client_cpus: counted.client_cpus,
            stolen_cpus: counted.stolen_cpus,
            rss_bytes: counted.rss_bytes,
            lost: load.undelivered(),
            wrong: faults.repeated + faults.corrupted,
        });
    });
    round.ok_or_else(|| DriveError::Peer("the load is gone".into()))
}

/// Runs one stretch and lets it settle; figures are those of its length alone.
fn stretch(
    link: &mut dyn Link,
    server: u32,
    rate: Option<f64>,
    length: Duration,
) -> Result<Span, DriveError> {
    link.with_load(&mut |load| load.begin(rate, length));
    let before = mark(link, server);
    while before.at.elapsed() < length {
        link.turn(TURN_MAX)?;
    }
    let span = Span::between(&before, &mark(link, server));
    settle(link)?;
    link.with_load(&mut Load::end);
    Ok(span)
}

/// Goes on until all has arrived, or nothing does any more.
fn settle(link: &mut dyn Link) -> Result<(), DriveError> {
    let mut last = (u64::MAX, Instant::now());
    loop {
        let mut undelivered = 0;
        link.with_load(&mut |load| undelivered = load.undelivered());
        if undelivered != last.0 {
            last = (undelivered, Instant::now());
        }
        if undelivered == 0 || last.1.elapsed() > QUIET {
            return Ok(());
        }
        link.turn(TURN_MAX)?;
    }
}
