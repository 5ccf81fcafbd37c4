//! The report of a chaos run: JSON for machines, a dozen rows for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use millrace_measure::figures::grouped;
use serde::Serialize;

use super::judge::Judged;
use super::proxy::Treated;
use super::schedule::{Fault, FaultKind};
use super::settings::{ChaosSettings, Confirm, With};
use crate::command_line::command;
use crate::report::lines::{BAD, COLUMNS, GOOD, put_line, wrapped};

/// Name and version of the format. Fields are added, never renamed or removed within a schema.
pub const SCHEMA: &str = "millrace-chaos/1";

/// A fault that happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Happened {
    /// Seconds since the load began.
    pub at_s: f64,
    /// What.
    pub kind: FaultKind,
    /// Which router or publisher, from 0.
    pub target: u16,
    /// How long a router stayed away, seconds.
    pub pause_s: f64,
}

impl Happened {
    pub(super) fn new(fault: &Fault, at_us: u64) -> Self {
        let seconds = |us: u64| us as f64 / 1e6;
        Self {
            at_s: seconds(at_us),
            kind: fault.kind,
            target: fault.target,
            pause_s: seconds(fault.pause_us),
        }
    }
}

/// Faults by kind, and all of them in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Faults {
    /// Routers that were killed.
    pub kill: u64,
    /// Routers that were stopped.
    pub stop: u64,
    /// Routers that were restarted in order.
    pub restart: u64,
    /// Publishers that were killed.
    pub publisher_kill: u64,
    /// Holders of the standby set that were killed.
    pub holder_kill: u64,
    /// All of them.
    pub list: Vec<Happened>,
}

impl Faults {
    fn of(list: Vec<Happened>) -> Self {
        let mut count: BTreeMap<FaultKind, u64> = BTreeMap::new();
        for fault in &list {
            *count.entry(fault.kind).or_default() += 1;
        }
        let of = |kind| count.get(&kind).copied().unwrap_or(0);
        Self {
            kill: of(FaultKind::Kill),
            stop: of(FaultKind::Stop),
            restart: of(FaultKind::Restart),
            publisher_kill: of(FaultKind::PublisherKill),
            holder_kill: of(FaultKind::HolderKill),
            list,
        }
    }
}

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Pass,
    /// Something is wrong, or nothing was judged.
    Fail,
    /// Somebody interrupted the run.
    Interrupted,
}

/// What a run came to. [`Judged`] says what its counts mean.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whether it passed.
    pub verdict: Verdict,
    /// What schedule and proxy follow from: `--seed`.
    pub seed: u64,
    /// The command.
    pub command: String,
    /// How long publishers published, seconds.
    pub duration_s: f64,
    /// How long the run took, judging excepted, seconds.
    pub elapsed_s: f64,
    /// Router processes.
    pub routers: u16,
    /// Publisher processes.
    pub publishers: u16,
    /// Receivers.
    pub receivers: u16,
    /// Events per second that were wanted.
    pub rate: u64,
    /// The confirm level.
    pub confirm: Confirm,
    /// What took part besides.
    pub with: Vec<With>,
    /// All counts.
    #[serde(flatten)]
    pub judged: Judged,
    /// Judged pairs per expected pair.
    pub judged_share: f64,
    /// What happened to processes.
    pub faults: Faults,
    /// What happened to datagrams.
    pub proxy: Treated,
    /// What processes and receivers complained of.
    pub complaints: Vec<String>,
}

impl Report {
    pub(super) fn new(
        settings: &ChaosSettings,
        judged: Judged,
        happened: Vec<Happened>,
        proxy: Treated,
        complaints: Vec<String>,
        (elapsed, is_interrupted): (Duration, bool),
    ) -> Self {
        let verdict = match (is_interrupted, judged.is_clean() && complaints.is_empty()) {
            (true, _) => Verdict::Interrupted,
            (false, true) => Verdict::Pass,
            (false, false) => Verdict::Fail,
        };
        Self {
            schema: SCHEMA,
            verdict,
            seed: settings.seed,
            command: command(),
            duration_s: settings.duration.as_secs_f64(),
            elapsed_s: elapsed.as_secs_f64(),
            routers: settings.routers,
            publishers: settings.publishers,
            receivers: settings.receivers,
            rate: settings.rate,
            confirm: settings.confirm,
            with: settings.with.clone(),
            judged_share: judged.judged_pairs as f64 / (judged.expected_pairs as f64).max(1.0),
            judged,
            faults: Faults::of(happened),
            proxy,
            complaints,
        }
    }

