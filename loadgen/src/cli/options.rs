//! The command line of `millrace-loadgen run`: a preset, and everything that changes it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use millrace_proto::limits::CORES_MAX;

use millrace_loadgen::chaos::{Share, Weather};
use millrace_loadgen::disturb::{Background, DisturbSettings, Disturbance};
use millrace_loadgen::report::Fault;
use millrace_loadgen::run::{RunOptions, Search};
use millrace_loadgen::scenario::{Deliveries, Driver, Placement, Preset, Scenario, Ways};

use super::values::{payload_bytes, rate, some_bytes, some_time, stretch, time};

/// More than a round trip by satellite.
const DISTANCE_MAX: Duration = Duration::from_secs(1);

/// Why options do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionsError {
    /// There is nobody whose latency could suffer.
    #[error(
        "--disturb slow-receiver needs receivers that stall, and others; add --receivers {} or more", .0 + 1
    )]
    SlowAlone(u32),
    /// They share a connection.
    #[error(
        "--slow-receivers {wanted}: a connection has {} of the receivers here; lower --receiver-connections", .here
    )]
    SlowElsewhere {
        /// How many were asked for.
        wanted: u32,
        /// How many the first connection has.
        here: u32,
    },
    /// The client library cannot be told to do this.
    #[error("--driver client has one receiver per connection and none that stalls: use the fleet for this")]
    Client,
    /// The fleet has one connection for each client.
    #[error("--redundant and --failover are what the client library does: add --driver client")]
    Fleet,
    /// There is nobody to go to.
    #[error(
        "--redundant and --failover need two routers for each client: give more --router, or --routers 3"
    )]
    FewRouters,
    /// A load on somebody's cluster that nobody chose.
    #[error(
        "say what to run on these routers with --preset; `--preset p2p --rate 10k` is a gentle beginning, million is not"
    )]
    NoPreset,
    /// Only processes read a file.
    #[error("--disturb reload changes the file of own routers: add --processes")]
    Reload,
    /// The proxy is on this host.
    #[error("--loss and --distance stand between receivers and own routers: leave --router out")]
    Weather,
    /// Longer than anything on this planet.
    #[error("--distance is at most 1s")]
    Far,
    /// A search has no phases.
    #[error("--max searches without disturbances: run them apart, at a --rate")]
    DisturbedSearch,
}

