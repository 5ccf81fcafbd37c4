//! The router's log lines about the mesh and about dropped events: one line each, with peer and
//! cause.
//!
//! Control limits its notices itself. The herald finds overflows in the cores' counters, so that no
//! event waits for a log line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::control::{Notice, Refusal, Said, Suspicion, Trouble};
use millrace_engine::core::{CoreMetrics, DropReason};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::view::View;

/// Time between two looks at the counters, and so the shortest time between two lines about one
/// reason.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long cores may take to answer a look.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Writes a notice of control to the log.
pub(crate) fn tell(said: &Said) {
    let router = said.notice.router().map(tracing::field::display);
    // Peers choose their names and addresses: escaped, so that no control character reaches a
    // terminal.
    let name = said.peer.as_ref().map(|(name, _)| tracing::field::debug(name));
    let advertise = said.peer.as_ref().map(|(_, advertise)| tracing::field::debug(advertise));
    let left_out = (said.left_out > 0).then_some(said.left_out);
    macro_rules! say {
        ($level:ident, $($text:tt)+) => { tracing::$level!(router, name, advertise, left_out, $($text)+) };
    }
    match &said.notice {
        Notice::Linked(_) => say!(info, "linked with a router"),
        Notice::Healed(_) => say!(info, "linked again with a router that was suspect"),
        Notice::Suspect { cause, .. } => {
            say!(
                warn,
                "a router is suspect: {}; its subscriptions stay for mesh.forget_after",
                suspicion(*cause)
            );
        }
        Notice::Forgotten(_) => {
            say!(warn, "a router was not heard for mesh.forget_after: its subscriptions are forgotten")
        }
        Notice::Leaving(_) => say!(info, "a router says that it goes away"),
        Notice::Left(_) => say!(info, "a router has left"),
        Notice::Refused { why, .. } => say!(warn, "a router is refused: {}", refusal(*why)),
        Notice::Twin { name } => say!(
            error,
            "another process, {name:?}, has this router's id or advertises its address: stop one of the two, or give each \
             an --advertise of its own"
        ),
        Notice::Joined { linked, others, timed_out: false } => {
            say!(info, linked, others, "this router has joined the mesh");
        }
        Notice::Joined { linked, others, timed_out: true } => say!(
            warn,
            linked,
            others,
            "this router is ready although it is linked with too few others: mesh.join_timeout is over; look at \
             mesh.seeds, mesh.min_peers, and the network"
        ),
        Notice::Degraded(Some(what)) => say!(warn, "this router is degraded: {}", trouble(*what)),
        Notice::Degraded(None) => say!(info, "this router is not degraded any more"),
        Notice::InterestOverflow(true) => say!(
            warn,
            "this router has more selectors than it tells its peers: it asks them for every event until fewer are left"
        ),
        Notice::Rebalancing { begins: true, clients, mean } => say!(
            info,
            clients,
            mean,
            "this router has more clients than others: it asks some to move, one percent a second; `rebalance = \"off\"` \
             leaves them"
        ),
        Notice::Rebalancing { begins: false, clients, mean } => {
            say!(info, clients, mean, "no more clients are asked to move");
        }
        Notice::InterestOverflow(false) => say!(info, "this router tells its peers each selector again"),
    }
}

const fn suspicion(cause: Suspicion) -> &'static str {
    match cause {
        Suspicion::Lost => "its link was lost",
        Suspicion::LaneLost => "a lane to it was lost",
        Suspicion::Silent => "nothing is heard on a lane to it",
        Suspicion::Deaf => "it is heard, and says that it does not hear this router",
    }
}

const fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::Version => "it speaks another version of the protocol; upgrade the older of the two",
        Refusal::Malformed => "its hello says what cannot be",
        Refusal::Full => "this router knows as many routers as it can",
        Refusal::Cluster => "it is of another cluster (key `cluster`): clusters are joined by [[forward]]",
        Refusal::Impostor => "it says that it is another router; its certificate does not prove that",
        Refusal::Interest => "it told more selectors than a peer may",
    }
}

