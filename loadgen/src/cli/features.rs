//! The commands that judge one feature each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use millrace_loadgen::chaos::Confirm;
use millrace_loadgen::features::failover::{FailoverSettings, failover};
use millrace_loadgen::features::forwarding::{ForwardSettings, forwarding};
use millrace_loadgen::features::groups::{CrowdPart, GroupSettings, groups, play_crowd};
use millrace_loadgen::features::quench::{QuenchSettings, quench};
use millrace_loadgen::features::rebalance::{RebalanceSettings, rebalance};
use millrace_loadgen::features::requests::{self, RequestSettings};
use millrace_loadgen::features::rolling::{RollingSettings, rolling};
use millrace_loadgen::features::standby::{MemberPart, StandbySettings, standby, take_part};
use millrace_loadgen::features::{FeatureError, Figures, Report};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;

use super::output::{Places, write};
use super::values::{rate, some_time, stretch};

/// Where the result of a feature's command goes.
#[derive(Debug, Args)]
struct Out {
    /// Writes the report as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Adds the run to a collection of runs: a folder with command, JSON and summary, and the
    /// collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    record: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Out {
    /// Runs something and writes its report; whether it passed.
    fn of<F: Figures>(
        &self,
        name: &'static str,
        run: impl FnOnce(&Progress) -> Result<Report<F>, FeatureError>,
    ) -> anyhow::Result<bool> {
        let progress = Progress::new(self.quiet);
        let report = run(&progress);
        progress.done();
        let report = report?;
        let (said, json) = (report.summary(), serde_json::to_string_pretty(&report)? + "\n");
        let run = Record { name, json: &json, summary: &said, html: None };
        write(&run, Places { json: self.json.as_ref(), html: None, folder: self.record.as_ref() })?;
        Ok(report.passed())
    }
}

/// What quench saves, and whether anything is missed.
///
/// Nobody wants most of what is published. Emitters publish with quench off, then with it; then
/// those alone that nobody wants, which may cost routers what silence costs, because their events
/// stay where they are made. In the end somebody subscribes to one more emitter again and again,
/// and must get the event that it publishes at once. The exit code is 1 when an event that somebody
/// wanted is missing, or one that nobody wanted crossed without being a sample (one of each emitter
/// every 10 s).
#[derive(Debug, Args)]
pub(super) struct QuenchArgs {
    /// Emitters, each with a tag set of its own.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().emitters)]
    emitters: u32,
    /// One emitter of so many is wanted.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().one_in)]
    one_in: u32,
    /// Connections that carry them, dealt out to the routers.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().connections)]
    connections: u32,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().routers)]
    routers: u16,
    /// Events per second that all emitters together have: 20000, 50k.
    #[arg(long, value_parser = rate, default_value = "20000")]
    rate: u64,
    /// Length of each of the four stretches.
    #[arg(long, value_parser = stretch, default_value = "2s")]
    duration: Duration,
    /// Times that somebody subscribes to one more emitter.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().switches)]
    switches: u32,
    #[command(flatten)]
    out: Out,
}

impl QuenchArgs {
    /// Whether what was wanted came, and the rest was saved.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((2..=1_000_000).contains(&self.emitters), "--emitters is from 2 to 1000000");
        ensure!((2..=self.emitters).contains(&self.one_in), "--one-in is from 2 to the number of emitters");
        ensure!(
            (1..=self.emitters.min(1_000)).contains(&self.connections),
            "--connections is from 1 to 1000, and no more than emitters"
        );
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        ensure!((1..=100_000).contains(&self.switches), "--switches is from 1 to 100000");
        let Self { emitters, one_in, connections, routers, rate, duration, switches, out } = self;
        let settings = QuenchSettings { emitters, one_in, connections, routers, rate, duration, switches };
        out.of("quench", |progress| quench(&settings, progress))
    }
}

