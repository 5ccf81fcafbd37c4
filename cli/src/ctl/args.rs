//! The command line of `millrace ctl`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use crate::admin::AdminArgs;
use crate::options::time;

/// Look at routers that run, and change them.
///
/// Asks the admin pages of the routers that --admin names; by default that of a router on this
/// host. With --json, each router's answer is one object on a line, as its admin page gives it,
/// with the page's URL as `admin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ctl {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// How routers stand: ready or not, their peers, what they have done.
    Status,
    /// The clients for which most waits, or who lost or published most.
    Sessions(Sessions),
    /// Who wants what: selectors, and where their subscribers are.
    Routes(Routes),
    /// Groups of receivers: the level in use and why, and their members.
    Groups,
    /// Links to other clusters: what they sent and dropped.
    ///
    /// Also how they stand, and what the far side wants.
    Forwards,
    /// Names of receivers, and who holds them.
    Names,
    /// Tag rules: what they have done, and where each failed last.
    Rules,
    /// Sets of standby publishers: who holds them and why, and members.
    Standby(Standby),
    /// Whom an event would meet, and what keeps it from others.
    Why(Why),
    /// Have routers read settings and certificates anew.
    ///
    /// Each takes them whole or not at all.
    Reload,
    /// End routers in order, one after the other.
    ///
    /// Each tells its clients and peers, and waits for them to move.
    Drain(Drain),
    /// Even out how many clients routers have.
    ///
    /// Those with too many ask some to move, one after the other. Name all routers with --admin.
    Rebalance(Rebalance),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sessions {
    /// How many of each router.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) top: u16,
    /// By what they are ranked.
    #[arg(long, value_enum, default_value_t = Order::Queue)]
    pub(crate) order: Order,
}

/// By what sessions are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Bytes that wait for them.
    Queue,
    /// Events that their queues dropped.
    Drops,
    /// Bytes that they published.
    Published,
}

impl Order {
    /// Its name in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Drops => "drops",
            Self::Published => "published",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Routes {
    /// Only selectors that contain this text.
    #[arg(value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) contains: String,
    /// How many of each router.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) top: u16,
    /// Go on behind this selector: the next page.
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub(crate) after: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Standby {
    #[command(subcommand)]
    pub(crate) what: Option<StandbyChange>,
}

/// What to change of a set.
#[derive(Debug, Subcommand)]
pub(crate) enum StandbyChange {
    /// Have the holder of a set give way to another member.
    ///
    /// That takes over within the time that its rank gives.
    HandOver {
        /// The set.
        #[arg(value_name = "SET")]
        set: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// The event's tags, key=value, separated by commas; \, is a comma within a value.
    #[arg(value_name = "TAGS", required = true)]
    pub(crate) tags: Vec<String>,
    /// How many receivers of each router to show.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) top: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Time for clients to move, such as 10s. Default: the router's setting `grace`.
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub(crate) grace: Option<Duration>,
    /// Do not wait until the router has ended.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rebalance {
    /// Time over which the clients move.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time)]
    pub(crate) within: Duration,
    /// Does nothing while no router has more clients than this above the mean, in percent of it.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) dead_band: u8,
    /// Say what would move, and move nobody.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait until the clients have moved.
    #[arg(long)]
    pub(crate) no_wait: bool,
}
