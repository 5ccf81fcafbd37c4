//! The commands, and what each of them ends with.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_loadgen::tell::tell;

use super::options::RunArgs;
use super::{chaos, compare, features, growth, run};

/// Measures what Millrace routers can carry, and verifies every event on the way.
///
/// With no arguments: 100,000 emitters publish a million events per second for ten seconds through
/// two linked routers in this process, to 10,000 receivers. Every event is checked: lost,
/// duplicated or reordered ones make the exit code 1.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  millrace-loadgen                                   a million events per second
  millrace-loadgen run --preset p2p --duration 5s    one publisher, one receiver
  millrace-loadgen run --preset p2p --max --p99 20ms  the highest rate
  millrace-loadgen run --preset million --rate 300k --json out.json
  millrace-loadgen run --preset fleet --processes --connections 22000
  millrace-loadgen run --preset million --rate 100k --disturb churn,storm
  millrace-loadgen run --preset p2p --rate 200k --disturb junk-handshakes
  millrace-loadgen run --preset p2p --processes --disturb reload --rounds 5
  millrace-loadgen run --preset mesh --driver client --redundant --routers 3
  millrace-loadgen failover --connections 10000 --within 10s
  millrace-loadgen rolling --rate 50k
  millrace-loadgen chaos --duration 60s --json chaos.json
  millrace-loadgen compare --nats-server nats-server --json compare.json

On routers that run somewhere (somebody's cluster: begin gently):
  millrace-loadgen run --rate 10k --ca ca.pem --router 10.0.0.1:7400"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs one preset and judges it.
    Run(Box<RunArgs>),
    /// The same load on Millrace and on what you would otherwise pick.
    ///
    /// In interleaved rounds.
    Compare(Box<compare::Compare>),
    /// What an event costs with more selectors, connections, or routers.
    Growth(growth::Growth),
    Chaos(Box<chaos::Chaos>),
    Failover(features::FailoverArgs),
    Forwarding(features::ForwardArgs),
    Groups(features::GroupArgs),
    /// Is a process with members of groups: what `groups` starts and kills.
    #[command(hide = true)]
    GroupCrowd(features::GroupCrowd),
    Quench(features::QuenchArgs),
    Rebalance(features::RebalanceArgs),
    Requests(features::RequestArgs),
    Rolling(features::RollingArgs),
    Standby(features::StandbyArgs),
    /// Is a member of a standby set: what `standby` starts and kills.
    #[command(hide = true)]
    StandbyMember(features::StandbyMember),
    /// Is a router: what --processes starts.
    #[command(hide = true)]
    Router(Box<millrace_router::process::Cli>),
    /// Is a router: what `chaos` starts, stops and kills.
    #[command(hide = true)]
    ChaosRouter(Box<millrace_router::process::Cli>),
    /// Is a publisher: what `chaos` starts and kills.
    #[command(hide = true)]
    ChaosPublisher(Box<chaos::ChaosPublisher>),
    /// Is a server: what `compare` starts.
    #[command(hide = true)]
    Serve(compare::Serve),
}

impl Cli {
    /// Runs the command; without one, `run` with its defaults.
    pub(crate) fn execute(self) -> ExitCode {
        let command =
            self.command.unwrap_or_else(|| match Self::parse_from(["millrace-loadgen", "run"]).command {
                Some(command) => command,
                None => unreachable!("`run` is a command"),
            });
        let outcome = match command {
            Command::Run(args) => run::execute(&args),
            Command::Compare(compare) => compare.execute(),
            Command::Growth(growth) => growth.execute(),
            Command::Chaos(chaos) => chaos.execute(),
            Command::Failover(failover) => failover.execute(),
            Command::Forwarding(forwarding) => forwarding.execute(),
            Command::Groups(groups) => groups.execute(),
            Command::GroupCrowd(crowd) => crowd.execute(),
            Command::Quench(quench) => quench.execute(),
            Command::Rebalance(rebalance) => rebalance.execute(),
            Command::Requests(requests) => requests.execute(),
            Command::Rolling(rolling) => rolling.execute(),
            Command::Standby(standby) => standby.execute(),
            Command::StandbyMember(member) => member.execute(),
            Command::ChaosPublisher(publisher) => publisher.execute(),
            Command::ChaosRouter(cli) => {
                millrace_loadgen::chaos::end_with_run();
                return millrace_router::process::run(&cli);
            }
            Command::Serve(serve) => serve.execute(),
            Command::Router(cli) => {
                millrace_measure::kernel::end_with_parent();
                return millrace_router::process::run(&cli);
            }
        };
        match outcome {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                tell(format_args!("millrace-loadgen: {error:#}"));
                ExitCode::from(2)
            }
        }
    }
}
