//! `millrace-sim`: runs seeds, says which fail, and how to replay them.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, panic, thread};

use anyhow::Context;
use clap::Parser;
use millrace_sim::network::Bug;
use millrace_sim::report::Report;
use millrace_sim::scenario::Size;
use millrace_sim::summary::Summary;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Findings of a failing seed that are printed.
const FINDINGS_SHOWN: usize = 5;

/// Lines of progress in a log.
const PROGRESS_LINES: u64 = 10;

/// Deterministic simulator of Millrace clusters: seeded, virtual time, faults as data.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
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
    /// Run each seed twice and compare.
    #[arg(long)]
    replay: bool,
    /// Seeds that run at a time. Default: one for each core of this machine.
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if !args.trace {
        // A panic is a finding of its seed; what it says is printed with the seed.
        panic::set_hook(Box::new(|_| ()));
    }
    let summary = run(&args)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&summary)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{summary}")?;
    let good = match args.bug {
        Some(_) => !summary.failed_seeds.is_empty(),
        None => summary.failed_seeds.is_empty(),
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
                let mut report = millrace_sim::run(seed, Size::default(), args.bug, args.trace);
                if args.replay {
                    report.compare(&millrace_sim::run(seed, Size::default(), args.bug, false));
                }
                let caught = args.bug.is_some() && !report.is_clean();
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
    let bug = args.bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
    writeln!(out, "  replay: millrace-sim --first-seed {} --seeds 1 --trace{bug}", report.seed)
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
