//! Why a connection ended.

use std::time::Duration;

use millrace_certs::handshake_failure;
use millrace_proto::CloseCode;

use crate::session::SessionError;
use crate::session::attachment::Verdict;

/// Why a connection to a router ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The router closed it.
    #[error("the router closed the connection: {}{}", code_name(*.code), and_reason(.reason))]
    Closed {
        /// Its code; `None` for one that this version does not know.
        code: Option<CloseCode>,
        /// The router's words, for people.
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
    /// QUIC failed.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// One side does not accept the other's certificate, or they have no protocol in common.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// A receiver or a stream that the session needs was closed by the router.
    #[error("the router ended the session: {0}")]
    Ended(String),
    /// The router went away and this client did not manage to move before.
    #[error("the router went away")]
    WentAway,
}

impl Disconnect {
    /// Whether another attempt may succeed by itself.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Closed { code, .. } => Verdict::of_close(*code),
            Self::Protocol(_) | Self::Tls(_) => Verdict::Refused,
            Self::Silent { .. } | Self::Transport(_) | Self::Ended(_) | Self::WentAway => Verdict::Passing,
        }
    }
}

/// QUIC's codes of TLS alerts: 0x100 and the alert (RFC 9001 §4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

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
            quinn::ConnectionError::TransportError(error) if TLS_ALERTS.contains(&u64::from(error.code)) => {
                Self::Tls(handshake_failure("the router's certificate", u64::from(error.code), &error.reason))
            }
            quinn::ConnectionError::ConnectionClosed(close)
                if TLS_ALERTS.contains(&u64::from(close.error_code)) =>
            {
                let reason = String::from_utf8_lossy(&close.reason);
                let why =
                    handshake_failure("this client's certificate", u64::from(close.error_code), &reason);
                Self::Tls(format!("the router refused this client: {why}"))
            }
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