/// Kills the holder of a standby set: every number must come once.
///
/// Member processes have one numbered stream at the same rate; one holds the set and publishes, the
/// others wait. The holder is killed (SIGKILL), again and again, and starts again as one that
/// waits. Receivers must get every number once and in order. Measured is how long it takes until
/// another member holds the set, and for how long receivers got nothing. The exit code is 1 when a
/// number is missing, came twice or out of order, nobody took over, or the pauses' 99th percentile
/// is above --pause. A kill takes some three seconds.
#[derive(Debug, Args)]
pub(super) struct StandbyArgs {
    /// Times that the holder is killed.
    #[arg(long, value_name = "N", default_value_t = StandbySettings::default().kills)]
    kills: u32,
    /// Member processes, of ranks 1, 2, …; 2 to 16.
    #[arg(long, value_name = "N", default_value_t = StandbySettings::default().members)]
    members: u8,
    /// Router processes, linked with each other, at most 16; members and receivers are dealt out.
    #[arg(long, value_name = "N", default_value_t = StandbySettings::default().routers)]
    routers: u16,
    /// Receivers, each of everything, at most 64.
    #[arg(long, value_name = "N", default_value_t = StandbySettings::default().receivers)]
    receivers: u16,
    /// Numbers per second: 5000, 20k; a takeover repeats some two seconds of them.
    #[arg(long, value_parser = rate, default_value = "20000")]
    rate: u64,
    /// How long a holder publishes before it is killed.
    #[arg(long, value_parser = stretch, default_value = "1s")]
    run_on: Duration,
    /// The 99th percentile of receivers' pauses that is allowed.
    #[arg(long, value_parser = some_time, default_value = "2500ms")]
    pause: Duration,
    #[command(flatten)]
    out: Out,
}

impl StandbyArgs {
    /// Whether every number came once.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=10_000).contains(&self.kills), "--kills is from 1 to 10000");
        ensure!((2..=16).contains(&self.members), "--members is from 2 to 16");
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        ensure!((1..=64).contains(&self.receivers), "--receivers is from 1 to 64");
        let Self { kills, members, routers, receivers, rate, run_on, pause, out } = self;
        let settings = StandbySettings { kills, members, routers, receivers, rate, run_on, pause_max: pause };
        out.of("standby", |progress| standby(&settings, progress))
    }
}

/// Is a member of a standby set: what `standby` starts and kills.
#[derive(Debug, Args)]
pub(super) struct StandbyMember {
    #[arg(long)]
    router: Vec<SocketAddr>,
    #[arg(long)]
    ca: PathBuf,
    #[arg(long)]
    rank: u8,
    #[arg(long)]
    rate: u64,
    #[arg(long)]
    epoch_us: u64,
}

impl StandbyMember {
    /// Takes part until it is told where to stop.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        let Self { router: routers, ca, rank, rate, epoch_us } = self;
        take_part(&MemberPart { routers, ca, rank, rate, epoch_us })?;
        Ok(true)
    }
}

/// Kills a router: how soon its receivers have events again.
///
/// All receivers are on one of the routers, each with a connection of its own. While nothing is
/// published they are watched: what it costs to notice within 1.5 s that a router is gone. Then
/// beats are published at another router, and theirs is killed (SIGKILL). The exit code is 1 when a
/// receiver gets nothing again, when the 99th percentile is above --within, or when one misses
/// something without a gap. With 10,000 connections, allow 10s.
#[derive(Debug, Args)]
pub(super) struct FailoverArgs {
    /// Receivers on the router that is killed, at most 10000; 50 share a socket here.
    #[arg(long, value_name = "N", default_value_t = FailoverSettings::default().connections)]
    connections: u32,
    /// Router processes, linked with each other, 2 to 16.
    #[arg(long, value_name = "N", default_value_t = FailoverSettings::default().routers)]
    routers: u16,
    /// Beats per second, each to all receivers; between two of them nobody can have one again.
    #[arg(long, value_name = "N", default_value_t = FailoverSettings::default().rate)]
    rate: u32,
    /// How long idle receivers are watched, and how long beats come before the kill.
    #[arg(long, value_parser = stretch, default_value = "3s")]
    watch: Duration,
    /// The 99th percentile that is allowed from the kill until a receiver has a beat again.
    #[arg(long, value_parser = some_time, default_value = "2s")]
    within: Duration,
    #[command(flatten)]
    out: Out,
}

