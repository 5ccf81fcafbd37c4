//! How connections end, by name, for metrics. The engine learns only the code with which the other
//! side closed.

use millrace_quic::CloseReason;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Ending {
    /// This router closed it; [`CloseCode`](millrace_proto::CloseCode) says why.
    Local,
    /// The other side closed it with a code of the protocol.
    Application,
    /// A router that was dialled refused.
    Refused,
    /// TLS failed, on either side. Failed handshakes of newcomers are counted as such instead.
    Tls,
    /// The other side violated QUIC.
    ProtocolError,
    /// The other side's QUIC closed it.
    Transport,
    /// The other side has lost its state.
    Reset,
    /// Nothing was heard for the idle timeout, or a dial was not answered.
    TimedOut,
    /// No common version of QUIC.
    Version,
    /// For a reason that this version does not name.
    Other,
}

impl Ending {
    /// All, in the order of [`ShellMetrics::ended`](crate::ShellMetrics::ended).
    pub const ALL: [Self; 10] = [
        Self::Local,
        Self::Application,
        Self::Refused,
        Self::Tls,
        Self::ProtocolError,
        Self::Transport,
        Self::Reset,
        Self::TimedOut,
        Self::Version,
        Self::Other,
    ];

    /// Its name as a metrics label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Application => "application",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::ProtocolError => "protocol_error",
            Self::Transport => "transport",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Version => "version",
            Self::Other => "other",
        }
    }

    pub(crate) const fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Local => Self::Local,
            CloseReason::Application { .. } => Self::Application,
            CloseReason::Refused => Self::Refused,
            // TLS alerts (RFC 9001, section 4.8).
            CloseReason::Remote { code: 0x100..=0x1ff, .. }
            | CloseReason::Protocol { code: 0x100..=0x1ff, .. } => Self::Tls,
            CloseReason::Protocol { .. } => Self::ProtocolError,
            CloseReason::Remote { .. } => Self::Transport,
            CloseReason::Reset => Self::Reset,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Version => Self::Version,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_name_of_its_own() {
        let (reason, bytes) = (String::new(), bytes::Bytes::new());
        for (of, name) in [
            (CloseReason::Local, "local"),
            (CloseReason::Application { code: 1, reason: bytes }, "application"),
            (CloseReason::Refused, "refused"),
            (CloseReason::Remote { code: 0x12a, reason: reason.clone() }, "tls"),
            (CloseReason::Protocol { code: 0x130, reason: reason.clone() }, "tls"),
            (CloseReason::Protocol { code: 0xa, reason: reason.clone() }, "protocol_error"),
            (CloseReason::Remote { code: 0x3, reason }, "transport"),
            (CloseReason::Reset, "reset"),
            (CloseReason::TimedOut, "timed_out"),
            (CloseReason::Version, "version"),
        ] {
            assert_eq!(Ending::of(&of).name(), name);
        }
        for (index, ended) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, index);
        }
    }
}
