//! `millrace-loadgen`: see `--help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use millrace_loadgen::cluster::Cluster;
use millrace_loadgen::progress::Progress;
use millrace_loadgen::report::{Fault, Json, faults, summary};
use millrace_loadgen::run::{RunOptions, run};
use millrace_loadgen::scenario::{Preset, Scenario};

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
  millrace-loadgen run --router 10.0.0.1:7400 --router 10.0.0.2:7400 --ca ca.pem"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one preset and judges it.
    Run(Box<Run>),
}

#[derive(Debug, Args)]
struct Run {
    /// What to run; everything else changes it.
    #[arg(long, value_enum, default_value = "million")]
    preset: Preset,
    /// Length of the measured part.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    duration: Duration,
    /// Events per second to offer.
    #[arg(long)]
    rate: Option<u64>,
    /// Writes the report as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A router to use instead of embedded ones; repeat it for more.
    #[arg(long, value_name = "HOST:PORT", env = "MILLRACE_ROUTER", value_delimiter = ',')]
    router: Vec<String>,
    /// CA certificates of the routers, PEM; without it the dev mode's CA of this host is used.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CA")]
    ca: Option<PathBuf>,
    /// Routers to embed.
    #[arg(long)]
    routers: Option<u16>,
    /// Cores of each embedded router.
    #[arg(long)]
    cores: Option<u16>,
    /// Emitters.
    #[arg(long)]
    emitters: Option<u32>,
    /// Receivers.
    #[arg(long)]
    receivers: Option<u32>,
    /// Connections that publish.
    #[arg(long)]
    publisher_connections: Option<u32>,
    /// Connections that receive.
    #[arg(long)]
    receiver_connections: Option<u32>,
    /// Bytes of each payload, at least 28.
    #[arg(long)]
    payload_bytes: Option<u32>,
    /// Events that an emitter publishes at a time.
    #[arg(long)]
    events_per_run: Option<u32>,
    /// How long publishers gather events.
    #[arg(long, value_parser = humantime::parse_duration)]
    linger: Option<Duration>,
    /// How long routers gather events for a receiver.
    #[arg(long, value_parser = humantime::parse_duration)]
    receive_linger: Option<Duration>,
    /// Threads of the generator.
    #[arg(long)]
    threads: Option<u16>,
    /// Seed of the workload.
    #[arg(long)]
    seed: Option<u64>,
    /// Does not lower the rate when the host cannot hold it.
    #[arg(long)]
    no_step_down: bool,
    /// Faults that do not make the run fail.
    #[arg(long, value_enum, value_delimiter = ',')]
    allow: Vec<Fault>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Run {
    fn scenario(&self) -> Scenario {
        let mut scenario = Scenario::preset(self.preset);
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        scenario.duration = self.duration;
        let workload = &mut scenario.workload;
        set(&mut workload.events_per_second, self.rate);
        set(&mut workload.emitters, self.emitters);
        set(&mut workload.receivers, self.receivers);
        set(&mut workload.payload_bytes, self.payload_bytes);
        set(&mut workload.events_per_run, self.events_per_run);
        set(&mut workload.seed, self.seed);
        set(&mut scenario.routers, self.routers);
        set(&mut scenario.cores_per_router, self.cores);
        set(&mut scenario.publisher_connections, self.publisher_connections);
        set(&mut scenario.receiver_connections, self.receiver_connections);
        set(&mut scenario.publish_linger, self.linger);
        set(&mut scenario.receive_linger, self.receive_linger);
        set(&mut scenario.fleet_threads, self.threads);
        // Connections without an emitter or receiver would be idle.
        scenario.publisher_connections =
            scenario.publisher_connections.clamp(1, scenario.workload.emitters.max(1));
        scenario.receiver_connections =
            scenario.receiver_connections.clamp(1, scenario.workload.receivers.max(1));
        let connections = scenario.publisher_connections.min(scenario.receiver_connections);
        scenario.fleet_threads =
            scenario.fleet_threads.clamp(1, u16::try_from(connections).unwrap_or(u16::MAX));
        scenario
    }

    /// Whether the run passed.
    fn execute(&self) -> anyhow::Result<bool> {
        let scenario = self.scenario();
        if scenario.workload.payload_bytes < 28 {
            anyhow::bail!(
                "--payload-bytes must be at least 28: number, time and checksum are in the payload"
            );
        }
        let progress = Progress::new(self.quiet);
        progress.stage("starting");
        let cluster = if self.router.is_empty() {
            Cluster::embed(scenario.routers.max(1), scenario.cores_per_router.max(1))?
        } else {
            Cluster::external(&self.router, self.ca.as_deref())?
        };
        let options = RunOptions { step_down: !self.no_step_down, attempts_max: 8 };
        let result = run(scenario, &cluster, options, &progress);
        progress.done();
        cluster.stop();
        let result = result?;
        let passed = faults(&result).iter().all(|(fault, _)| self.allow.contains(fault));
        let json_on_stdout = self.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
        if !json_on_stdout {
            write_stdout(&summary(&result, &self.allow))?;
        }
        if let (Some(path), Some(report)) = (&self.json, Json::of(&result, passed)) {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            if json_on_stdout {
                write_stdout(&text)?;
            } else {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(passed)
    }
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
    let Command::Run(run) = command;
    match run.execute() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("millrace-loadgen: {error:#}");
            ExitCode::from(2)
        }
    }
}
