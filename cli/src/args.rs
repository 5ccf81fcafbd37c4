//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use millrace_proto::control::OverflowPolicy;
use millrace_proto::limits::NAME_BYTES_MAX;
use millrace_proto::selector::Claim;

use crate::context::Reaches;
use crate::options::{Reach, bytes, count, some_time, time};
use crate::publishing::Pub;

/// Publish and receive events through a Millrace cluster.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples, with a router in dev mode on this host (start one: millrace-router):
  millrace sub '*'                                  everything, readable
  millrace sub 'fqdn=web-*,service in (shop,pay)'   one selector: all must hold
  millrace sub 'disk,usage>90' 'payload ~ /panic/'  two: either may match
  millrace pub -t fqdn=$(hostname) 'deployed 1.4'   one event
  tail -F app.log | millrace pub --lines -t fqdn=$(hostname) -t file=app.log

With a cluster:
  millrace certs init                               an authority
  millrace --router routers.example:7400 --ca ca.pem sub '*'
  millrace --router routers.example --ca ca.pem context save prod --use
                                                    the same, from here on
  millrace ctl status                               how a router stands
  millrace ctl why host=web-1,service=pay           whom it would meet

Exit codes (those of `millrace check` are in its help):
  0    done: all that was asked for was delivered, received or changed
  1    something was not delivered, or was refused, or did not come in time
  2    wrong usage
  3    no router could be reached
  130  interrupted before the end: of -n N events, fewer came";

/// What to do; the help of each is at its options.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Pub(Pub),
    Sub(Sub),
    Request(crate::request::Ask),
    Reply(crate::reply::Reply),
    Tap(crate::tap::Tap),
    Top(crate::top::Top),
    Ctl(crate::ctl::Ctl),
    Check(crate::check::Check),
    #[cfg(unix)]
    Certs(crate::certs::Certs),
    #[cfg(unix)]
    Spool(crate::spool::SpoolArgs),
    Rules(crate::rules::Rules),
    Context(crate::context::ContextArgs),
    Completions(crate::shell::Completions),
    Man(crate::shell::Man),
}

impl Command {
    /// Whom it reaches.
    pub(crate) fn reaches(&mut self) -> Reaches<'_> {
        match self {
            Self::Pub(_) | Self::Sub(_) | Self::Request(_) | Self::Reply(_) | Self::Tap(_) => {
                Reaches::Routers
            }
            Self::Top(command) => Reaches::Admins(&mut command.admin.admin),
            Self::Ctl(command) => Reaches::Admins(&mut command.admin.admin),
            Self::Check(command) => Reaches::Admins(&mut command.admin.admin),
            #[cfg(unix)]
            Self::Spool(command) if command.sends() => Reaches::Routers,
            #[cfg(unix)]
            Self::Spool(_) | Self::Certs(_) => Reaches::Nobody,
            Self::Rules(_) | Self::Completions(_) | Self::Man(_) | Self::Context(_) => Reaches::Nobody,
        }
    }
}

