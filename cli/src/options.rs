//! Options that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{ValueEnum, ValueHint};
use millrace_client::{ConfirmLevel, RouterLevels};

use crate::context::Choice;

/// Heading of the options that say how to reach routers.
const ROUTERS: &str = "Reaching routers";

/// Ids of the options that say how.
pub(crate) const REACH: [&str; 9] =
    ["router", "ca", "cert", "key", "token_file", "accept_open_key", "server_name", "zone", "context"];

/// How to reach routers.
#[derive(Debug, clap::Args)]
pub(crate) struct Reach {
    /// Routers, separated by commas, any of which will do; all addresses of a name are tried.
    /// Behind a semicolon, those of the next level: for when none of the first can be reached or
    /// has room, and left again when one of the first is back. May be given several times.
    #[arg(
        long,
        global = true,
        help_heading = ROUTERS,
        value_name = "HOST[:PORT],…[;HOST[:PORT],…]",
        env = "MILLRACE_ROUTER",
        default_value = "127.0.0.1:7400"
    )]
    pub(crate) router: Vec<RouterLevels>,
    /// The authority that signed the routers' certificates, PEM. Without it, that of a router in
    /// dev mode on this host.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "FILE", env = "MILLRACE_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// This client's certificate, PEM, for routers that ask for one.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "FILE", env = "MILLRACE_CERT", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of --cert, PEM.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "FILE", env = "MILLRACE_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// A file with this client's token, for routers that know it: instead of a certificate. The
    /// environment variable MILLRACE_TOKEN holds the token itself.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "FILE", conflicts_with = "cert")]
    pub(crate) token_file: Option<PathBuf>,
    /// Go on, with a warning, where every user of this host may read the key or the token's file.
    /// Otherwise they are refused, as ssh does, unless all routers are on this host.
    #[arg(long, global = true, help_heading = ROUTERS, env = "MILLRACE_ACCEPT_OPEN_KEY")]
    pub(crate) accept_open_key: bool,
    /// Name to expect in the router's certificate, instead of the host of its address.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Where this client is: routers of the same zone are preferred, others used when there is
    /// none.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "NAME", env = "MILLRACE_ZONE")]
    pub(crate) zone: Option<String>,
    /// Take what is not given here from this context (`millrace context`) instead of the current
    /// one. `none` does without. Values of the command line count before those of the environment,
    /// and these before the context's; its certificates stay when other addresses are given.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "NAME", env = "MILLRACE_CONTEXT", value_hint = ValueHint::Other)]
    pub(crate) context: Option<Choice>,
    /// Print JSON on standard output, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Reach {
    /// All routers that are named.
    pub(crate) fn routers(&self) -> RouterLevels {
        self.router.iter().cloned().fold(RouterLevels::default(), RouterLevels::and)
    }
}

/// What `pub` is to be told about each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confirm {
    /// That a router has received it.
    None,
    /// That it is in the queues of all receivers that match.
    Routed,
    /// That the applications of all receivers that match have acknowledged it.
    Delivered,
}

impl From<Confirm> for ConfirmLevel {
    fn from(confirm: Confirm) -> Self {
        match confirm {
            Confirm::None => Self::None,
            Confirm::Routed => Self::Routed,
            Confirm::Delivered => Self::Delivered,
        }
    }
}

/// The longest time that an option takes: what is longer was meant otherwise.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a size that is not zero, such as `64MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("nothing fits into no bytes: write 64MiB or 1000000".to_owned()),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err(format!("{text:?} is no size: write 64MiB or 1000000")),
    }
}

/// Reads a time, such as `20ms`; none will do.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: write 20ms, 10s or 5m"))?;
    if time <= TIME_MAX { Ok(time) } else { Err("too long: write 366d or less".to_owned()) }
}

/// Reads a time that is not zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("no time is not enough: write 1ms or more, such as 10s".to_owned()),
        time => Ok(time),
    }
}

/// Reads a number of events to end after.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("write a number from 1; without -n it does not end by itself".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("write a number from 1, such as 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_ask_for_nothing_are_refused_with_what_to_write() {
        for text in ["0s", "-1s", "5", "500y", "99999999999999y"] {
            assert!(some_time(text).is_err_and(|words| words.contains("write")), "{text}");
        }
        assert_eq!((time("0s"), some_time("1ms")), (Ok(Duration::ZERO), Ok(Duration::from_millis(1))));
        for text in ["0", "-3", "few"] {
            assert!(count(text).is_err_and(|words| words.contains("write")), "{text}");
        }
        assert!(bytes("0MiB").is_err() && bytes("-1").is_err());
        assert_eq!((count("3"), bytes("1KiB")), (Ok(3), Ok(1024)));
    }
}