impl FailoverArgs {
    /// Whether all receivers had events again in time.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=10_000).contains(&self.connections), "--connections is from 1 to 10000");
        ensure!((2..=16).contains(&self.routers), "--routers is from 2 to 16: one is killed");
        ensure!((1..=1_000).contains(&self.rate), "--rate is from 1 to 1000");
        let Self { connections, routers, rate, watch, within, out } = self;
        let settings = FailoverSettings { connections, routers, rate, watch, within };
        out.of("failover", |progress| failover(&settings, progress))
    }
}

/// Moves half of a router's clients to another one, in one call.
///
/// All receivers are on the first of two routers, each with a connection of its own, and beats
/// come. Then that router is asked to move half of its clients, as `millrace ctl rebalance` asks
/// it. The exit code is 1 when one is farther than 5 % from its half afterwards, when clients move
/// again, or when a receiver misses a beat or has one twice.
#[derive(Debug, Args)]
pub(super) struct RebalanceArgs {
    /// Receivers on the first router, at most 10000; 50 share a socket here.
    #[arg(long, value_name = "N", default_value_t = RebalanceSettings::default().connections)]
    connections: u32,
    /// Beats per second, each to all receivers.
    #[arg(long, value_name = "N", default_value_t = RebalanceSettings::default().rate)]
    rate: u32,
    /// The time over which the moves are spread.
    #[arg(long, value_parser = some_time, value_name = "TIME", default_value = "10s")]
    within: Duration,
    /// How long beats come before the call, and how long clients are watched when it is done.
    #[arg(long, value_parser = stretch, value_name = "TIME", default_value = "10s")]
    watch: Duration,
    #[command(flatten)]
    out: Out,
}

impl RebalanceArgs {
    /// Whether routers were even after one call, and nobody missed anything.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((2..=10_000).contains(&self.connections), "--connections is from 2 to 10000");
        ensure!((1..=1_000).contains(&self.rate), "--rate is from 1 to 1000");
        let Self { connections, rate, within, watch, out } = self;
        let settings = RebalanceSettings { connections, rate, within, watch };
        out.of("rebalance", |progress| rebalance(&settings, progress))
    }
}

/// Members of groups say BUSY, come, go, die: how soon others take over.
///
/// Each group has a member of level 1 and one of level 2. Level 1 says that it is busy, and later
/// that it is not; beside it, one group has a level 1 that comes and goes each second; then a
/// process with the level 1 of other groups is killed (SIGKILL). Measured is how long it takes
/// until level 2 has an event, and until level 1 has one again. The exit code is 1 when an event
/// was taken by nobody, or by two members without a mark, when level 2 got something undisturbed,
/// when a member that flaps causes more than 4 switches, or when a switch's 99th percentile is
/// above --busy or --killed.
#[derive(Debug, Args)]
pub(super) struct GroupArgs {
    /// Groups at a time, at most 200.
    #[arg(long, value_name = "N", default_value_t = GroupSettings::default().groups)]
    groups: u32,
    /// Times that the level 1 of all groups is killed; each takes some four seconds.
    #[arg(long, value_name = "N", default_value_t = GroupSettings::default().kills)]
    kills: u32,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, value_name = "N", default_value_t = GroupSettings::default().routers)]
    routers: u16,
    /// Events per second of all groups: 5000, 20k. Default: 1000 of each group, because no switch
    /// is seen between two events of a group.
    #[arg(long, value_parser = rate)]
    rate: Option<u64>,
    /// The 99th percentile that is allowed from BUSY until level 2 has an event.
    #[arg(long, value_parser = some_time, default_value = "20ms")]
    busy: Duration,
    /// The 99th percentile that is allowed from a kill until level 2 has an event.
    #[arg(long, value_parser = some_time, default_value = "1600ms")]
    killed: Duration,
    #[command(flatten)]
    out: Out,
}