/// The trouble in words, with the cure.
pub(crate) const fn trouble(what: Trouble) -> &'static str {
    match what {
        Trouble::Twin => {
            "another process has its id or advertises its address; stop one of the two, or give each an advertised address \
             of its own"
        }
        Trouble::Alone => {
            "it is linked with no other router, and there should be some; look at mesh.seeds and the network"
        }
        Trouble::Unreached => {
            "others answer it, and none of them reaches the address that it advertises; look at `advertise` and at \
             firewalls in front of it"
        }
        Trouble::Unlinked => {
            "it does not reach a router that others reach; look at the network between the two"
        }
    }
}

/// Logs when events begin to be dropped, how many are dropped while it goes on, and when it ends.
/// Runs until the cores end.
pub(crate) async fn watch_overflows(view: Arc<View>) {
    let mut watch = Watch::default();
    loop {
        sleep(LOOK_EVERY).await;
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut cores = view.try_ask_cores(move |snapshot| drop(sender.send(snapshot)));
        let gather = async {
            while let Some(snapshot) = answers.recv().await {
                cores.push(snapshot);
            }
        };
        // A picture without all cores would show counters that fall.
        if timeout(ANSWER_MAX, gather).await.is_err() || cores.len() != usize::from(view.core_count()) {
            continue;
        }
        let dropped = |reason: DropReason| cores.iter().map(|core| drops(&core.engine, reason)).sum::<u64>();
        let refused = cores.iter().map(|core| core.engine.refused).sum();
        let counts = DropReason::ALL.into_iter().map(|reason| (reason.name(), dropped(reason)));
        for (reason, change) in watch.changes(counts) {
            match change {
                Change::Begins(events) => tracing::warn!(reason, events, "events are dropped"),
                Change::GoesOn(events) => tracing::warn!(reason, events, "events are still dropped"),
                Change::Ends => tracing::info!(reason, "no events are dropped any more"),
            }
        }
        for (_, change) in watch.refusals(refused) {
            if let Change::Begins(count) | Change::GoesOn(count) = change {
                tracing::warn!(count, "subscriptions were refused; /metrics has the reasons");
            }
        }
    }
}

fn drops(metrics: &CoreMetrics, reason: DropReason) -> u64 {
    metrics.dropped.get(reason as usize).copied().unwrap_or(0)
}

/// How a counter has changed since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Begins(u64),
    GoesOn(u64),
    Ends,
}

/// Counters as they were at the last look.
#[derive(Debug, Default)]
struct Watch {
    before: BTreeMap<&'static str, (u64, bool)>,
}

impl Watch {
    fn changes(&mut self, counts: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, Change)> {
        let mut changes = Vec::new();
        for (name, count) in counts {
            let (before, was_growing) = self.before.get(name).copied().unwrap_or_default();
            let grown = count.saturating_sub(before);
            self.before.insert(name, (count, grown > 0));
            match (was_growing, grown) {
                (false, 0) => {}
                (true, 0) => changes.push((name, Change::Ends)),
                (false, grown) => changes.push((name, Change::Begins(grown))),
                (true, grown) => changes.push((name, Change::GoesOn(grown))),
            }
        }
        changes
    }

    fn refusals(&mut self, count: u64) -> Vec<(&'static str, Change)> {
        self.changes(std::iter::once(("subscriptions", count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_begins_goes_on_and_ends() {
        let mut watch = Watch::default();
        let mut look = |count| watch.changes(std::iter::once(("receiver_overflow", count))).pop();
        assert_eq!(look(0), None);
        assert_eq!(look(5), Some(("receiver_overflow", Change::Begins(5))));
        assert_eq!(look(7), Some(("receiver_overflow", Change::GoesOn(2))));
        assert_eq!(look(7), Some(("receiver_overflow", Change::Ends)));
        assert_eq!(look(7), None);
    }
}
