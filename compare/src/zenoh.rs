//! zenoh is driven by a program of its own (`peers/zenoh`), so that its crates stay out of this
//! build. It plays the router, and in another process it drives it with the same load and the same
//! stretches.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::drive::{DriveError, Round, Stretches};
use super::error::CompareError;
use super::load::Shape;
use super::server::{Server, ServerError};

/// What the driving process is told, as JSON in its second argument.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The router.
    pub address: SocketAddr,
    /// Whom to trust.
    pub ca_pem: String,
    /// The router's process.
    pub server_pid: u32,
    /// The load.
    pub shape: Shape,
    /// Its stretches.
    pub stretches: Stretches,
}

/// Starts a router.
pub(super) fn start(program: &Path) -> Result<Server, ServerError> {
    let mut command = Command::new(program);
    command.arg("router");
    Server::announced(command, "zenoh-quic")
}

/// Drives it for one round.
pub(super) fn drive(
    program: &Path,
    server: &Server,
    shape: Shape,
    stretches: &Stretches,
) -> Result<Round, CompareError> {
    let task = Task {
        address: server.address,
        ca_pem: server.ca_pem.clone(),
        server_pid: server.pid(),
        shape,
        stretches: *stretches,
    };
    let task = serde_json::to_string(&task)?;
    let output =
        Command::new(program).args(["drive", &task]).stdin(Stdio::null()).output().map_err(DriveError::Io)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it ended without a word").to_owned();
        return Err(DriveError::Peer(last).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