/// Receive the events that match any of the selectors.
///
/// Prints a line for each event: time, tags and payload, separated by tabs. Bytes that are no text,
/// control characters and backslashes are written as escapes (\n, \t, \\, \xNN), so that nothing is
/// lost; a comma within a tag's value is \,. Acknowledgements and gaps go to standard error. With
/// --json, events and gaps are objects on standard output and acknowledgements objects on standard
/// error; a payload that is no text is in payload_hex.
#[derive(Debug, clap::Args)]
#[command(after_help = SELECTORS)]
pub(crate) struct Sub {
    /// What to receive.
    #[arg(value_name = "SELECTOR", required_unless_present = "name")]
    pub(crate) selectors: Vec<String>,
    /// Receive what is addressed to this name, too (`millrace pub --to NAME`), at most 64 bytes. A
    /// command that takes the name later ends this one.
    #[arg(long, value_name = "NAME", conflicts_with = "group", value_parser = name)]
    pub(crate) name: Option<String>,
    /// End after this many events that arrived; gaps are shown and not counted. An interrupt before
    /// that ends with code 130, and says how many came.
    #[arg(long, short = 'n', value_name = "N", value_parser = count)]
    pub(crate) count: Option<u64>,
    /// End after this time, counted from the connection. With -n, fewer events by then end with
    /// code 1, and how many came is said.
    #[arg(long = "for", value_name = "DURATION", value_parser = some_time)]
    pub(crate) duration: Option<Duration>,
    /// How long the router may gather events before it sends them: fewer packets for slow screens.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = time)]
    pub(crate) linger: Duration,
    /// Bytes that may wait at the router for this command, such as 64MiB. Default: the router's.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) queue: Option<u64>,
    /// What gives way when that much waits: `drop-oldest` or `drop-newest` events, `disconnect`, or
    /// `block`: publishers wait that ask for confirms, for as long as it takes.
    #[arg(long, value_name = "POLICY", default_value = "drop-oldest", value_parser = policy)]
    pub(crate) policy: OverflowPolicy,
    /// Share the events with the other members of this group: each goes to one of them. What was
    /// printed is acknowledged; what was not goes to another member when this command ends or dies.
    #[arg(long, value_name = "NAME", value_parser = group)]
    pub(crate) group: Option<String>,
    /// Level in the group, 1 to 8: level 2 gets events while no member of level 1 takes them, and
    /// so on.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "group", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) level: u32,
    /// One member of the group gets everything, and the next one takes over when it cannot.
    #[arg(long, requires = "group")]
    pub(crate) exclusive: bool,
    /// Events of the group that may be on their way here before others get them. Default: the
    /// router's, 256 if nothing is set.
    #[arg(long, value_name = "N", requires = "group", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) max_inflight: Option<u64>,
    /// Run CMD in the shell for each event instead of printing it: the payload is its standard
    /// input, its tags are in the environment (host.name=web-1 as MILLRACE_TAG_HOST_NAME, all of
    /// them in MILLRACE_TAGS). Exit code 0 acknowledges the event. A command that fails gives it to
    /// another member of the group; without a group it is counted, and this command ends with
    /// code 1.
    #[arg(long, value_name = "CMD", conflicts_with_all = ["cursor", "show_identity"],
        value_parser = some_command())]
    pub(crate) exec: Option<OsString>,
    /// Commands that run at once, at most; with 1, in the order of the events.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: u16,
    /// Kill a command that runs for longer. In a group, let it be less than what the routers wait
    /// for acknowledgements (30 s if nothing is set): then another member gets the event anyway.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = some_time)]
    pub(crate) timeout: Duration,
    /// Show whom routers took each event's publisher for (the tag millrace/identity), and other
    /// tags of routers.
    #[arg(long)]
    pub(crate) show_identity: bool,
    /// Begin with what arrived at the router in this time, as far as it keeps history: 5m, 1h.
    /// Events of the past come first; what is gone is shown as a gap before them.
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub(crate) since: Option<Duration>,
    /// Begin where the last `sub` with this file ended, and keep the place there: what is new since
    /// then. The file is written each second, and a file that does not exist begins now, or at
    /// --since.
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor: Option<PathBuf>,
    /// Begin with the newest event of each tag set, as far as routers keep history: how things
    /// stand now.
    #[arg(long, conflicts_with_all = ["since", "cursor"])]
    pub(crate) last: bool,
    /// Be on two routers at once: when one dies, nothing is missing and nothing waits. Costs twice:
    /// each event comes here twice, and one copy is removed. With one router it goes on with that
    /// one.
    #[arg(long, conflicts_with_all = ["group", "name"])]
    pub(crate) redundant: bool,
    /// End with exit code 1 at the first gap.
    #[arg(long)]
    pub(crate) fail_on_gap: bool,
    /// Do not print acknowledgements.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

const SELECTORS: &str = "\
Selectors: requirements on tags, separated by commas; all must hold. Of several
selectors, any may match.
  *                       everything
  host=web-1              the tag has this value
  host!=web-1             it has not, or is absent
  host=web-*              glob: * any text, ? one character
  host in (a,b)           one of these
  host notin (a,b)        none of these, or absent
  host                    the tag is there
  !host                   it is absent
  usage>90                a number; also < <= >=
  payload ~ /panic|oops/  the payload matches a regular expression";

