//! How receivers are opened, and with which subscriptions.

use millrace_verify::workload::WorkloadError;

use super::plan::FleetPlan;
use super::watch::Slow;
use crate::scenario::Scenario;

/// Bytes of window and of queue that the receiver has, at least, that is going to stall.
const SLOW_BYTES_MIN: u64 = 16 * 1024;

/// A receiver to be opened: its number in the workload, how, and its subscriptions with their
/// selectors' texts.
pub(super) type ReceiverWish = (u32, Opening, Vec<(u32, Vec<String>)>);

/// How a receiver is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) linger_us: u64,
    pub(super) window_bytes: u64,
    pub(super) queue_bytes: u64,
    /// It is one of those that stall.
    pub(super) slow: bool,
}

/// The receivers of one connection.
pub(super) fn receivers_of(plan: &FleetPlan, connection: u32) -> Result<Vec<ReceiverWish>, WorkloadError> {
    let FleetPlan { scenario, generator, .. } = plan;
    let mut receivers = Vec::new();
    for receiver in (connection..scenario.workload.receivers).step_by(scenario.receiver_connections as usize)
    {
        let texts = generator.subscriptions(receiver)?.into_iter().map(|subscription| {
            let texts = subscription.selectors.iter().map(|selector| selector.text().to_owned());
            (subscription.number, texts.collect())
        });
        let is_slow = Slow::of(scenario).includes(receiver);
        let opening = if is_slow { slow_opening(plan, receiver) } else { opening(scenario) };
        receivers.push((receiver, opening, texts.collect()));
    }
    Ok(receivers)
}

/// How receivers are opened.
fn opening(scenario: &Scenario) -> Opening {
    Opening {
        linger_us: u64::try_from(scenario.receive_linger.as_micros()).unwrap_or(u64::MAX),
        window_bytes: scenario.receive_window_bytes,
        queue_bytes: scenario.receive_queue_bytes,
        slow: false,
    }
}

/// How a receiver is opened that is going to stall: with room for so much of its stream that it
/// overflows within a second.
fn slow_opening(plan: &FleetPlan, receiver: u32) -> Opening {
    let FleetPlan { scenario, expected, .. } = plan;
    let workload = &scenario.workload;
    let takes = |&emitter: &u32| expected.receivers(emitter).any(|(other, _)| other == receiver);
    let emitters = (0..workload.emitters).filter(takes).count() as u64;
    let per_second = workload.events_per_second * emitters / u64::from(workload.emitters)
        * u64::from(workload.payload_bytes);
    let bytes = (per_second * 2 / 5).max(SLOW_BYTES_MIN);
    let common = opening(scenario);
    Opening {
        window_bytes: common.window_bytes.min(bytes),
        queue_bytes: common.queue_bytes.min(bytes),
        slow: true,
        ..common
    }
}
