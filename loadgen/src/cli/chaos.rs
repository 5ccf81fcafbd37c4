//! The command line of `chaos`, and of the processes that it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use millrace_loadgen::chaos::{
    ChaosSettings, Confirm, PublisherPart, Share, Weather, With, chaos, end_with_run, publish,
};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;
use millrace_loadgen::tell::tell;
use millrace_proto::limits::CORES_MAX;

use super::output::{Places, write};
use super::values::{payload_bytes, rate, stretch, time};

/// The longest run: its times are counted in 32 bits.
const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// The longest delay of a datagram.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Kills, stops and restarts routers and publishers: nothing may be lost.
///
/// It disturbs the network, too, and kills publishers on their spools; then it compares what was
/// confirmed with what receivers got.
///
/// In every minute each router process is killed (SIGKILL), stopped for two seconds and more
/// (SIGSTOP) and restarted in order, once each; a run below 45 s has one fault of each kind. At
/// least 20 times a publisher process is killed. A user-space UDP proxy stands between clients and
/// routers and between routers. Judged is each pair of an event and a receiver whose subscription
/// was effective in the cluster from before the event was published, in one session, until the
/// event was confirmed. The exit code is 1 when a confirmed event was lost, one came twice or out
/// of order, or one was missed without a gap. The command ends within its duration and 30 s.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// How long publishers publish and faults happen, at most 1h.
    #[arg(long, value_parser = stretch, default_value = "60s")]
    duration: Duration,
    /// Writes the report as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Adds the run to a collection of runs: a folder with command, JSON and summary, and the
    /// collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    record: Option<PathBuf>,
    /// What the schedule of faults and the proxy follow from. Default: random, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Events per second of all publishers: 5000, 20k.
    #[arg(long, value_parser = rate, default_value = "5000")]
    rate: u64,
    /// What publishers ask for.
    #[arg(long, value_enum, default_value = "delivered")]
    confirm: Confirm,
    /// What takes part besides, and is judged, too, several with commas: `groups` is a group of
    /// four members, two of each level, that wants every event; `standby` is a set of three
    /// publishers of one numbered stream, whose holder is killed every 5 s; `forwarding` is a
    /// second cluster of one router, which has its faults, too, linked both ways.
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<With>,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, default_value_t = 3)]
    routers: u16,
    /// Cores of each router.
    #[arg(long, default_value_t = 1)]
    cores: u16,
    /// Publisher processes, each on a spool, at most 64.
    #[arg(long, default_value_t = 4)]
    publishers: u16,
    /// Receivers, each with a connection, at most 1024; each wants a quarter of the events.
    #[arg(long, default_value_t = 8)]
    receivers: u16,
    /// Bytes of each payload, at least 28.
    #[arg(long, value_parser = payload_bytes, default_value_t = 64)]
    payload_bytes: u32,
    /// Datagrams that the proxy loses.
    #[arg(long, value_name = "SHARE", default_value = "1%", help_heading = "Network")]
    loss: Share,
    /// Each datagram waits up to so long, and keeps its place.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1ms", help_heading = "Network")]
    delay: Duration,
    /// Datagrams that the proxy sends twice.
    #[arg(long, value_name = "SHARE", default_value = "0.1%", help_heading = "Network")]
    duplicate: Share,
    /// Datagrams that later ones overtake.
    #[arg(long, value_name = "SHARE", default_value = "0.1%", help_heading = "Network")]
    reorder: Share,
    /// Datagrams of which the proxy flips a bit.
    #[arg(long, value_name = "SHARE", default_value = "0.1%", help_heading = "Network")]
    corrupt: Share,
    /// Keeps spools and the logs of all processes in this folder, which should be empty.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Chaos {
    /// Whether everything that was confirmed was delivered.
    pub(crate) fn execute(self) -> anyhow::Result<bool> {
        ensure!(
            (Duration::from_secs(1)..=DURATION_MAX).contains(&self.duration),
            "--duration is from 1s to 1h"
        );
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        ensure!((1..=64).contains(&self.publishers), "--publishers is from 1 to 64");
        ensure!((1..=1024).contains(&self.receivers), "--receivers is from 1 to 1024");
        ensure!(self.payload_bytes <= 65_536, "--payload-bytes is at most 65536");
        ensure!((1..=CORES_MAX).contains(&self.cores), "--cores is from 1 to {CORES_MAX}");
        ensure!(self.delay <= DELAY_MAX, "--delay is at most 10s: what waits longer is lost to QUIC");
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let settings = ChaosSettings {
            duration: self.duration,
            seed,
            routers: self.routers,
            cores: self.cores,
            publishers: self.publishers,
            receivers: self.receivers,
            rate: self.rate,
            payload_bytes: self.payload_bytes as usize,
            confirm: self.confirm,
            with: self.with,
            weather: Weather {
                loss: self.loss,
                duplicate: self.duplicate,
                reorder: self.reorder,
                corrupt: self.corrupt,
                delay: self.delay,
                distance: Duration::ZERO,
            },
            folder: self.folder,
        };
        let progress = Progress::new(self.quiet);
        progress.say(&format!("seed {seed}"));
        let report = chaos(&settings, &progress);
        progress.done();
        let report = report.inspect_err(|_| tell(format_args!("seed {seed}")))?;
        let (said, json) = (report.summary(), serde_json::to_string_pretty(&report)? + "\n");
        let run = Record { name: "chaos", json: &json, summary: &said, html: None };
        write(&run, Places { json: self.json.as_ref(), html: None, folder: self.record.as_ref() })?;
        Ok(report.passed())
    }
}

/// Is a publisher: what `chaos` starts and kills.
#[derive(Debug, Args)]
pub(crate) struct ChaosPublisher {
    #[arg(long)]
    number: u16,
    #[arg(long)]
    life: u16,
    #[arg(long)]
    router: Vec<SocketAddr>,
    #[arg(long)]
    ca: PathBuf,
    #[arg(long)]
    spool: PathBuf,
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    payload_bytes: usize,
    #[arg(long, value_enum)]
    confirm: Confirm,
    #[arg(long)]
    parts: u32,
    #[arg(long)]
    epoch_us: u64,
}

impl ChaosPublisher {
    /// Publishes until its standard input ends and nothing is pending.
    pub(crate) fn execute(self) -> anyhow::Result<bool> {
        end_with_run();
        publish(&PublisherPart {
            number: self.number,
            life: self.life,
            routers: self.router,
            ca: self.ca,
            spool: self.spool,
            rate: self.rate,
            payload_bytes: self.payload_bytes,
            confirm: self.confirm,
            parts: self.parts.max(1),
            epoch_us: self.epoch_us,
        })?;
        Ok(true)
    }
}
