//! A chaos run from start to end: it ends within its duration and [`AFTER`], whatever happens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::judge::Judge;
use super::note::Note;
use super::process::{Publishers, Routers};
use super::proxy::Proxy;
use super::receivers::{self, ReceiverPart};
use super::report::{Happened, Report};
use super::schedule::{Fault, FaultKind, holder_kills, schedule};
use super::set::Set;
use super::settings::{ChaosSettings, Kind, With};
use super::watch::{Deadline, tell_interrupts};
use crate::clock::{Clock, micros};
use crate::progress::Progress;
use crate::tell::tell;

/// A run takes at most so much longer than its duration.
pub const AFTER: Duration = Duration::from_secs(29);
/// How long routers may take to be ready, and receivers to be effective.
const BEGIN_MAX_US: u64 = 8_000_000;
/// How long what is pending may take to be sent at the end: the third pause of a spool is 5 s.
const DRAIN_MAX_US: u64 = 8_000_000;
/// How long receivers may take to get the last events.
const SETTLE_US: u64 = 500_000;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Notes that are taken between two looks.
const NOTES_AT_ONCE: usize = 10_000;

/// Complaints that are kept.
const COMPLAINTS_MAX: usize = 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// Processes, sockets or files cannot be had.
    #[error("cannot run chaos here: {0}")]
    Io(#[from] std::io::Error),
    /// Routers or receivers did not begin.
    #[error("{what} within {} s; the logs of routers say more: give --folder", BEGIN_MAX_US / 1_000_000)]
    Begin {
        /// Who did not do what.
        what: &'static str,
    },
    /// Somebody interrupted the run before it began.
    #[error("interrupted")]
    Interrupted,
}

/// Runs chaos, and judges what was confirmed.
///
/// # Errors
/// [`ChaosError`]; no process is left behind.
pub fn chaos(settings: &ChaosSettings, progress: &Progress) -> Result<Report, ChaosError> {
    let begun = Instant::now();
    let temporary = settings
        .folder
        .is_none()
        .then(|| std::env::temp_dir().join(format!("millrace-chaos-{}", std::process::id())));
    let folder = settings.folder.clone().or_else(|| temporary.clone()).unwrap_or_default();
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let words = format!(
        "the run did not end within {} s of its duration; seed {}; repeat with: {}",
        AFTER.as_secs(),
        settings.seed,
        crate::command_line::command()
    );
    let deadline = Deadline::arm(settings.duration + AFTER, words, temporary.clone())?;
    let result = Run::begin(settings, &folder, progress).and_then(|run| run.play(progress, begun));
    drop(deadline);
    if let Some(temporary) = temporary {
        // What stays behind among temporary files is the system's business.
        let _ = std::fs::remove_dir_all(temporary);
    }
    result
}

/// A run whose processes have begun.
struct Run {
    settings: ChaosSettings,
    clock: Clock,
    proxy: Proxy,
    routers: Routers,
    publishers: Option<Publishers>,
    set: Option<Set>,
    judge: Judge,
    notes: Receiver<Note>,
    sender: Sender<Note>,
    folder: PathBuf,
    ca: Option<PathBuf>,
    happened: Vec<Happened>,
    complaints: Vec<String>,
    is_interrupted: bool,
}

