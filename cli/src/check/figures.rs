//! What is looked at, and when it is bad unless the command line says otherwise.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::range::Range;
use crate::admin::pages::Status;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    Ready,
    Degraded,
    Peers,
    Drops,
    UdpDrops,
    Queue,
    Busy,
    Certificate,
    In,
    Out,
}

/// Two looks at one router.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) before: Status,
    pub(super) after: Status,
    pub(super) apart: Duration,
}

impl Figure {
    /// All, in the order in which they are shown.
    pub(crate) const ALL: [Self; 10] = [
        Self::Ready,
        Self::Degraded,
        Self::Peers,
        Self::Drops,
        Self::UdpDrops,
        Self::Queue,
        Self::Busy,
        Self::Certificate,
        Self::In,
        Self::Out,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Peers => "peers",
            Self::Drops => "drops",
            Self::UdpDrops => "udp_drops",
            Self::Queue => "queue",
            Self::Busy => "busy",
            Self::Certificate => "certificate",
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// Its unit in performance data.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Queue | Self::Busy => "%",
            _ => "",
        }
    }

    /// Its unit in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Queue | Self::Busy => " %",
            Self::Certificate => " days",
            Self::Drops | Self::UdpDrops | Self::In | Self::Out => "/s",
            Self::Ready | Self::Degraded | Self::Peers => "",
        }
    }

    /// Within which it is worth no warning.
    pub(super) fn warning(self, looks: &Looks) -> Option<Range> {
        match self {
            Self::Degraded | Self::Drops | Self::UdpDrops => Some(Range::up_to(0.0)),
            Self::Queue => Some(Range::up_to(80.0)),
            Self::Busy => Some(Range::up_to(95.0)),
            Self::Certificate => Some(Range::from(looks.renewal_days())),
            Self::Ready | Self::Peers | Self::In | Self::Out => None,
        }
    }

    /// Within which it is not critical.
    pub(super) fn critical(self, looks: &Looks) -> Option<Range> {
        match self {
            Self::Ready => Some(Range::from(1.0)),
            Self::Queue => Some(Range::up_to(95.0)),
            Self::Certificate => Some(Range::from(rounded(looks.renewal_days() * 3.0 / 14.0))),
            _ => None,
        }
    }

    /// Its value; `None` where the router does not have it.
    pub(super) fn value(self, looks: &Looks, now: SystemTime) -> Option<f64> {
        let Looks { before, after, .. } = looks;
        let value = match self {
            Self::Ready => f64::from(u8::from(after.ready)),
            Self::Degraded => f64::from(u8::from(after.degraded)),
            Self::Peers => after.peers_in("linked") as f64,
            Self::Drops => looks.rate(|status| status.sum(|core| core.dropped)),
            Self::UdpDrops => looks.rate(|status| status.metric("udp_drops")),
            Self::In => looks.rate(|status| status.sum(|core| core.events_in)),
            Self::Out => looks.rate(|status| status.sum(|core| core.events_out)),
            Self::Queue => {
                let budget = after.metric("queue_budget_bytes");
                if budget == 0 {
                    return None;
                }
                after.sum(|core| core.queued_bytes) as f64 * 100.0 / budget as f64
            }
            Self::Busy => {
                let busy = after.cores.iter().map(|core| {
                    let earlier = before.cores.iter().find(|other| other.core == core.core);
                    let earlier = earlier.filter(|_| before.incarnation == after.incarnation);
                    let (time, awake) = earlier.map_or((0.0, 0.0), |one| (one.uptime_s, one.awake_s()));
                    (core.awake_s() - awake) * 100.0 / (core.uptime_s - time).max(1e-3)
                });
                busy.fold(0.0, f64::max).clamp(0.0, 100.0)
            }
            Self::Certificate => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                (after.certificate_expiry? as f64 - now) / 86_400.0
            }
        };
        Some(rounded(value))
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Looks {
    /// How many days before its end the certificate should be renewed: 14, less for one that does
    /// not live for months.
    fn renewal_days(&self) -> f64 {
        let Status { certificate_expiry, certificate_renewal, .. } = &self.after;
        match (certificate_expiry, certificate_renewal) {
            (Some(expiry), Some(renewal)) => rounded((expiry - renewal) as f64 / 86_400.0),
            _ => 14.0,
        }
    }

    /// A counter's growth per second; of a router that was started anew, since then.
    fn rate(&self, counter: impl Fn(&Status) -> u64) -> f64 {
        let is_same = self.before.incarnation == self.after.incarnation;
        let before = if is_same { counter(&self.before) } else { 0 };
        counter(&self.after).saturating_sub(before) as f64 / self.apart.as_secs_f64().max(1e-3)
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|figure| figure.name() == text).ok_or_else(|| {
            format!("{text:?} is no figure; figures are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}
