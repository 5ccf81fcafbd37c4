//! Looks at a running cluster: fill levels, and whether everything has settled.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_engine::time::Time;
use millrace_proto::RouterId;
use millrace_verify::checker::Findings;
use millrace_verify::checker::convergence::{self, Directory};

use super::cluster::{Router, World};
use crate::client::Role;
use crate::report::Report;
use crate::router::{MAIL_PLAUSIBLE, MAILBOX_BATCHES};

/// Connections that a small cluster can plausibly have at a time, dead ones included.
const CONNECTIONS_PLAUSIBLE: usize = 1024;
/// Largest queue that a receiver of a scenario asks for.
const QUEUE_BYTES_MAX: u64 = 1 << 20;
/// Largest frame of a scenario with what it defines: by so much may a stream cross the line that
/// bounds it.
const FRAME_PLAUSIBLE: usize = 32 << 10;

impl World {
    /// Looks at fill levels, and whether everything has settled.
    pub(super) fn inspect(&mut self) {
        self.network.sweep();
        let checker = &mut self.record.checker;
        let congestion_window = usize::try_from(self.network.congestion_window()).unwrap_or(usize::MAX);
        for router in &mut self.routers {
            let ahead = router.setup.core.limits.ahead.bytes_min.max(2 * congestion_window) + FRAME_PLAUSIBLE;
            let ahead = ahead as u64;
            let Some(process) = &mut router.process else { continue };
            let (between, control) = process.mailboxes();
            checker.observed("mailbox_batches", between as u64, MAILBOX_BATCHES as u64);
            checker.observed("control_mail", control as u64, MAIL_PLAUSIBLE as u64);
            checker.observed(
                "waiting_subscriptions",
                process.control().status().waiting as u64,
                MAIL_PLAUSIBLE as u64,
            );
            let limits = router.setup.core.routes;
            for core in process.cores() {
                let queued = core.queued();
                let queues = QUEUE_BYTES_MAX * queued.receivers.max(1);
                checker.observed("receiver_queue_bytes", queued.bytes, queues);
                checker.observed("stream_ahead_bytes", queued.ahead_bytes_most, ahead);
                checker.observed("routes", core.routes().metrics().entries, u64::from(limits.entries));
            }
        }
        for client in &self.clients {
            if let Role::Publisher(publisher) = client.role() {
                let (bytes, bound) = publisher.queued();
                checker.observed("publisher_queue_bytes", bytes, bound);
            }
        }
        self.count_holders();
        let Self { crowds, clients, network, record, queue, .. } = self;
        crowds.look(queue.now(), clients, network, &mut record.checker);
        let checker = &mut self.record.checker;
        let (unread, window) = self.network.fullest();
        checker.observed("stream_unread_bytes", unread as u64, window.max(unread as u64));
        checker.observed("connections", self.network.connections() as u64, CONNECTIONS_PLAUSIBLE as u64);
        let now = self.queue.now();
        if now < Time::ZERO + self.scenario.faults_end + Duration::from_millis(500) || self.settled.is_some()
        {
            return;
        }
        if self.is_settled() {
            self.settled = Some(now);
        }
    }

    fn is_settled(&mut self) -> bool {
        let now = self.queue.now();
        let idle = self.clients.iter().all(|client| client.is_settled(now));
        let mut findings = Findings::default();
        if idle {
            let may_be_coarse = self.scenario.may_be_coarse;
            convergence::check(&self.directories(), &self.wanted(), may_be_coarse, &mut findings);
        }
        let synced = self.routers.iter().filter_map(|router| router.process.as_ref()).all(|process| {
            let status = process.control().status();
            status.synced && status.waiting == 0 && !status.degraded
        });
        idle && synced
            && self.record.standby.is_settled()
            && findings.is_empty()
            && self.routers.iter_mut().all(has_nothing_queued)
    }

    fn directories(&self) -> BTreeMap<RouterId, Directory> {
        let live = self.routers.iter().filter_map(|router| Some((router.setup.id, router.process.as_ref()?)));
        live.map(|(id, process)| (id, process.directory())).collect()
    }

    /// Judges the run.
    pub(super) fn finish(mut self) -> Report {
        let now = self.queue.now();
        if self.settled.is_none() {
            self.explain_unrest();
        }
        let (directories, wanted) = (self.directories(), self.wanted());
        self.record.checker.converged(&directories, &wanted, self.scenario.may_be_coarse);
        self.record.standby.finish(&mut self.record.findings);
        for router in 0..self.routers.len() {
            self.collect(router);
        }
        Report::new(
            &self.scenario,
            self.record,
            now,
            self.events,
            self.dropped,
            self.hash.0.digest(),
            self.trace,
        )
    }

    /// Says what keeps the cluster from settling.
    fn explain_unrest(&mut self) {
        let now = self.queue.now();
        let findings = &mut self.record.findings;
        for client in &self.clients {
            if client.is_settled(now) {
                continue;
            }
            let name = if matches!(client.role(), Role::Publisher(_)) {
                "stuck-publisher"
            } else {
                "stuck-receiver"
            };
            findings.add(name, || {
                format!("client {} at router {:?}, {now}: {}", client.index(), client.router(), client.role())
            });
        }
        for router in &mut self.routers {
            let id = router.setup.id;
            let Some(process) = &mut router.process else { continue };
            let status = process.control().status();
            if !status.synced || status.waiting > 0 || status.degraded {
                findings.add("stuck-router", || format!("router {id}: {status:?}"));
            }
            let replays: u64 = process.cores().map(|core| core.queued().replays).sum();
            if replays > 0 {
                findings.add("stuck-router", || format!("router {id}: {replays} receivers read the past"));
            }
            let queued: u64 = process.cores().map(|core| core.queued().bytes).sum();
            if queued > 0 {
                findings.add("stuck-router", || format!("router {id}: {queued} bytes queued for receivers"));
            }
        }
    }
}

fn has_nothing_queued(router: &mut Router) -> bool {
    router.process.as_mut().is_none_or(|process| {
        process.cores().all(|core| {
            let queued = core.queued();
            queued.bytes == 0 && queued.replays == 0
        })
    })
}
