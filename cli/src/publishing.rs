//! What `millrace pub` is asked for.

use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use millrace_client::Connections;
use millrace_client::publisher::Quench;

use crate::options::{Confirm, some_time, time};

/// Publish events.
///
/// Each PAYLOAD, or with --lines each line of standard input, becomes one event with the given
/// tags. The command ends when every event has its outcome or, with `--confirm none`, when a router
/// has received everything. An interrupt (Ctrl-C) ends the input; a second one gives up.
///
/// With --spool an event is on disk before it is sent, and needs no router to get there: what has
/// no outcome when the command ends stays, and goes out with the next command on the same spool or
/// with `millrace spool replay DIR`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pub {
    /// Tags, key=value, separated by commas; `\,` is a comma within a value. May be given several
    /// times; keys are unique.
    #[arg(long = "tag", short = 't', value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// Payloads, one event each.
    #[arg(value_name = "PAYLOAD", required_unless_present = "lines")]
    pub(crate) payloads: Vec<String>,
    /// Send the events to the receiver of this name (`millrace sub --name NAME`) and to nobody
    /// else; may be given up to 16 times. The command fails unless each event is delivered to each
    /// of them; without --confirm, `delivered` means that the receiver's application has
    /// acknowledged it.
    #[arg(long = "to", value_name = "NAME", value_parser = crate::args::name)]
    pub(crate) to: Vec<String>,
    /// Publish standard input, each line an event, without its line break (LF or CR LF).
    #[arg(long, conflicts_with = "payloads")]
    pub(crate) lines: bool,
    /// Be a member of this set: several publishers of one stream, of which one takes effect and the
    /// others wait to take over. The set belongs to the client's identity. Without --source-seq,
    /// what is read while another member is active is not published.
    #[arg(long, value_name = "SET", value_parser = crate::args::name, conflicts_with = "to")]
    pub(crate) standby: Option<String>,
    /// Be on two routers at once and give each event to both: when one dies, nothing is lost and
    /// nothing waits; receivers remove the second copy. Costs twice. An event is confirmed when one
    /// router has confirmed it at a receiver. With one router it goes on with that one. Not for
    /// events that a group shares (`millrace sub --group`): it would get each twice.
    #[arg(long, conflicts_with_all = ["standby", "to"])]
    #[cfg_attr(unix, arg(conflicts_with = "spool"))]
    pub(crate) redundant: bool,
    /// Which member of the set takes over first: 1 to 16.
    #[arg(
        long,
        value_name = "R",
        default_value_t = 1,
        requires = "standby",
        value_parser = clap::value_parser!(u8).range(1..=16)
    )]
    pub(crate) rank: u8,
    /// Take over from an active member of a higher rank, too, once this one was there for 5 s.
    #[arg(long, requires = "standby")]
    pub(crate) preempt: bool,
    /// How the lines are numbered, alike for all members of the set: `line`, as they stand in the
    /// input, from 1, for a file that all read from its beginning; `start`, by the number that each
    /// line begins with. Numbers rise. Whoever takes over goes on where the other one was, without
    /// loss and without repeats.
    #[arg(long, value_name = "line|start", value_enum, requires_all = ["standby", "lines"], conflicts_with = "payloads", hide_possible_values = true)]
    pub(crate) source_seq: Option<SourceSeq>,
    /// Numbered lines that a waiting member keeps: as many as the feed brings in 2.5 s.
    #[arg(long, value_name = "LINES", default_value_t = 4096, requires = "source_seq", value_parser = RangedU64ValueParser::<usize>::new().range(1..=16_777_216))]
    pub(crate) window: usize,
    /// Keep a CR at the end of a line: it belongs to the payload.
    #[arg(long, requires = "lines")]
    pub(crate) keep_cr: bool,
    /// Longest time that an event waits for company.
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = time)]
    pub(crate) linger: Duration,
    /// Connections to the router: `one`, `per-core`, or a number. More than one help a publisher of
    /// many tag sets; events of one tag set always take the same connection, which keeps their
    /// order.
    #[arg(long, value_name = "one|per-core|N", default_value = "one")]
    pub(crate) connections: Connections,
    /// What to be told about each event: `routed`, that it is in the queues of all receivers that
    /// match; `delivered`, that their applications have acknowledged it; `none`, that a router
    /// has received it. Default: routed, or none at routers that do not confirm. The command
    /// fails unless every event is confirmed.
    #[arg(long, value_name = "none|routed|delivered", value_enum, hide_possible_values = true)]
    pub(crate) confirm: Option<Confirm>,
    /// Receivers that each event must be confirmed at; with 1, an event that nobody wants is a
    /// failure.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min_receivers: u64,
    /// How long to wait for the last events to be confirmed, or received.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// How long after it was read an event may be sent, such as 5m; one that waits longer for a
    /// router is given up, and counted as expired. Default: without end.
    #[arg(long, value_name = "DURATION", value_parser = some_time)]
    pub(crate) ttl: Option<Duration>,
    /// Events that nobody in the cluster wants, as the router says after some seconds: `auto` skips
    /// them with --confirm none, but for one every 10 s; `always` skips them with confirms, too, as
    /// confirmed at no receiver; `off` sends them.
    #[arg(long, value_name = "auto|always|off", default_value = "auto")]
    pub(crate) quench: Quench,
    #[cfg(unix)]
    #[command(flatten)]
    pub(crate) spooling: crate::spooling::Spooling,
    /// Say on the way, too, how many events were sent, received, or are of unknown fate.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Do not say at the end what became of the events, unless some were not delivered to a router.
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// How lines are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SourceSeq {
    /// As they stand in the input, from 1.
    Line,
    /// By the number that each begins with.
    Start,
}
