//! A core's thread: turns forever, sleeping only when nothing waits, until it is told to end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace_mailbox::Doorbell;
use millrace_quic::{Core, TurnStats};

use crate::app::CoreApp;
use crate::mail::End;
use crate::metrics::{CoreSnapshot, thread_cpu};

/// The longest sleep. Everything that matters wakes the core earlier.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The end counts as heard when no datagram came or went for so many of the longest round trips,
/// and this time besides: an unacknowledged packet is sent again sooner, after about three.
const QUIET_ROUND_TRIPS: u32 = 4;
const QUIET: Duration = Duration::from_millis(30);
/// How often an ending core looks at its siblings' progress.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Time for close frames to leave.
const CLOSING: Duration = Duration::from_millis(20);

/// One core, ready to run.
pub(crate) struct CoreThread {
    pub(crate) quic: Core<CoreApp>,
    pub(crate) bell: Arc<Doorbell>,
    /// The last picture, which stays after the end.
    pub(crate) last: Arc<Mutex<Option<CoreSnapshot>>>,
}

impl CoreThread {
    /// Runs until the end.
    pub(crate) fn run(mut self) {
        let mut has_more = true;
        loop {
            has_more = self.turn(has_more).has_more;
            match self.quic.app().end() {
                None => {}
                Some(End::Kill) => break,
                Some(End::ShutDown { flush, busy }) => {
                    self.shut_down(flush, &busy);
                    break;
                }
            }
        }
        let snapshot = self.snapshot();
        for inspection in self.quic.app_mut().take_inspections() {
            inspection(snapshot.clone());
        }
        if let Ok(mut last) = self.last.lock() {
            *last = Some(snapshot);
        }
    }

    fn turn(&mut self, has_more: bool) -> TurnStats {
        self.turn_within(if has_more { Duration::ZERO } else { SLEEP_MAX })
    }

    fn turn_within(&mut self, wait: Duration) -> TurnStats {
        let mut wait = wait;
        if !wait.is_zero() {
            self.bell.lie_down();
            if self.quic.app().has_mail() {
                wait = Duration::ZERO;
            }
        }
        let stats = self.quic.turn(wait);
        self.bell.get_up();
        if let Some(entrance) = self.quic.app_mut().take_entrance()
            && let Err(error) = self.quic.set_server(Some(&entrance.server))
        {
            tracing::error!(%error, "this core keeps its old certificate; start the router anew");
        }
        let inspections = self.quic.app_mut().take_inspections();
        if !inspections.is_empty() {
            let snapshot = self.snapshot();
            inspections.into_iter().for_each(|inspection| inspection(snapshot.clone()));
        }
        stats
    }

    /// Ends in order, in step with the other cores: hears clients no more, hands their events to
    /// the owners, finishes lanes, and waits for acknowledgements.
    fn shut_down(&mut self, flush: Duration, busy: &AtomicUsize) {
        let end = Instant::now() + flush;
        self.quic.with_io(|app, io| app.close_clients(io));
        if self.mail_is_over(Instant::now() + flush / 2, busy) {
            self.quic.with_io(|app, io| app.finish_lanes(io));
        }
        let mut heard = Instant::now();
        while Instant::now() < end && self.quic.connections() > 0 {
            let stats = self.turn_within(LOOK_EVERY);
            let rtt = self.quic.with_io(|app, io| app.longest_rtt(io));
            if stats.datagrams_in + stats.datagrams_out > 0
                || !self.quic.app_mut().engine().has_written_lanes()
            {
                heard = Instant::now();
            } else if heard.elapsed() >= QUIET + rtt * QUIET_ROUND_TRIPS {
                break;
            }
        }
        // The turns that follow hand over what history files are to have.
        self.quic.app_mut().engine().end_files();
        self.quic.with_io(|app, io| app.close_all(io));
        let end = Instant::now() + CLOSING;
        loop {
            let stats = self.turn_within(Duration::from_millis(1));
            let is_quiet = !stats.has_more && stats.datagrams_in + stats.datagrams_out == 0;
            if is_quiet || Instant::now() >= end {
                break;
            }
        }
    }

    /// Turns until all cores have sent their last batches; false when one did not in time. Then
    /// lanes are not finished, so that peers learn that events may be missing.
    fn mail_is_over(&mut self, end: Instant, busy: &AtomicUsize) -> bool {
        let mut sending = true;
        loop {
            if sending && !self.quic.app_mut().engine().has_batches() {
                sending = false;
                // Behind the last push, so that a core that reads 0 finds all batches.
                busy.fetch_sub(1, Ordering::AcqRel);
            }
            if busy.load(Ordering::Acquire) == 0 {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            self.turn_within(LOOK_EVERY);
        }
    }

    fn snapshot(&mut self) -> CoreSnapshot {
        let (quic, connections) = (self.quic.metrics().clone(), self.quic.connections() as u64);
        let (kernel_drops, packets_lost) = (self.quic.kernel_drops(), self.quic.packets_lost());
        let app = self.quic.app_mut();
        let queued = app.engine().queued();
        let mut engine = app.engine().metrics();
        app.metrics.add_closed(&mut engine);
        engine.queued_bytes = queued.bytes;
        CoreSnapshot {
            core: app.number(),
            uptime: app.clock().uptime(),
            cpu: thread_cpu(),
            shell: app.metrics.clone(),
            mailbox_depth: app.mailbox_depth(),
            engine,
            routes: app.engine().routes().metrics(),
            position: app.engine().position(),
            hot: app.engine().hot(),
            rules: app.engine().rule_pictures().to_vec(),
            arrivals: app.engine().arrivals().collect(),
            quic,
            connections,
            queued,
            kernel_drops,
            packets_lost,
        }
    }
}
