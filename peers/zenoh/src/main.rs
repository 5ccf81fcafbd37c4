//! zenoh over QUIC, as a peer that `millrace-loadgen compare` drives.
//!
//! ```text
//! millrace-peer-zenoh version        says which zenoh it is
//! millrace-peer-zenoh router         a zenoh router on a free port of loopback; says where, ends with its standard input
//! millrace-peer-zenoh drive TASK     drives that router with one round, and says what came of it
//! ```
//!
//! Router and driver are separate processes. The load, its window and its checker are those of the
//! comparison; zenoh is left at its defaults, but for scouting, which is off, and for publishers,
//! which wait when there is congestion instead of dropping.

mod link;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_compare::drive::drive;
use millrace_compare::server::Ready;
use millrace_compare::zenoh::Task;
use zenoh::{Config, Wait};

use crate::link::ZenohLink;

/// The version that `Cargo.toml` asks for.
const VERSION: &str = "1.10.2";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match (arguments.next().as_deref(), arguments.next()) {
        (Some("version"), None) => say(VERSION),
        (Some("router"), None) => router(),
        (Some("drive"), Some(task)) => drive_round(&task),
        _ => Err(anyhow!("say version, router, or drive TASK")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// zenoh's errors, as ours.
fn wrong(error: zenoh::Error) -> anyhow::Error {
    anyhow!("zenoh: {error}")
}

fn config(settings: &[(&str, String)]) -> anyhow::Result<Config> {
    let mut config = Config::default();
    let common =
        [("scouting/multicast/enabled", "false".to_owned()), ("scouting/gossip/enabled", "false".to_owned())];
    for (name, value) in common.iter().chain(settings) {
        config.insert_json5(name, value).map_err(wrong).with_context(|| format!("setting {name}"))?;
    }
    Ok(config)
}

fn sealed(pem: &str) -> String {
    format!("{:?}", STANDARD.encode(pem))
}

/// A router, until standard input ends.
fn router() -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let ca_pem = made.cert.pem();
    let config = config(&[
        ("mode", "\"router\"".to_owned()),
        ("listen/endpoints", "[\"quic/127.0.0.1:0\"]".to_owned()),
        ("transport/link/tls/listen_certificate_base64", sealed(&ca_pem)),
        ("transport/link/tls/listen_private_key_base64", sealed(&made.signing_key.serialize_pem())),
    ])?;
    let session = zenoh::open(config).wait().map_err(wrong)?;
    let locators = session.info().locators().wait();
    let address: SocketAddr = locators
        .iter()
        .find_map(|locator| locator.to_string().strip_prefix("quic/")?.split(['?', '#']).next()?.parse().ok())
        .ok_or_else(|| anyhow!("the router listens nowhere: {locators:?}"))?;
    say(&serde_json::to_string(&Ready { address, ca_pem })?)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    session.close().wait().map_err(wrong)
}

/// One round against a router.
fn drive_round(task: &str) -> anyhow::Result<()> {
    let task: Task = serde_json::from_str(task).context("the task cannot be read")?;
    if task.shape.publishers == 0 || task.shape.receivers == 0 {
        bail!("there is nobody to publish or to receive");
    }
    let settings = [
        ("mode", "\"client\"".to_owned()),
        ("connect/endpoints", format!("[\"quic/{}\"]", task.address)),
        ("transport/link/tls/root_ca_certificate_base64", sealed(&task.ca_pem)),
    ];
    let mut link = ZenohLink::connect(|| config(&settings), task.shape)?;
    let round = drive(&mut link, task.server_pid, &task.stretches)?;
    say(&serde_json::to_string(&round)?)?;
    link.close()
}
