//! Why a connection ended.

use std::time::Duration;

use millrace_proto::CloseCode;

use crate::session::SessionError;

/// Why a connection to a router ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// The router closed it.
    #[error("the router closed the connection: {}{}", code_name(*.code), and_reason(.reason))]
    Closed {
        /// Its code; `None` for one that this version does not know.
        code: Option<CloseCode>,
        /// What the router said, for people.
        reason: String,
    },
    /// Nothing was heard from the router for too long.
    #[error("nothing was heard from the router for {:.1} s", .silent.as_secs_f64())]
    Silent {
        /// How long.
        silent: Duration,
    },
    /// The router broke the protocol.
    #[error(transparent)]
    Protocol(#[from] SessionError),
    /// QUIC or TLS failed.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// A receiver or a stream that the session needs was closed by the router.
    #[error("the router ended the session: {0}")]
    Ended(String),
    /// The router went away and this client did not manage to move before.
    #[error("the router went away")]
    WentAway,
}

fn code_name(code: Option<CloseCode>) -> &'static str {
    code.map_or("unknown code", CloseCode::name)
}

fn and_reason(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl From<quinn::ConnectionError> for Disconnect {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: CloseCode::from_code(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            other => Self::Transport(other.to_string()),
        }
    }
}

impl From<quinn::ReadError> for Disconnect {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(error) => error.into(),
            other => Self::Ended(other.to_string()),
        }
    }
}

impl From<quinn::WriteError> for Disconnect {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(error) => error.into(),
            other => Self::Ended(other.to_string()),
        }
    }
}
