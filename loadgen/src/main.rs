//! `millrace-loadgen`: see `--help`.

mod compare_cli;
mod growth_cli;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use millrace_loadgen::cluster::Cluster;
use millrace_loadgen::options::RunArgs;
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::{Record, record};
use millrace_loadgen::report::{Json, faults, page, summary};
use millrace_loadgen::run::run;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what Millrace routers can carry, and verifies every event on the way.
///
/// With no arguments: 100,000 emitters publish a million events per second for ten seconds through two linked routers in
/// this process, to 10,000 receivers. Every event is checked: lost, duplicated or reordered ones make the exit code 1.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  millrace-loadgen                                        the main job
  millrace-loadgen run --preset p2p --duration 5s         one publisher, one receiver
  millrace-loadgen run --preset million --rate 300000 --json out.json
  millrace-loadgen run --preset p2p --max --p99 20ms      the highest rate with p99 below 20 ms
  millrace-loadgen run --preset fleet --processes --connections 22000
  millrace-loadgen run --preset million --rate 100000 --disturb churn,storm,storm-resumed
  millrace-loadgen growth --json growth.json
  millrace-loadgen compare --nats-server nats-server --json compare.json
  millrace-loadgen run --router 10.0.0.1:7400 --router 10.0.0.2:7400 --ca ca.pem"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one preset and judges it.
    Run(Box<RunArgs>),
    /// The same load on Millrace and on what you would otherwise pick, in interleaved rounds.
    Compare(Box<compare_cli::Compare>),
    /// What an event costs routers when there are more selectors, connections, or routers.
    Growth(growth_cli::Growth),
    /// Is a router: what --processes starts.
    #[command(hide = true)]
    Router(Box<millrace_router::process::Cli>),
    /// Is a server: what `compare` starts.
    #[command(hide = true)]
    Serve(compare_cli::Serve),
}

/// Whether the run passed.
fn execute(args: &RunArgs) -> anyhow::Result<bool> {
    let scenario = args.scenario()?;
    let progress = Progress::new(args.quiet);
    progress.stage("starting");
    let (routers, cores) = (scenario.routers.max(1), scenario.cores_per_router.max(1));
    let cluster = if !args.router.is_empty() {
        Cluster::external(&args.router, args.ca.as_deref())?
    } else if args.processes {
        Cluster::processes(routers, cores)?
    } else {
        Cluster::embed(routers, cores)?
    };
    let result = run(scenario, &cluster, &args.run_options(), &progress);
    progress.done();
    cluster.stop();
    let result = result?;
    let passed = faults(&result).iter().all(|(fault, _)| args.allow.contains(fault));
    let json_on_stdout = args.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
    let said = summary(&result, &args.allow);
    if !json_on_stdout {
        write_stdout(&said)?;
    }
    let json = Json::of(&result, passed).map(|report| serde_json::to_string_pretty(&report)).transpose()?;
    let json = json.unwrap_or_default() + "\n";
    match &args.json {
        Some(_) if json_on_stdout => write_stdout(&json)?,
        Some(path) => write_file(path, &json)?,
        None => {}
    }
    if args.html.is_some() || args.record.is_some() {
        let html = page(&result, &args.allow);
        if let Some(path) = &args.html {
            write_file(path, &html)?;
        }
        if let Some(folder) = &args.record {
            let name = result.scenario.preset;
            let run = Record { name, json: &json, summary: &said, html: Some(&html) };
            let place =
                record(folder, &run).with_context(|| format!("cannot record in {}", folder.display()))?;
            eprintln!("recorded in {}", place.display());
        }
    }
    Ok(passed)
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn write_stdout(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or_else(|| match Cli::parse_from(["millrace-loadgen", "run"]).command {
        Some(command) => command,
        None => unreachable!("`run` is a command"),
    });
    let outcome = match command {
        Command::Run(args) => execute(&args),
        Command::Compare(compare) => compare.execute(),
        Command::Growth(growth) => growth.execute(),
        Command::Serve(serve) => serve.execute(),
        Command::Router(cli) => {
            millrace_loadgen::end_with_parent();
            return millrace_router::process::run(&cli);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("millrace-loadgen: {error:#}");
            ExitCode::from(2)
        }
    }
}
