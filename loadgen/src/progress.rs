//! What a person sees while a run goes on: one live line on standard error, or plain lines where it
//! is no terminal.

use millrace_measure::figures::grouped;
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::fleet::tally::Sum;
use crate::tell::tell;

/// Plain lines come this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// The live line.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    quiet: bool,
    last: Cell<Option<(Instant, Sum)>>,
    shown: Cell<Option<Instant>>,
}

impl Progress {
    /// Shows progress on standard error, unless `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = if quiet || plain { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:.bold}  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, plain, quiet, last: Cell::new(None), shown: Cell::new(None) }
    }

    /// A new stage begins.
    pub fn stage(&self, name: &'static str) {
        self.bar.set_prefix(name);
        self.bar.set_message("");
        self.last.set(None);
        if self.plain && !self.quiet {
            tell(name);
        }
    }

    /// Something to be read later, too.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.plain {
            tell(text);
        } else {
            self.bar.println(text);
        }
    }

    /// Connections and subscriptions come about, `per_second` of what is `wanted` in all.
    pub fn set_up(&self, sum: &Sum, connections: u64, subscriptions: u64, (per_second, wanted): (f64, u64)) {
        let missing = wanted.saturating_sub(sum.welcomed + sum.credited + sum.effective);
        let estimate = if per_second >= 1.0 {
            format!("{:.0} s to go", missing as f64 / per_second)
        } else {
            "waiting".to_owned()
        };
        let redials = match sum.redials {
            0 => String::new(),
            redials => format!(", {redials} dialled again"),
        };
        self.show(&format!(
            "{} of {} connections, {} of {} subscriptions effective in the cluster{redials}; {estimate}",
            grouped(sum.welcomed as f64),
            grouped(connections as f64),
            grouped(sum.effective as f64),
            grouped(subscriptions as f64),
        ));
    }

    /// Those who are going to disturb connect.
    pub fn crowd(&self, ready: u64, clients: u32) {
        self.show(&format!("{ready}/{clients} clients"));
    }

    /// Events flow; `first` is what had been counted when the stretch began, `left` the time until
    /// it ends.
    pub fn running(&self, sum: &Sum, first: &Sum, target: f64, left: Duration) {
        let now = Instant::now();
        let Some((at, before)) = self.last.get() else {
            self.last.set(Some((now, *sum)));
            return;
        };
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        if seconds < 0.5 {
            return;
        }
        self.last.set(Some((now, *sum)));
        let rate = |after: u64, before: u64| grouped((after - before) as f64 / seconds);
        // What matters most comes first: a narrow terminal cuts the end off.
        let wrong = match (sum.faults, sum.gaps - first.gaps) {
            (0, 0) => "no faults".to_owned(),
            (0, gaps) => format!("{gaps} gaps"),
            (faults, gaps) => format!("{faults} FAULTS, {gaps} gaps"),
        };
        self.show(&format!(
            "{:.0} s left  {wrong}  p99 {:.1} ms  in {} of {}/s  out {}/s  late {} ms",
            left.as_secs_f64(),
            sum.p99_us as f64 / 1e3,
            rate(sum.received, before.received),
            grouped(target),
            rate(sum.delivered, before.delivered),
            sum.behind_ns / 1_000_000,
        ));
    }

    /// The last deliveries arrive.
    pub fn settling(&self, sum: &Sum) {
        self.show(&format!(
            "settling: {} published, {} delivered",
            grouped(sum.published as f64),
            grouped(sum.delivered as f64)
        ));
    }

    /// Deliveries are missing, and nothing has moved for a while.
    pub fn missing(&self, missing: u64, still: Duration) {
        self.show(&format!(
            "settling: {} missing, nothing moved for {:.0} s",
            grouped(missing as f64),
            still.as_secs_f64()
        ));
    }

    /// Takes the live line away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, text: &str) {
        if self.plain && !self.quiet {
            if self.shown.get().is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
                self.shown.set(Some(Instant::now()));
                tell(format_args!("  {text}"));
            }
            return;
        }
        self.bar.set_message(text.to_owned());
    }
}
