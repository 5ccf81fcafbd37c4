//! `millrace-sim`: runs seeds, says which fail, and how to replay them.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, panic, thread};

use anyhow::Context;
use clap::{Parser, Subcommand};
use millrace_sim::minimise::minimise;
use millrace_sim::network::Bug;
use millrace_sim::reading::Keeping;
use millrace_sim::report::Report;
use millrace_sim::scenario::{Scenario, Size};
use millrace_sim::summary::Summary;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Findings of a failing seed that are printed.
const FINDINGS_SHOWN: usize = 5;

/// Lines of progress in a log.
const PROGRESS_LINES: u64 = 10;

/// Deterministic simulator of Millrace clusters: seeded, virtual time, faults as data.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Write a report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print every event of each run.
    #[arg(long)]
    trace: bool,
    /// Put a bug in, and report which checker catches it after how many seeds. The exit code is 0
    /// when one does.
    #[arg(long, value_enum)]
    bug: Option<Bug>,
    /// Run until one of these checkers finds something. The exit code is 0 when one does.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    expect: Vec<String>,
    /// Keep these faults of each seed's schedule only, by number from 0: what `minimise` prints.
    #[arg(long, value_name = "N,N", value_delimiter = ',', num_args = 0..)]
    only_faults: Option<Vec<usize>>,
    /// Which seeds have routers that keep history, half of them in files, too, and receivers that
    /// read it.
    #[arg(long, value_name = "SEEDS", value_enum, default_value = "none", default_missing_value = "all", num_args = 0..=1)]
    history: Keeping,
    /// Have publishers wait for a fifth of the receivers: policy `block`.
    #[arg(long)]
    blocking: bool,
    /// Run small clusters, as `cargo test` does.
    #[arg(long)]
    small: bool,
    /// Run each seed twice and compare.
    #[arg(long)]
    replay: bool,
    /// Seeds that run at a time. Default: one for each core of this machine.
    #[arg(long)]
    jobs: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shrink the list of faults of a seed that fails to those that its failure needs.
    Minimise {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Which seeds have routers that keep history.
        #[arg(long, value_name = "SEEDS", value_enum, default_value = "none", default_missing_value = "all", num_args = 0..=1)]
        history: Keeping,
        /// Have publishers wait for a fifth of the receivers.
        #[arg(long)]
        blocking: bool,
        /// The bug that is put in.
        #[arg(long, value_enum)]
        bug: Option<Bug>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if !args.trace {
        // A panic is a finding of its seed; what it says is printed with the seed.
        panic::set_hook(Box::new(|_| ()));
    }
    if let Some(Command::Minimise { seed, history, blocking, bug }) = args.command {
        return Ok(shrink(seed, Size { history, blocking, ..Size::default() }, bug)?);
    }
    let summary = run(&args)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&summary)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{summary}")?;
    let good = match (args.bug, &args.expect[..]) {
        (None, []) => summary.failed_seeds.is_empty(),
        (_, []) => !summary.failed_seeds.is_empty(),
        (_, names) => names.iter().any(|name| summary.found_by.contains_key(name.trim())),
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(args: &Args) -> anyhow::Result<Summary> {
    let jobs = match args.jobs {
        Some(jobs) => jobs.max(1),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let terminal = io::stderr().is_terminal();
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::new(args.seeds, args.first_seed, args.bug));
    thread::scope(|scope| {
        let worker = || -> anyhow::Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= args.seeds {
                    return Ok(());
                }
                let seed = args.first_seed.wrapping_add(number);
                let run = |trace| {
                    let faults = args.only_faults.as_deref();
                    let size = if args.small { Size::SMALL } else { Size::default() };
                    let size = Size { history: args.history, blocking: args.blocking, ..size };
                    millrace_sim::run_with(seed, size, args.bug, trace, faults)
                };
                let mut report = run(args.trace);
                if args.replay {
                    report.compare(&run(false));
                }
                let caught = is_caught(args, &report);
                show(args, &report)?;
                let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                summary.add(&report);
                if caught {
                    next.store(args.seeds, Ordering::Relaxed);
                }
                if !args.trace {
                    show_progress(&mut io::stderr().lock(), &summary, args.seeds, terminal)?;
                }
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => panic::resume_unwind(panic),
        })
    })?;
    if terminal && !args.trace {
        writeln!(io::stderr().lock())?;
    }
    Ok(summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Whether a run has shown what it was to show, so that no other is needed.
fn is_caught(args: &Args, report: &Report) -> bool {
    let found_by = report.found_by();
    match &args.expect[..] {
        [] => args.bug.is_some() && !report.is_clean(),
        names => names.iter().any(|name| found_by.contains(&name.trim())),
    }
}

/// Says how far it is: on one line of a terminal, else in a few lines that a log can keep.
fn show_progress(err: &mut impl Write, summary: &Summary, seeds: u64, terminal: bool) -> io::Result<()> {
    let (done, failed) = (summary.done, summary.failed_seeds.len());
    if terminal {
        write!(err, "\r{done} of {seeds} seeds, {failed} failed")
    } else if done % seeds.div_ceil(PROGRESS_LINES).max(1) == 0 {
        writeln!(err, "{done} of {seeds} seeds, {failed} failed")
    } else {
        Ok(())
    }
}

/// Prints the trace of a run, and what is wrong with it.
fn show(args: &Args, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in &report.trace {
        writeln!(out, "{line}")?;
    }
    if args.trace {
        writeln!(out, "{report}")?;
    }
    if report.is_clean() {
        return Ok(());
    }
    writeln!(out, "\nseed {} failed, found by {}:", report.seed, report.found_by().join(", "))?;
    for finding in report.findings.iter().take(FINDINGS_SHOWN) {
        writeln!(out, "  {finding}")?;
    }
    if report.wrong > FINDINGS_SHOWN as u64 {
        writeln!(out, "  … {} findings in all", report.wrong)?;
    }
    let (seed, bug) = (report.seed, bug_option(args.bug));
    let faults = args.only_faults.as_deref().map(faults_option).unwrap_or_default();
    let history = history_option(args.history);
    let small = if args.small { " --small" } else { "" };
    let blocking = blocking_option(args.blocking);
    let asked = format!("{history}{blocking}{small}{bug}{faults}");
    writeln!(out, "  replay: millrace-sim --first-seed {seed} --seeds 1 --trace{asked}")?;
    writeln!(out, "  shrink: millrace-sim minimise --seed {seed}{history}{blocking}{bug}")
}

/// Shrinks the faults of a seed and prints what is left. The exit code is 0 when it fails at all.
fn shrink(seed: u64, size: Size, bug: Option<Bug>) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let Some(left) = minimise(seed, size, bug) else {
        writeln!(out, "seed {seed} does not fail")?;
        return Ok(ExitCode::FAILURE);
    };
    let scenario = Scenario::of(seed, size, bug).map_err(io::Error::other)?;
    let (found_by, runs) = (left.report.found_by().join(", "), left.runs);
    writeln!(out, "seed {seed} fails, found by {found_by}, with these faults ({runs} runs):")?;
    for (number, item) in scenario.schedule.faults.iter().enumerate() {
        if left.faults.contains(&number) {
            let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
            let until = item.until_ns.map(|until| format!("{:.3}", seconds(until))).unwrap_or_default();
            writeln!(out, "  {number}  {:.3}–{until} s  {:?}", seconds(item.at_ns), item.fault)?;
        }
    }
    for finding in left.report.findings.iter().take(FINDINGS_SHOWN) {
        writeln!(out, "  {finding}")?;
    }
    let (faults, bug, history) = (faults_option(&left.faults), bug_option(bug), history_option(size.history));
    let blocking = blocking_option(size.blocking);
    writeln!(
        out,
        "  replay: millrace-sim --first-seed {seed} --seeds 1 --trace{history}{blocking}{bug}{faults}"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn history_option(history: Keeping) -> &'static str {
    match history {
        Keeping::None => "",
        Keeping::Some => " --history=some",
        Keeping::All => " --history=all",
    }
}

const fn blocking_option(blocking: bool) -> &'static str {
    if blocking { " --blocking" } else { "" }
}

fn bug_option(bug: Option<Bug>) -> String {
    bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default()
}

fn faults_option(faults: &[usize]) -> String {
    let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
    format!(" --only-faults {}", numbers.join(",")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line_of_a_terminal_and_a_few_lines_of_a_log() -> io::Result<()> {
        let (mut screen, mut log) = (Vec::new(), Vec::new());
        let mut summary = Summary::new(25, 1, None);
        for done in 1..=25 {
            summary.done = done;
            show_progress(&mut screen, &summary, 25, true)?;
            show_progress(&mut log, &summary, 25, false)?;
        }
        let (screen, log) = (String::from_utf8_lossy(&screen), String::from_utf8_lossy(&log));
        assert!(!screen.contains('\n') && screen.ends_with("\r25 of 25 seeds, 0 failed"));
        assert_eq!(log.lines().count(), 8);
        assert!(!log.contains('\r') && log.starts_with("3 of 25 seeds, 0 failed\n"));
        Ok(())
    }
}
