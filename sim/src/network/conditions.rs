//! What the faults of the moment do to packets: who hears whom, how late, with how much loss.

use std::time::Duration;

use millrace_verify::fault::{Fault, Path};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::packet::Host;

/// Times that a packet is sent again before it is taken as arrived all the same.
const RETRANSMITS_MAX: u32 = 6;

/// Times of an undisturbed network.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// One way, at least.
    pub base: Duration,
    /// More than that, at most, at random.
    pub jitter: Duration,
    /// What a lost packet costs: it is sent again after this time.
    pub retransmit: Duration,
}

/// The faults of the moment.
#[derive(Debug)]
pub struct Conditions {
    latency: Latency,
    active: Vec<Fault>,
}

impl Conditions {
    /// No faults.
    #[must_use]
    pub const fn new(latency: Latency) -> Self {
        Self { latency, active: Vec::new() }
    }

    /// A fault begins.
    pub fn begin(&mut self, fault: Fault) {
        self.active.push(fault);
    }

    /// A fault ends.
    pub fn end(&mut self, fault: &Fault) {
        if let Some(at) = self.active.iter().position(|other| other == fault) {
            self.active.remove(at);
        }
    }

    /// Whether nothing of what `from` sends arrives at `to`.
    #[must_use]
    pub fn cut(&self, from: Host, to: Host) -> bool {
        self.active.iter().any(|fault| match *fault {
            Fault::PartitionOneWay { from: a, to: b } => (from, to) == (Host::Router(a), Host::Router(b)),
            Fault::PartitionTwoWay { a, b } => is_between(from, to, a, b),
            // A stopped process sends nothing; what is sent to it waits there.
            Fault::Pause { router } => from == Host::Router(router),
            Fault::Crash { router } | Fault::Restart { router } => {
                from == Host::Router(router) || to == Host::Router(router)
            }
            _ => false,
        })
    }

    /// How long one packet takes.
    pub fn delay(&self, rng: &mut Pcg64Mcg, from: Host, to: Host) -> Duration {
        let mut delay = self.latency.base + up_to(rng, self.latency.jitter);
        for fault in &self.active {
            match *fault {
                Fault::Delay { path, extra_ns, jitter_ns } if is_on(path, from, to) => {
                    delay += Duration::from_nanos(extra_ns) + up_to(rng, Duration::from_nanos(jitter_ns));
                }
                Fault::Loss { path, per_mille } if is_on(path, from, to) => {
                    for _ in 0..RETRANSMITS_MAX {
                        if rng.random_range(0..1000) >= per_mille {
                            break;
                        }
                        delay += self.latency.retransmit;
                    }
                }
                _ => {}
            }
        }
        delay
    }
}

/// A random time up to `longest`.
pub fn up_to(rng: &mut Pcg64Mcg, longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(rng.random_range(0..=nanos))
}

fn is_on(path: Path, from: Host, to: Host) -> bool {
    match path {
        Path::Routers { a, b } => is_between(from, to, a, b),
        Path::Clients { router } => match (from, to) {
            (Host::Router(it), Host::Client(_)) | (Host::Client(_), Host::Router(it)) => it == router,
            _ => false,
        },
    }
}

fn is_between(from: Host, to: Host, a: u32, b: u32) -> bool {
    let (a, b) = (Host::Router(a), Host::Router(b));
    (from, to) == (a, b) || (from, to) == (b, a)
}