fn group(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a group has a name".to_owned()),
        1..=NAME_BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(format!("a group's name has at most {NAME_BYTES_MAX} bytes, not {bytes}")),
    }
}

/// Reads the name of a receiver.
pub(crate) fn name(text: &str) -> Result<String, String> {
    Claim::check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Reads a command, and refuses one that is none, which is mostly a variable that is not set: the
/// shell would say that it has done all.
pub(crate) fn some_command() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|command: OsString| {
        if command.as_encoded_bytes().trim_ascii().is_empty() {
            return Err("a command is missing: with none, every event would count as done");
        }
        Ok(command)
    })
}

fn policy(text: &str) -> Result<OverflowPolicy, String> {
    match text {
        "drop-oldest" => Ok(OverflowPolicy::DropOldest),
        "drop-newest" => Ok(OverflowPolicy::DropNewest),
        "block" => Ok(OverflowPolicy::Block),
        "disconnect" => Ok(OverflowPolicy::Disconnect),
        _ => Err("write drop-oldest, drop-newest, block or disconnect".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_may_stand_behind_the_command() {
        let args = ["millrace", "sub", "*", "--router", "a,b:1", "--router", "c", "--json", "-n", "3"];
        let args = Args::try_parse_from(args).unwrap_or_else(|error| panic!("{error}"));
        let levels = args.reach.routers().into_levels();
        let routers: Vec<_> = levels[0].iter().map(ToString::to_string).collect();
        assert_eq!((routers, levels.len()), (vec!["a:7400".into(), "b:1".into(), "c:7400".into()], 1));
        assert!(args.reach.json);
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            &["millrace", "pub"][..],
            &["millrace", "pub", "--lines", "payload"],
            &["millrace", "sub"],
            &["millrace", "sub", "--name", "desk", "--group", "disks"],
            &["millrace", "sub", "--name", ""],
            &["millrace", "sub", "*", "--exec", "cat", "--cursor", "place"],
            &["millrace", "pub", "x", "--to", ""],
            &["millrace", "request"],
            &["millrace", "reply", "*"],
            &["millrace", "sub", "*", "--exec", ""],
            &["millrace", "reply", "*", "--exec", " "],
            &["millrace", "--cert", "c.pem", "sub", "*"],
            &["millrace", "pub", "x", "--connections", "0"],
            &["millrace", "pub", "x", "--connections", "few"],
            &["millrace", "pub", "x", "--quench", "never"],
            &["millrace", "pub", "x", "--spool-full", "block"],
            &["millrace", "pub", "x", "--spool", "s", "--spool-sync", "interval:1s"],
            &["millrace", "pub", "x", "--spool", "s", "--spool-compression", "lz4"],
            &["millrace", "pub", "x", "--spool-compression", "zstd"],
            &["millrace", "pub", "x", "--ttl", "0s"],
            &["millrace", "pub", "--lines", "--standby", "s", "--source-seq", "line", "--window", "0"],
            &["millrace", "sub", "*", "-n", "0"],
            &["millrace", "sub", "*", "--for", "0s"],
            &["millrace", "sub", "*", "-n", "-1"],
            &["millrace", "sub", "*", "--queue", "0"],
            &["millrace", "sub", "*", "--exec", "cat", "--timeout", "0s"],
            &["millrace", "reply", "*", "--exec", "cat", "-n", "0"],
            &["millrace", "request", "a=b", "x", "--timeout", "0s"],
            &["millrace", "tap", "*", "-n", "0"],
            &["millrace", "tap", "*", "--for", "0s"],
            &["millrace", "tap", "*", "--for", "99999999999y"],
            &["millrace", "top", "--every", "0s"],
            &["millrace", "check", "--over", "0s"],
        ] {
            assert!(Args::try_parse_from(args).is_err(), "{args:?}");
        }
    }
}