impl GroupArgs {
    /// Whether each event was done by one member, and switches were in time.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=200).contains(&self.groups), "--groups is from 1 to 200");
        ensure!((1..=1_000).contains(&self.kills), "--kills is from 1 to 1000");
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        let Self { groups: count, kills, routers, rate, busy, killed, out } = self;
        let rate = rate.unwrap_or_else(|| GroupSettings::rate_of(count));
        let settings =
            GroupSettings { groups: count, kills, routers, rate, busy_max: busy, killed_max: killed };
        out.of("groups", |progress| groups(&settings, progress))
    }
}

/// Is a process with members of groups: what `groups` starts and kills.
#[derive(Debug, Args)]
pub(super) struct GroupCrowd {
    #[arg(long)]
    router: SocketAddr,
    #[arg(long)]
    ca: PathBuf,
    #[arg(long)]
    first: u32,
    #[arg(long)]
    groups: u32,
}

impl GroupCrowd {
    /// Takes part until it is killed.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        let Self { router, ca, first, groups } = self;
        play_crowd(&CrowdPart { router, ca, first, groups })?;
        Ok(true)
    }
}

/// 100,000 requests that wait at once, and what each takes at routers.
///
/// A responder at another router holds all requests until the last one is there, then replies.
/// After that some are asked in turn, for the time that a reply takes; receivers that have just
/// subscribed are asked at once; and nobody is asked. The exit code is 1 when a request has not its
/// own reply, once, when somebody who had subscribed is said to be nobody, or when an open request
/// takes more than --bytes of the resident memory of routers.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// Requests that wait at once; a requester has 131072 at most.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().outstanding)]
    outstanding: u32,
    /// Connections that ask.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().requesters)]
    requesters: u32,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().routers)]
    routers: u16,
    /// Requests that are asked in turn, at a time.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().at_a_time)]
    at_a_time: u32,
    /// For how long they are.
    #[arg(long, value_parser = stretch, default_value = "3s")]
    duration: Duration,
    /// Receivers that are asked as soon as they have subscribed.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().fresh)]
    fresh: u32,
    /// Bytes that an open request may take at routers.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().bytes_max)]
    bytes: u64,
    #[command(flatten)]
    out: Out,
}

impl RequestArgs {
    /// Whether every request had its reply.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=64).contains(&self.requesters), "--requesters is from 1 to 64");
        ensure!((10..=200_000).contains(&self.outstanding), "--outstanding is from 10 to 200000");
        ensure!((1..=1_000).contains(&self.at_a_time), "--at-a-time is from 1 to 1000");
        ensure!((1..=100_000).contains(&self.fresh), "--fresh is from 1 to 100000");
        ensure!(self.bytes > 0, "--bytes is from 1: an open request takes some at routers");
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        let Self { outstanding, requesters, routers, at_a_time, duration, fresh, bytes, out } = self;
        let settings = RequestSettings {
            outstanding,
            requesters,
            routers,
            at_a_time,
            duration,
            fresh,
            bytes_max: bytes,
        };
        out.of("requests", |progress| requests::requests(&settings, progress))
    }
}

/// A ring of three clusters: each receiver must have each event once.
///
/// A publisher and a receiver are in each cluster, and each cluster forwards everything to both
/// others. Then nobody publishes, and nothing may cross; then one cluster is killed (SIGKILL), and
/// the others must not miss anything of each other; then it is back. The exit code is 1 when an
/// event is missing, came twice or out of order at a receiver, or when something goes round.
#[derive(Debug, Args)]
pub(super) struct ForwardArgs {
    /// Events per second of all publishers: 6000, 20k.
    #[arg(long, value_parser = rate, default_value = "6000")]
    rate: u64,
    /// How long all publish, and again while one cluster is away.
    #[arg(long, value_parser = stretch, default_value = "4s")]
    duration: Duration,
    /// For how long nothing may cross when nobody publishes: 60s shows slow growth, too.
    #[arg(long, value_parser = stretch, default_value = "2s")]
    still: Duration,
    /// Cores of each router.
    #[arg(long, value_name = "N", default_value_t = ForwardSettings::default().cores)]
    cores: u16,
    /// Links from each cluster to each other one: with two, each event comes on six ways.
    #[arg(long, value_name = "N", default_value_t = ForwardSettings::default().links)]
    links: u16,
    #[command(flatten)]
    out: Out,
}

