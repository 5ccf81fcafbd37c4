//! The command line of `millrace certs`.

use std::path::PathBuf;

use clap::builder::RangedI64ValueParser;
use clap::{Subcommand, value_parser};

/// Make certificates for routers, clients and operators.
///
/// `init` makes an authority in a folder, `router`, `client` and `admin` make certificates that it
/// vouches for. The folder is for whoever operates the cluster: routers and clients get their own
/// certificate and key, and ca.pem. All files are readable for their owner alone, and none is
/// replaced without --force.
#[derive(Debug, clap::Args)]
pub(crate) struct Certs {
    /// Folder of the authority.
    #[arg(long, global = true, value_name = "DIR", env = "MILLRACE_CERTS", default_value = "millrace-certs")]
    pub(crate) dir: PathBuf,
    /// Replace files that are there.
    #[arg(long, global = true)]
    pub(crate) force: bool,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What to make.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Make an authority and a secret for a cluster.
    Init {
        /// Name of the authority, for people.
        #[arg(long, value_name = "NAME", default_value = "Millrace cluster")]
        name: String,
        /// How long the authority is valid; nothing that it issues is valid for longer.
        #[arg(long, value_name = "DAYS", default_value = "3650", value_parser = days())]
        days: u32,
    },
    /// Make a certificate for a router.
    Router {
        /// Name of the router; a renewed certificate keeps it.
        #[arg(value_name = "NAME")]
        name: String,
        /// A DNS name or IP address by which clients reach it. Give all: its own, and the one that
        /// all routers share.
        #[arg(long = "san", value_name = "HOST", required = true, value_delimiter = ',')]
        sans: Vec<String>,
        /// How long the certificate is valid.
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = days())]
        days: u32,
    },
    /// Make a token for a client without a certificate.
    ///
    /// The client shows the token (`--token-file`, `MILLRACE_TOKEN`); routers know its hash, by a
    /// line of their token file (`tls.tokens`).
    Token {
        /// Name of the client.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a certificate for an operator.
    ///
    /// The admin page over TLS (`admin.tls_listen`) obeys it, also from elsewhere than the router's
    /// host.
    Admin {
        /// Name of the operator.
        #[arg(value_name = "NAME")]
        name: String,
        /// How long the certificate is valid.
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = days())]
        days: u32,
    },
    /// Make a certificate for a client.
    Client {
        /// Name of the client.
        #[arg(value_name = "NAME")]
        name: String,
        /// How long the certificate is valid.
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = days())]
        days: u32,
    },
}

/// A certificate is valid for a day to a hundred years.
fn days() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=36_500)
}