/// What to run, and how it is judged.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to run; everything else changes it. Default: million, with own routers.
    #[arg(long, value_enum)]
    pub(crate) preset: Option<Preset>,
    /// Length of the measured part.
    #[arg(long, value_name = "TIME", value_parser = stretch, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Events per second to offer: 300000, 300k, 1.2M.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Writes the report as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report as one page with plots to this file; it needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Adds the run to a collection of runs: a folder with command, JSON, summary and page, and the
    /// collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    pub(crate) record: Option<PathBuf>,
    /// Searches the highest rate that loses nothing and stays under --p99; begins at --rate.
    #[arg(long)]
    pub(crate) max: bool,
    /// The 99th percentile of latency that --max allows.
    #[arg(long, value_name = "TIME", value_parser = some_time, default_value = "20ms", requires = "max")]
    pub(crate) p99: Duration,
    /// Disturbs the others, each in a phase of its own behind the undisturbed one: slow-receiver
    /// (one stalls, or more of one connection), churn, storm, storm-resumed, junk-handshakes (by
    /// strangers who do not finish), junk-spoofed (from where nobody hears an answer), reload (of
    /// all routers); several with commas.
    #[arg(long, value_enum, value_delimiter = ',', help_heading = "Disturbances")]
    pub(crate) disturb: Vec<Disturbance>,
    /// Receivers that stall with slow-receiver, all of one connection.
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N", default_value = "1", help_heading = "Disturbances")]
    pub(crate) slow_receivers: u32,
    /// Distinct selectors that churn subscribes per second, and unsubscribes a second later.
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000_000), value_name = "N", default_value = "50000", help_heading = "Disturbances")]
    pub(crate) churn_rate: u32,
    /// Clients that reconnect at once in a storm.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000), value_name = "N", default_value = "10000", help_heading = "Disturbances")]
    pub(crate) storm_clients: u32,
    /// Junk handshakes begun per second, of either kind.
    #[arg(long, value_parser = value_parser!(u32).range(1..=100_000), value_name = "N", default_value = "1000", help_heading = "Disturbances")]
    pub(crate) junk_rate: u32,
    /// Between two reloads of all routers.
    #[arg(long, value_parser = stretch, value_name = "TIME", default_value = "1s", help_heading = "Disturbances")]
    pub(crate) reload_every: Duration,
    /// Times that the undisturbed phase and the disturbed ones are played in turn. The median of
    /// the others' p99, as a multiple of the undisturbed, is at most 2 with junk, 1.5 with reloads.
    #[arg(long, value_parser = value_parser!(u32).range(1..=100), value_name = "N", default_value = "1", help_heading = "Disturbances")]
    pub(crate) rounds: u32,
    /// A router to use instead of own ones; repeat it for more. Needs --preset, because the load
    /// goes to somebody's cluster; MILLRACE_ROUTER is not read here for the same reason.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', help_heading = "Routers")]
    pub(crate) router: Vec<String>,
    /// CA certificates of the routers, PEM; without it the dev mode's CA of this host is used.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CA", help_heading = "Routers")]
    pub(crate) ca: Option<PathBuf>,
    /// Own routers, linked with each other.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=64), help_heading = "Routers")]
    pub(crate) routers: Option<u16>,
    /// Cores of each own router.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=CORES_MAX.into()), help_heading = "Routers")]
    pub(crate) cores: Option<u16>,
    /// Starts own routers as processes: their CPU time and memory are then their own.
    #[arg(long, help_heading = "Routers")]
    pub(crate) processes: bool,
    /// What plays publishers and receivers: the fleet, or the public client library.
    #[arg(long, value_enum, help_heading = "Clients")]
    pub(crate) driver: Option<Driver>,
    /// Waits so long between the last subscription and the first event: receivers behind a link
    /// between clusters are heard of a moment later.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s", help_heading = "Clients")]
    pub(crate) lead: Duration,
    /// Each receiver is on two routers at once, so that nothing is missing when one of them is
    /// killed meanwhile (--driver client).
    #[arg(long, help_heading = "Clients")]
    pub(crate) redundant: bool,
    /// Each publisher asks for confirms, goes to another router when its own is killed meanwhile,
    /// and sends again there what is not confirmed (--driver client).
    #[arg(long, help_heading = "Clients")]
    pub(crate) failover: bool,
    /// Threads of the generator.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024), help_heading = "Clients")]
    pub(crate) threads: Option<u16>,
    /// Emitters: sources of events, each with a tag set.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000_000), help_heading = "Clients")]
    pub(crate) emitters: Option<u32>,
    /// Receivers of events.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000), help_heading = "Clients")]
    pub(crate) receivers: Option<u32>,
    /// Connections in all, each with one emitter or one receiver, ten to one (fleet).
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..=11_000_000), conflicts_with_all = ["emitters", "receivers"], help_heading = "Clients")]
    pub(crate) connections: Option<u32>,
    /// Connections that publish.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000_000), help_heading = "Clients")]
    pub(crate) publisher_connections: Option<u32>,
    /// Connections that receive.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000), help_heading = "Clients")]
    pub(crate) receiver_connections: Option<u32>,
    /// Idle connections ping this often; at least three times in the silence that routers allow, 30
    /// s.
    #[arg(long, value_name = "TIME", value_parser = some_time, help_heading = "Clients")]
    pub(crate) keep_alive: Option<Duration>,
    /// Handshakes per second at set-up, at most.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000), value_name = "N", help_heading = "Clients")]
    pub(crate) handshakes_per_second: Option<u32>,
    /// How long a thread leaves its schedule alone behind a look at it: 1ms makes it publish in
    /// beats, as a program does that works once per tick; 50us when absent, 1ms for million.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Clients")]
    pub(crate) look_every: Option<Duration>,
    /// How long publishers gather events.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Clients")]
    pub(crate) linger: Option<Duration>,
    /// How long routers gather events for a receiver.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Clients")]
    pub(crate) receive_linger: Option<Duration>,
    /// How long publishers can wait to be told what was received, at most 10 s; 0s leaves it to the
    /// router.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Clients")]
    pub(crate) received_within: Option<Duration>,
    /// Bytes that a receiver lets come ahead of its application.
    #[arg(long, value_parser = some_bytes, value_name = "BYTES", help_heading = "Clients")]
    pub(crate) receive_window: Option<bytesize::ByteSize>,
    /// Bytes that a router may queue for a receiver.
    #[arg(long, value_parser = some_bytes, value_name = "BYTES", help_heading = "Clients")]
    pub(crate) receive_queue: Option<bytesize::ByteSize>,
    /// How events reach the receivers of a connection: on a stream for all of them, or for each.
    #[arg(long, value_enum, help_heading = "Clients")]
    pub(crate) deliveries: Option<Deliveries>,
    /// Datagrams between receivers and their routers that are lost, both ways: 1%, 0.1%. A proxy
    /// stands there then, with an MTU of 1,500 bytes.
    #[arg(long, value_name = "SHARE", default_value = "0%", help_heading = "Network")]
    pub(crate) loss: Share,
    /// How long each of these datagrams takes, at most 1s: half of the round trip.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s", help_heading = "Network")]
    pub(crate) distance: Duration,
    /// Bytes of each payload, at least 28.
    #[arg(long, value_name = "BYTES", value_parser = payload_bytes, help_heading = "Events")]
    pub(crate) payload_bytes: Option<u32>,
    /// Events that an emitter publishes at a time, as one run.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=4096), help_heading = "Events")]
    pub(crate) events_per_run: Option<u32>,
    /// Tag sets, each an emitter's; the same as --emitters.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000_000), conflicts_with = "emitters", help_heading = "Events")]
    pub(crate) tag_sets: Option<u32>,
    /// Tags of each set beyond its nine, at most 23.
    #[arg(long, value_parser = value_parser!(u32).range(0..=23), value_name = "N", help_heading = "Events")]
    pub(crate) extra_tags: Option<u32>,
    /// Values that each of those takes.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000_000), value_name = "N", help_heading = "Events")]
    pub(crate) extra_tag_values: Option<u32>,
    /// Selectors of each receiver.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1024), value_name = "N", help_heading = "Events")]
    pub(crate) selectors: Option<u32>,
    /// Seed of the workload.
    #[arg(long, help_heading = "Events")]
    pub(crate) seed: Option<u64>,
    /// Does not look for a lower rate when the host cannot hold the wanted one.
    #[arg(long)]
    pub(crate) no_step_down: bool,
    /// Faults that do not make the run fail.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) allow: Vec<Fault>,
    /// Shows no progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Prints every figure below the summary.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl RunArgs {
    /// The scenario that they come to.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub(crate) fn scenario(&self) -> Result<Scenario, OptionsError> {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        let mut scenario = Scenario::preset(self.preset.unwrap_or(Preset::Million));
        scenario.duration = self.duration;
        let workload = &mut scenario.workload;
        set(&mut workload.emitters, self.emitters.or(self.tag_sets));
        set(&mut workload.receivers, self.receivers);
        if let Some(connections) = self.connections {
            workload.receivers = (connections / 11).max(1);
            workload.emitters = connections.saturating_sub(workload.receivers).max(1);
            scenario.own_connections = true;
        }
        set(&mut workload.payload_bytes, self.payload_bytes);
        set(&mut workload.events_per_run, self.events_per_run);
        set(&mut workload.selectors_per_receiver, self.selectors);
        set(&mut workload.extra_tags, self.extra_tags);
        set(&mut workload.extra_tag_values, self.extra_tag_values);
        set(&mut workload.seed, self.seed);
        set(&mut scenario.routers, self.routers);
        set(&mut scenario.cores_per_router, self.cores);
        set(&mut scenario.publisher_connections, self.publisher_connections);
        set(&mut scenario.receiver_connections, self.receiver_connections);
        set(&mut scenario.look_every, self.look_every);
        set(&mut scenario.publish_linger, self.linger);
        set(&mut scenario.receive_linger, self.receive_linger);
        set(&mut scenario.received_within, self.received_within);
        set(&mut scenario.receive_window_bytes, self.receive_window.map(|size| size.as_u64()));
        set(&mut scenario.receive_queue_bytes, self.receive_queue.map(|size| size.as_u64()));
        set(&mut scenario.deliveries, self.deliveries);
        set(&mut scenario.keep_alive, self.keep_alive);
        set(&mut scenario.handshakes_per_second, self.handshakes_per_second);
        set(&mut scenario.driver, self.driver);
        set(&mut scenario.fleet_threads, self.threads);
        scenario.ways = Ways { lead: self.lead, redundant: self.redundant, failover: self.failover };
        scenario.weather = Weather { loss: self.loss, distance: self.distance, ..Weather::default() };
        let is_slow = self.disturb.contains(&Disturbance::SlowReceiver);
        scenario.slow_receivers = if is_slow { self.slow_receivers } else { 0 };
        if scenario.driver == Driver::Client {
            // The library gives each receiver a connection.
            scenario.receiver_connections = scenario.workload.receivers;
        }
        scenario.settle(self.rate);
        self.check(&scenario)?;
        Ok(scenario)
    }

    fn check(&self, scenario: &Scenario) -> Result<(), OptionsError> {
        let (slow, receivers) = (scenario.slow_receivers, scenario.workload.receivers);
        if slow > 0 && receivers <= slow {
            return Err(OptionsError::SlowAlone(slow));
        }
        let here = receivers.div_ceil(scenario.receiver_connections.max(1));
        if slow > here {
            return Err(OptionsError::SlowElsewhere { wanted: slow, here });
        }
        if scenario.driver == Driver::Client
            && (slow > 0 || scenario.receiver_connections != scenario.workload.receivers)
        {
            return Err(OptionsError::Client);
        }
        if self.redundant || self.failover {
            if scenario.driver != Driver::Client {
                return Err(OptionsError::Fleet);
            }
            let routers =
                self.router.len().max(usize::from(scenario.routers) * usize::from(self.router.is_empty()));
            let apart = usize::from(self.redundant && scenario.placement == Placement::Apart);
            if routers < 2 + apart {
                return Err(OptionsError::FewRouters);
            }
        }
        if !scenario.weather.is_fair() && !self.router.is_empty() {
            return Err(OptionsError::Weather);
        }
        if scenario.weather.distance > DISTANCE_MAX {
            return Err(OptionsError::Far);
        }
        if !self.router.is_empty() && self.preset.is_none() {
            return Err(OptionsError::NoPreset);
        }
        if self.disturb.contains(&Disturbance::Reload) && !(self.processes && self.router.is_empty()) {
            return Err(OptionsError::Reload);
        }
        if self.max && !self.disturb.is_empty() {
            return Err(OptionsError::DisturbedSearch);
        }
        Ok(())
    }

    /// How the run goes about it.
    #[must_use]
    pub(crate) fn run_options(&self) -> RunOptions {
        RunOptions {
            step_down: !self.no_step_down,
            search: self.max.then_some(Search { p99: self.p99 }),
            disturb: self.disturb.clone(),
            disturb_settings: DisturbSettings {
                churn_per_second: self.churn_rate,
                storm_clients: self.storm_clients,
                junk_per_second: self.junk_rate,
                reload_every: self.reload_every,
                rounds: self.rounds,
            },
            background: Background::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn scenario(line: &str) -> Result<Scenario, OptionsError> {
        Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).unwrap().run.scenario()
    }

    #[test]
    fn a_fleet_scales_its_connections_and_its_rate_together() {
        let fleet = scenario("--preset fleet").unwrap();
        assert_eq!((fleet.publisher_connections, fleet.receiver_connections), (100_000, 10_000));
        assert_eq!(fleet.workload.events_per_second, 60_000);
        let small = scenario("--preset fleet --connections 2200").unwrap();
        assert_eq!((small.publisher_connections, small.receiver_connections), (2_000, 200));
        assert_eq!(small.workload.events_per_second, 1_200);
        let faster = scenario("--preset fleet --connections 2200 --rate 5000").unwrap();
        assert_eq!(faster.workload.events_per_second, 5_000);
    }

    #[test]
    fn tag_sets_are_emitters_on_the_same_connections() {
        let tags = scenario("--preset p2p --tag-sets 10000 --events-per-run 1").unwrap();
        assert_eq!((tags.workload.emitters, tags.publisher_connections), (10_000, 1));
        let preset = scenario("--preset p2p-tags").unwrap();
        assert_eq!(preset.workload.emitters, 10_000);
        assert_eq!(preset.workload.events_per_run, 1);
        assert!(tags.workload.generator().is_ok());
    }

    #[test]
    fn everyone_gets_everything_all_to_all() {
        let all = scenario("--preset all-to-all").unwrap();
        assert_eq!((all.workload.emitters, all.workload.selectors_per_receiver), (4, 4));
    }

    #[test]
    fn what_would_be_no_load_is_refused() {
        for line in [
            "--duration 0s",
            "--duration=-5s",
            "--duration 1year",
            "--p99 0s --max",
            "--rate 0",
            "--emitters 0",
            "--receivers 0",
            "--connections 1",
            "--tag-sets 0",
            "--publisher-connections 0",
            "--receiver-connections 0",
            "--routers 0",
            "--cores 0",
            "--threads 0",
            "--selectors 0",
            "--events-per-run 0",
            "--payload-bytes 20",
            "--payload-bytes 2000000",
            "--extra-tags 24",
            "--extra-tag-values 0",
            "--receive-window 0",
            "--receive-queue 0B",
            "--keep-alive 0s",
            "--handshakes-per-second 0",
            "--churn-rate 0",
            "--storm-clients 0",
            "--junk-rate 0",
            "--reload-every 1ms",
            "--rounds 0",
            "--lead 1000d",
        ] {
            let error = Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace()));
            assert_eq!(error.unwrap_err().kind(), clap::error::ErrorKind::ValueValidation, "{line}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (line, error) in [
            ("--preset p2p --disturb slow-receiver", OptionsError::SlowAlone(1)),
            (
                "--preset million --disturb slow-receiver --slow-receivers 314",
                OptionsError::SlowElsewhere { wanted: 314, here: 313 },
            ),
            ("--preset fan-out --driver client --disturb slow-receiver", OptionsError::Client),
            ("--max --disturb churn", OptionsError::DisturbedSearch),
            ("--preset p2p --disturb reload", OptionsError::Reload),
            ("--preset p2p --router localhost:1 --loss 1%", OptionsError::Weather),
            ("--preset p2p --distance 2s", OptionsError::Far),
            ("--preset mesh --failover", OptionsError::Fleet),
            ("--preset p2p --driver client --failover", OptionsError::FewRouters),
            ("--preset mesh --driver client --redundant", OptionsError::FewRouters),
        ] {
            assert_eq!(scenario(line).unwrap_err(), error, "{line}");
        }
    }
}