impl ForwardArgs {
    /// Whether each receiver had each event once.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=64).contains(&self.cores), "--cores is from 1 to 64");
        ensure!((1..=4).contains(&self.links), "--links is from 1 to 4");
        let Self { rate, duration, still, cores, links, out } = self;
        let settings = ForwardSettings { rate, duration, still, cores, links };
        out.of("forwarding", |progress| forwarding(&settings, progress))
    }
}

/// Restarts routers one by one under load: receivers are not to notice.
///
/// Each router is asked to end (SIGTERM): it tells its clients, which move to the others, and
/// starts again where it was. The exit code is 1 when an event is missing, came twice or out of
/// order, or was not confirmed, when a receiver was told of a gap, when more than 1 % came twice
/// before the library removed that, or when the 99th percentile of latency meanwhile is more than
/// --slower times that of before.
#[derive(Debug, Args)]
pub(super) struct RollingArgs {
    /// Events per second of all publishers: 5000, 50k.
    #[arg(long, value_parser = rate, default_value = "50000")]
    rate: u64,
    /// What publishers ask for.
    #[arg(long, value_enum, default_value = "delivered")]
    confirm: Confirm,
    /// Router processes, linked with each other, 2 to 16.
    #[arg(long, value_name = "N", default_value_t = RollingSettings::default().routers)]
    routers: u16,
    /// Cores of each router.
    #[arg(long, value_name = "N", default_value_t = RollingSettings::default().cores)]
    cores: u16,
    /// Publishers, each with a connection, at most 64.
    #[arg(long, value_name = "N", default_value_t = RollingSettings::default().publishers)]
    publishers: u16,
    /// Receivers, each with a connection, at most 64; each event is for one of them.
    #[arg(long, value_name = "N", default_value_t = RollingSettings::default().receivers)]
    receivers: u16,
    /// How long the load is watched before the first restart and behind the last.
    #[arg(long, value_parser = stretch, value_name = "TIME", default_value = "10s")]
    watch: Duration,
    /// Between a router that is back and the next one that ends.
    #[arg(long, value_parser = some_time, value_name = "TIME", default_value = "3s")]
    pause: Duration,
    /// Time that a router leaves its clients when it is asked to end, at most 2500ms.
    #[arg(long, value_parser = some_time, value_name = "TIME", default_value = "2s")]
    grace: Duration,
    /// The 99th percentile of latency while routers restart that is allowed, as a multiple of that
    /// before.
    #[arg(long, value_name = "TIMES", default_value_t = RollingSettings::default().slower_max)]
    slower: f64,
    #[command(flatten)]
    out: Out,
}

impl RollingArgs {
    /// Whether nobody noticed.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((2..=16).contains(&self.routers), "--routers is from 2 to 16: one at a time is away");
        ensure!((1..=64).contains(&self.cores), "--cores is from 1 to 64");
        ensure!((1..=64).contains(&self.publishers), "--publishers is from 1 to 64");
        ensure!((1..=64).contains(&self.receivers), "--receivers is from 1 to 64");
        ensure!(self.grace <= Duration::from_millis(2500), "--grace is at most 2500ms");
        ensure!(self.slower >= 1.0, "--slower is at least 1");
        let Self { rate, confirm, routers, cores, publishers, receivers, watch, pause, grace, slower, out } =
            self;
        let settings = RollingSettings {
            routers,
            cores,
            publishers,
            receivers,
            rate,
            confirm,
            watch,
            pause,
            grace,
            slower_max: slower,
        };
        out.of("rolling", |progress| rolling(&settings, progress))
    }
}
