//! Options that several commands have.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::ValueEnum;
use millrace_client::{ConfirmLevel, RouterLevels};

/// Heading of the options that say how to reach routers.
const ROUTERS: &str = "Reaching routers";

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
    /// Name to expect in the router's certificate, instead of the host of its address.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Where this client is: routers of the same zone are preferred, others used when there is
    /// none.
    #[arg(long, global = true, help_heading = ROUTERS, value_name = "NAME", env = "MILLRACE_ZONE")]
    pub(crate) zone: Option<String>,
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

/// Reads a size, such as `64MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    text.parse()
        .map(|ByteSize(bytes)| bytes)
        .map_err(|_| format!("{text:?} is no size: write 64MiB or 1000000"))
}