    /// Whether the run passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// The rows, then the verdict, with terminal colours, in 80 columns.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.rows().into_iter().chain(self.receiver_rows()) {
            put_line(&mut text, name, &value);
        }
        text.push('\n');
        let (style, word, reasons) = match self.verdict {
            Verdict::Pass => {
                (GOOD, "PASS", vec!["everything that was confirmed was delivered, once.".to_owned()])
            }
            Verdict::Fail => (BAD, "FAIL", self.reasons()),
            Verdict::Interrupted => (BAD, "STOP", vec!["the run was interrupted.".to_owned()]),
        };
        for reason in reasons {
            for line in wrapped(&reason, COLUMNS - 6) {
                let _ = writeln!(text, "{style}{word}:{style:#} {line}");
            }
        }
        if self.verdict == Verdict::Fail {
            for line in self.judged.findings.iter().take(3).chain(self.complaints.iter().take(3)) {
                wrapped(line, COLUMNS - 2).iter().for_each(|line| {
                    let _ = writeln!(text, "  {line}");
                });
            }
            let seed = if self.command.contains("--seed") {
                String::new()
            } else {
                format!(" --seed {}", self.seed)
            };
            let _ = writeln!(text, "Seed {}. Repeat it with:\n  {}{seed}", self.seed, self.command);
        }
        text
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self
            .judged
            .wrongs()
            .iter()
            .map(|(what, count)| format!("{} {what}.", grouped(*count as f64)))
            .collect();
        if self.judged.judged_pairs == 0 {
            reasons.push("nothing could be judged.".to_owned());
        }
        if !self.complaints.is_empty() {
            reasons.push("a process or receiver could not go on.".to_owned());
        }
        reasons
    }

    /// What happened, and what publishers were told.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { judged, faults, proxy, .. } = self;
        vec![
            ("seed", self.seed.to_string()),
            (
                "load",
                format!(
                    "{}/s for {} s, level {}; {} publishers, {} routers, {} receivers",
                    count(self.rate),
                    self.duration_s,
                    self.confirm.name(),
                    self.publishers,
                    self.routers,
                    self.receivers
                ),
            ),
            (
                "faults",
                format!(
                    "routers: {} killed, {} stopped, {} restarted; publishers: {} killed",
                    faults.kill, faults.stop, faults.restart, faults.publisher_kill
                ),
            ),
            (
                "network",
                format!(
                    "{} datagrams: {} lost, {} doubled, {} overtaken, {} damaged",
                    count(proxy.datagrams),
                    count(proxy.lost),
                    count(proxy.duplicated),
                    count(proxy.reordered),
                    count(proxy.corrupted)
                ),
            ),
            ("published", count(judged.published)),
            (
                "confirmed",
                format!("{}, {}", count(judged.confirmed), percent(judged.confirmed, judged.published)),
            ),
            (
                "others",
                format!(
                    "partial {}, dropped {}, unknown {}, pending {}, untold {}",
                    count(judged.partial),
                    count(judged.dropped),
                    count(judged.unknown + judged.given_up),
                    count(judged.pending),
                    count(judged.untold)
                ),
            ),
        ]
    }

    /// What receivers got.
    fn receiver_rows(&self) -> Vec<(&'static str, String)> {
        let judged = &self.judged;
        let mut rows = vec![
            (
                "judged",
                format!(
                    "{} of {} pairs, {}; {} of them near faults",
                    count(judged.judged_pairs),
                    count(judged.expected_pairs),
                    percent(judged.judged_pairs, judged.expected_pairs),
                    percent(judged.pairs_near_faults, judged.judged_pairs)
                ),
            ),
            (
                "lost",
                format!("{} confirmed, {} vanished", count(judged.confirmed_lost), count(judged.vanished)),
            ),
            (
                "twice",
                format!(
                    "{}; before removal {}",
                    count(judged.duplicates),
                    count(judged.duplicates_before_removal)
                ),
            ),
            (
                "streams",
                format!(
                    "{} events, {} out of order; {} gaps told, {} events missed without",
                    count(judged.delivered),
                    count(judged.reordered),
                    count(judged.gaps),
                    count(judged.unexplained_gaps)
                ),
            ),
            (
                "receivers",
                format!("{} of {} on a router that was killed", judged.receivers_on_killed, self.receivers),
            ),
        ];
        if self.with.contains(&With::Groups) {
            let (owed, lost, twice) =
                (count(judged.group_judged), count(judged.group_lost), count(judged.group_twice));
            rows.push((
                "group",
                format!("{owed} events judged, {lost} taken by nobody, {twice} twice unmarked"),
            ));
        }
        if self.with.contains(&With::Standby) {
            let (came, takeovers) = (count(judged.set_delivered), count(judged.set_takeovers));
            let (lost, told) = (count(judged.set_lost), count(judged.set_told));
            let (twice, reordered) = (count(judged.set_twice), count(judged.set_reordered));
            rows.push((
                "set",
                format!(
                    "{takeovers} takeovers; {came} numbers, {twice} twice, {reordered} out of order, {lost} \
                     missed without a gap, {told} with one"
                ),
            ));
        }
        if self.with.contains(&With::Forwarding) {
            let (owed, lost, twice) =
                (count(judged.far_judged), count(judged.far_lost), count(judged.far_twice));
            rows.push(("far", format!("{owed} pairs judged, {lost} lost, {twice} twice unmarked")));
        }
        rows
    }
}

fn count(count: u64) -> String {
    grouped(count as f64)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / (whole as f64).max(1.0))
}
