//! One connection of a client, and what the client knows of it.

use millrace_attach::ClientConnection;
use millrace_client::session::attachment::AttemptId;
use millrace_engine::time::Time;
use millrace_proto::control::Welcome;

/// A connection, from its dial on.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) attempt: AttemptId,
    pub(super) router: u32,
    pub(super) connection: ClientConnection,
    /// When it was dialled.
    pub(super) begun: Time,
    pub(super) heard: Time,
    /// What the router said first, until the client's role begins on this connection.
    pub(super) welcome: Option<Box<Welcome>>,
}

impl Link {
    pub(super) fn new(attempt: AttemptId, router: u32, connection: ClientConnection, now: Time) -> Self {
        Self { attempt, router, connection, begun: now, heard: now, welcome: None }
    }
}