impl Run {
    fn begin(settings: &ChaosSettings, folder: &Path, progress: &Progress) -> Result<Self, ChaosError> {
        progress.stage("starting");
        let clock = Clock::start();
        let (sender, notes) = channel();
        tell_interrupts(sender.clone())?;
        let proxy = Proxy::start(settings.processes(), settings.weather, settings.seed, clock)?;
        let routers = Routers::start(settings, folder, &proxy, &sender)?;
        let mut run = Self {
            settings: settings.clone(),
            clock,
            proxy,
            routers,
            publishers: None,
            set: None,
            judge: Judge::new(settings.clone()),
            notes,
            sender,
            folder: folder.to_owned(),
            ca: None,
            happened: Vec::new(),
            complaints: Vec::new(),
            is_interrupted: false,
        };
        run.until(BEGIN_MAX_US, |run| run.routers.all_are_up())?;
        let Some(ca) = run.ca.clone().filter(|_| run.routers.all_are_up()) else {
            return Err(run.did_not_begin("routers were not ready"));
        };
        let part = |(number, kind)| ReceiverPart {
            number,
            selector: settings.selector(kind),
            level: settings.level(kind),
            routers: if matches!(kind, Kind::Far(_)) { run.fronts_far() } else { run.fronts() },
            first_router: if matches!(kind, Kind::Far(_)) { settings.routers } else { 0 },
            ca: ca.clone(),
            clock,
            notes: run.sender.clone(),
        };
        receivers::start((0..).zip(settings.kinds()).map(part).collect())?;
        let all_are_effective = |run: &mut Self| run.judge.all_are_effective(run.clock.now_us());
        run.until(BEGIN_MAX_US, all_are_effective)?;
        if !all_are_effective(&mut run) {
            return Err(run.did_not_begin("not all receivers had their subscription"));
        }
        Ok(run)
    }

    /// Where routers of the cluster are reached.
    fn fronts(&self) -> Vec<SocketAddr> {
        let mut fronts = self.proxy.fronts();
        fronts.truncate(self.settings.routers.into());
        fronts
    }

    /// Where the router of the far cluster is.
    fn fronts_far(&self) -> Vec<SocketAddr> {
        self.proxy.fronts().split_off(self.settings.routers.into())
    }

    fn did_not_begin(&self, what: &'static str) -> ChaosError {
        for complaint in &self.complaints {
            tell(complaint);
        }
        if self.is_interrupted { ChaosError::Interrupted } else { ChaosError::Begin { what } }
    }

    fn play(mut self, progress: &Progress, begun: Instant) -> Result<Report, ChaosError> {
        progress.stage("disturbing");
        let (settings, fronts) = (self.settings.clone(), self.fronts());
        let ca = self.ca.clone().unwrap_or_default();
        let epoch_us = self.clock.epoch_us();
        if settings.has(With::Standby) {
            self.set = Some(Set::start(&fronts, &ca, &self.folder, self.clock)?);
        }
        let publishers = Publishers::start(&settings, fronts, &ca, &self.folder, epoch_us, &self.sender)?;
        self.publishers = Some(publishers);
        let load_us = self.clock.now_us();
        let mut due: Vec<Fault> =
            schedule(settings.seed, settings.duration, settings.processes(), settings.publishers);
        if settings.has(With::Standby) {
            due.extend(holder_kills(settings.seed, settings.duration));
            due.sort_by_key(|fault| fault.at_us);
        }
        let end_us = load_us + micros(settings.duration);
        while self.clock.now_us() < end_us && !self.is_interrupted {
            self.disturb(&mut due, load_us)?;
            self.turn()?;
            self.look_after_publishers()?;
        }
        progress.stage("settling");
        if let Some(publishers) = &mut self.publishers {
            publishers.finish();
        }
        let last = self.set.as_mut().map(Set::finish);
        self.settle(last)?;
        let spent = begun.elapsed();
        if let Some(mut publishers) = self.publishers.take() {
            publishers.end_all();
        }
        if let Some(set) = self.set.take() {
            self.judge.set_ended(last.unwrap_or_default(), set.takeovers());
            self.complaints.extend(set.complaints());
        }
        drop(self.routers);
        while let Ok(note) = self.notes.try_recv() {
            match note {
                Note::Said { publisher, life, said } => self.judge.said(publisher, life, said),
                Note::Seen { receiver, at_us, seen } => self.judge.seen(receiver, at_us, &seen),
                _ => {}
            }
        }
        Ok(Report::new(
            &settings,
            self.judge.finish(),
            self.happened,
            self.proxy.treated(),
            self.complaints,
            (spent, self.is_interrupted),
        ))
    }

