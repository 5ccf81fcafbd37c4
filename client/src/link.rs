//! One connection to a router with its control stream: what publishers and receivers have in
//! common.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::CloseCode;
use millrace_proto::control::Welcome;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use crate::address::RouterAddress;
use crate::clock::Clock;
use crate::disconnect::Disconnect;
use crate::session::attachment::AttemptId;
use crate::session::{ConnectionConfig, ConnectionEvent, ConnectionSession, SessionError};
use crate::time::Time;

/// Most bytes of the control stream taken at once.
const READ_BYTES: usize = 64 * 1024;

/// Where a router was reached.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// As it is configured or was named: its certificate is for this host.
    pub(crate) router: RouterAddress,
    pub(crate) address: SocketAddr,
}

/// A connection that the router has welcomed.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) place: Place,
    /// The attempt of the attachment that made it.
    pub(crate) attempt: AttemptId,
    pub(crate) session: ConnectionSession,
    pub(crate) clock: Clock,
    send: SendStream,
    recv: RecvStream,
    unwritten: Bytes,
}

impl Link {
    /// Greets the router and waits for its Welcome, as long as the session's liveness allows.
    pub(crate) async fn open(
        connection: Connection,
        place: Place,
        config: ConnectionConfig,
        clock: Clock,
    ) -> Result<(Self, Box<Welcome>), Disconnect> {
        let (send, recv) = connection.open_bi().await?;
        let session = ConnectionSession::new(config, clock.now());
        let (attempt, unwritten) = (AttemptId::default(), Bytes::new());
        let mut link = Self { connection, place, attempt, session, clock, send, recv, unwritten };
        loop {
            match link.session.poll_event() {
                Some(ConnectionEvent::Welcomed(welcome)) => return Ok((link, welcome)),
                Some(ConnectionEvent::Dead { silent_ns }) => return Err(link.dead(silent_ns)),
                Some(_) => {}
                None => link.turn(None).await?,
            }
        }
    }

    /// Moves bytes of the control stream and time, once: returns when something was read or
    /// written, a timer of the session ran out, or `until` has come. Events are the caller's to
    /// poll. May be dropped at any time.
    pub(crate) async fn turn(&mut self, until: Option<Time>) -> Result<(), Disconnect> {
        if self.unwritten.is_empty() {
            self.unwritten = self.session.poll_control_output().unwrap_or_default();
        }
        let deadline = match (self.session.poll_timeout(), until) {
            (Some(own), Some(until)) => Some(own.min(until)),
            (own, until) => own.or(until),
        };
        let alarm = self.clock.instant(deadline.unwrap_or(Time::from_nanos(u64::MAX)));
        let fed = tokio::select! {
            chunk = self.recv.read_chunk(READ_BYTES, true) => match chunk? {
                Some(chunk) => self.session.control_data(self.clock.now(), &chunk.bytes),
                None => return Err(Disconnect::Ended("it finished the control stream".to_owned())),
            },
            written = self.send.write_chunks(std::slice::from_mut(&mut self.unwritten)),
                if !self.unwritten.is_empty() =>
            {
                written?;
                Ok(())
            }
            () = tokio::time::sleep_until(alarm) => {
                self.session.handle_timeout(self.clock.now());
                Ok(())
            }
        };
        fed.map_err(|error| self.broken(error))
    }

    /// Closes the connection because the router broke the protocol.
    pub(crate) fn broken(&self, error: SessionError) -> Disconnect {
        self.close(error.close_code(), &error.to_string());
        Disconnect::Protocol(error)
    }

    /// Closes the connection because nothing was heard.
    pub(crate) fn dead(&self, silent_ns: u64) -> Disconnect {
        self.close(CloseCode::Timeout, "silent for too long");
        Disconnect::Silent { silent: Duration::from_nanos(silent_ns) }
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        let code = VarInt::from_u64(code.code()).unwrap_or_default();
        self.connection.close(code, reason.as_bytes());
    }
}