    /// Waits until nothing is pending, all publishers have ended and all routers are up, or time is
    /// over; then until what is on its way has come.
    fn settle(&mut self, last: Option<u64>) -> Result<(), ChaosError> {
        if self.is_interrupted {
            return Ok(());
        }
        self.until(DRAIN_MAX_US, |run| {
            let have_ended = run.publishers.as_mut().is_none_or(Publishers::have_ended);
            let is_heard = last.is_none_or(|last| run.judge.ears_have(last));
            have_ended && is_heard && run.routers.all_are_up()
        })?;
        self.until(SETTLE_US, |_| false)
    }

    /// Goes on until something is so, at most for `within_us`.
    fn until(&mut self, within_us: u64, mut is_so: impl FnMut(&mut Self) -> bool) -> Result<(), ChaosError> {
        let end_us = self.clock.now_us() + within_us;
        while self.clock.now_us() < end_us && !self.is_interrupted && !is_so(self) {
            self.turn()?;
        }
        Ok(())
    }

    /// Does the faults that are due. A router that is not up yet has its fault when it is.
    fn disturb(&mut self, due: &mut Vec<Fault>, load_us: u64) -> Result<(), ChaosError> {
        let now_us = self.clock.now_us();
        let mut later = Vec::new();
        while due.first().is_some_and(|fault| load_us + fault.at_us <= now_us) {
            let fault = due.remove(0);
            if fault.kind == FaultKind::HolderKill {
                if let Some(set) = &mut self.set
                    && !set.kill_holder()?
                {
                    later.push(fault);
                    continue;
                }
            } else if fault.kind == FaultKind::PublisherKill {
                if let Some(publishers) = &mut self.publishers {
                    publishers.kill(fault.target)?;
                }
            } else if self.routers.disturb(&fault, now_us) {
                self.judge.fault(now_us);
                if fault.kind == FaultKind::Kill {
                    self.judge.gone(now_us, fault.target, true);
                }
            } else {
                later.push(fault);
                continue;
            }
            self.happened.push(Happened::new(&fault, now_us - load_us));
        }
        later.append(due);
        *due = later;
        Ok(())
    }

    /// A publisher that ends by itself is a fault of its own, and starts again.
    fn look_after_publishers(&mut self) -> Result<(), ChaosError> {
        let Some(publishers) = &mut self.publishers else { return Ok(()) };
        for publisher in publishers.restart_ended()? {
            self.complain(format!("publisher {publisher} ended by itself; its log says why: give --folder"));
        }
        Ok(())
    }

    fn complain(&mut self, words: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(words);
        }
    }

    /// Takes notes, and lets routers go on and start again.
    fn turn(&mut self) -> Result<(), ChaosError> {
        match self.notes.recv_timeout(TICK) {
            Ok(note) => self.take(note)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        for _ in 0..NOTES_AT_ONCE {
            let Ok(note) = self.notes.try_recv() else { break };
            self.take(note)?;
        }
        if let Some(set) = &mut self.set {
            set.listen();
        }
        let now_us = self.clock.now_us();
        let judge = &mut self.judge;
        self.routers.turn(now_us, &self.proxy, |router| judge.gone(now_us, router, false))?;
        Ok(())
    }

    fn take(&mut self, note: Note) -> Result<(), ChaosError> {
        match note {
            Note::Said { publisher, life, said } => self.judge.said(publisher, life, said),
            Note::Seen { receiver, at_us, seen } => self.judge.seen(receiver, at_us, &seen),
            Note::Ready { router, life, ready } => {
                self.routers.ready(router, life);
                self.judge.router(router, ready.id);
                self.ca.get_or_insert(ready.ca);
            }
            Note::NotReady { router, life } => self.routers.not_ready(router, life, &self.proxy)?,
            Note::Complaint(words) => self.complain(words),
            Note::Interrupted => self.is_interrupted = true,
        }
        Ok(())
    }
}
